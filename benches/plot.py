"""Plots as SVG, light or dark as the reader's screen is."""

import math
from html import escape

WIDTH, LEFT, RIGHT, TOP = 760, 84, 20, 56
LIGHT = {
    "ground": "#fff",
    "ink": "#1f2328",
    "soft": "#59636e",
    "grid": "#d8dee4",
    "ours": "#0969da",
    "theirs": "#8c959f",
    "bound": "#bc4c00",
}
DARK = {
    "ground": "#0d1117",
    "ink": "#e6edf3",
    "soft": "#9198a1",
    "grid": "#30363d",
    "ours": "#4493f8",
    "theirs": "#7d8590",
    "bound": "#db6d28",
}


def colours(palette):
    fills = "".join(f".{name} {{ fill: {palette[name]} }} " for name in ("ground", "ink", "soft", "ours", "theirs"))
    strokes = "".join(f".{name} {{ stroke: {palette[name]} }} " for name in ("grid", "bound"))
    lines = "".join(f".line-{name} {{ stroke: {palette[name]} }} " for name in ("ours", "theirs"))
    return fills + strokes + lines


STYLE = f"""
text {{ font: 13px system-ui, sans-serif }} .title {{ font-size: 16px; font-weight: 600 }}
.end {{ text-anchor: end }} .middle {{ text-anchor: middle }}
.line-ours, .line-theirs {{ fill: none; stroke-width: 2 }} .bound {{ stroke-dasharray: 6 4; stroke-width: 1.5 }}
{colours(LIGHT)}
@media (prefers-color-scheme: dark) {{ {colours(DARK)}}}
"""


def drawing(height, title, parts):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>\n'
        f"{words(20, 28, title, 'ink title')}\n" + "\n".join(parts) + "\n</svg>\n"
    )


def words(x, y, text, look="", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{look}"{more}>{escape(text)}</text>'


def segment(x1, y1, x2, y2, look):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{look}"/>'


def bars(title, unit, pairs):
    """Name, value and whether it is ours, on an axis of powers of ten."""
    names = 330
    least = 10 ** math.floor(math.log10(min(value for _, value, _ in pairs)))
    most = max(value for _, value, _ in pairs) * 1.1
    bottom = TOP + 26 * len(pairs)

    def at(value):
        return names + (WIDTH - 80 - names) * math.log(value / least) / math.log(most / least)

    parts = []
    step = least
    while step <= most:
        parts += [
            segment(at(step), TOP - 4, at(step), bottom, "grid"),
            words(at(step), bottom + 18, f"{step:,.0f}", "soft middle"),
        ]
        step *= 10
    for number, (name, value, ours) in enumerate(pairs):
        y, look = TOP + 26 * number, "ours" if ours else "theirs"
        width = max(1.0, at(value) - names)
        parts += [
            words(names - 8, y + 16, name, "ink end"),
            f'<rect x="{names}" y="{y + 3}" width="{width:.1f}" height="18" rx="2" class="{look}"/>',
            words(at(value) + 6, y + 16, f"{value:,.0f}", "soft"),
        ]
    parts.append(words((names + WIDTH - 80) / 2, bottom + 40, unit, "soft middle"))
    return drawing(bottom + 54, title, parts)


def lines(title, x_name, y_name, series, bounds):
    """Series: name, whether it is ours, points. Bounds: name and height."""
    height, bottom = 360, 300
    xs = [x for _, _, points in series for x, _ in points]
    low, high = min(xs), max(xs)
    top = max([y for _, _, points in series for _, y in points] + [y for _, y in bounds]) * 1.1
    step = nice(top / 5)

    def place(x, y):
        share = (x - low) / (high - low) if high > low else 0.5
        return LEFT + (WIDTH - LEFT - RIGHT) * share, bottom - (bottom - TOP - 20) * y / top

    parts = []
    for number in range(int(top / step) + 1):
        _, y = place(low, number * step)
        parts += [
            segment(LEFT, y, WIDTH - RIGHT, y, "grid"),
            words(LEFT - 8, y + 4, f"{number * step:,.6g}", "soft end"),
        ]
    stride = nice((high - low) / 8 or 1)
    mark = math.ceil(low / stride) * stride
    while mark <= high + 1e-9:
        parts.append(words(place(mark, 0)[0], bottom + 18, f"{mark:.6g}", "soft middle"))
        mark += stride
    for name, y in bounds:
        height_of = place(low, y)[1]
        parts += [
            segment(LEFT, height_of, WIDTH - RIGHT, height_of, "bound"),
            words(WIDTH - RIGHT - 4, height_of - 6, name, "soft end"),
        ]
    legend = LEFT
    for name, ours, points in series:
        look = "ours" if ours else "theirs"
        placed = [place(*point) for point in points]
        parts.append(f'<polyline class="line-{look}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" class="{look}"/>' for x, y in placed if len(placed) < 60]
        parts += [
            f'<rect x="{legend}" y="42" width="12" height="12" rx="2" class="{look}"/>',
            words(legend + 18, 53, name, "soft"),
        ]
        legend += 40 + 7.2 * len(name)
    parts.append(words((LEFT + WIDTH - RIGHT) / 2, bottom + 42, x_name, "soft middle"))
    middle = (bottom + TOP) / 2
    parts.append(words(18, middle, y_name, "soft middle", f' transform="rotate(-90 18 {middle})"'))
    return drawing(height, title, parts)


def nice(step):
    power = 10 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step)


def requests(study):
    shown = study["against_bare"][:3] + study["against_peers"][1:]
    pairs = [(one["name"], one["requests_per_second"], one["name"].startswith("vestibule")) for one in shown]
    return bars(
        "Authenticated requests on one core",
        "requests per second (logarithmic)",
        sorted(pairs, key=lambda pair: -pair[1]),
    )


def turning(study):
    half = len(study["steady"]) // 2
    steady = [(n - half + 1, w["p99_ms"]) for n, w in enumerate(study["steady"][:half])]
    turn = [(n + 1, w["p99_ms"]) for n, w in enumerate(study["turning"])]
    series = [
        ("steady state, before", False, steady),
        (f"one TOKEN_CACHE_TTL of {study['ttl']} s, {study['tokens']:,} tokens", True, turn),
    ]
    bounds = [("1.5 × steady state", 1.5 * study["steady_p99_ms"])]
    return lines("p99 while every token is verified again", "second", "p99 in ms", series, bounds)


def restarted(study):
    points = [(w["until_s"], w["requests_per_second"]) for w in study["windows"]]
    bounds = [("95 % of normal", 0.95 * study["normal"])]
    name = f"{study['tokens']:,} tokens, nothing remembered at 0"
    return lines(
        "Throughput after a restart", "seconds under load", "requests per second", [(name, True, points)], bounds
    )


def resident(study):
    if "changing" not in study:
        return None
    points = [(one["at_s"] / 60, one["resident_bytes"] / 2**20) for one in study["changing"]["samples"]]
    name = f"{study['changing']['tokens']:,} tokens, each used a few times"
    return lines("Memory under ever new tokens", "minutes", "resident, MiB", [(name, True, points)], [])


def small_caches(study):
    rows = [(row["name"], row["requests_per_second"], True) for row in study["zipf"]["rows"]]
    rows += [
        (f"{row['tokens']:,} tokens, TOKEN_CACHE_TTL={row['ttl']}", row["requests_per_second"], True)
        for row in study["turning"]
    ]
    return bars("When tokens must be verified again", "requests per second (logarithmic)", rows)


PLOTS = {
    "requests": ("peers", requests),
    "turn": ("turn", turning),
    "restart": ("restart", restarted),
    "memory": ("memory", resident),
    "scale": ("scale", small_caches),
}


def write(results, place):
    written = []
    for name, (study, draw) in PLOTS.items():
        if study in results["studies"] and (svg := draw(results["studies"][study])):
            (place / f"{name}.svg").write_text(svg)
            written.append(f"{name}.svg")
    return written


def title(svg):
    return svg.partition('aria-label="')[2].partition('"')[0]
