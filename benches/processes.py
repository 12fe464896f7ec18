"""Programs on a core of their own. None outlives the run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

# What the tests of the doors wait for and connect with.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "doors"))

from wire import free_port, is_open  # noqa: E402
from world import Failed, eventually  # noqa: E402

__all__ = ["Failed", "Processes", "eventually", "free_port", "last_lines"]


class Processes:
    def __init__(self):
        self.running = []

    def start(self, core, command, log, environment=None):
        with open(log, "w") as out:
            process = subprocess.Popen(
                ["taskset", "-c", str(core), *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
                # Ctrl-C is for the run, which ends them; and children end with their parents.
                start_new_session=True,
            )  # fmt: skip
        self.running.append(process)
        return process

    def serve(self, core, command, port, log, environment=None):
        """Started, and open."""
        process = self.start(core, command, log, environment)

        def is_up():
            if process.poll() is not None:
                raise Failed(f"{log.stem} ended: {last_lines(log)}")
            return is_open(port)

        eventually(f"{log.stem} starts", is_up)
        return process

    def stop(self, process, patience=5.0):
        self.running.remove(process)
        tell(process, signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        tell(process, signal.SIGKILL)
        process.wait()

    def kill(self, process):
        self.stop(process, patience=0)

    def stop_all(self):
        for process in list(self.running):
            self.stop(process)


def tell(process, what):
    try:
        os.killpg(process.pid, what)
    except ProcessLookupError:
        pass


def last_lines(log):
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
