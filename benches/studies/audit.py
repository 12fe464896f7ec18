"""What it costs that an account's activity is written down: the same server with it and without, asked in turns.

A token that is known leaves no entry; its first use does. So in every round a part of the tokens are new ones."""

import sqlite3

import load
from entrance import Entrance, Provider
from load import Target, in_turns, ratio
from processes import Failed
from studies import at_least

KNOWN, NEW = 1000, 200
ROUNDS, SECONDS = 9, 2


def measure(bench):
    provider = Provider(bench)
    known = provider.tokens(KNOWN)
    file = bench.work / "tokens"

    def target(name, **settings):
        server = Entrance(bench, provider, name.replace(" ", "-"), **settings).start()
        server.show(known)
        return server, Target(name, server.url(), file, server.process)

    on, written = target("written down")
    off, not_written = target("ACTIVITY_KEEP=0", ACTIVITY_KEEP=0)
    load.write(known, file)
    in_turns(bench, [written, not_written], 0, 0)
    rounds, seconds = bench.rounds(ROUNDS, SECONDS)
    for number in range(rounds):
        load.write(known + provider.tokens(NEW), file)
        pair = [written, not_written]
        load.ask_all(bench, pair[::-1] if number % 2 else pair, seconds)
    activity = [len(entries(server)) for server in (on, off)]
    if not activity[0] or activity[1]:
        raise Failed(f"entries of activity with and without: {activity}")
    for server in (on, off):
        server.stop()
    with_it = ratio(written, not_written)
    return {
        "known": KNOWN,
        "new": NEW,
        "rows": [
            {"name": one.name, **one.record(), "to_without": to_it}
            for one, to_it in ((written, with_it), (not_written, None))
        ],
        "aims": [at_least("/v1/me with its activity written down ≥ 0.97 × without", with_it["median"], 0.97)],
    }


def entries(server):
    """Of all accounts; that they were created stands there too."""
    found = []
    for file in (server.place / "tenants").glob("*.db"):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            found += database.execute("SELECT id FROM vestibule_activity WHERE kind = 'sign_in'").fetchall()
    return found
