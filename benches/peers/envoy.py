"""Envoy's jwt_authn, which knows EdDSA and can remember verified tokens; and Envoy that asks nobody."""

import json

from peers import Served
from processes import free_port

ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


def jwt_authn(provider, remembered):
    rules = {
        "issuer": provider.url,
        "local_jwks": {"inline_string": json.dumps(provider.keys())},
        **({"jwt_cache_config": {"jwt_cache_size": remembered}} if remembered else {}),
    }
    return {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"authress": rules},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "authress"}}],
        },
    }


def configuration(port, filters, headers, body):
    added = [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in headers
        if key not in ("date", "content-length", "connection")
    ]
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": body.decode()}},
        "response_headers_to_add": added,
    }
    connections = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "http_filters": [*filters, ROUTER],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]}
        ],
    }
    return {"static_resources": {"listeners": [listener]}}


def start(bench, name, filters, headers, body):
    port, file = free_port(), bench.work / f"{name}.json"
    file.write_text(json.dumps(configuration(port, filters, headers, body)))
    # Several on one machine share memory, unless told not to.
    command = [
        bench.python / "envoy",
        "-c",
        file,
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
    ]
    return Served(port, bench.processes.serve(bench.core, command, port, bench.work / f"{name}.log"))
