"""The application behind the doors: it notes what reached it, byte by byte, and lets everything pass."""

import socket
import threading
from dataclasses import dataclass


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: list
    body: int

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name]

    def identity(self):
        """Everything that reads as ours to somebody: the name as it came, and the value."""
        return [(key, value) for key, value in self.headers if reads_as_ours(key)]


def reads_as_ours(name):
    return name.lower().replace("_", "-").startswith("x-vestibule")


class Application:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.seen = {}
        self.twice = []
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def reached(self, case_id):
        with self.lock:
            return self.seen.get(case_id)

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            connection.settimeout(10)
            try:
                self._answer(connection)
            except OSError:
                pass

    def _answer(self, connection):
        stream = connection.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline(1 << 20)
            if not line:
                return
            head += line
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, _, rest = first.partition(" ")
        seen = Seen(method, rest.rpartition(" ")[0], [], 0)
        for line in lines:
            name, _, value = line.partition(":")
            seen.headers.append((name, value.strip(" \t")))
        # Noted before the body: a request that got so far got in.
        with self.lock:
            for case_id in seen.values("x-case")[:1]:
                if case_id in self.seen:
                    self.twice.append(case_id)
                self.seen[case_id] = seen
        if "100-continue" in seen.values("expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        seen.body = read_body(stream, seen)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def read_body(stream, seen):
    if "chunked" in seen.values("transfer-encoding"):
        length = 0
        while True:
            size = int(stream.readline().split(b";")[0] or b"0", 16)
            length += len(stream.read(size))
            stream.readline()
            if size == 0:
                return length
    return len(stream.read(int((seen.values("content-length") or ["0"])[0])))
