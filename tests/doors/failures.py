"""vestibule away, hanging, slow, or another program in its place: every door stays shut, and opens again."""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from judge import identity
from world import eventually

# Longer than any door's timeout for vestibule.
LIMIT = 6.0
# How soon a door has to open once vestibule is back.
BACK = 5.0

# What something that is not vestibule may say on its port.
LIES = {
    "silence": b"",
    "no HTTP": b"220 mail.example ESMTP\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nX-Vestibule-Kind: us",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    "an error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "no such page": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "endless heads": b"HTTP/1.1 200 OK\r\n" + b"X-Filling: " + b"x" * 200_000,
}
# A page that says 200 names nobody: through these doors the request passes, without any identity.
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"
TAKE_A_PAGE = {"nginx", "nginx-more", "envoy-http"}


class Liar:
    """Says the same to everybody who connects, and keeps the connection."""

    def __init__(self, ports, answer):
        self.answer, self.kept, self.listeners = answer, [], []
        for port in ports:
            eventually("a port is free again", lambda: self._listen(port))
        for listener in self.listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _listen(self, port):
        try:
            self.listeners.append(socket.create_server(("127.0.0.1", port), backlog=64))
            return True
        except OSError:
            return False

    def _accept(self, listener):
        while listener.fileno() >= 0:
            try:
                connection, _ = listener.accept()
            except OSError:
                continue
            self.kept.append(connection)
            threading.Thread(target=self._say, args=(connection,), daemon=True).start()

    def _say(self, connection):
        try:
            while connection.recv(1 << 16):
                connection.sendall(self.answer)
        except OSError:
            pass

    def stop(self):
        for one in self.listeners + self.kept:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()


class Doors:
    def __init__(self, doors, world, application):
        self.doors, self.application = doors, application
        self.credentials = f"Authorization: Bearer {world.ada}\r\n"
        self.number = 0
        self.wrong = []
        self.sent = 0

    def _request(self, door, path, credentials):
        self.number += 1
        case_id = f"{door.name}/failure/{self.number}"
        head = f"GET {path} HTTP/1.1\r\nHost: app.example\r\nX-Case: {case_id}\r\nX-Vestibule-Role: spoofed\r\n"
        return case_id, (head + credentials + "Connection: close\r\n\r\n").encode()

    def try_all(self, path="/people", credentials=None):
        """Through all doors at once: door → (answer, what the application saw)."""
        credentials = self.credentials if credentials is None else credentials
        asked = [(door, *self._request(door, path, credentials)) for door in self.doors]
        self.sent += len(asked)
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = list(pool.map(lambda a: a[0].send(a[2], LIMIT), asked))
        return {door.name: (answer, self.application.reached(i)) for (door, i, _), answer in zip(asked, answers)}

    def shut(self, when, may_pass=()):
        """Each denies in time: an accepted user, and what is public. What each said, for people."""
        slowest, said = 0.0, {}
        for path in ("/people", "/public"):
            for name, (answer, seen) in self.try_all(path).items():
                slowest = max(slowest, answer.took)
                said[name] = "let in" if seen else answer.status
                if seen is not None and name not in may_pass:
                    self.wrong.append(f"{name}: {when}: {path} reached the application")
                elif seen is not None and any(value for _, value in seen.identity()):
                    self.wrong.append(f"{name}: {when}: identity without vestibule: {seen.identity()}")
                elif answer.status is None:
                    self.wrong.append(f"{name}: {when}: {path}: no answer within {LIMIT:.0f} s")
                elif seen is None and answer.status and answer.status < 300:
                    self.wrong.append(f"{name}: {when}: {path}: status {answer.status}")
        return f"all shut within {slowest:.1f} s ({', '.join(f'{name} {status}' for name, status in said.items())})"

    def opens(self, when):
        """Each lets the user in again, soon."""
        began = time.monotonic()
        waiting = {door.name for door in self.doors}
        while waiting:
            if time.monotonic() - began > BACK:
                self.wrong.append(f"{', '.join(sorted(waiting))}: {when}: still shut after {BACK:.0f} s")
                break
            waiting -= {name for name, (answer, _) in self.try_all().items() if answer.status == 200}
        return time.monotonic() - began


    def unasserted(self, world):
        """Where vestibule signs nothing, the application gets nothing signed, and all the rest."""
        told = world.ask("GET", "/people", "app.example", [("Authorization", f"Bearer {world.ada}")])
        wanted = {name: values for name, values in identity(told.headers).items() if values != [""]}
        for name, (answer, seen) in self.try_all().items():
            found = identity(seen.identity() if seen else [])
            found = {name: values for name, values in found.items() if values != [""]}
            if found != wanted or "x-vestibule-assertion" in found:
                self.wrong.append(f"{name}: without assertions: {answer.status} {found} instead of {wanted}")


def all_doors(doors, world, application, say):
    tried = Doors(doors, world, application)
    tried.opens("before anything fails")

    world.kill()
    told = tried.shut("vestibule was killed")
    world.start()
    back = tried.opens("after a new start")
    say(f"killed: {told}, open {back:.1f} s after the new start")

    world.hang()
    told = tried.shut("vestibule hangs")
    world.go_on()
    back = tried.opens("after it went on")
    say(f"hanging: {told}, open {back:.1f} s after it went on")

    world.hang()
    timer = threading.Timer(0.7, world.go_on)
    timer.start()
    for name, (answer, seen) in tried.try_all().items():
        if answer.status != 200 or seen is None:
            tried.wrong.append(f"{name}: an answer that takes 0.7 s is not waited for: {answer.status}")
    timer.join()

    world.kill()
    for what, lie in [*LIES.items(), ("a page", PAGE)]:
        liar = Liar((world.http, world.grpc), lie)
        told = tried.shut(f"instead of vestibule, {what}", may_pass=TAKE_A_PAGE if lie is PAGE else ())
        liar.stop()
        say(f"{what} in its place: {told}")
    world.start()
    back = tried.opens("after other programs in its place")
    say(f"open {back:.1f} s after the last of them; {tried.sent} requests in all")

    world.kill()
    rules = world.work / "unasserted.toml"
    rules.write_text(re.sub("(?m)^audience = .*$", "", world.rules.read_text()))
    world.start(rules, VESTIBULE_ASSERTION_AUDIENCES="")
    tried.unasserted(world)
    world.kill()
    world.start()
    tried.opens("in the end")
    say("without assertions: the identity alone")
    return tried.wrong
