"""In process: what the Rust benches say of themselves, line by line and unchanged."""

import json
import re
import subprocess

from processes import last_lines

BENCHES = ("entrance", "session")


def postgres(bench):
    """Where PostgreSQL is for the benches that need one; none where it does not start."""
    started = subprocess.run(
        [bench.root / "scripts" / "postgres", "start"], capture_output=True, text=True, timeout=120
    )
    if started.returncode != 0:
        bench.say(f"  no PostgreSQL: {started.stderr.strip()}")
    return dict(re.findall(r"^export (\w+)=(.*)$", started.stdout, re.M))


def measure(bench):
    there = postgres(bench)
    lines, missing = [], []
    try:
        for name in BENCHES:
            some, problem = run(bench, name, there)
            lines += some
            if problem:
                missing.append({"bench": name, "problem": problem})
                bench.say(f"  {name}: nothing measured: {problem}")
    finally:
        if there:
            subprocess.run([bench.root / "scripts" / "postgres", "stop", there["VESTIBULE_TEST_SERVERS"]], timeout=120)
    # A bench that knows what is aimed at says so itself.
    aims = [
        {
            "aim": line["aim"],
            "value": line.get("value", line.get("median_ns")),
            "unit": line.get("unit", "ns"),
            "holds": line["holds"],
        }
        for line in lines
        if "aim" in line and "holds" in line
    ]
    return {"benches": lines, "missing": missing, "aims": aims}


def run(bench, name, there):
    log = bench.work / f"{name}.txt"
    command = ["cargo", "bench", "-q", "-p", "vestibule", "--bench", name]
    environment = {**bench.environment, **there, **({"BENCH_QUICK": "1"} if bench.quick else {})}
    with open(log, "w") as out:
        process = subprocess.Popen(
            command, cwd=bench.root, stdout=out, stderr=out, env=environment, start_new_session=True
        )
    bench.processes.running.append(process)
    try:
        process.wait(120 if bench.quick else 600)
    except subprocess.TimeoutExpired:
        return [], "it does not end"
    finally:
        bench.processes.stop(process)
    text = log.read_text(errors="replace")
    if "no bench target named" in text:
        return [], "there is no such bench"
    lines = [json.loads(line) for line in re.findall(r"^bench: (\{.*\})\s*$", text, re.M)]
    if process.returncode != 0:
        return lines, f"it fails: {last_lines(log)}"
    return lines, None if lines else "it says nothing"
