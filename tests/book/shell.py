"""What commands run in: a directory like the repository, servers, and a shell for each page."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path

import wire
from blocks import says

ROOT = Path(__file__).resolve().parent.parent.parent
# Ports that pages and deploy/ name: free ones take their places.
PORTS = re.compile(r"\b(3000|8000|8080|8081|8082|8090|8091|9090|9091|9092|9191)\b")
LIMIT = 60.0

# `vestibule serve` without an & holds the reader's terminal; here it makes room for the next command.
HEAD = """
exec 2>&1
SERVED=""
stop_served() { [ -z "$SERVED" ] || { kill $SERVED; wait $SERVED; }; SERVED=""; }
serve() {
    stop_served
    "$@" > served.log 2>&1 &
    SERVED=$!
    curl -s -o served.ready --retry 20 --retry-delay 1 --retry-connrefused http://$VESTIBULE_LISTEN/readyz || cat served.log
}
"""
SERVE = re.compile(r"(?m)^((?:cargo run --release -p vestibule-server -- |\S*vestibule )(?:--config \S+ )?serve(?: --[a-z]+ \S+)*)\s*(?:#.*)?$")


class Failed(Exception):
    """What was found wrong, for people."""


class Servers:
    """A throw-away PostgreSQL, which is emptied for each page."""

    def __init__(self):
        self.told = {}

    def start(self):
        said = self._call("start")
        self.told = dict(re.findall(r"^export (\w+)=(.*)$", said, re.M))
        url = urllib.parse.urlsplit(self.told["VESTIBULE_TEST_POSTGRES"])
        self.environment = {"PGHOST": "localhost", "PGPORT": str(url.port), "PGUSER": url.username,
                            "PGPASSWORD": url.password, "PGDATABASE": "postgres"}  # fmt: skip

    def empty(self):
        for kind, listed in (
            ("DATABASE", "SELECT quote_ident(datname) FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"),
            ("ROLE", "SELECT quote_ident(rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper"),
        ):
            for name in self._sql(listed).split():
                self._sql(f"DROP {kind} {name}" + (" WITH (FORCE)" if kind == "DATABASE" else ""))

    def stop(self):
        if self.told:
            self._call("stop", self.told["VESTIBULE_TEST_SERVERS"])

    def _call(self, *what):
        done = subprocess.run([ROOT / "scripts/postgres", *what], cwd=ROOT, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Failed(done.stderr)
        return done.stdout

    def _sql(self, text):
        done = subprocess.run(["psql", "-XAtc", text], env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise Failed(f"{text}: {done.stderr}")
        return done.stdout


class Sandbox:
    """Authress' stand-in, as a page says that it is there."""

    def __init__(self, binaries):
        self.process = subprocess.Popen([binaries / "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True)
        said = ""
        while "# Everything else" not in said:
            line = self.process.stdout.readline()
            if not line:
                raise Failed(f"the sandbox ended: {said}")
            said += line
        self.environment = dict(re.findall(r"^export (\w+)='(.*)'$", said, re.M))

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def make_place(place, programs, ports):
    """A directory in which a page's paths lead to what they name, and nothing that it writes is elsewhere."""
    (place / "target" / "release").mkdir(parents=True)
    (place / "target" / "try").mkdir()
    (place / "local-bin").mkdir()
    for name, program in programs.items():
        (place / "target" / "release" / name).symlink_to(program)
    shutil.copytree(ROOT / "deploy", place / "deploy", ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    for file in place.glob("deploy/**/*"):
        if file.is_file():
            file.write_text(PORTS.sub(lambda port: ports[port[0]], file.read_text()))


class Ports(dict):
    def __missing__(self, port):
        self[port] = str(wire.free_port())
        return self[port]


class Shell:
    """One shell for one page."""

    def __init__(self, page, steps, place, programs, environment, postgres):
        self.page, self.steps, self.place, self.postgres = page, steps, place, postgres
        self.ports = Ports()
        make_place(place, programs, self.ports)
        kept = {name: value for name, value in os.environ.items() if not re.match(r"(VESTIBULE|AUTHRESS|DATABASE|TENAN|PG)", name)}
        self.environment = {
            **kept,
            "PATH": f"{place}/target/release:{place}/local-bin:{os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME": str(place),
            "LC_ALL": "C.UTF-8",
            "VESTIBULE_LISTEN": f"127.0.0.1:{self.ports['8080']}",
            "VESTIBULE_ADMIN_LISTEN": f"127.0.0.1:{self.ports['9090']}",
            "PORT": self.ports["3000"],
            **environment,
        }

    def here(self, command):
        """The command as it is run: with free ports, and the program that is built already."""
        command = SERVE.sub(r"serve \1", command)
        command = command.replace("cargo run --release -p vestibule-server --", "target/release/vestibule")
        if self.postgres:
            command = command.replace("@localhost/", f"@localhost:{self.postgres}/")
        return PORTS.sub(lambda port: self.ports[port[0]], command)

    def run(self):
        """Runs all steps; what is wrong, one text each."""
        script = [HEAD]
        for number, step in enumerate(self.steps):
            script.append(f"{self.here(step.command)}\nprintf '\\n--- {number} %s\\n' $?")
        file = self.place / "page.sh"
        file.write_text("\n".join(script) + "\nstop_served\n")
        with open(self.place / "said", "w+") as said:
            shell = subprocess.Popen(["bash", file], stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=self.place,
                                     env=self.environment, start_new_session=True)  # fmt: skip
            try:
                shell.wait(LIMIT)
                late = ""
            except subprocess.TimeoutExpired:
                late = f"; not done within {LIMIT:.0f} s"
            finally:
                self._end(shell)
            said.seek(0)
            # A program may log beside what it answers; pages show answers.
            text = re.sub(r'^\{"timestamp":.*\n', "", said.read(), flags=re.M)
            parts = re.split(r"^--- \d+ (\d+)\n", text, flags=re.M)
        wrong = []
        for number, (step, part) in enumerate(zip(self.steps, parts[::2])):
            if 2 * number + 1 >= len(parts):
                wrong.append(f"{self.page}: {step.command}\nnever ended{late}; it said {part!r}")
                break
            status = int(parts[2 * number + 1])
            if step.shown is None:
                if status not in (0, 143):
                    wrong.append(f"{self.page}: {step.command}\nends with {status} and says {part!r}")
            elif not says(part, step.shown):
                wrong.append(f"{self.page}: {step.command}\nsays (with {status})\n{part.strip()}\nand not\n" + "\n".join(step.shown))
            elif not step.shown and status not in (0, 143):
                wrong.append(f"{self.page}: {step.command}\nends with {status}")
        return wrong

    def _end(self, shell):
        """What the page started, if its last line did not end it; servers get a moment for a good end."""
        for what in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(shell.pid, what)
            except ProcessLookupError:
                break
            until = time.monotonic() + (2.5 if what == signal.SIGTERM else 0.5)
            while time.monotonic() < until and alive(shell.pid):
                time.sleep(0.02)
                shell.poll()
        shell.wait()


def alive(group):
    try:
        os.killpg(group, 0)
        return True
    except ProcessLookupError:
        return False
