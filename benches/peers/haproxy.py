"""HAProxy's jwt_verify: no EdDSA, and no memory of tokens."""

import subprocess

from peers import Served
from processes import Failed, free_port

ISSUER = "https://auth.example.com"

# What else a token has to say is asked too: a signature alone lets nobody in.
CONFIGURATION = """
global
    nbthread 1
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend entrance
    bind 127.0.0.1:{port}
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str {algorithm} }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {issuer} }}
    http-request set-var(txn.now) date()
    http-request set-var(txn.left) var(txn.bearer),jwt_payload_query('$.exp','int'),sub(txn.now)
    http-request deny deny_status 401 if {{ var(txn.left) -m int le 0 }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{key}") 1 }}
    http-request return status 200 content-type application/json file {body} {headers}
"""


def tokens(bench, algorithm, count):
    """The public key and the tokens, both as files: made in the environment of the peers."""
    key, file = bench.work / f"{algorithm}.pem", bench.work / f"{algorithm}.tokens"
    command = [bench.python / "python", bench.here / "peers" / "signed.py", algorithm, str(count), ISSUER, key, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise Failed(f"tokens for HAProxy: {done.stderr}")
    return key, file


def start(bench, algorithm, key, headers, body):
    port, name = free_port(), f"haproxy-{algorithm}"
    (bench.work / f"{name}.body").write_bytes(body)
    own = ("date", "content-length", "content-type", "connection")
    added = " ".join(f'hdr {name} "{value}"' for name, value in headers if name not in own)
    file = bench.work / f"{name}.cfg"
    file.write_text(
        CONFIGURATION.format(
            port=port, algorithm=algorithm, issuer=ISSUER, key=key, body=bench.work / f"{name}.body", headers=added
        )
    )
    return Served(
        port,
        bench.processes.serve(
            bench.core, [bench.programs["haproxy"], "-db", "-f", file], port, bench.work / f"{name}.log"
        ),
    )
