//! The request that a proxy asks about, from how each of them says it.
//!
//! | proxy | method | host | path and query |
//! | --- | --- | --- | --- |
//! | nginx (`auth_request`), as configured | `X-Original-Method` | `X-Forwarded-Host` | `X-Original-URI` |
//! | Caddy (`forward_auth`), Traefik (`forwardAuth`) | `X-Forwarded-Method` | `X-Forwarded-Host` | `X-Forwarded-Uri` |
//! | HAProxy, as configured | `X-Forwarded-Method` | `X-Forwarded-Host` | `X-Forwarded-Uri` |
//! | Envoy (`ext_authz`, HTTP) | its own | `Host` | behind `/v1/authorize` |
//! | Envoy (`ext_authz`, gRPC) | in the check | in the check | in the check |
//!
//! A proxy that sets one of these may let the client's own copy of another through. Two that say
//! different things are therefore refused: nobody knows which one is the proxy's.

use axum::http::{HeaderMap, HeaderName, Method, Uri, header::HOST};

const METHOD: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-original-method"),
];
const TARGET: [HeaderName; 2] = [
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-original-uri"),
];
const FORWARDED_HOST: [HeaderName; 1] = [HeaderName::from_static("x-forwarded-host")];

/// Every header that a decision by rules may read of the original request.
pub(super) fn headers() -> impl Iterator<Item = HeaderName> {
    let forwarded = METHOD.into_iter().chain(TARGET).chain(FORWARDED_HOST);
    forwarded.chain([HOST])
}

/// Where checks are asked; what follows it is the original path.
const AUTHORIZE: &str = "/v1/authorize";

/// What was asked of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginalRequest {
    /// As it was sent.
    pub(crate) method: String,
    /// As in a `Host` header; empty where nobody said it.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) target: String,
}

/// Two headers, or two copies of one, say different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

impl OriginalRequest {
    /// From a request to `/v1/authorize` or below. Headers count only where the peer that sent
    /// them is `trusted`; from anybody else the request speaks for itself.
    ///
    /// None where nothing says what was asked for.
    ///
    /// # Errors
    /// Two places say different things.
    pub(crate) fn of(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        trusted: bool,
    ) -> Result<Option<Self>, Contradiction> {
        let said = |names: &[HeaderName]| match trusted {
            true => one(headers, names),
            false => Ok(None),
        };
        let below = uri
            .path_and_query()
            .and_then(|all| all.as_str().strip_prefix(AUTHORIZE))
            .filter(|rest| rest.starts_with('/'));
        let target = match (said(&TARGET)?, below) {
            (Some(header), Some(below)) if header != below => return Err(Contradiction),
            (Some(target), _) | (None, Some(target)) => target,
            (None, None) => return Ok(None),
        };
        let host = match said(&FORWARDED_HOST)? {
            Some(host) => host,
            None => one(headers, &[HOST])?.unwrap_or_default(),
        };
        Ok(Some(Self {
            method: said(&METHOD)?.unwrap_or(method.as_str()).to_owned(),
            host: host.to_owned(),
            target: target.to_owned(),
        }))
    }
}

/// What all copies of all these headers say.
fn one<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Result<Option<&'a str>, Contradiction> {
    let mut values = names.iter().flat_map(|name| headers.get_all(name));
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != first) {
        return Err(Contradiction);
    }
    first.to_str().map(Some).map_err(|_| Contradiction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        target: &str,
        headers: &[(&'static str, &str)],
        trusted: bool,
    ) -> Result<Option<OriginalRequest>, Contradiction> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        OriginalRequest::of(&Method::GET, &target.parse().unwrap(), &headers, trusted)
    }

    fn original(method: &str, host: &str, target: &str) -> OriginalRequest {
        OriginalRequest {
            method: method.to_owned(),
            host: host.to_owned(),
            target: target.to_owned(),
        }
    }

    #[test]
    fn each_proxy_is_understood() {
        for (at, headers, expected) in [
            (
                "/v1/authorize",
                &[
                    ("x-original-method", "POST"),
                    ("x-original-uri", "/orders?a=b"),
                    ("x-forwarded-host", "api.acme.example"),
                    ("host", "127.0.0.1:8080"),
                ][..],
                original("POST", "api.acme.example", "/orders?a=b"),
            ),
            (
                "/v1/authorize",
                &[
                    ("x-forwarded-method", "PUT"),
                    ("x-forwarded-uri", "/orders/1"),
                    ("x-forwarded-host", "api.acme.example"),
                ],
                original("PUT", "api.acme.example", "/orders/1"),
            ),
            (
                "/v1/authorize/orders/1?a=b",
                &[("host", "api.acme.example")],
                original("GET", "api.acme.example", "/orders/1?a=b"),
            ),
            ("/v1/authorize/", &[], original("GET", "", "/")),
        ] {
            assert_eq!(of(at, headers, true).unwrap().unwrap(), expected, "{at}");
        }
        assert_eq!(of("/v1/authorize", &[("host", "a")], true), Ok(None));
        assert_eq!(of("/v1/authorize?x=/orders", &[], true), Ok(None));
    }

    #[test]
    fn a_stranger_speaks_for_himself_alone() {
        let headers = [
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", "/public"),
            ("x-original-uri", "/public"),
            ("x-forwarded-host", "public.example"),
            ("host", "api.acme.example"),
        ];
        assert_eq!(of("/v1/authorize", &headers, false), Ok(None));
        assert_eq!(
            of("/v1/authorize/orders", &headers, false).unwrap(),
            Some(original("GET", "api.acme.example", "/orders"))
        );
    }

    #[test]
    fn two_that_differ_are_refused() {
        for (at, headers) in [
            (
                "/v1/authorize",
                &[
                    ("x-forwarded-uri", "/public"),
                    ("x-original-uri", "/orders"),
                ][..],
            ),
            (
                "/v1/authorize",
                &[("x-original-uri", "/public"), ("x-original-uri", "/orders")],
            ),
            ("/v1/authorize/orders", &[("x-forwarded-uri", "/public")]),
            (
                "/v1/authorize/a",
                &[("x-forwarded-method", "GET"), ("x-original-method", "POST")],
            ),
            (
                "/v1/authorize/a",
                &[("x-forwarded-host", "a"), ("x-forwarded-host", "b")],
            ),
        ] {
            assert_eq!(of(at, headers, true), Err(Contradiction), "{headers:?}");
        }
        let same = [
            ("x-forwarded-uri", "/orders"),
            ("x-original-uri", "/orders"),
        ];
        assert!(of("/v1/authorize/orders", &same, true).is_ok());
    }
}
