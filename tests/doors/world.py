"""The sandbox with its demo world, and `vestibule serve` with every door open."""

import atexit
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

import wire

ASKED = ("authorization", "origin", "access-control-request-method")


class Failed(Exception):
    """What was found wrong, for people."""


def eventually(what, is_so, within=30.0):
    until = time.monotonic() + within
    while not is_so():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {within:.0f} s")
        time.sleep(0.02)


class World:
    def __init__(self, binaries, work, rules):
        self.binaries, self.work = binaries, work
        self.sandbox = self._start("sandbox", ["--port", "0"])
        log = work / "sandbox.log"
        eventually("the sandbox starts", lambda: "# Everything else" in log.read_text())
        said = log.read_text()
        self.provider = re.search(r"https?://127\.0\.0\.1:\d+|http://localhost:\d+", said)[0]
        self.http, self.grpc = wire.free_port(), wire.free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("VESTIBULE_", "AUTHRESS_"))},
            **dict(re.findall(r"^export (\w+)='(.*)'$", said, re.M)),
            "DATABASE_URL": f"sqlite:{work}/vestibule.db",
            "VESTIBULE_LISTEN": f"127.0.0.1:{self.http}",
            "VESTIBULE_GRPC_LISTEN": f"127.0.0.1:{self.grpc}",
            "VESTIBULE_ADMIN_LISTEN": "127.0.0.1:0",
            "VESTIBULE_TRUSTED_PROXIES": "127.0.0.0/8",
            "VESTIBULE_ASSERTION_AUDIENCES": "orders,billing",
        }
        self.rules = rules
        for name, tenant, client in (("Acme", "tenant_acme", "sc_robot01"), ("Globex", "tenant_globex", "sc_robot02")):
            account = self.command("account", "create", "--name", name, "--tenant", tenant)["id"]
            self.command("client", "add", "--client-id", client, "--account", account, "--name", f"{name}'s robot")
        self.start()
        self.ada, self.robot = self.user("user_ada"), self.client("sc_robot01")
        answer = self.ask("GET", "/", "app.example", [("Authorization", f"Bearer {self.ada}")])
        self.assertion = answer.header("x-vestibule-assertion")
        if answer.status != 200 or not self.assertion:
            raise Failed(f"Ada is not let in: {answer}")

    def _start(self, program, arguments, environment=None):
        log = open(self.work / f"{program}.log", "w")
        process = subprocess.Popen([self.binaries / program, *arguments], stdout=log, stderr=log, env=environment)
        # Whatever goes wrong in between; one that has ended is not asked again.
        atexit.register(process.kill)
        return process

    def command(self, *arguments):
        command = [self.binaries / "vestibule", *arguments, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Failed(f"vestibule {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    # The server, alive or not.

    def start(self, rules=None, **settings):
        environment = {**self.environment, **settings}
        self.server = self._start("vestibule", ["--config", str(rules or self.rules), "serve"], environment)
        eventually("vestibule starts", lambda: wire.is_open(self.http) and wire.is_open(self.grpc))

    def kill(self):
        self.server.kill()
        self.server.wait()

    def hang(self):
        self.server.send_signal(signal.SIGSTOP)
        # On a busy machine it stops a moment later.
        threads = list(pathlib.Path(f"/proc/{self.server.pid}/task").glob("*/status"))
        eventually("vestibule hangs", lambda: all("\nState:\tT" in thread.read_text() for thread in threads))

    def go_on(self):
        self.server.send_signal(signal.SIGCONT)

    def stop(self):
        for process in (self.server, self.sandbox):
            process.kill()
            process.wait()

    # Tokens.

    def mint(self, **recipe):
        request = urllib.request.Request(f"{self.provider}/_sandbox/tokens", json.dumps(recipe).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["token"]

    def user(self, user, **recipe):
        return self.mint(user=user, **recipe)

    def client(self, client, **recipe):
        return self.mint(client=client, **recipe)

    # The question itself.

    def ask(self, method, target, host, headers):
        """What vestibule says of a request that no proxy has touched."""
        hosts = [value for name, value in headers if name.lower() == "host"] + ([host] if host else [])
        lines = ["GET /v1/authorize HTTP/1.1", f"Host: {host or ''}", "Connection: close"]
        lines += [f"X-Forwarded-Method: {method}", f"X-Forwarded-Uri: {target}"]
        lines += [f"X-Forwarded-Host: {value}" for value in hosts]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() in ASKED]
        return wire.send(self.http, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
