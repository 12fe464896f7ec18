"""Memory: what one more remembered token takes, and whether the server stays as it is for long."""

import statistics
import time

import load
from entrance import Entrance, Provider, claims_size
from processes import Failed
from studies import aim, at_most

FEW, MANY = 1000, 50_000
# A short run has to show the way only.
LONG, PAUSE, NEW_TOKENS = 600, 0.5, 250


def measure(bench):
    provider = Provider(bench)
    found = known(bench, provider)
    if bench.long:
        found["changing"] = changing(bench, provider)
        found["aims"].append(found["changing"].pop("aim"))
    return found


def known(bench, provider):
    many = bench.times(MANY, 5000)
    tokens = provider.tokens(many)
    few = load.write(tokens[:FEW], bench.work / "few")
    server = Entrance(bench, provider, "memory", TOKEN_CACHE_SIZE=2 * many).start()
    # Buffers and threads first: they are no tokens.
    server.show(tokens[:FEW])
    load.run(bench, server.url(), few, bench.times(2, 1))
    before, had = settled(server), server.metrics()["vestibule_token_cache_entries"]
    server.show(tokens[FEW:])
    load.run(bench, server.url(), few, bench.times(2, 1))
    after, has = settled(server), server.metrics()["vestibule_token_cache_entries"]
    if has < 0.99 * many:
        raise Failed(f"of {many} tokens only {has:.0f} are remembered")
    each = (after - before) / (has - had)
    claims = statistics.mean(map(claims_size, tokens))
    server.stop()
    return {
        "resident_bytes": {str(int(had)): before, str(int(has)): after},
        "token_bytes": statistics.mean(map(len, tokens)),
        "claims_bytes": claims,
        "bytes_each": each,
        "aims": [at_most("≤ 600 bytes for each remembered token, beyond its own claims", each - claims, 600, "bytes")],
    }


def settled(server):
    seen = []
    for _ in range(5):
        seen.append(server.resident())
        time.sleep(0.1)
    return statistics.median(seen)


def changing(bench, provider):
    """Ever new tokens, each used a few times, with a cache that is full long before the end."""
    seconds = bench.times(LONG, 10)
    server = Entrance(bench, provider, "changing", TOKEN_CACHE_SIZE=10_000).start()
    began, samples, shown = time.monotonic(), [], 0
    while (now := time.monotonic() - began) < seconds:
        tokens = provider.tokens(NEW_TOKENS)
        for _ in range(3):
            server.show(tokens)
        shown += len(tokens)
        samples.append({"at_s": now, "resident_bytes": server.resident()})
        time.sleep(PAUSE / 10)

    def during(start, end):
        return statistics.median(s["resident_bytes"] for s in samples if start * seconds <= s["at_s"] <= end * seconds)

    # When the cache has been full for a while, against the end.
    growth = during(0.85, 1) / during(0.35, 0.5)
    text = f"resident size flat over {seconds / 60:.0f} minutes of ever new tokens (the end to the middle, ≤ 1.03)"
    every = max(1, len(samples) // 200)
    return {
        "tokens": shown,
        "growth": growth,
        "samples": samples[::every],
        "aim": aim(text, growth, growth <= 1.03, "×"),
    }
