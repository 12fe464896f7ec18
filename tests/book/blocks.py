"""What a page shows: its fenced blocks, and the commands in them."""

import re
from dataclasses import dataclass, field

# Languages of what is to be pasted into a shell.
SHELLS = ("console", "sh", "bash", "shell")


@dataclass
class Step:
    """One command, and the lines that the page shows below it."""

    command: str
    shown: list = field(default_factory=list)


@dataclass
class Block:
    page: str
    line: int
    heading: str
    language: str
    text: str

    @property
    def first(self):
        return self.text.split("\n")[0]

    @property
    def where(self):
        return f"{self.page}:{self.line}"

    def steps(self):
        """Each command of a `console` block; another one is a script, run as one."""
        if self.language != "console":
            return [Step(self.text)]
        steps = []
        for line in self.text.split("\n"):
            if line.startswith("$ "):
                steps.append(Step(line[2:]))
            elif steps and steps[-1].command.endswith("\\") and not steps[-1].shown:
                steps[-1].command += "\n" + line
            elif steps and line.startswith("> ") and not steps[-1].shown:
                steps[-1].command += "\n" + line[2:]
            elif steps:
                steps[-1].shown.append(line)
        return steps


def blocks(page, text):
    found, heading, fence = [], "", None
    for number, line in enumerate(text.split("\n"), 1):
        mark = re.match(r"(```+)(.*)$", line)
        if fence and mark and mark[1] == fence and not mark[2]:
            found[-1].text = "\n".join(lines)
            fence = None
        elif fence:
            lines.append(line)
        elif mark:
            fence, lines = mark[1], []
            found.append(Block(page, number, heading, mark[2].split(",")[0].strip(), ""))
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    return found


def says(said, shown):
    """Whether a command said what the page shows. A lone … stands for any lines, one within a line for any
    text; how many spaces there are does not count, as columns are as wide as what is in them."""
    pattern = ""
    for line in shown:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        else:
            pattern += re.escape(" ".join(line.split())).replace("…", ".+") + r"\n"
    text = "".join(" ".join(line.split()) + "\n" for line in said.strip().split("\n")) if said.strip() else ""
    return re.fullmatch(pattern, text) is not None
