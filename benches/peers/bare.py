"""axum without authentication, which returns the same bytes: the ceiling of everything built on it."""

from peers import Served
from processes import free_port

# hyper writes these itself, on both sides.
BY_ITSELF = ("date", "content-length", "connection")


def start(bench, name, headers, body):
    port = free_port()
    pairs = [f"{key}={value}" for key, value in headers if key not in BY_ITSELF]
    command = [bench.always_allow, f"127.0.0.1:{port}", "--http", *pairs, "--body", body.decode()]
    return Served(port, bench.processes.serve(bench.core, command, port, bench.work / f"{name}.log"))
