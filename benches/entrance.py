"""The sandbox as Authress, and `vestibule serve` in front of it."""

import base64
import json
import os
import re
import shutil
import subprocess
import time
from random import randrange
from urllib.parse import urlsplit

from line import AT_ONCE, Line, one, request
from processes import Failed, eventually, free_port, last_lines

ME, AUTHORIZE = "/v1/me", "/v1/authorize"
DEMO_USERS = ("user_ada", "user_alan", "user_grace")
TENANTS = {"tenant_acme": "Acme", "tenant_globex": "Globex"}


class Provider:
    """Runs beside the load: what it works on must not be taken from what is measured."""

    def __init__(self, bench):
        log = bench.work / "sandbox.log"
        bench.processes.start(bench.load_core, [bench.binaries / "sandbox", "--port", "0"], log)
        eventually("the sandbox starts", lambda: "# Everything else" in log.read_text())
        self.settings = dict(re.findall(r"^export (\w+)='(.*)'$", log.read_text(), re.M))
        self.url = self.settings["AUTHRESS_API_URL"]
        self.port = urlsplit(self.url).port
        self.made = 0

    def control(self, method, path, *bodies):
        """The same for each body; none is one without."""
        line = Line(self.port)
        try:
            asked = [json.dumps(body).encode() if body else b"" for body in bodies or (None,)]
            answers = line.ask(request(method, f"/_sandbox{path}", body=body) for body in asked)
        finally:
            line.close()
        wrong = [answer for answer in answers if answer[0] >= 400]
        if wrong:
            raise Failed(f"the sandbox refuses {method} {path}: {wrong[0]}")
        return [json.loads(body) if body else None for _, _, body in answers]

    def tokens(self, count, users=DEMO_USERS):
        """So many, all different, of these users in turn."""
        # Half an hour at least, so that none ends within a study.
        recipes = [
            {"user": users[n % len(users)], "expiresIn": 1800 + (self.made + n) // len(users) % 80_000}
            for n in range(count)
        ]
        self.made += count
        tokens = [answer["token"] for answer in self.control("POST", "/tokens", *recipes)]
        if len(set(tokens)) != count:
            raise Failed("the sandbox made the same token twice")
        return tokens

    def users(self, count):
        """So many people of Acme."""
        users = [f"user_{n:06}" for n in range(count)]
        records = [
            {"userId": user, "name": f"Person {user}", "email": f"{user}@acme.example", "tenantId": "tenant_acme"}
            for user in users
        ]
        self.control("POST", "/users", *records)
        return users

    def keys(self):
        return json.loads(one(self.port, request("GET", "/.well-known/openid-configuration/jwks"))[2])

    def calls(self):
        """How often each kind of resource was asked for since they were last forgotten."""
        said = self.control("GET", "/calls")[0]
        return {name: count for name, count in said["endpoints"].items() if count}

    def forget_calls(self):
        self.control("DELETE", "/calls")


class Entrance:
    """One server with a database of its own, which two accounts are in and nobody has asked yet."""

    def __init__(self, bench, provider, name, **settings):
        self.bench, self.name, self.place = bench, name, bench.work / name
        self.port, self.admin = free_port(), free_port()
        # Others than the bench's, where it is about them.
        self.process = self.binaries = None
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("VESTIBULE_", "AUTHRESS_", "DATABASE_"))
        }
        # All else is as it is by default; VESTIBULE_ACCESS_LOG too.
        self.environment = {
            **inherited,
            **provider.settings,
            "DATABASE_URL": f"sqlite:{self.place}/vestibule.db",
            "VESTIBULE_LISTEN": f"127.0.0.1:{self.port}",
            "VESTIBULE_ADMIN_LISTEN": f"127.0.0.1:{self.admin}",
            **{key: str(value) for key, value in settings.items()},
        }
        template = bench.work / "template"
        if not template.exists():
            template.mkdir()
            for tenant, called in TENANTS.items():
                self.command(template, "account", "create", "--name", called, "--tenant", tenant)
        shutil.copytree(template, self.place)

    def command(self, place, *arguments):
        environment = {**self.environment, "DATABASE_URL": f"sqlite:{place}/vestibule.db"}
        command = [self.bench.binaries / "vestibule", *arguments, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Failed(f"vestibule {' '.join(arguments)}: {done.stdout}{done.stderr}")

    @property
    def database(self):
        return self.place / "vestibule.db"

    @property
    def serve(self):
        return [(self.binaries or self.bench.binaries) / "vestibule", "serve"]

    @property
    def log(self):
        return self.bench.work / f"{self.name}.log"

    def start(self):
        self.process = self.bench.processes.serve(self.bench.core, self.serve, self.port, self.log, self.environment)
        return self

    def stop(self):
        self.bench.processes.stop(self.process)

    def url(self, path=ME):
        return f"http://127.0.0.1:{self.port}{path}"

    def show(self, tokens, path=ME):
        return show(self.port, path, tokens)

    def metrics(self):
        """Each metric's sum over its labels."""
        text = one(self.admin, request("GET", "/metrics"))[2].decode()
        sums = {}
        for name, value in re.findall(r"^(\w+)(?:\{[^}]*\})? ([\d.e+-]+)$", text, re.M):
            sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def lookups(self):
        sums = self.metrics()
        hits, misses = (sums.get(f"vestibule_token_cache_{what}_total", 0) for what in ("hits", "misses"))
        return hits, misses

    def resident(self):
        """Bytes of memory."""
        status = (self.bench.proc / str(self.process.pid) / "status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) * 1024

    def last_words(self):
        return last_lines(self.log)


def bearer(path, token):
    return request("GET", path, [("Authorization", f"Bearer {token}")])


def show(port, path, tokens, at_once=AT_ONCE):
    """Each token once; how long all took. None may be refused."""
    line, began = Line(port), time.monotonic()
    try:
        for status, _, body in line.ask((bearer(path, token) for token in tokens), at_once):
            if status != 200:
                raise Failed(f"{path} answers {status}: {body[:300]!r}")
    finally:
        line.close()
    return time.monotonic() - began


def claims_size(token):
    claims = token.split(".")[1]
    return len(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))


def anywhere(count):
    """Where the load begins, so that not every run meets the same tokens first."""
    return randrange(count)
