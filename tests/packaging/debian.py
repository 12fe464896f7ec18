"""scripts/deb: the package is as Debian wants it, and what is in it works where it is put."""

import os
import re
import shutil
import subprocess
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Where things lie, and as what; man pages and directories aside.
FILES = {
    "usr/bin/vestibule": "-rwxr-xr-x",
    "etc/vestibule/vestibule.toml": "-rw-r-----",
    "usr/lib/systemd/system/vestibule.service": "-rw-r--r--",
    "usr/lib/sysusers.d/vestibule.conf": "-rw-r--r--",
    "usr/share/bash-completion/completions/vestibule": "-rw-r--r--",
    "usr/share/doc/vestibule/CHANGELOG.md.gz": "-rw-r--r--",
    "usr/share/doc/vestibule/changelog.gz": "-rw-r--r--",
    "usr/share/doc/vestibule/copyright": "-rw-r--r--",
    "usr/share/fish/vendor_completions.d/vestibule.fish": "-rw-r--r--",
    "usr/share/lintian/overrides/vestibule": "-rw-r--r--",
    "usr/share/zsh/vendor-completions/_vestibule": "-rw-r--r--",
}
# Where it finds who is asked; nobody is.
URL = {"AUTHRESS_API_URL": "https://auth.example.com"}
# Well formed, and nobody's: an Ed25519 key in PKCS #8, and 32 bytes.
SECRETS = {
    "access-key": f"sc_robot01.k1.acme.{b64encode(bytes.fromhex('302e020100300506032b657004220420') + bytes(range(32))).decode()}",
    "database-url": "sqlite:vestibule.db",
    "binding-key": b64encode(bytes(range(32))).decode(),
}


class Package:
    def __init__(self, root, binaries, work, check, command, verified):
        self.root, self.binaries, self.work = root, binaries, work
        self.check, self.command, self.verified = check, command, verified
        self.unpacked = work / "unpacked"
        self.file = None

    def try_it(self):
        if not shutil.which("dpkg-deb"):
            print("the Debian package: NOT CHECKED, there is no dpkg-deb here")
            return
        self.build()
        self.contents()
        self.command("dpkg-deb", "-x", self.file, self.unpacked)
        self.program()
        self.pages()
        self.completions()
        self.lintian()
        if os.geteuid() == 0 and shutil.which("systemd-sysusers"):
            self.life()
        else:
            print("the Debian package: NOT INSTALLED, this needs root and systemd-sysusers")

    def build(self):
        """Twice, at places and under settings that differ, to the same bytes."""

        def once(place, **environment):
            (self.work / place).mkdir(parents=True)
            # Compression takes seconds, and is the same each time.
            given = {**os.environ, "DPKG_DEB_COMPRESSOR_TYPE": "none", "TMPDIR": str(self.work / place), **environment}
            return Path(self.command(self.root / "scripts" / "deb", self.binaries, self.work / place / "out", env=given).strip())

        with ThreadPoolExecutor() as pool:
            first = pool.submit(once, "first", TZ="UTC")
            second = pool.submit(once, "the/second", TZ="Asia/Tokyo", LANG="C.UTF-8", COLUMNS="60")
        self.file = first.result()
        self.check(self.file.read_bytes() == second.result().read_bytes(), "the Debian package differs from build to build")

    def contents(self):
        field = {name: self.command("dpkg-deb", "--field", self.file, name).strip() for name in ("Version", "Architecture", "Depends")}
        self.check(self.file.name == f"vestibule_{field['Version']}_{field['Architecture']}.deb", f"{self.file.name}: {field}")
        asked = re.search(r"libc6 \(>= ([\d.]+)\)", field["Depends"])
        # What is built here runs here, so it can ask for nothing newer.
        here = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
        if asked:
            done = subprocess.run(["dpkg", "--compare-versions", asked[1], "le", here])
            self.check(done.returncode == 0, f"the package asks for glibc {asked[1]}, here is {here}")
        linked = subprocess.run(["ldd", self.binaries / "vestibule"], capture_output=True, text=True).stdout
        self.check(("libc.so" in linked) == bool(asked), f"Depends: {field['Depends']}, but it is linked to {linked}")
        listed = self.command("dpkg-deb", "--contents", self.file, env={**os.environ, "TZ": "UTC"})
        rows = [line.split(maxsplit=5) for line in listed.splitlines()]
        found = {row[5].removeprefix("./"): row[0] for row in rows if not row[0].startswith("d")}
        pages = {name for name in found if re.fullmatch(r"usr/share/man/man1/vestibule[a-z-]*\.1\.gz", name)}
        self.check({name: mode for name, mode in found.items() if name not in pages} == FILES, f"the package has {found}")
        self.check({row[1] for row in rows} == {"root/root"}, "not everything in the package is root's")
        self.check(len({(row[3], row[4]) for row in rows}) == 1, "not everything in the package is of one time")
        modes = {row[5]: row[0] for row in rows if row[0].startswith("d")}
        self.check(modes.pop("./etc/vestibule/secrets/", None) == "drwx------", "everybody sees the secrets")
        self.check(set(modes.values()) == {"drwxr-xr-x"}, f"directories: {modes}")

    def vestibule(self, *arguments, program=None, **environment):
        command = [program or self.unpacked / "usr/bin/vestibule", *arguments]
        return subprocess.run(command, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, timeout=60)

    def program(self):
        version = self.vestibule("--version").stdout.strip()
        self.check(version == f"vestibule {self.file.name.split('_')[1]}", f"--version says {version}")
        shipped = (self.unpacked / "etc/vestibule/vestibule.toml").read_text()
        place = self.work / "etc"
        (place / "secrets").mkdir(parents=True)
        settings = place / "vestibule.toml"
        settings.write_text(shipped.replace("/etc/vestibule", str(place)))
        check = ("--config", settings, "config", "check")
        # Nothing but what has to be filled in is missing, and all of it is named.
        said = self.vestibule(*check)
        named = re.findall(r"^  (\w+):", said.stderr, re.M)
        self.check(
            said.returncode == 2 and sorted(named) == ["AUTHRESS_ACCESS_KEY_FILE", "AUTHRESS_API_URL", "DATABASE_URL_FILE", "VESTIBULE_BINDING_KEY_FILE"],
            f"config check of the shipped settings: {said.stderr}",
        )  # fmt: skip
        for name, secret in SECRETS.items():
            (place / "secrets" / name).write_text(secret)
        said = self.vestibule(*check, **URL)
        self.check(said.returncode == 0, f"config check with what it asked for: {said.stderr}")
        # Each example that is commented out can be used.
        settings.write_text(re.sub(r"^#(?=\w+ = |\[\[)", "", settings.read_text(), flags=re.M).replace('tenancy = "row"', ""))
        said = self.vestibule(*check)
        self.check(said.returncode == 0, f"config check with every example: {said.stderr}")
        # The service's own way to the secrets comes first.
        unit = (self.unpacked / "usr/lib/systemd/system/vestibule.service").read_text()
        self.check("ExecStart=/usr/bin/vestibule --config /etc/vestibule/vestibule.toml serve\n" in unit, "the unit starts something else")
        self.check("/usr/local" not in unit, "the unit names /usr/local")
        self.verified(unit, "/usr/bin/vestibule")
        given = {name: str(place / "secrets" / file) for name, file in re.findall(r"^Environment=(\w+)=%d/(.*)$", unit, re.M)}
        settings.write_text(settings.read_text().replace(f"{place}/secrets/", "/nowhere/"))
        said = self.vestibule(*check, **given)
        self.check(len(given) == 3 and said.returncode == 0, f"config check as the service: {said.stderr}")

    def pages(self):
        folder = self.unpacked / "usr/share/man/man1"
        page = (self.root / "docs" / "command-line.md").read_text()
        commands = {f"{words.replace(' ', '-')}.1.gz" for words in re.findall(r"^##+ (vestibule.*)$", page, re.M)}
        names = {file.name for file in folder.iterdir()}
        self.check(names == commands, f"man pages, and docs/command-line.md: {names ^ commands}")
        plainly = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
        if shutil.which("man"):
            lint = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]
        elif shutil.which("mandoc"):
            lint = ["mandoc", "-Tlint", "-Werror"]
        elif shutil.which("groff"):
            lint = ["groff", "-man", "-ww", "-Tutf8", "-Z", "-"]
        else:
            print("man pages: NOT CHECKED, there is no man, mandoc or groff here")
            return

        def tried(file):
            text = subprocess.run(["gzip", "-dc", file], capture_output=True, check=True).stdout
            plain = self.work / file.stem
            plain.write_bytes(text)
            with plain.open() as given:
                done = subprocess.run([*lint, *([plain] if lint[0] != "groff" else [])], stdin=given, env=plainly, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True, errors="replace", timeout=60)  # fmt: skip
            said = done.stderr + (done.stdout if lint[0] == "mandoc" else "")
            self.check(done.returncode == 0 and not said, f"{file.name}: {said}")

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(tried, sorted(folder.iterdir())))

    def completions(self):
        share = self.unpacked / "usr/share"
        scripts = {
            "bash": share / "bash-completion/completions/vestibule",
            "zsh": share / "zsh/vendor-completions/_vestibule",
            "fish": share / "fish/vendor_completions.d/vestibule.fish",
        }
        for shell, script in scripts.items():
            if shutil.which(shell):
                self.command(shell, "-n", script)
            else:
                print(f"completions for {shell}: NOT CHECKED, there is no {shell} here")
        asked = (
            f"source '{scripts['bash']}'; COMP_WORDS=(vestibule account re); COMP_CWORD=2; "
            "_vestibule vestibule re account; echo \"${COMPREPLY[@]}\""
        )
        said = self.command("bash", "-c", asked).split()
        self.check(said == ["rename", "resume"], f"bash completes `vestibule account re` to {said}")

    def lintian(self):
        # Large, and only on Debian: where it is there.
        if shutil.which("lintian"):
            here = "uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball"
            self.command("lintian", "--fail-on", "error,warning", "--suppress-tags", here, self.file)

    def life(self):
        """Installed, installed again, removed, purged: below a directory of its own."""
        root = self.work / "machine"
        for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log", "etc", "tmp"):
            (root / folder).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        # Ids that are somebody's here are to be somebody else's there.
        (root / "etc/group").write_text("root:x:0:\nother:x:999:\n")
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nother:x:999:999::/:/usr/sbin/nologin\n")
        etc, data = root / "etc/vestibule", root / "var/lib/vestibule"
        settings = etc / "vestibule.toml"

        def dpkg(*arguments):
            path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
            # Its dependencies are this machine's, not the directory's.
            forced = "--force-script-chrootless,depends,confold"
            return self.command("dpkg", f"--root={root}", f"--log={root}/var/log/dpkg.log", forced, *arguments,
                                env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"})  # fmt: skip

        def owner():
            group = re.search(r"^vestibule:[^:]*:(\d+):", (root / "etc/group").read_text(), re.M)
            number = int(group[1]) if group else -1
            for path, mode in ((etc, 0o750), (settings, 0o640)):
                seen = path.stat()
                self.check((seen.st_uid, seen.st_gid, seen.st_mode & 0o7777) == (0, number, mode), f"{path}: {seen}")
            seen = (etc / "secrets").stat()
            self.check((seen.st_uid, seen.st_gid, seen.st_mode & 0o7777) == (0, 0, 0o700), f"secrets: {seen}")

        dpkg("--install", self.file)
        owner()
        user = re.search(r"^vestibule:.*$", (root / "etc/passwd").read_text(), re.M)
        self.check(user and user[0].endswith(":/var/lib/vestibule:/usr/sbin/nologin"), f"the user is {user}")
        shadow = re.search(r"^vestibule:([^:]*):", (root / "etc/shadow").read_text(), re.M)
        self.check(shadow and shadow[1][:1] in ("!", "*"), "the user has a password")
        version = self.vestibule("--version", program=root / "usr/bin/vestibule").stdout
        self.check(version.startswith("vestibule "), f"where it is installed, it says {version}")
        wanted = root / "etc/systemd/system/multi-user.target.wants/vestibule.service"
        self.check(not wanted.exists() and not wanted.is_symlink(), "the service starts before it has settings")

        # What the administrator does, and the service.
        wanted.parent.mkdir(parents=True)
        wanted.symlink_to("/usr/lib/systemd/system/vestibule.service")
        settings.write_text(settings.read_text() + "# mine\n")
        (etc / "secrets/access-key").write_text("secret")
        data.mkdir()
        (data / "vestibule.db").write_text("data")

        def kept(when):
            self.check(settings.read_text().endswith("# mine\n"), f"{when}: the settings are gone")
            self.check(wanted.is_symlink(), f"{when}: the service does not start any more")

        dpkg("--install", self.file)
        owner()
        kept("installed again")
        dpkg("--remove", "vestibule")
        kept("removed")
        dpkg("--install", self.file)
        owner()
        kept("installed after it was removed")
        dpkg("--purge", "vestibule")
        # No databases are taken away, and no secrets.
        own = ("var/lib/dpkg", "var/log", "etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/.pwd.lock")
        left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file()}
        left = {path for path in left if not path.startswith(own)}
        self.check(left == {"etc/vestibule/secrets/access-key", "var/lib/vestibule/vestibule.db"}, f"a purge leaves {left}")
