"""What the settings of the release bring: the same server, built and linked in other ways.

Built below `target/bench-builds`, which takes a quarter of an hour the first time. The allocators are those
of the system's packages `libjemalloc2` and `libmimalloc2.0`, put before the C library's when the server starts.
"""

import os
import subprocess
import time
from pathlib import Path

import load
from entrance import Entrance, Provider
from load import Target, in_turns, ratio
from processes import Failed

KNOWN, NEW = 1000, 3000
ROUNDS, SECONDS = 9, 2
OURS = "as released"
# LTO and units.
BUILDS = {"no LTO and 16 units": ("off", 16), "fat LTO and one unit": ("fat", 1)}
ALLOCATORS = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2"}


def measure(bench):
    provider = Provider(bench)
    known = provider.tokens(KNOWN)
    file = load.write(known, bench.work / "tokens")
    binaries = {OURS: bench.binaries} | {name: built(bench, *how) for name, how in BUILDS.items()}
    servers, targets = {}, []
    for name, place in binaries.items():
        servers[name] = started(bench, provider, name, place)
    for name, library in ALLOCATORS.items():
        servers[name] = started(bench, provider, name, bench.binaries, LD_PRELOAD=found(library))
    for name, server in servers.items():
        server.show(known)
        targets.append(Target(name, server.url(), file, server.process))
    rounds, seconds = bench.rounds(ROUNDS, SECONDS)
    in_turns(bench, targets, rounds, seconds)
    new = {name: [] for name in servers}
    for number in range(rounds):
        tokens = provider.tokens(NEW // rounds)
        for name in list(servers)[:: -1 if number % 2 else 1]:
            before = load.spent(servers[name].process)
            servers[name].show(tokens)
            new[name].append((load.spent(servers[name].process) - before) * 1e6 / len(tokens))
    ours = targets[0]
    rows = []
    for target in targets:
        place = binaries.get(target.name, bench.binaries)
        rows.append(
            {
                "name": target.name,
                **target.record(),
                "to_ours": None if target is ours else ratio(target, ours),
                "new_us": sum(new[target.name]) / rounds,
                "binary_bytes": (place / "vestibule").stat().st_size,
                "resident_bytes": servers[target.name].resident(),
            }
        )
    return {"rows": rows, "aims": []}


def built(bench, lto, units):
    place = bench.root / "target" / "bench-builds" / f"{lto}-{units}"
    environment = {
        **os.environ,
        "CARGO_PROFILE_RELEASE_LTO": lto,
        "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": str(units),
        "CARGO_TARGET_DIR": str(place),
    }
    bench.say(f"building with LTO {lto}, {units} units")
    began = time.monotonic()
    cargo = ["cargo", "build", "--release", "--quiet", "-p", "vestibule-server", "--bin", "vestibule"]
    done = subprocess.run(cargo, env=environment, cwd=bench.root, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(cargo)}: {done.stderr[-600:]}")
    bench.say(f"built in {time.monotonic() - began:.0f} s")
    return place / "release"


def started(bench, provider, name, binaries, **settings):
    server = Entrance(bench, provider, name.replace(" ", "-"), **settings)
    server.binaries = binaries
    return server.start()


def found(library):
    for place in sorted(Path("/usr/lib").glob(f"**/{library}*")):
        return place
    raise Failed(f"{library}: not here; Debian's packages are libjemalloc2 and libmimalloc2.0")
