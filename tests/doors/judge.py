"""What may happen to a request at a door, and what happened."""

import base64
import json

# What a proxy says by itself, without asking, to what it does not take for a request.
OWN = {0, 400, 403, 404, 405, 408, 411, 413, 414, 426, 431, 501, 505}


class Verdict:
    """What vestibule says when it is asked without a proxy."""

    def __init__(self, answer):
        self.status = answer.status
        self.allowed = answer.status == 200
        self.code = answer.header("x-vestibule-code")
        self.identity = identity(answer.headers) if self.allowed else {}

    def __str__(self):
        return f"{self.status} {self.code}".strip()


def identity(headers):
    """The identity headers and the facts of the assertion; an assertion's times are its own."""
    found = {}
    for name, value in headers:
        name = name.lower()
        if name.startswith("x-vestibule-") and name not in ("x-vestibule-code",):
            found.setdefault(name, []).append(facts(value) if name == "x-vestibule-assertion" else value)
    return found


def facts(assertion):
    try:
        part = assertion.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return assertion
    return {name: value for name, value in claims.items() if name not in ("iat", "exp")}


def judge(case, expected, answer, seen, ask, pinned, nginx, passes):
    """(what it comes to, what is wrong with it). `ask` asks about a request as the application saw it."""
    if seen is None:
        return refused(case, expected, answer, pinned)
    wrong = []
    as_seen = expected
    path = case.path or case.target
    rewritten = not expected.allowed or (seen.method, seen.target) not in (
        (case.method, case.target),
        (case.method, path),
    )
    if rewritten:
        as_seen = ask(seen)
    if not as_seen.allowed:
        wrong.append(f"let in as {seen.method} {seen.target}, which vestibule refuses: {as_seen}")
    arrived = [(name, value) for name, value in seen.identity() if name.lower() not in passes]
    wanted = as_seen.identity
    if nginx:
        # It sends no header that is empty.
        wanted = {name: values for name, values in wanted.items() if values != [""]}
    if identity(arrived) != wanted:
        wrong.append(f"identity {identity(arrived)} instead of {wanted}")
    if len(arrived) != len(wanted):
        wrong.append(f"headers that read as ours: {[name for name, _ in arrived]}")
    if any("spoofed" in value for _, value in arrived):
        wrong.append("a spoofed header arrived")
    if len(case.body) > 100 and seen.body != len(case.body):
        wrong.append(f"a body of {seen.body} bytes")
    if answer.status != 200:
        wrong.append(f"status {answer.status} though the application was reached")
    if case.hopeless:
        wrong.append("let in")
    return ("allowed as rewritten" if rewritten else "allowed"), wrong


def refused(case, expected, answer, pinned):
    code = answer.header("x-vestibule-code")
    if answer.status is None:
        return "silence", ["no answer in time"]
    if code and isinstance(pinned, tuple):
        wrong = [] if (answer.status, code) == pinned else [f"{answer.status} {code} instead of {pinned}"]
        return "refused", wrong
    if not code and pinned is not None:
        wrong = [] if answer.status == pinned else [f"the proxy's own answer is {answer.status} instead of {pinned}"]
        return "refused by itself", wrong
    if not code and answer.status in OWN and not expected.allowed:
        # The proxy did not ask, or vestibule has no such place.
        return "refused by itself", []
    if expected.allowed:
        wrong = [] if case.ambiguous and code else [f"{answer.status} {code}, vestibule would let it in"]
        return "refused", wrong
    if (answer.status, code) != (expected.status, expected.code) and expected.code and not case.hopeless:
        return "refused", [f"{answer.status} {code} instead of {expected}"]
    if answer.status == 401 and not answer.header("www-authenticate"):
        return "refused", ["401 without a challenge"]
    return "refused", []
