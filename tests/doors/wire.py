"""Requests over bare sockets: no library corrects what is to be sent."""

import random
import socket
import time
from dataclasses import dataclass, field


@dataclass
class Answer:
    """Status 0: the connection ended without an answer. None: there was none in time."""

    status: int | None
    headers: list = field(default_factory=list)
    body: bytes = b""
    took: float = 0.0

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name), "")


def send(port, request, timeout=10.0):
    began = time.monotonic()
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.settimeout(timeout)
            try:
                connection.sendall(request)
            except OSError:
                pass  # refused before it was read whole
            while not whole(answer):
                part = connection.recv(1 << 16)
                if not part:
                    break
                answer += part
    except TimeoutError:
        return Answer(None, took=time.monotonic() - began)
    except OSError:
        pass
    return read(answer, time.monotonic() - began)


def whole(answer):
    """Whether a head is there that no body follows, or with it the body that it announces."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return False


def read(answer, took):
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if not parts[0].startswith("HTTP/") or len(parts) < 2:
        return Answer(0, took=took)
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Answer(int(parts[1]), headers, body, took)


def free_port():
    """Not one that the system gives to others: it has to stay free while a server is down."""
    while True:
        port = random.randrange(20_000, 32_000)
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
