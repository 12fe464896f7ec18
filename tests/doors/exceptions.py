"""What a proxy answers by itself, before it asks, where vestibule would let the request in.

Stricter is fine, but must not come and go unseen: each is pinned, with the proxy's own status. The
one that a proxy grants by itself reaches no application either.
"""

ENVOY = ("envoy-http", "envoy-grpc")
NGINX = ("nginx", "nginx-more")
ALL = (*NGINX, "caddy", "haproxy", *ENVOY)
BUT_HAPROXY = (*NGINX, "caddy", *ENVOY)

# It asks about another path than it was asked for, `%23` in place of `#`, and hands on the same: so
# vestibule's reason is another one.
REWRITTEN = (401, "missing_token")

# Request: {status: doors}
TABLE = {
    "Connection names ours": {400: ("caddy", *ENVOY)},
    "HTTP/1.0": {426: ENVOY},
    "HTTP/1.0 without a host": {426: ENVOY},
    "HTTP/3.0": {505: (*NGINX, "caddy"), 426: ENVOY},
    "OPTIONS *": {200: ("caddy",)},
    "a NUL in a header": {400: BUT_HAPROXY},
    "a header of 60000 bytes": {400: (*NGINX, "haproxy"), 500: ENVOY},
    "a header without a name": {400: (*NGINX, "haproxy", *ENVOY)},
    "another host behind the target": {400: ("haproxy",)},
    "chunks and a length": {400: (*NGINX, *ENVOY)},
    "host '' with a token": {400: NGINX},
    "host 'a.public.example/' with a token": {400: BUT_HAPROXY},
    "host 'app.example a.public.example'": {400: BUT_HAPROXY},
    "host 'app.example a.public.example' with a token": {400: BUT_HAPROXY},
    "host 'x@a.public.example'": {400: ("caddy",)},
    "host 'x@a.public.example' with a token": {400: ("caddy",)},
    "method FOO at /": {400: ENVOY},
    "method FOO at /orders": {400: ENVOY},
    "method TRACE at /": {405: NGINX},
    "method TRACE at /orders": {405: NGINX},
    "method get at /": {400: (*NGINX, *ENVOY)},
    "method get at /orders": {400: (*NGINX, *ENVOY)},
    "no host": {400: BUT_HAPROXY},
    "no version": {400: ALL},
    "path '/a b'": {400: ALL},
    "path '/a#b'": {400: ("haproxy", *ENVOY)},
    "path '/a<b>'": {400: ("envoy-http",)},
    "path '/a`b'": {400: ("envoy-http",)},
    "path '/odd/a b'": {400: ALL},
    "path '/odd/a#b'": {400: ("haproxy", *ENVOY)},
    "path '/odd/a<b>'": {400: ("envoy-http",)},
    "path '/odd/a`b'": {400: ("envoy-http",)},
    "path '/public#/people' with a robot's token": {400: ("haproxy", *ENVOY)},
    "path '/people#/public' without a token": {REWRITTEN: ("caddy",)},
    "path '/public#/people' without a token": {400: ("haproxy", *ENVOY), REWRITTEN: ("caddy",)},
    "spoofed and folded": {400: NGINX},
    "spoofed behind a bare CR": {400: (*NGINX, "caddy", "haproxy")},
    "spoofed with a space": {400: ALL},
    "two lengths": {400: ALL},
}

BY_ITSELF = {
    door: {name: status for name, rows in TABLE.items() for status, doors in rows.items() if door in doors}
    for door in ALL
}

# Names that nobody sends, and that nginx without headers-more cannot delete.
PASSES = {"nginx": {"x-vestibule-", "x-vestibule-other"}}
