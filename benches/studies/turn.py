"""One whole TOKEN_CACHE_TTL with ten thousand live tokens: nobody waits because others are verified again."""

import statistics

import load
from entrance import Entrance, Provider
from studies import at_most

TOKENS, USERS = 10_000, 100
TTL = 60
STEADY = 6


def measure(bench):
    provider = Provider(bench)
    tokens = provider.tokens(bench.times(TOKENS, 1000), provider.users(USERS))
    file = load.write(tokens, bench.work / "tokens")
    ttl = bench.times(TTL, 3)
    room = {"TOKEN_CACHE_SIZE": 2 * len(tokens)}
    steady = Entrance(bench, provider, "steady", TOKEN_CACHE_TTL=86_400, **room).start()
    turning = Entrance(bench, provider, "turning", TOKEN_CACHE_TTL=ttl, **room).start()
    for server in (steady, turning):
        server.show(tokens)
        load.run(bench, server.url(), file, 1)
    provider.forget_calls()
    windows = bench.times(STEADY, 2)
    calm = seconds(bench, steady, file, windows)
    # Nobody came while the other was asked: what has come to its end meanwhile is none of the turn's.
    load.run(bench, turning.url(), file, 1)
    before = turning.lookups()
    turn = seconds(bench, turning, file, ttl)
    hits, misses = (now - then for now, then in zip(turning.lookups(), before))
    # Before and after: the machine may have changed its mind meanwhile.
    calm += seconds(bench, steady, file, windows)
    usual, worst = statistics.median(w["p99_ms"] for w in calm), max(w["p99_ms"] for w in turn)
    middle = statistics.median(w["p99_ms"] for w in turn)
    calls = provider.calls()
    users = calls.get("user", 0)
    return {
        "tokens": len(tokens),
        "users": USERS,
        "ttl": ttl,
        "steady": calm,
        "turning": turn,
        "steady_p99_ms": usual,
        "turning_p99_ms": {"median": middle, "worst": worst},
        "requests": hits + misses,
        "verified_again": misses,
        "provider_calls": calls,
        "aims": [
            at_most(
                "p99 over a whole TOKEN_CACHE_TTL ≤ 1.5 × steady state (median of its seconds)", middle / usual, 1.5
            ),
            at_most("the same, its worst second", worst / usual, 1.5),
            at_most(
                f"calls to the provider for users ≤ two for each of {USERS}, one on each server",
                users,
                2 * USERS,
                "calls",
            ),
        ],
    }


def seconds(bench, server, file, count):
    windows = []
    for _ in range(count):
        one = load.run(bench, server.url(), file, 1)
        windows.append({"requests_per_second": one.rate, "p50_ms": one.p50, "p99_ms": one.p99, "p999_ms": one.p999})
    return windows
