"""Cold start: from exec to the first answered request of somebody who is let in."""

import statistics
import time

from entrance import ME, Entrance, Provider, bearer
from line import one
from processes import Failed
from studies import at_most

STARTS = 20


def measure(bench):
    provider = Provider(bench)
    token = provider.tokens(1)[0]
    # Whoever was never seen: keys are fetched, the person and the tenant asked for, the user created.
    fresh, keys = [], 0
    for number in range(bench.times(STARTS)):
        server = Entrance(bench, provider, f"start-{number}")
        provider.forget_calls()
        fresh.append(start(server, token))
        calls = provider.calls()
        keys += calls.get("jwks", 0) > 0
        server.stop()
    if keys != len(fresh):
        raise Failed(f"of {len(fresh)} starts only {keys} fetched keys")
    # The same once more with what the last one has left.
    known = []
    for _ in range(bench.times(STARTS)):
        known.append(start(server, token))
        server.stop()
    return {
        "starts": len(fresh),
        "fresh_ms": summary(fresh),
        "known_ms": summary(known),
        "aims": [
            at_most("first answer ≤ 150 ms after the start, SQLite, keys fetched", statistics.median(fresh), 150, "ms")
        ],
    }


def summary(times):
    return {"median": statistics.median(times), "worst": max(times), "all": times}


def start(server, token):
    """Milliseconds. The server gets no help: whoever asks tries until somebody answers."""
    bench = server.bench
    began = time.perf_counter()
    server.process = bench.processes.start(bench.core, server.serve, server.log, server.environment)
    while True:
        try:
            status, _, body = one(server.port, bearer(ME, token))
            break
        except ConnectionRefusedError:
            if time.perf_counter() - began > 30:
                raise Failed(f"vestibule does not start: {server.last_words()}") from None
            time.sleep(0.0005)
    took = (time.perf_counter() - began) * 1000
    if status != 200:
        raise Failed(f"the first answer is {status}: {body!r}")
    return took
