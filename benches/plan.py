"""How many machines, connections and calls a load needs, from what one core was measured to do."""

from table import figure, rate

# Cores are not planned full: what arrives is uneven, and one replica may be away.
SHARE = 0.5
VERIFY = "of processor time for a token that is not known"
# An example that the reader replaces by his own.
WANTED = {
    "R": ("requests per second at the peak", 100_000),
    "T": ("tokens in use at the same time", 500_000),
    "U": ("users active at the same time", 50_000),
    "N": ("new tokens per second (sign-ins and renewals)", 200),
    "S": ("sessions per second that touch the database", 20_000),
    "H": ("milliseconds for which one holds its connection: the handler's own queries", 5),
}
# Of one replica.
CORES = 4
TOKEN_CACHE_TTL, USER_CACHE_TTL, JWKS_REFRESH = 300, 60, 300
# What Authress is said to allow for its middle tier of routes.
CALLS = 100


def markdown(studies):
    measured = costs(studies)
    missing = [name for name in ("c", "b", "m", "v") if name not in measured]
    if missing:
        return None
    parts = [
        "**Measured here**",
        rows(["", "", ""], [[f"`{key}`", what, text] for key, (what, _, text) in measured.items()]),
    ]
    wanted = [[f"`{key}`", what, rate(value)] for key, (what, value) in WANTED.items()]
    parts += ["**Wanted, as an example**", rows(["", "", ""], wanted)]
    parts += ["**What follows**", rows(["needed", "formula", "here"], needs(measured))]
    return "\n\n".join(parts)


def costs(studies):
    found = {}
    if "peers" in studies:
        ours = studies["peers"]["against_bare"][0]
        found["c"] = (
            "requests per second and core, token known",
            ours["requests_per_second"],
            rate(ours["requests_per_second"]),
        )
    if "memory" in studies:
        each = studies["memory"]["bytes_each"]
        found["b"] = ("bytes for each known token, claims included", each, figure(each))
        least = min(studies["memory"]["resident_bytes"].values())
        found["m"] = ("resident with few tokens", least, f"{least / 2**20:.0f} MiB")
    if "process" in studies:
        times = {line["name"]: line.get("median_ns") for line in studies["process"]["benches"]}

        # By its name, whatever else the bench says.
        def named(word):
            return next((time for name, time in times.items() if word in name and time), None)

        for key, word, what in (
            ("v", "miss", VERIFY),
            ("t", "session", "of processor time for a tenant session that reads one row"),
        ):
            if time := named(word):
                found[key] = (what, time / 1e9, f"{time / 1000:.1f} µs")
    if "v" not in found and "scale" in studies:
        # From throughput without any memory of tokens, less what the request itself costs.
        without = studies["scale"]["zipf"]["rows"][-1]["requests_per_second"]
        with_all = studies["scale"]["fits"]
        cost = 1 / without - 1 / with_all
        found["v"] = (VERIFY, cost, f"{cost * 1e6:.1f} µs")
    if "start" in studies:
        first = studies["start"]["known_ms"]["median"]
        found["s"] = ("from start to first answer", first, f"{first:.0f} ms")
    return found


def needs(measured):
    cost = {key: number for key, (_, number, _) in measured.items()}
    want = {key: number for key, (_, number) in WANTED.items()}

    # A balancer that deals in turn shows each token to every replica.
    def verified(replicas):
        return replicas * (want["T"] / TOKEN_CACHE_TTL + want["N"])

    def cores(replicas):
        return (want["R"] / cost["c"] + verified(replicas) * cost["v"]) / SHARE

    # Two at least: one may be away.
    replicas = next((k for k in range(2, 1000) if cores(k) <= k * CORES), None)
    if replicas is None:
        return [
            [
                "replicas",
                "each new one verifies all tokens too: let the balancer keep a client on one replica",
                "none suffices",
            ]
        ]
    held = want["S"] * want["H"] / 1000
    found = [
        [f"replicas `K`, of {CORES} cores each", f"the least `K` with `{CORES}·K ≥ cores`", str(replicas)],
        ["cores, half of each left free", f"`(R / c + V·v) / {SHARE}`", figure(cores(replicas))],
        ["tokens verified per second, on all replicas: `V`", "`K·(T / TOKEN_CACHE_TTL + N)`", rate(verified(replicas))],
        ["`TOKEN_CACHE_SIZE`", "`1.2·T`", rate(1.2 * want["T"])],
        ["memory of each replica", "`m + 1.2·T·b`", f"{(cost['m'] + 1.2 * want['T'] * cost['b']) / 2**20:,.0f} MiB"],
        [
            "calls to the provider for users, per second, at most",
            "`K·U / USER_CACHE_TTL`",
            rate(replicas * want["U"] / USER_CACHE_TTL),
        ],
        [f"`USER_CACHE_TTL` for at most {CALLS} of them", f"`K·U / {CALLS}`", f"{replicas * want['U'] / CALLS:,.0f} s"],
        ["calls for keys, per minute, for each issuer", "`K·60 / JWKS_REFRESH`", figure(replicas * 60 / JWKS_REFRESH)],
        ["connections that sessions hold", "`S·H / 1000`", rate(held)],
        [
            "`DATABASE_POOL_SIZE` of each replica, half more than that",
            "`1 + 1.5·1.5·S·H / 1000 / K`",
            rate(1 + 2.25 * held / replicas),
        ],
    ]
    if "t" in cost:
        found.append(["cores of PostgreSQL and what speaks to it", "`S·t`", figure(want["S"] * cost["t"])])
    return found


def rows(head, lines):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---", "---", "---:"], *lines])
