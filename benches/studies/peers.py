"""Whole servers, each on the same core, all asked in turns within one run."""

import load
from entrance import AUTHORIZE, ME, Entrance, Provider, bearer, show
from line import one
from load import Target, in_turns, ratio
from peers import bare, by_hand, envoy, haproxy
from processes import Failed
from studies import at_least

TOKENS = 1000


def measure(bench):
    provider = Provider(bench)
    tokens = provider.tokens(TOKENS)
    file = load.write(tokens, bench.work / "tokens")
    ours = Entrance(bench, provider, "vestibule").start()
    answers = {path: one(ours.port, bearer(path, tokens[0])) for path in (ME, AUTHORIZE)}
    for path, (status, _, body) in answers.items():
        if status != 200:
            raise Failed(f"{path} answers {status}: {body!r}")
    _, headers, body = answers[ME]

    def target(name, served, path=ME, with_tokens=file):
        return Target(name, f"http://127.0.0.1:{served.port}{path}", with_tokens, served.process)

    def plain(name, path):
        served = bare.start(bench, f"bare-{path.rpartition('/')[2]}", *answers[path][1:])
        same(answers[path], one(served.port, bearer(path, tokens[0])))
        return target(name, served, path)

    me, authorize = target("vestibule, /v1/me", ours), target("vestibule, /v1/authorize", ours, AUTHORIZE)
    bare_me, bare_authorize = (
        plain("bare axum, the bytes of /v1/me", ME),
        plain("bare axum, the bytes of /v1/authorize", AUTHORIZE),
    )
    for path in (ME, AUTHORIZE):
        ours.show(tokens, path)
    in_turns(bench, [me, bare_me, authorize, bare_authorize], *bench.rounds(9, 1))

    others, absent = [], []

    def peer(name, start):
        """One that cannot be started is named, and the others are measured."""
        try:
            others.append(start(name))
        except (Failed, OSError) as problem:
            absent.append({"peer": name, "problem": str(problem)})
            bench.say(f"  {name}: not measured: {problem}")
            return None
        return others[-1]

    def enters(served, with_tokens=tokens):
        """A good token gets in everywhere, and where tokens are looked at a broken one does not."""
        # Envoy ends a connection on which more than a few requests wait.
        show(served.port, ME, with_tokens, at_once=1)
        head, claims, signature = with_tokens[0].split(".")
        flipped = "B" if signature[0] == "A" else "A"
        status = one(served.port, bearer(ME, f"{head}.{claims}.{flipped}{signature[1:]}"))[0]
        if status != 401:
            raise Failed(f"a forged token is answered {status}")
        return served

    def hands(algorithm):
        def start(name):
            key, signed = haproxy.tokens(bench, algorithm, TOKENS)
            served = haproxy.start(bench, algorithm, key, headers, body)
            return target(name, enters(served, signed.read_text().split()), with_tokens=signed)

        return start

    def remembering(name):
        filters = [envoy.jwt_authn(provider, 10 * TOKENS)]
        return target(name, enters(envoy.start(bench, "envoy-cache", filters, headers, body)))

    def forgetting(name):
        filters = [envoy.jwt_authn(provider, 0)]
        return target(name, enters(envoy.start(bench, "envoy", filters, headers, body)))

    def fastapi(name):
        return target(name, enters(by_hand.start(bench, provider, bench.environment)))

    again = target("vestibule, /v1/me", enters(ours))
    cached = peer("Envoy jwt_authn, verified tokens remembered", remembering)
    peer("Envoy jwt_authn, each token verified", forgetting)
    peer("Envoy, no authentication", lambda name: target(name, envoy.start(bench, "envoy-plain", [], headers, body)))
    peer("HAProxy jwt_verify, ES256", hands("ES256"))
    peer("HAProxy jwt_verify, RS256", hands("RS256"))
    workflow = peer("FastAPI, SDK, SQLAlchemy: both caches on", fastapi)
    in_turns(bench, [again, *others], *bench.rounds(5, 2))

    to_bare = {ME: ratio(me, bare_me), AUTHORIZE: ratio(authorize, bare_authorize)}
    ratios = {other.name: ratio(again, other) for other in others}
    aims = [
        at_least("/v1/me ≥ 0.90 × bare axum with the same bytes", to_bare[ME]["median"], 0.90),
        at_least("/v1/authorize ≥ 0.95 × bare axum with the same bytes", to_bare[AUTHORIZE]["median"], 0.95),
    ]
    for other, text, times in (
        (cached, "≥ 4 × Envoy with its cache of verified tokens", 4),
        (workflow, "≥ 100 × the workflow in FastAPI, both caches on", 100),
    ):
        if other:
            aims.append(at_least(text, ratios[other.name]["median"], times))
    return {
        "tokens": TOKENS,
        "connections": load.CONNECTIONS,
        "against_bare": [
            {"name": one.name, **one.record(), "ours_to_it": to_it}
            for one, to_it in (
                (me, None),
                (bare_me, to_bare[ME]),
                (authorize, None),
                (bare_authorize, to_bare[AUTHORIZE]),
            )
        ],
        "against_peers": [
            {"name": one.name, **one.record(), "ours_to_it": ratios.get(one.name)} for one in (again, *others)
        ],
        "absent": absent,
        "aims": aims,
    }


def same(ours, theirs):
    """Byte for byte, but for the order of the headers and the time."""
    told = [
        (status, sorted(header for header in headers if header[0] != "date"), body)
        for status, headers, body in (ours, theirs)
    ]
    if told[0] != told[1]:
        raise Failed(f"bare axum does not return the same bytes: {told[0]} and {told[1]}")
