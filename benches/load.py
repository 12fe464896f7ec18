"""The load: wrk with one thread on the core that serves nobody. Servers are asked in turns."""

import os
import re
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from entrance import anywhere
from processes import Failed

CONNECTIONS = 32
SCRIPT = Path(__file__).parent / "load.lua"


@dataclass
class Load:
    """What one run of wrk said. Times are in milliseconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    p999: float


@dataclass
class Target:
    """Who is asked, and with which tokens."""

    name: str
    url: str
    tokens: Path
    process: subprocess.Popen
    rates: list = field(default_factory=list)
    p99s: list = field(default_factory=list)
    spent: list = field(default_factory=list)

    def record(self):
        return {
            "requests_per_second": statistics.median(self.rates),
            "lowest": min(self.rates),
            "highest": max(self.rates),
            "p99_ms": statistics.median(self.p99s),
            "processor_us": statistics.median(self.spent),
            "rounds": self.rates,
        }


def write(tokens, file):
    file.write_text("\n".join(map(str, tokens)) + "\n")
    return file


def command(bench, url, tokens, seconds, order=None):
    wrk = [
        "taskset",
        "-c",
        str(bench.load_core),
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-s",
        SCRIPT,
        url,
        "--",
        tokens,
    ]
    return [*wrk, str(anywhere(1000)), *([order] if order else [])]


def result(url, output):
    said = re.search(r"^RESULT\t(.*)", output, re.M)
    requests, micros, wrong, *times = map(float, said[1].split("\t")) if said else (0, 1, 1)
    if wrong or not requests:
        raise Failed(f"{url} under load: not every answer is good: {output[-600:]}")
    return Load(int(requests), requests * 1e6 / micros, *(time / 1000 for time in times))


def run(bench, url, tokens, seconds, order=None):
    done = subprocess.run(
        command(bench, url, tokens, seconds, order), capture_output=True, text=True, timeout=seconds + 60
    )
    return result(url, done.stdout + done.stderr)


def begin(bench, url, tokens, seconds):
    """Goes on by itself; `result` of what it prints tells how it was."""
    return subprocess.Popen(
        list(map(str, command(bench, url, tokens, seconds))),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def in_turns(bench, targets, rounds, seconds):
    """All that are compared with each other are asked within one round, and none always first."""
    for target in targets:
        run(bench, target.url, target.tokens, 1)
    for number in range(rounds):
        ask_all(bench, list(reversed(targets)) if number % 2 else targets, seconds)


def ask_all(bench, targets, seconds):
    """One round."""
    for target in targets:
        before = spent(target.process)
        load = run(bench, target.url, target.tokens, seconds)
        target.spent.append((spent(target.process) - before) * 1e6 / load.requests)
        target.rates.append(load.rate)
        target.p99s.append(load.p99)


def spent(process):
    """Seconds of processor time so far, of all that was started with it."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == process.pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def ratio(ours, theirs):
    """Of two that were asked in the same rounds, pair by pair."""
    pairs = sorted(a / b for a, b in zip(ours.rates, theirs.rates))
    return {"median": statistics.median(pairs), "lowest": pairs[0], "highest": pairs[-1]}
