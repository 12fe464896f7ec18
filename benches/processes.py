"""Programs on a core of their own. None outlives the run."""

import os
import signal
import socket
import subprocess
import time
from random import randrange


class Failed(Exception):
    """What cannot be measured, and why: for people."""


def eventually(what, is_so, within=30.0):
    until = time.monotonic() + within
    while not is_so():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {within:.0f} s")
        time.sleep(0.01)


def free_port():
    """Below those that the kernel gives to outgoing connections, which could take it meanwhile."""
    while True:
        port = randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return port
        except OSError:
            continue


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


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
