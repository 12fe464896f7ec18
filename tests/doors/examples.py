"""The applications of deploy/examples check assertions, and docs/gateway.md shows what they do."""

import filecmp
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import wire
from world import Failed, eventually

APPLICATIONS = {"python": "app.py", "js": "app.mjs"}


def command(*arguments, cwd=None):
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")


def install_python(root, here):
    """Envoy and PyJWT, beside the other tools; kept until the list changes."""
    place, wanted = root / "target" / "tools" / "python", here / "requirements.txt"
    installed = place / "doors-installed.txt"
    if not (place / "bin" / "pip").exists():
        command("python3", "-m", "venv", place)
    if not installed.exists() or not filecmp.cmp(wanted, installed, shallow=False):
        command(place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted)
        shutil.copyfile(wanted, installed)
    return place / "bin"


def install_javascript(root, here, npm):
    place, installed = root / "target" / "doors", root / "target" / "doors" / "installed.json"
    lock = here / "javascript" / "package-lock.json"
    if not installed.exists() or not filecmp.cmp(lock, installed, shallow=False):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copyfile(here / "javascript" / file, place / file)
        command(npm, "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", cwd=place)
        shutil.copyfile(lock, installed)
    return place


def shown(root, language):
    """What docs/gateway.md shows."""
    text = (root / "docs" / "gateway.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    return next((block for block in blocks if "vestibule-assertion" in block), None)


def verify(root, here, work, world, programs, say):
    wrong = []
    javascript = install_javascript(root, here, programs["npm"])
    # A module is looked up from where the importing file lies.
    shutil.copyfile(root / "deploy/examples/app.mjs", javascript / "app.mjs")
    starts = {
        "python": [programs["python"], root / "deploy/examples/app.py"],
        "js": [programs["node"], javascript / "app.mjs"],
    }
    asked = world.ask("GET", "/billing", "app.example", [("Authorization", f"Bearer {world.ada}")])
    for_billing = asked.header("x-vestibule-assertion")
    asked = world.ask("GET", "/", "app.example", [("Authorization", f"Bearer {world.ada}")])
    good = asked.header("x-vestibule-assertion")
    head, claims, signature = good.split(".")
    sent = {
        "good": (good, 200),
        "for another application": (for_billing, 401),
        "a bearer token": (world.ada, 401),
        "tampered": (f"{head}.{claims}.{'A' * len(signature)}", 401),
        "unsigned": (f"eyJhbGciOiJub25lIiwidHlwIjoidmVzdGlidWxlLWFzc2VydGlvbitqd3QifQ.{claims}.", 401),
        "nonsense": ("nonsense", 401),
        "empty": ("", 401),
        "missing": (None, 401),
    }
    for language, file in APPLICATIONS.items():
        source = (root / "deploy" / "examples" / file).read_text()
        snippet = shown(root, language)
        if snippet is None or snippet not in source:
            wrong.append(f"docs/gateway.md does not show what {file} does")
        port = wire.free_port()
        environment = {
            **os.environ,
            "PORT": str(port),
            "JWKS": f"http://127.0.0.1:{world.http}/.well-known/jwks.json",
        }
        with open(work / f"{file}.log", "w") as log:
            process = subprocess.Popen(starts[language], env=environment, stdout=log, stderr=log)
        try:
            eventually(f"{file} starts (see {work}/{file}.log)", lambda: wire.is_open(port))
            for what, (assertion, status) in sent.items():
                told, identity = ask(port, assertion)
                if told != status or (status == 200 and identity["sub"] != asked.header("x-vestibule-user-id")):
                    wrong.append(f"{file}: an assertion {what}: {told} {identity}")
        finally:
            process.kill()
            process.wait()
    say(f"the applications in Python and JavaScript: {len(sent)} assertions each")
    return wrong


def ask(port, assertion):
    headers = {} if assertion is None else {"X-Vestibule-Assertion": assertion}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
