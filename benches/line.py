"""One connection on which many questions are asked before the first is answered (HTTP/1.1 pipelining):
the quickest way to have ten thousand tokens made, or to show each of them once."""

import socket

AT_ONCE = 64


class Line:
    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), 30)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def ask(self, requests, at_once=AT_ONCE):
        """Status, headers and body of each, in their order."""
        requests, answers = list(requests), []
        for start in range(0, len(requests), at_once):
            some = requests[start : start + at_once]
            self.connection.sendall(b"".join(some))
            answers += [self.answer() for _ in some]
        return answers

    def answer(self):
        head = self.until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        if ("transfer-encoding", "chunked") in headers:
            return int(first.split(" ")[1]), headers, self.chunks()
        length = int(dict(headers).get("content-length", 0))
        while len(self.buffer) < length:
            self.more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(first.split(" ")[1]), headers, body

    def chunks(self):
        whole = b""
        while length := int(self.until(b"\r\n"), 16):
            while len(self.buffer) < length + 2:
                self.more()
            whole, self.buffer = whole + self.buffer[:length], self.buffer[length + 2 :]
        self.until(b"\r\n")
        return whole

    def until(self, end):
        while end not in self.buffer:
            self.more()
        part, _, self.buffer = self.buffer.partition(end)
        return part

    def more(self):
        part = self.connection.recv(1 << 18)
        if not part:
            raise ConnectionError("the connection ended without an answer")
        self.buffer += part

    def close(self):
        self.connection.close()


def request(method, target, headers=(), body=b""):
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def one(port, asked):
    line = Line(port)
    try:
        return line.ask([asked])[0]
    finally:
        line.close()
