"""docs/caddy-node.md, as pasted: every line is run, and says what the page shows. Only ports and places
are changed."""

import os
import re
import signal
import subprocess

import wire
from world import Failed

PORTS = (8000, 3000, 8080, 8090)
LIMIT = 90.0


def steps(page):
    """(command, lines that are shown below it), in order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def matches(said, shown):
    pattern = "\n".join(re.escape(line).replace("…", ".+") for line in shown)
    return re.fullmatch(pattern, said.strip()) is not None


def verify(root, work, binaries, say):
    work = work / "page"
    work.mkdir()
    ports = {port: wire.free_port() for port in PORTS}

    def here(text):
        return re.sub(r"\b(8000|3000|8080|8090)\b", lambda port: str(ports[int(port[0])]), text)

    caddyfile = work / "Caddyfile"
    caddyfile.write_text(here((root / "deploy/caddy/Caddyfile").read_text()))
    page = steps((root / "docs" / "caddy-node.md").read_text())
    # Which this test was given.
    if page.pop(0)[0] != "cargo build --release":
        raise Failed("docs/caddy-node.md does not begin with the build")
    script = []
    for number, (command, _) in enumerate(page):
        command = here(command).replace("target/release", str(binaries)).replace("target/try", str(work / "try"))
        script.append(command.replace("deploy/caddy/Caddyfile", str(caddyfile)))
        script.append(f"echo '--- {number}'")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VESTIBULE_", "AUTHRESS_"))}
    environment.update(
        VESTIBULE_LISTEN=f"127.0.0.1:{ports[8080]}",
        VESTIBULE_ADMIN_LISTEN="127.0.0.1:0",
        PORT=str(ports[3000]),
        HOME=str(work),
    )
    environment.pop("DATABASE_URL", None)
    shell = subprocess.Popen(
        ["bash"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=root,
        env=environment,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate("\n".join(script) + "\nwait\n", timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return [f"docs/caddy-node.md: not done within {LIMIT:.0f} s; what it wrote is in {work}/try"]
    finally:
        # What the page starts, if its last line did not end it.
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    parts = re.split(r"^--- \d+\n", said, flags=re.M)
    wrong = []
    for (command, shown), part in zip(page, parts):
        # A command that ends in & says nothing of itself here.
        if not matches(part, shown):
            wrong.append(f"docs/caddy-node.md: {command}\nsays {part!r}\nand not {shown}")
    if len(parts) != len(page) + 1:
        wrong.append(f"docs/caddy-node.md: {len(parts) - 1} of {len(page)} lines were run: {said!r}")
    say(f"docs/caddy-node.md: {len(page)} lines work as pasted")
    return wrong
