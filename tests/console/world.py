"""The processes behind the console: the sandbox, and `vestibule serve` with an admin token."""

import hashlib
import json
import math
import os
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

ADMIN_TOKEN = "an-admin-token-of-the-console-test"
# This one may see, and do nothing.
READER_TOKEN = "a-reading-token-of-the-console-test"

SETTINGS = f"""
[[admin_tokens]]
name = "watcher"
sha256 = "{hashlib.sha256(READER_TOKEN.encode()).hexdigest()}"
scopes = ["read"]
"""


class Failed(Exception):
    """What was found wrong, for people."""


def eventually(what, is_so, within=30.0):
    """What `is_so` gives, once that is something."""
    until = time.monotonic() + within
    while True:
        found = is_so()
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {within:.0f} s")
        time.sleep(0.05)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class World:
    def __init__(self, binaries, work):
        self.binaries, self.work = binaries, work
        self.server = self.sandbox = None
        self.sandbox = self._start("sandbox", ["--port", "0"])
        log = work / "sandbox.log"
        eventually("the sandbox starts", lambda: "# Everything else" in log.read_text())
        told = dict(re.findall(r"^export (\w+)='(.*)'$", log.read_text(), re.M))
        self.provider = told["AUTHRESS_API_URL"]
        public, admin = free_ports(2)
        self.public, self.admin = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("VESTIBULE_", "AUTHRESS_"))},
            **told,
            "DATABASE_URL": f"sqlite:{work}/vestibule.db",
            "VESTIBULE_LISTEN": f"127.0.0.1:{public}",
            "VESTIBULE_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "VESTIBULE_ADMIN_TOKEN": ADMIN_TOKEN,
            "VESTIBULE_LOG_FORMAT": "json",
        }
        for name, tenant, client in (("Acme", "tenant_acme", "sc_robot01"), ("Globex", "tenant_globex", "sc_robot02")):
            account = self.command("account", "create", "--name", name, "--tenant", tenant)["id"]
            self.command("client", "add", "--client-id", client, "--account", account, "--name", f"{name}'s robot")
        self.start()
        for who in ("user_ada", "user_alan", "user_grace", "sc_robot01"):
            answer = self.ask(self.token(who))
            if answer != (200, None):
                raise Failed(f"{who} is not let in: {answer}")

    def _start(self, program, arguments, environment=None):
        # A server that starts again goes on in the same log.
        log = open(self.work / f"{program}.log", "a")
        return subprocess.Popen([self.binaries / program, *arguments], stdout=log, stderr=log, env=environment)

    def command(self, *arguments):
        command = [self.binaries / "vestibule", *arguments, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Failed(f"vestibule {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def start(self):
        settings = self.work / "settings.toml"
        settings.write_text(SETTINGS)
        self.server = self._start("vestibule", ["--config", str(settings), "serve"], self.environment)
        eventually("vestibule starts", lambda: self._answers(f"{self.public}/readyz") and self._answers(f"{self.admin}/metrics"))

    def _answers(self, url):
        if self.server.poll() is not None:
            raise Failed(f"vestibule ended: {(self.work / 'vestibule.log').read_text()}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except OSError:
            return False

    def end_server(self):
        self.server.terminate()
        self.server.wait(30)

    def stop(self):
        for process in (self.server, self.sandbox):
            if process and process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()

    def token(self, who, **recipe):
        """A token of the sandbox for a user or service client."""
        kind = "client" if who.startswith("sc_") else "user"
        body = json.dumps({kind: who, **recipe}).encode()
        with urllib.request.urlopen(f"{self.provider}/_sandbox/tokens", body, timeout=10) as answer:
            return json.load(answer)["token"]

    def ask(self, token):
        """Status and code of a request with this token."""
        request = urllib.request.Request(f"{self.public}/v1/me", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10):
                return 200, None
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)["code"]


class Load:
    """Requests as of many callers, some of them in vain, in waves; ends with the `with` block."""

    def __init__(self, world):
        self.world = world
        self.good = [world.token(who) for who in ("user_ada", "user_grace", "sc_robot01")]
        self.bad = [
            world.token("user_ada", expiresIn=-60),
            world.token("user_grace", tamperSignature=True),
            world.token("user_ada", claims={"iss": "https://elsewhere.example"}),
            "not-a-token",
        ]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(30)

    def _run(self):
        turn = 0
        while not self.ended.is_set():
            wave = 1 + math.sin(time.monotonic() / 17) / 2 + math.sin(time.monotonic() / 5) / 6
            try:
                self.world.ask(self.good[turn % 3])
                if turn % 7 == 0:
                    # One that the cache has not seen.
                    who = ("user_ada", "user_alan", "sc_robot01", "user_grace")[turn // 7 % 4]
                    self.world.ask(self.world.token(who))
                if turn % 9 == 0:
                    self.world.ask(self.bad[(turn // 9) % 7 % 4])
            except OSError:
                pass  # The server is being started again.
            turn += 1
            self.ended.wait(0.02 / wave)
