"""Renews the figures of docs/performance.md: what stands between two markers is written here alone.

<!-- bench: NAME -->
…
<!-- bench end -->
"""

import re
import shutil

import plan
import plot
import table
from processes import Failed

NOT_YET = "*Not measured yet.*"


def write(results, place, docs):
    page = docs / "performance.md"
    page.write_text(fill(page.read_text(), results))
    plots = docs / "performance"
    plots.mkdir(exist_ok=True)
    for name in plot.PLOTS:
        if (place / f"{name}.svg").exists():
            shutil.copyfile(place / f"{name}.svg", plots / f"{name}.svg")


def fill(page, results):
    def renewed(found):
        return f"<!-- bench: {found[1]} -->\n{part(found[1], results)}\n<!-- bench end -->"

    return re.sub(r"<!-- bench: ([\w-]+) -->\n.*?<!-- bench end -->", renewed, page, flags=re.S)


def part(name, results):
    studies = results["studies"]
    if name == "machine":
        return table.machine(results).replace("\n", ".\n") + "." if "machine" in results else NOT_YET
    if name == "aims":
        return aims(studies)
    if name == "plan":
        return plan.markdown(studies) or NOT_YET
    if name not in table.TABLES:
        raise Failed(f"docs/performance.md asks for {name}, which is no study")
    if name not in studies:
        return NOT_YET
    study = studies[name]
    shown = [table.markdown(name, results), f"*{study['measured']['date']}, {study['measured']['commit']}*"]
    for file, (of, draw) in plot.PLOTS.items():
        if of == name and draw(study):
            shown.append(f"![{plot.title(draw(study))}](performance/{file}.svg)")
    return "\n\n".join(shown)


def aims(studies):
    rows = [
        f"| {aim['aim']} | {table.figure(aim['value'])} {aim['unit']} | {'yes' if aim['holds'] else '**no**'} |"
        for name in table.TABLES
        if name in studies
        for aim in studies[name]["aims"]
    ]
    return "\n".join(["| aimed at | measured | holds |", "| --- | ---: | --- |", *rows]) if rows else NOT_YET
