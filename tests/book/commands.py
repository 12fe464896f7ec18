"""What each page of the site needs for its commands, and which are run elsewhere or cannot be run here.

A block that shows commands and is in none of these lists is run, in order, in one shell for the page.
"""

from dataclasses import dataclass, field

# Stands for the commands of README.md, "Use it on PostgreSQL", before its tables are made: pages that build on
# them say so.
POSTGRES = "POSTGRES"
MIGRATED = (POSTGRES, "vestibule migrate")
# An account with a service client and a user, who has been there.
PEOPLE = (
    """ID=$(vestibule account create --name Acme --tenant tenant_acme --json | grep -o '"id":"[^"]*' | cut -d'"' -f4)""",
    "vestibule client add --client-id sc_robot01 --account $ID --name Robot",
    "vestibule serve",
    "ADA=$(curl -s $AUTHRESS_API_URL/_sandbox/tokens/user_ada)",
    """USER_ID=$(curl -s -H "Authorization: Bearer $ADA" http://127.0.0.1:8080/v1/me | cut -d'"' -f10)""",
)


@dataclass
class Page:
    # sandbox: one runs, and its settings are in the environment. postgres: a server, with its superuser in
    # the environment. second: another one.
    needs: tuple = ()
    # Commands before the first block below a heading.
    before: dict = field(default_factory=dict)
    # What a reader fills in.
    filled: dict = field(default_factory=dict)
    # Commands, by their beginning, that are not run, and why.
    skipped: dict = field(default_factory=dict)


PAGES = {
    "README.md": Page(
        ("sandbox", "postgres"),
        before={
            "Use it from any language": ("echo $AUTHRESS_ACCESS_KEY > access-key", "unset AUTHRESS_ACCESS_KEY"),
            "Who gets in": (*PEOPLE, "curl -s $AUTHRESS_API_URL/_sandbox/tokens/user_alan > stolen.txt"),
        },
        filled={
            "AUTHRESS_API_URL=https://auth.example.com": "AUTHRESS_API_URL=$AUTHRESS_API_URL",
            "<id>": "$(vestibule account list --json | grep -o '\"id\":\"[^\"]*' | cut -d'\"' -f4)",
            "0190…": "$USER_ID",
        },
    ),
    "docs/admin.md": Page(
        ("sandbox",),
        before={"A customer leaves": (PEOPLE[0],)},
    ),
    "docs/quickstart.md": Page(),
    "docs/axum.md": Page(),
    "docs/proxies.md": Page(("envoy",)),
    "docs/gateway.md": Page(
        ("sandbox",),
        before={"Rules": ("export VESTIBULE_ASSERTION_AUDIENCES=files",)},
    ),
    "docs/tenancy.md": Page(("sandbox", "postgres"), before={"PostgreSQL: `row`": (POSTGRES,)}),
    "docs/growing.md": Page(
        ("sandbox", "postgres", "second"),
        before={
            "Clusters with placements": (
                *MIGRATED,
                """ID=$(vestibule account create --name Globex --tenant tenant_globex --json | grep -o '"id":"[^"]*' | cut -d'"' -f4)""",
                """PGPORT=$EU_PORT PGPASSWORD=$EU_PASSWORD psql -c "CREATE ROLE owner LOGIN PASSWORD 'change-me-1'" """
                """-c "CREATE ROLE app LOGIN PASSWORD 'change-me-2'" -c "CREATE DATABASE vestibule OWNER owner" """,
            ),
        },
        filled={
            "eu=postgres://app@eu-db/": "eu=postgres://app:change-me-2@localhost:'$EU_PORT'/",
            "eu=postgres://owner@eu-db/": "eu=postgres://owner:change-me-1@localhost:'$EU_PORT'/",
            "account move ID": "account move $ID",
        },
    ),
    "docs/operations.md": Page(
        ("sandbox", "postgres"),
        before={"Settings": (POSTGRES,)},
        filled={"sudo install": "install", "/usr/local/bin/": "local-bin/"},
    ),
    "docs/import.md": Page(("sandbox",)),
    "docs/install.md": Page(
        filled={"sudo install -m 755": "install -m 755", "/usr/local/bin/": "local-bin/"},
    ),
    "docs/backup.md": Page(
        ("sandbox", "postgres"),
        before={
            "SQLite": (*PEOPLE, "stop_served"),
            "PostgreSQL": (*MIGRATED, *PEOPLE, "stop_served"),
            "One account": (
                "psql -c 'DROP DATABASE app' -c 'CREATE DATABASE app OWNER app_owner'",
                "export TENANCY=schema",
                "vestibule migrate",
                *PEOPLE,
                "stop_served",
            ),
        },
    ),
    "docs/upgrade.md": Page(("sandbox", "postgres"), before={"Behind a balancer": (POSTGRES,)}),
    "docs/vectors.md": Page(
        skipped={"cargo test": "it builds a program of tests, which scripts/test runs in its usual form"},
    ),
    "deploy/README.md": Page(("sandbox",)),
}

# (page, first line of the block): the file that runs it, and what in this file shows that it does.
ELSEWHERE = {
    ("README.md", "$ cargo run --release"): ("scripts/quickstart-test", '"cargo", "run", "--release"'),
    ("docs/quickstart.md", "$ cargo run --release"): ("scripts/quickstart-test", '"cargo", "run", "--release"'),
    ("docs/install.md", "$ scripts/deb target/release"): ("tests/packaging/debian.py", 'self.root / "scripts" / "deb"'),
    ("docs/caddy-node.md", "*"): ("tests/doors/pages.py", "caddy-node.md"),
    ("docs/fastapi.md", "$ pip install -r requirements.txt"): ("tests/doors/workflow.py", '"uvicorn", "app:app", "--port"'),
}

# (page, first line of the block): why it cannot be run here.
NOT_HERE = {
    ("README.md", "$ cargo nextest run        # while editing"): "scripts/test is what runs this",
    ("CONTRIBUTING.md", "$ cargo nextest run        # all tests: some minutes; while editing: cargo nextest run rules"):
        "scripts/test is what runs this; the others take minutes, and each fails by itself",
    ("docs/performance.md", "$ scripts/bench                    # about five minutes, once everything is built"):
        "minutes on a machine of its own",
    ("docs/install.md", "$ cargo install --locked --path crates/vestibule-server"):
        "a build of minutes; its manifest is looked at by tests/packaging/run",
    ("docs/install.md", "$ LIBSQLITE3_FLAGS=-DSQLITE_MAX_ATTACHED=0 cargo install --locked vestibule-server"):
        "nothing is published yet; what would be is packaged by tests/packaging/run",
    ("docs/install.md", "$ sudo apt install ./target/packages/vestibule_0.1.0_amd64.deb"):
        "it changes the machine; tests/packaging/run installs, tries and purges the package below a directory",
    ("deploy/README.md", "$ sudo deploy/compose/secrets.sh < access-key       # makes the others; what is there stays"):
        "a container engine; its scripts are run by tests/packaging/run",
    ("deploy/README.md", "$ kubectl create secret generic vestibule --from-file=access-key --from-file=database-url --from-file=binding-key"):
        "a cluster; the chart is rendered and judged by tests/packaging/run",
}  # fmt: skip
