"""deploy/examples/fastapi behind nginx and Caddy: each account has its own notes, and nobody else gets any."""

import json
import os
import re
import sqlite3
import subprocess
import time
from contextlib import closing
from types import SimpleNamespace

import wire
from doors import Door
from world import eventually

DOORS = ("nginx", "caddy")
# A change takes effect within a second; a busy machine gets more.
WITHIN = 5.0


def send(port, method, path, token=None, body=None, headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: app.example", "Connection: close", *headers]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    text = "" if body is None else json.dumps(body)
    if text:
        lines += ["Content-Type: application/json", f"Content-Length: {len(text)}"]
    return wire.send(port, ("\r\n".join(lines) + "\r\n\r\n" + text).encode())


def body(answer):
    """Of one connection that ended: chunked or not."""
    text = re.sub(rb"^[0-9a-f]+\r\n|\r\n0\r\n\r\n$", b"", answer.body) if answer.header("transfer-encoding") else answer.body
    return json.loads(text)


# In the application's place: what its sessions do with SQL that reaches for another file.
REACHING = """
import sys, uuid
from entrance import database
for sql in sys.argv[1:]:
    connection = database(uuid.UUID(int=1)).raw_connection()
    connection.driver_connection.isolation_level = None
    try:
        connection.driver_connection.execute(sql)
        print("done:", sql)
    except Exception as error:
        print(error)
"""


class Notes:
    """The application, started as its page says."""

    def __init__(self, root, work, world, python):
        self.port, self.data, self.world = wire.free_port(), work / "data", world
        self.wrong = []
        self.place = root / "deploy" / "examples" / "fastapi"
        self.python = python
        self.environment = {
            **os.environ,
            "JWKS": f"http://127.0.0.1:{world.http}/.well-known/jwks.json",
            "DATA": str(self.data),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with open(work / "log", "w") as log:
            self.process = subprocess.Popen(
                [python, "-m", "uvicorn", "app:app", "--port", str(self.port)],
                cwd=self.place, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        eventually(f"the FastAPI application starts (see {work}/log)", lambda: wire.is_open(self.port))

    def stop(self):
        self.process.kill()
        self.process.wait()

    def expect(self, what, answer, status):
        if answer.status != status:
            self.wrong.append(f"fastapi: {what}: {answer.status} {answer.body[:200]} instead of {status}")
        return answer

    def two_accounts(self, door):
        """Ada of Acme and Grace of Globex write, read, and look for each other's."""
        people = {"user_ada": None, "user_grace": None}
        for user in people:
            token = self.world.user(user)
            me = body(self.expect("who am I", send(door.port, "GET", "/me", token), 200))
            created = self.expect("a note", send(door.port, "POST", "/notes", token, {"text": f"{door.name}: {user}"}), 201)
            people[user] = (token, me, body(created))
        for user, (token, me, note) in people.items():
            (stranger,) = (note for other, (_, _, note) in people.items() if other != user)
            listed = body(self.expect("a list", send(door.port, "GET", "/notes", token), 200))
            if note not in listed or any(user not in one["text"] for one in listed):
                self.wrong.append(f"fastapi: {door.name}: {user} sees {listed}")
            if me["authress_user_id"] != user or note["created_by"] != me["id"]:
                self.wrong.append(f"fastapi: {door.name}: {user} is {me}, who wrote {note}")
            self.expect("one's own", send(door.port, "GET", f"/notes/{note['id']}", token), 200)
            self.expect("another account's", send(door.port, "GET", f"/notes/{stranger['id']}", token), 404)
            if not (self.data / f"{me['account_id']}.db").exists():
                self.wrong.append(f"fastapi: no file is named {me['account_id']}")
        robot = body(self.expect("a machine", send(door.port, "GET", "/me", self.world.robot), 200))
        if robot["role"] != "service_client" or robot["account_id"] != people["user_ada"][1]["account_id"]:
            self.wrong.append(f"fastapi: the robot is {robot}")

    def strangers(self, door, assertion):
        self.expect("no token", send(door.port, "GET", "/notes"), 401)
        spoofed = [f"X-Vestibule-Assertion: {assertion}", "X-Vestibule-User-Id: 1", "X-Vestibule-Account-Id: 2"]
        self.expect("spoofed headers", send(door.port, "GET", "/notes", headers=spoofed), 401)

    def beside_the_door(self, assertion, for_billing):
        """The application by itself, as a neighbour in its network reaches it."""
        head, claims, _ = assertion.split(".")
        none = "eyJhbGciOiJub25lIiwidHlwIjoidmVzdGlidWxlLWFzc2VydGlvbitqd3QifQ"
        tried = {
            "the identity alone": (["X-Vestibule-User-Id: 1", "X-Vestibule-Account-Id: 2"], 401),
            "for another audience": ([f"X-Vestibule-Assertion: {for_billing}"], 401),
            "a bearer token": ([f"X-Vestibule-Assertion: {self.world.ada}"], 401),
            "unsigned": ([f"X-Vestibule-Assertion: {none}.{claims}."], 401),
            "tampered": ([f"X-Vestibule-Assertion: {head}.{claims}.{'A' * 86}"], 401),
            "two": ([f"X-Vestibule-Assertion: {assertion}"] * 2, 401),
            "as it should be": ([f"X-Vestibule-Assertion: {assertion}"], 200),
        }
        for what, (headers, status) in tried.items():
            self.expect(what, send(self.port, "GET", "/notes", headers=headers), status)

    def suspended(self, door):
        token = self.world.user("user_alan")
        me = body(self.expect("Alan", send(door.port, "GET", "/me", token), 200))
        self.world.command("user", "suspend", me["id"])
        until = time.monotonic() + WITHIN
        while (answer := send(door.port, "GET", "/me", token)).status == 200 and time.monotonic() < until:
            time.sleep(0.05)
        self.expect("suspended", answer, 403)
        self.world.command("user", "resume", me["id"])
        eventually("Alan is back", lambda: send(door.port, "GET", "/me", token).status == 200, WITHIN)

    def reaching(self):
        """One account's SQL opens no other account's file."""
        other = next(self.data.glob("*.db"))
        tried = [f"ATTACH '{other}' AS other", f"VACUUM INTO '{self.data}/copy'"]
        command = [self.python, "-c", REACHING, *tried]
        done = subprocess.run(command, cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.stdout.count("too many attached databases") != len(tried):
            self.wrong.append(f"fastapi: SQL reaches another file: {done.stdout}{done.stderr}")

    def failed_commit(self, door):
        """What was not kept is not a 201: nothing is sent before the commit."""
        token = self.world.user("user_grace")
        account = body(send(door.port, "GET", "/me", token))["account_id"]
        with closing(sqlite3.connect(self.data / f"{account}.db")) as file:
            file.execute("DROP TABLE notes")
        self.expect("a commit that fails", send(door.port, "POST", "/notes", token, {"text": "lost"}), 500)


def verify(root, work, world, programs, say):
    work = work / "fastapi"
    work.mkdir()
    asked = [("Authorization", f"Bearer {world.ada}")]
    assertion, for_billing = (
        world.ask("GET", path, "app.example", asked).header("x-vestibule-assertion") for path in ("/", "/billing")
    )
    notes = Notes(root, work, world, programs["python"])
    doors = []
    try:
        for name in DOORS:
            doors.append(Door(name, root / "deploy", work, world, SimpleNamespace(port=notes.port), programs))
        for door in doors:
            notes.two_accounts(door)
            notes.strangers(door, assertion)
        notes.beside_the_door(assertion, for_billing)
        notes.suspended(doors[0])
        notes.reaching()
        notes.failed_commit(doors[0])
    finally:
        for door in doors:
            door.stop()
        notes.stop()
    source = "".join((root / "deploy/examples/fastapi" / file).read_text() for file in ("app.py", "entrance.py"))
    for block in re.findall(r"^```python\n(.*?)^```$", (root / "docs" / "fastapi.md").read_text(), re.M | re.S):
        notes.wrong += [f"docs/fastapi.md shows what the example has not: {line}"
                        for line in block.splitlines() if line not in source]  # fmt: skip
    say(f"FastAPI behind {' and '.join(DOORS)}: two accounts, strangers, a suspended user, a failed commit")
    return notes.wrong
