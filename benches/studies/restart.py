"""Everything forgotten at once: how long until ten thousand live tokens are as fast as before."""

import statistics
import time

import load
from entrance import Entrance, Provider
from processes import Failed
from studies import at_most

TOKENS, USERS = 10_000, 1000
WINDOW = 0.05
# Normal is what goes on for so many windows.
STEADY = 4
SECONDS = 4


def measure(bench):
    provider = Provider(bench)
    users = bench.times(USERS, 100)
    tokens = provider.tokens(bench.times(TOKENS, 2000), provider.users(users))
    file = load.write(tokens, bench.work / "tokens")
    server = Entrance(bench, provider, "restarted", TOKEN_CACHE_SIZE=2 * len(tokens)).start()
    provider.forget_calls()
    server.show(tokens)
    first = provider.calls()
    before = [window["requests_per_second"] for window in windows(bench, server, file)]
    normal = statistics.median(before[2:])
    server.stop()
    provider.forget_calls()
    server.start()
    after = windows(bench, server, file)
    calls = provider.calls()
    back = back_at(after, 0.95 * normal)
    aims = [
        at_most(
            "95 % of normal throughput within 1 s", back if back is not None else 2.0 * SECONDS, 1.0, "s"
        )
    ]
    aims.append(
        at_most(f"calls to the provider for users ≤ the {users} who came", calls.get("user", 0), users, "calls")
    )
    return {
        "tokens": len(tokens),
        "users": users,
        "normal": normal,
        "windows": after,
        "back_after_s": back,
        "provider_calls": calls,
        "provider_calls_first_visit": first,
        "aims": aims,
    }


def back_at(after, enough):
    """When what counts as normal began: in seconds since the first request."""
    rates = [window["requests_per_second"] for window in after]
    for first in range(len(after) - STEADY + 1):
        if statistics.mean(rates[first : first + STEADY]) >= enough:
            return after[first - 1]["until_s"] if first else 0.0
    return None


def windows(bench, server, file):
    """Throughput by the server's own count, while the load goes on."""
    last, then = sum(server.lookups()), None
    wrk = load.begin(bench, server.url(), file, SECONDS)
    try:
        # The load's own start is no time of the server's.
        while (count := sum(server.lookups())) == last:
            if wrk.poll() is not None:
                raise Failed(f"the load ended at once: {wrk.communicate()[0]}")
            time.sleep(0.002)
        began = then = time.perf_counter()
        last, found = count, []
        for number in range(1, int((SECONDS - 0.3) / WINDOW)):
            time.sleep(max(0.0, began + number * WINDOW - time.perf_counter()))
            count, now = sum(server.lookups()), time.perf_counter()
            found.append({"until_s": now - began, "requests_per_second": (count - last) / (now - then)})
            last, then = count, now
        load.result(server.url(), wrk.communicate(timeout=60)[0])
    finally:
        wrk.kill()
        wrk.wait()
    return found
