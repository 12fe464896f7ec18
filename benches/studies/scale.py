"""At size: more tokens than the cache holds, all tokens verified again and again, many known users and
accounts."""

import contextlib
import itertools
import random
import sqlite3
import statistics

import load
from entrance import Entrance, Provider
from studies import aim, at_most

# Zipf's law with exponent 1: the second most frequent token comes half as often as the first.
TOKENS, CACHE = 100_000, 10_000
DRAWN = 400_000
LIVE = 10_000
TTLS = (300, 20, 5, 1)
# Users and accounts.
STEPS = ((1, 1), (1000, 100), (100_000, 10_000), (1_000_000, 100_000))
ROUNDS, SECONDS = 3, 3


def measure(bench):
    provider = Provider(bench)
    few = load.write(provider.tokens(1000), bench.work / "few")
    zipf, turning = frequencies(bench, provider, few), turns(bench, provider)
    users = known_users(bench, provider)
    rates = [row["requests_per_second"] for row in users]
    fits, small = zipf["rows"][0], zipf["rows"][1]
    gap = zipf["ideal_hit_rate"] - small["hit_rate"]
    aims = [
        aim(
            "Zipf, cache a tenth of the tokens: hit rate within 0.05 of the best that any fixed choice gives",
            small["hit_rate"],
            gap <= 0.05,
        ),
        at_most(
            f"{users[-1]['users']:,} known users: at most 1.15 × slower than with the fewest",
            max(rates) / rates[-1],
            1.15,
        ),
    ]
    return {"zipf": zipf, "turning": turning, "known_users": users, "fits": fits["requests_per_second"], "aims": aims}


def under_load(bench, server, tokens, order=None, warm=1):
    """Medians over a few rounds, and how many lookups were hits meanwhile."""
    if warm:
        load.run(bench, server.url(), tokens, warm, order)
    rounds, seconds = bench.rounds(ROUNDS, SECONDS)
    before = server.lookups()
    loads = [load.run(bench, server.url(), tokens, seconds, order) for _ in range(rounds)]
    hits, misses = (now - then for now, then in zip(server.lookups(), before))
    return {
        "requests_per_second": statistics.median(one.rate for one in loads),
        "p50_ms": statistics.median(one.p50 for one in loads),
        "p99_ms": statistics.median(one.p99 for one in loads),
        "p999_ms": statistics.median(one.p999 for one in loads),
        "hit_rate": hits / max(1, hits + misses),
    }


def frequencies(bench, provider, few):
    count = bench.times(TOKENS, 10_000)
    cache = count * CACHE // TOKENS
    tokens = load.write(provider.tokens(count), bench.work / "zipf")
    weights = list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))
    # The same order on every machine.
    drawn = random.Random(1).choices(range(1, count + 1), cum_weights=weights, k=DRAWN)
    order = load.write(drawn, bench.work / "order")
    rows = []
    for name, size, file, numbers in (
        ("1,000 tokens in turn, all remembered", count * 2, few, None),
        (f"Zipf over {count:,}, {cache:,} remembered", cache, tokens, order),
        (f"Zipf over {count:,}, all remembered", count * 2, tokens, order),
        (f"Zipf over {count:,}, none remembered", 0, tokens, order),
    ):
        server = Entrance(bench, provider, f"zipf-{len(rows)}", TOKEN_CACHE_SIZE=size).start()
        # The whole order once, so that what is seldom has been there too.
        row = under_load(bench, server, file, numbers, warm=bench.times(8, 1))
        rows.append({"name": name, **row, "resident_bytes": server.resident()})
        server.stop()
    return {"tokens": count, "cache": cache, "ideal_hit_rate": weights[cache - 1] / weights[-1], "rows": rows}


def turns(bench, provider):
    count = bench.times(LIVE, 1000)
    values = provider.tokens(count)
    tokens, rows = load.write(values, bench.work / "live"), []
    for ttl in TTLS:
        server = Entrance(bench, provider, f"ttl-{ttl}", TOKEN_CACHE_TTL=ttl, TOKEN_CACHE_SIZE=2 * count).start()
        server.show(values)
        rows.append({"ttl": ttl, "tokens": count, **under_load(bench, server, tokens)})
        server.stop()
    return rows


def known_users(bench, provider):
    """The same thousand people, among ever more others who are known."""
    people, rows = provider.users(1000), []
    for users, accounts in bench.some(STEPS):
        server = Entrance(bench, provider, f"users-{users}", TOKEN_CACHE_SIZE=20_000)
        others(server.database, users, accounts)
        provider.forget_calls()
        asking = people[:users]
        server.start()
        first = server.show(provider.tokens(len(asking), asking))
        calls = provider.calls()
        server.stop()
        # Nobody is remembered now, but everybody known: each is looked up once.
        server.start()
        values = provider.tokens(1000, asking)
        found = server.show(values[: len(asking)])
        server.show(values)
        row = under_load(bench, server, load.write(values, bench.work / "asking"))
        rows.append({
            "users": users, "accounts": accounts, **row, "first_visits_per_second": len(asking) / first,
            "found_per_second": len(asking) / found, "provider_calls": calls, "resident_bytes": server.resident(),
        })  # fmt: skip
        server.stop()
    return rows


def others(database, users, accounts):
    """Those who are known and do not come: written by hand, as they only have to be in the way."""

    def ids(kind, count):
        # As of version 7: they grow with time.
        return (
            b"\x01\x90\x00\x00\x00" + kind + b"\x70\x00\x80\x00" + number.to_bytes(6, "big") for number in range(count)
        )

    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO accounts (id, name, authress_tenant_id, status, created_at) VALUES (?, ?, ?, 'active', 0)",
            ((id, f"Account {n}", f"tenant_{n:07}") for n, id in enumerate(ids(b"\x01", accounts))),
        )
        in_turn = itertools.cycle(list(ids(b"\x01", accounts)))
        connection.executemany(
            "INSERT INTO users (id, account_id, provider, subject, email, name, role, status, created_at)"
            " VALUES (?, ?, 'authress', ?, ?, ?, 'member', 'active', 0)",
            (
                (id, account, f"other_{n:07}", f"other_{n:07}@example.com", f"Person {n}")
                for n, (id, account) in enumerate(zip(ids(b"\x02", users), in_turn))
            ),
        )
