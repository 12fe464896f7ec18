"""What is published: packages that cargo takes without a word, and one binary `vestibule`."""

import json
import re
import subprocess
import tarfile
import tomllib

PUBLISHED = ("vestibule", "vestibule-sandbox", "vestibule-server")
PROGRAMS = {"vestibule": [], "vestibule-sandbox": ["sandbox"], "vestibule-server": ["vestibule"]}
NEEDS = {"vestibule": set(), "vestibule-sandbox": set(), "vestibule-server": {"vestibule"}}


def crates(root, work, check, command):
    told = json.loads(command("cargo", "metadata", "--no-deps", "--locked", "--offline", "--format-version=1", cwd=root))
    packages = {package["name"]: package for package in told["packages"]}
    # An empty list is `publish = false`.
    published = {name for name, package in packages.items() if package["publish"] is None}
    check(published == set(PUBLISHED), f"to be published are {published}")
    for name in PUBLISHED:
        package = packages[name]
        missing = [field for field in ("description", "license", "repository", "readme", "keywords", "categories", "rust_version")
                   if not package[field]]  # fmt: skip
        check(not missing, f"{name} has no {missing}")
        programs = [target["name"] for target in package["targets"] if target["kind"] == ["bin"]]
        check(programs == PROGRAMS[name], f"{name} installs {programs}")
    chosen = [word for name in PUBLISHED for word in ("-p", name)]
    target = work / "published"
    # Together: each finds the others, which no registry has.
    done = subprocess.run(
        ["cargo", "package", *chosen, "--no-verify", "--allow-dirty", "--offline", "--quiet", "--target-dir", target],
        cwd=root, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    check(done.returncode == 0 and not done.stderr, f"cargo package: {done.stderr}")
    for name in PUBLISHED:
        file = target / "package" / f"{name}-{packages[name]['version']}.crate"
        with tarfile.open(file) as archive:
            archive.extractall(work / "crates", filter="data")
        contents(work / "crates" / file.stem, check)
        # In which order they can be published.
        manifest = tomllib.loads((work / "crates" / file.stem / "Cargo.toml").read_text())
        ours = {one for kind in ("dependencies", "dev-dependencies") for one in manifest.get(kind, {}) if one.startswith("vestibule")}
        check(ours == NEEDS[name], f"{name} needs {ours} to be published first")


def contents(place, check):
    for name in ("README.md", "LICENSE-APACHE", "LICENSE-MIT", "src/lib.rs"):
        file = place / name
        check(file.is_file() and not file.is_symlink() and file.stat().st_size > 0, f"{place.name} has no {name}")
    included = re.compile(r'include(?:_str|_bytes)?!\(\s*"([^"]+)"')
    for file in place.rglob("*.rs"):
        for path in included.findall(file.read_text()):
            found = (file.parent / path).resolve()
            check(found.is_relative_to(place.resolve()) and found.is_file(), f"{file.relative_to(place)} includes {path}, which is not packaged")
