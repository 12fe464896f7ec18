"""The requests that are sent through every door: accepted ones, and everything that is near them."""

from dataclasses import dataclass, field

HOST = "app.example"

# As clients would write them, and as servers behind a proxy might read them.
SPELLINGS = [
    "X-Vestibule-{}",
    "x-vestibule-{}",
    "X-VESTIBULE-{}",
    "x-VestiBule-{}",
    "X_Vestibule_{}",
    "x_vestibule_{}",
    "X-Vestibule_{}",
    "X_Vestibule-{}",
    "X_VESTIBULE_{}",
]
NAMES = [
    "Kind",
    "User-Id",
    "Authress-User-Id",
    "Email",
    "Role",
    "Account-Id",
    "Tenant-Id",
    "Scopes",
    "Assertion",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@dataclass
class Case:
    """One request. `host` none: no Host header."""

    name: str
    target: str = "/"
    method: str = "GET"
    headers: list = field(default_factory=list)
    host: str = HOST
    body: bytes = b""
    version: str = "1.1"
    # The path within `target`, where it is more than one.
    path: str = ""
    # Nobody can say what this asks for; no door may let it in.
    hopeless: bool = False
    # Proxies read it differently, each in its right: one may refuse what another asks about.
    ambiguous: bool = False

    def bytes(self, case_id):
        lines = [f"{self.method} {self.target} HTTP/{self.version}"]
        if self.host is not None:
            lines.append(f"Host: {self.host}")
        lines.append(f"X-Case: {case_id}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        sent = {name.lower() for name, _ in self.headers}
        if "connection" not in sent:
            lines.append("Connection: close")
        if self.body and "transfer-encoding" not in sent:
            lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


def bearer(token):
    return ("Authorization", f"Bearer {token}")


def cases(tokens):
    """All of them; `tokens` mints what is asked of it."""
    found = [
        case
        for group in (
            callers,
            refused_tokens,
            credentials,
            paths,
            hosts,
            methods,
            spoofed,
            questions,
            upgrades,
            bodies,
            sizes,
            not_http,
        )
        for case in group(tokens)
    ]
    names = [case.name for case in found]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"two cases of one name: {twice}"
    return found


def callers(t):
    """Whoever may come in somewhere, everywhere."""
    who = {
        "ada": t.ada,
        "alan": t.user("user_alan"),
        "grace": t.user("user_grace"),
        "robot": t.robot,
        "robot of Globex": t.client("sc_robot02"),
        "a user with scopes": t.user("user_ada", claims={"scope": "openid orders:write a,b x%y"}),
        "a user without scopes": t.user("user_ada", claims={"scope": None}),
    }
    for name, token in who.items():
        for path in ("/", "/public", "/people", "/robots/1", "/owners", "/billing", "/shop?a=b"):
            yield Case(f"{name} at {path}", path, headers=[bearer(token)])
        for method in ("GET", "POST", "DELETE"):
            yield Case(f"{name} does {method} orders", "/orders/1", method, [bearer(token)])


def refused_tokens(t):
    """Of each kind one, at a path that everybody may have and at one for whom it does not matter."""
    bad = {
        "expired": t.user("user_ada", expiresIn=-3600),
        "from the future": t.user("user_ada", claims={"iat": 4_000_000_000, "exp": 4_000_003_600}),
        "without exp": t.user("user_ada", claims={"exp": None}),
        "without sub": t.user("user_ada", claims={"sub": None}),
        "without iss": t.user("user_ada", claims={"iss": None}),
        "of another issuer": t.user("user_ada", claims={"iss": "https://evil.example"}),
        "of another tenant": t.user("user_ada", tenant="tenant_nowhere"),
        "of an unknown user": t.user("user_ada", claims={"sub": "user_mallory"}),
        "of a stranger's key": t.user("user_ada", signWith="stranger"),
        "tampered": t.user("user_ada", tamperSignature=True),
        "unsigned": t.user("user_ada", unsigned=True),
        "alg none": t.user("user_ada", header={"alg": "none"}),
        "alg HS256": t.user("user_ada", header={"alg": "HS256"}),
        "an unknown key": t.user("user_ada", header={"kid": "nowhere"}),
        "a path for a key": t.user("user_ada", header={"kid": "../../etc/passwd"}),
        "an embedded key": t.user("user_ada", header={"jwk": {"kty": "OKP"}}),
        "a critical header": t.user("user_ada", header={"crit": ["exp"]}),
        "no JSON inside": t.user("user_ada", rawClaims="{"),
        "a list inside": t.user("user_ada", rawClaims="[]"),
        "an ID token": t.mint(user="user_ada", kind="id_token"),
        "an assertion": t.assertion,
        "a robot's, expired": t.client("sc_robot01", expiresIn=-3600),
        "a robot's, of another's key": t.client("sc_robot01", signWith="sc_robot02"),
        "a robot's, tampered": t.client("sc_robot01", tamperSignature=True),
    }
    for name, token in bad.items():
        for path in ("/", "/public/a"):
            yield Case(f"token {name} at {path}", path, headers=[bearer(token)])


def credentials(t):
    """The header itself."""
    good = t.ada
    for name, values in {
        "none": [],
        "empty": [""],
        "scheme alone": ["Bearer"],
        "scheme and a space": ["Bearer "],
        "no scheme": [good],
        "lower case scheme": [f"bearer {good}"],
        "upper case scheme": [f"BEARER {good}"],
        "two spaces": [f"Bearer  {good}"],
        "a tab": [f"Bearer\t{good}"],
        "basic": ["Basic YWRhOmFkYQ=="],
        "basic with a token": [f"Basic {good}"],
        "two tokens in one": [f"Bearer {good}, Bearer {good}"],
        "two tokens": [f"Bearer {good}", f"Bearer {good}"],
        "a good and a bad one": [f"Bearer {good}", "Bearer nonsense"],
        "a bad and a good one": ["Bearer nonsense", f"Bearer {good}"],
        "a good and an empty one": [f"Bearer {good}", ""],
        "something behind": [f"Bearer {good} x"],
        "a comma behind": [f"Bearer {good},"],
        "no dots": ["Bearer abc"],
        "dots alone": ["Bearer .."],
        "a fourth part": [f"Bearer {good}.x"],
        "latin-1": ["Bearer \xe4\xf6\xfc"],
        "a quote": [f'Bearer "{good}"'],
        "a percent sign": [f"Bearer %{good}"],
        "a format string": ["Bearer %s%n%[path]$host{http.request.uri}"],
        "a Lua string": ['Bearer ]]" .. os.exit() .. "'],
    }.items():
        headers = [("Authorization", value) for value in values]
        yield Case(f"credentials: {name}", headers=headers)
        if len(values) == 1:
            lower = [("authorization", values[0])]
            yield Case(f"credentials in lower case: {name}", "/people", headers=lower)
    for name in ("Proxy-Authorization", "X-Authorization", "Authorization_", "HTTP_AUTHORIZATION"):
        yield Case(f"credentials in {name}", headers=[(name, f"Bearer {good}")])
    yield Case("credentials in a cookie", headers=[("Cookie", f"authorization={good}")])
    yield Case("credentials in the query", f"/?access_token={good}")
    yield Case("Connection names Authorization", headers=[bearer(good), ("Connection", "close, Authorization")], ambiguous=True)
    yield Case("folded credentials", headers=[("Authorization", f"Bearer\r\n {good}")])


STRANGE = [
    "/a%2Fb", "/a%2fb", "/a%5Cb", "/a%5cb", "/a\\b", "/a;b", "/a;b=c/d", "/a%3Bb", "//", "//a", "/a//b", "/a//",
    "/./a", "/a/.", "/a/./b", "/../a", "/a/..", "/a/../b", "/%2e/a", "/a/%2e%2e/b", "/a/%2E%2E/b", "/a/.%2e/b",
    "/..%2fa", "/..;/a", "/a%252Fb", "/a%25", "/a%2", "/a%", "/a%zz", "/a%00b", "/a%0ab", "/a%0d%0ab", "/a%7fb",
    "/a%ffb", "/a%c0%afb", "/a%e4", "/%C3%A4", "/\xc3\xa4", "/a\x7fb", "/a\x01b", "/a b", "/a?b", "/a?b=%2F..%2F",
    "/a?b?c", "/a?", "/a#b", "/a%23b", "/a%3Fb", "/a+b", "/a%20b", "/a'b", '/a"b', "/a<b>", "/a|b", "/a{b}", "/a^b",
    "/a`b", "/a*b", "/a:b", "/a@b", "/a,b", "/a&b", "/a=b", "/a~b", "/a!b", "/a$b", "/a(b)", "/[a]", "/A%41", "/%61",
    "/$request_uri", "/{http.request.uri}", "/%[path]",
]  # fmt: skip
BELOW_PUBLIC = [
    "/public/../people", "/public/%2e%2e/people", "/public/..%2fpeople", "/public%2f..%2fpeople", "/public/..;/people",
    "/public/;/../people", "/public\\..\\people", "/public//../people", "/public/./people", "/publicity", "/Public",
    "/PUBLIC", "/public%20", "/public%00", "/public?x=/people", "/public#/people", "/people?/public", "/people/public",
    "/people#/public", "/%70ublic", "/publi%63/a", "/public;a", "/public%3ba", "//public", "/people/../public",
    "/public%2fa", "/public%5c..%5cpeople", "/public%252f..%252fpeople", "/public/a/../../owners",
]  # fmt: skip


def paths(t):
    """Proxy, rules and application have to read each alike."""
    for path in STRANGE:
        yield Case(f"path {path!r}", path, headers=[bearer(t.ada)])
        yield Case(f"path {'/odd' + path!r}", "/odd" + path, headers=[bearer(t.ada)])
    for path in BELOW_PUBLIC:
        yield Case(f"path {path!r} without a token", path, ambiguous="#" in path)
        yield Case(f"path {path!r} with a robot's token", path, headers=[bearer(t.robot)])


def hosts(t):
    for host in (
        "owners.example", "OWNERS.example", "owners.example:80", "owners.example.", "a.public.example",
        "a.public.example:8000", "public.example", "a.public.example.evil.example", "127.0.0.1", "[::1]", "",
        "a.public.example,app.example", "app.example a.public.example", "a.public.example/", "x@a.public.example",
    ):  # fmt: skip
        yield Case(f"host {host!r}", host=host)
        yield Case(f"host {host!r} with a token", host=host, headers=[bearer(t.ada)])
    yield Case("no host", host=None, headers=[bearer(t.ada)])
    yield Case("HTTP/1.0 without a host", host=None, version="1.0", headers=[bearer(t.ada)])
    yield Case("HTTP/1.0", version="1.0", headers=[bearer(t.ada)])
    public = ("Host", "a.public.example")
    yield Case("two hosts", headers=[public])
    yield Case("a host in the target", "http://app.example/people", path="/people", headers=[bearer(t.ada)])
    yield Case("another host in the target", "http://a.public.example/people", path="/people", host="app.example")
    yield Case("another host behind the target", "http://app.example/x", path="/x", host="a.public.example", ambiguous=True)
    for name in ("X-Forwarded-Host", "X_Forwarded_Host", "X-Original-Host", "Forwarded"):
        value = "host=a.public.example" if name == "Forwarded" else "a.public.example"
        yield Case(f"the client's {name}", headers=[(name, value)])


def methods(t):
    for method in [*METHODS, "TRACE", "PROPFIND", "PURGE", "get", "FOO"]:
        for path in ("/", "/orders", "/robots"):
            yield Case(f"method {method} at {path}", path, method, [bearer(t.ada)])
    yield Case("CONNECT", "app.example:443", "CONNECT", [bearer(t.ada)], hopeless=True)
    yield Case("OPTIONS *", "*", "OPTIONS", [bearer(t.ada)])
    # Had they been believed, Ada could do what takes a scope she has not, or a stranger anything.
    for name, value in {
        "X-Forwarded-Method": "GET", "X-Original-Method": "GET", "X-HTTP-Method-Override": "GET",
        "X_Forwarded_Method": "GET", "X-Forwarded-Uri": "/public", "X-Original-URI": "/public",
        "X_Original_URI": "/public", "X-Original-URL": "/public", "X-Rewrite-URL": "/public",
        "X-Forwarded-Prefix": "/public", "X-Forwarded-For": "127.0.0.9", "X-Real-IP": "127.0.0.9",
    }.items():  # fmt: skip
        yield Case(f"the client's {name}", "/orders/1", "POST", [bearer(t.ada), (name, value)])
        yield Case(f"the client's {name}, no token", "/people", headers=[(name, value)])
        yield Case(f"the client's {name}, twice", "/people", headers=[bearer(t.ada), (name, value), (name, "/x")])


def spoofed(t):
    """Identity headers of the client's own, in every spelling."""
    for name in NAMES:
        for spelling in SPELLINGS:
            header = (spelling.format(name if "_" not in spelling else name.replace("-", "_")), "spoofed")
            yield Case(f"spoofed {header[0]}", "/people", headers=[header, bearer(t.ada)])
            yield Case(f"spoofed {header[0]}, public", "/public", headers=[header])
    every = [(f"X-Vestibule-{name}", "spoofed") for name in NAMES]
    yield Case("all spoofed", "/people", headers=[bearer(t.ada), *every])
    yield Case("all spoofed, public", "/public", headers=every)
    yield Case("all spoofed, twice", "/people", headers=[*every, bearer(t.robot), *every])
    yield Case("all spoofed, twice, a robot", "/robots", headers=[*every, bearer(t.robot), *every])
    yield Case("spoofed without a token", "/people", headers=every)
    yield Case("spoofed and empty", "/people", headers=[bearer(t.ada)] + [(name, "") for name, _ in every])
    names = ", ".join(name for name, _ in every)
    yield Case("Connection names ours", "/people", headers=[bearer(t.ada), ("Connection", f"close, {names}")])
    yield Case("spoofed with a space", "/people", headers=[bearer(t.ada), ("X-Vestibule-Role ", "spoofed")])
    yield Case("spoofed and folded", "/people", headers=[bearer(t.ada), ("A", "b\r\n X-Vestibule-Role: spoofed")])
    yield Case("spoofed behind a bare LF", "/people", headers=[bearer(t.ada), ("A", "b\nX-Vestibule-Role: spoofed")])
    yield Case("spoofed behind a bare CR", "/people", headers=[bearer(t.ada), ("A", "b\rX-Vestibule-Role: spoofed")])
    for name in ("X-Vestibule-Code", "X-Vestibule-Other", "X-Vestibule_Other", "x_vestibule_other", "X_VESTIBULE-OTHER", "X-Vestibule-"):
        yield Case(f"a spoofed {name}", "/people", headers=[bearer(t.ada), (name, "spoofed")])
    yield Case("an assertion of ours", "/people", headers=[bearer(t.ada), ("X-Vestibule-Assertion", t.assertion)])
    yield Case("an assertion alone", "/people", headers=[("X-Vestibule-Assertion", t.assertion)])


def questions(t):
    """Preflights, and what only looks like one."""
    asks = [("Origin", "https://shop.example"), ("Access-Control-Request-Method", "POST")]
    yield Case("a preflight", "/shop", "OPTIONS", asks)
    yield Case("a preflight elsewhere", "/people", "OPTIONS", asks)
    yield Case("a preflight without an origin", "/shop", "OPTIONS", asks[1:])
    yield Case("a preflight without a method", "/shop", "OPTIONS", asks[:1])
    yield Case("a preflight by GET", "/shop", "GET", asks)
    yield Case("a preflight with a bad token", "/shop", "OPTIONS", [*asks, ("Authorization", "Bearer nonsense")])
    yield Case("a preflight, spoofed", "/shop", "OPTIONS", [*asks, ("X-Vestibule-Role", "spoofed")])


def upgrades(t):
    websocket = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ]
    yield Case("websocket", "/people", headers=[bearer(t.ada), *websocket])
    yield Case("websocket without a token", "/people", headers=websocket)
    yield Case("websocket with a bad token", "/people", headers=[("Authorization", "Bearer nonsense"), *websocket])
    yield Case("websocket, public and spoofed", "/public", headers=[("X-Vestibule-Role", "spoofed"), *websocket])
    h2c = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")]
    yield Case("h2c", "/people", headers=[bearer(t.ada), *h2c])
    yield Case("h2c without a token", "/people", headers=h2c)


def bodies(t):
    for method in ("POST", "PUT", "PATCH", "DELETE", "GET"):
        yield Case(f"{method} with a body", "/people", method, [bearer(t.ada)], body=b"x" * 1000)
        yield Case(f"{method} with a body, no token", "/people", method, body=b"x" * 1000)
    yield Case("a large body", "/people", "POST", [bearer(t.ada)], body=b"x" * 300_000)
    yield Case("a large body, no token", "/people", "POST", body=b"x" * 300_000)
    chunked = ("Transfer-Encoding", "chunked")
    yield Case("chunks", "/people", "POST", [bearer(t.ada), chunked], body=b"3\r\nabc\r\n0\r\n\r\n")
    yield Case("chunks, no token", "/people", "POST", [chunked], body=b"3\r\nabc\r\n0\r\n\r\n")
    both = [bearer(t.ada), chunked, ("Content-Length", "5")]
    yield Case("chunks and a length", "/people", "POST", both, body=b"0\r\n\r\n")
    yield Case("two lengths", "/people", "POST", [bearer(t.ada), ("Content-Length", "7")], body=b"hello", hopeless=True)


def sizes(t):
    for length in (1_000, 4_000, 8_192, 8_193, 12_000):
        yield Case(f"a token of {length} bytes", headers=[bearer("a" * length)])
        long = t.user("user_ada", claims={"note": "n" * (length // 4 * 3)})
        yield Case(f"a signed token of about {length} bytes", headers=[bearer(long)])
    many = " ".join(f"scope{n:03}" for n in range(400))
    yield Case("many scopes", headers=[bearer(t.user("user_ada", claims={"scope": many}))])
    yield Case("a path of 4000 bytes", "/" + "a" * 4_000, headers=[bearer(t.ada)])
    yield Case("many headers", headers=[bearer(t.ada)] + [(f"X-Other-{n}", "x" * 50) for n in range(60)])
    yield Case("a header of 60000 bytes", headers=[bearer(t.ada), ("X-Other", "x" * 60_000)])


def not_http(t):
    """Nobody can say what these ask for."""
    good = [bearer(t.ada)]
    yield Case("no path", "people", headers=good, hopeless=True)
    yield Case("an empty path", "", headers=good, hopeless=True)
    yield Case("HTTP/3.0", version="3.0", headers=good)
    yield Case("no version", version="", headers=good, hopeless=True)
    yield Case("a header without a name", headers=[*good, ("", "x")])
    yield Case("a NUL in a header", headers=[*good, ("A", "b\0c")])
