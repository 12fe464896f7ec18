"""The tables of each study, for a terminal and for the documentation."""

import statistics


def figure(value, digits=3):
    """As many digits as a measurement is worth."""
    if value is None:
        return ""
    if isinstance(value, (str, bool)):
        return str(value)
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def rate(value):
    return f"{value:,.0f}"


def span(ratio):
    return f"{figure(ratio['median'])} × ({figure(ratio['lowest'])} to {figure(ratio['highest'])})" if ratio else ""


def size(value):
    return f"{value / 2**20:,.1f} MiB"


def tables(name, study):
    """Title, head and rows of each."""
    return TABLES[name](study) + [aims(study)]


def aims(study):
    rows = [
        [aim["aim"], f"{figure(aim['value'])} {aim['unit']}".strip(), "yes" if aim["holds"] else "NO"]
        for aim in study["aims"]
    ]
    return "Aims", ["aimed at", "measured", "holds"], rows


def process(study):
    known = {"name", "median_ns", "low_ns", "high_ns", "aim", "holds"}
    rows = []
    for line in study["benches"]:
        others = ", ".join(f"{key} {figure(value)}" for key, value in line.items() if key not in known)
        rows.append([line["name"], *(nanoseconds(line.get(key)) for key in ("median_ns", "low_ns", "high_ns")), others])
    rows += [[f"{one['bench']}: not measured", "", "", "", one["problem"]] for one in study["missing"]]
    return [("In process", ["", "median", "low", "high", "besides"], rows)]


def nanoseconds(value):
    if value is None:
        return ""
    for unit, least in (("ms", 1e6), ("µs", 1e3)):
        if value >= least:
            return f"{figure(value / least)} {unit}"
    return f"{figure(value)} ns"


LOADS = ["requests/s", "rounds", "p99", "processor time each"]


def loads(some, to):
    """Servers that were asked in turns, and the ratio of each that the study has under `to`."""
    return [
        [
            one["name"],
            rate(one["requests_per_second"]),
            f"{rate(one['lowest'])} to {rate(one['highest'])}",
            f"{figure(one['p99_ms'])} ms",
            f"{one['processor_us']:.1f} µs",
            span(one[to]),
        ]
        for one in some
    ]


def peers(study):
    head = ["one core each", *LOADS, "vestibule to it, in pairs"]
    absent = [[f"{one['peer']}: not measured", "", "", "", "", one["problem"]] for one in study["absent"]]
    return [
        ("Beside a server that only answers", head, loads(study["against_bare"], "ours_to_it")),
        ("Beside others", head, loads(study["against_peers"], "ours_to_it") + absent),
    ]


def builds(study):
    head = ["one core each", *LOADS, "to ours, in pairs", "a new token", "binary", "resident"]
    rows = [
        [*row, f"{one['new_us']:.1f} µs", size(one["binary_bytes"]), size(one["resident_bytes"])]
        for row, one in zip(loads(study["rows"], "to_ours"), study["rows"])
    ]
    return [("The same server, built and linked in other ways", head, rows)]


def start(study):
    rows = [
        [what, f"{figure(study[key]['median'])} ms", f"{figure(study[key]['worst'])} ms"]
        for what, key in (
            ("nothing known: keys, user and tenant are asked for", "fresh_ms"),
            ("with what the last one kept", "known_ms"),
        )
    ]
    return [(f"From exec to the first answer, {study['starts']} times", ["", "median", "worst"], rows)]


def turn(study):
    seconds = [("steady", study["steady"]), (f"TOKEN_CACHE_TTL={study['ttl']}", study["turning"])]
    rows = []
    for what, windows in seconds:
        p99s = sorted(window["p99_ms"] for window in windows)
        rates = sorted(window["requests_per_second"] for window in windows)
        rows.append(
            [
                what,
                str(len(windows)),
                rate(rates[len(rates) // 2]),
                f"{figure(p99s[len(p99s) // 2])} ms",
                f"{figure(p99s[-1])} ms",
            ]
        )
    again = f"{study['verified_again']:,.0f} verified again among {study['requests']:,.0f} requests"
    title = f"{study['tokens']:,} live tokens, {again}"
    return [(title, ["", "seconds", "requests/s", "p99, their median", "p99, the worst"], rows)]


def restart(study):
    rows = []
    for first in range(0, 32, 4):
        windows = study["windows"][first : first + 4]
        mean = statistics.mean(window["requests_per_second"] for window in windows)
        rows.append([f"{windows[-1]['until_s']:.1f} s", rate(mean), f"{mean / study['normal']:.2f}"])
    calls = ", ".join(f"{name} {count}" for name, count in study["provider_calls"].items()) or "none"
    title = f"After a restart, {study['tokens']:,} tokens of {study['users']:,} users; calls to the provider: {calls}"
    return [(title, ["until", "requests/s", "to normal"], rows)]


def memory(study):
    rows = [[f"resident, {int(count):,} tokens known", size(value)] for count, value in study["resident_bytes"].items()]
    rows += [
        ["one more token", f"{figure(study['bytes_each'])} bytes"],
        ["of them its claims", f"{figure(study['claims_bytes'])} bytes"],
    ]
    if "changing" in study:
        samples = study["changing"]["samples"]
        rows += [
            [
                f"ever new tokens: {study['changing']['tokens']:,} in all, after {samples[len(samples) // 2]['at_s']:.0f} s",
                size(samples[len(samples) // 2]["resident_bytes"]),
            ],
            [f"after {samples[-1]['at_s']:.0f} s", size(samples[-1]["resident_bytes"])],
        ]
    return [("Memory", ["", ""], rows)]


def scale(study):
    def timed(row):
        return [
            rate(row["requests_per_second"]),
            *(f"{figure(row[key])} ms" for key in ("p50_ms", "p99_ms", "p999_ms")),
            f"{row['hit_rate']:.3f}",
        ]

    zipf, times = study["zipf"], ["requests/s", "p50", "p99", "p99.9", "hit rate"]
    sizes = [[row["name"], *timed(row)] for row in zipf["rows"]]
    turns = [[f"{row['ttl']} s, {row['tokens']:,} tokens", *timed(row)] for row in study["turning"]]
    best = f"the best hit rate: {zipf['ideal_hit_rate']:.3f}"
    return [
        (f"Cache smaller than what is used ({best})", ["tokens", *times], sizes),
        ("All tokens turn their time bucket", ["TOKEN_CACHE_TTL", *times], turns),
        (
            "Known users and accounts, of whom a thousand come",
            ["users, accounts", *times[:-1], "first visits/s", "found again/s", "resident"],
            [
                [
                    f"{row['users']:,}, {row['accounts']:,}", *timed(row)[:-1], rate(row["first_visits_per_second"]),
                    rate(row["found_per_second"]), size(row["resident_bytes"]),
                ]
                for row in study["known_users"]
            ],
        ),
    ]  # fmt: skip


def audit(study):
    title = f"An account's activity, {study['new']} new tokens among {study['known']:,} in each round"
    return [(title, ["activity", *LOADS, "to without, in pairs"], loads(study["rows"], "to_without"))]


TABLES = {
    "process": process,
    "peers": peers,
    "audit": audit,
    "start": start,
    "turn": turn,
    "restart": restart,
    "builds": builds,
    "memory": memory,
    "scale": scale,
}


def machine(results):
    facts, versions = results["machine"], results["versions"]
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, Linux {facts['kernel']}, {facts['system']}\n"
        + ", ".join(f"{name} {version}" for name, version in versions.items())
    )


def text(name, results):
    return "\n".join(
        f"\n{title}\n{aligned(head, rows)}" for title, head, rows in tables(name, results["studies"][name]) if rows
    )


def aligned(head, rows):
    rows = [head, *([str(cell) for cell in row] for row in rows)] if any(head) else rows
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(name, results):
    parts = []
    # All aims together have a table of their own there.
    for title, head, rows in tables(name, results["studies"][name])[:-1]:
        if rows:
            lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
            parts.append(f"**{title}**\n\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))
    return "\n\n".join(parts)
