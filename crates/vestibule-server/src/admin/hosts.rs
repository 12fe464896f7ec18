//! Only for callers that mean this machine.
//!
//! A browser can be made to send requests to addresses that its user can reach, under a name of
//! the attacker's choice (DNS rebinding), and to read the answers as that name's own. So this
//! listener answers only to `Host` names that are its own address, a loopback name, or in
//! `VESTIBULE_ADMIN_HOSTS`. Everything else is 400 `invalid_request` (RFC 9112 §3.2 has no better
//! word for a wrong `Host`). Ports are not compared: a page of another port is of another origin,
//! and its browser keeps the answer from it.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header::HOST, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use vestibule::{error::Code, http::Problem};

/// The address at which a connection reached us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnAddress(pub(crate) IpAddr);

/// Answers only to requests that name this listener.
pub(super) async fn known_only(
    State(hosts): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    let own = request.extensions().get::<OwnAddress>().map(|own| own.0);
    if names_us(request.headers(), request.uri(), own, &hosts) {
        next.run(request).await
    } else {
        Problem::new(Code::InvalidRequest).into_response()
    }
}

/// Whether the request is addressed to a name that is ours. All of its names count.
fn names_us(headers: &HeaderMap, uri: &Uri, own: Option<IpAddr>, further: &[String]) -> bool {
    let mut named = headers.get_all(HOST).into_iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return false;
    };
    let Some(host) = host.to_str().ok().and_then(|host| host.parse().ok()) else {
        return false;
    };
    is_ours(&host, own, further)
        && uri
            .authority()
            .is_none_or(|name| is_ours(name, own, further))
}

fn is_ours(authority: &Authority, own: Option<IpAddr>, further: &[String]) -> bool {
    if authority.as_str().contains('@') || !has_port_of_digits(authority) {
        return false;
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = address.to_canonical();
        return address.is_loopback()
            || own.is_some_and(|own| own.to_canonical() == address)
            || further.iter().any(|known| is_address(known, address));
    }
    let host = host.to_ascii_lowercase();
    // RFC 6761 §6.3: every name under `localhost` is a loopback name.
    host == "localhost" || host.ends_with(".localhost") || further.contains(&host)
}

/// RFC 9110 §4.2.1: behind the host may stand a colon and digits, which the HTTP library does not
/// look at.
fn has_port_of_digits(authority: &Authority) -> bool {
    let behind = authority.as_str().strip_prefix(authority.host());
    behind.is_some_and(|behind| {
        behind.is_empty()
            || behind
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn is_address(known: &str, address: IpAddr) -> bool {
    known
        .parse::<IpAddr>()
        .is_ok_and(|known| known.to_canonical() == address)
        || known
            .parse::<Ipv6Addr>()
            .is_ok_and(|known| IpAddr::V6(known) == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(hosts: &[&str], uri: &str) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        let own = Some("10.0.0.7".parse().unwrap());
        let further = ["metrics.example".to_owned(), "fd00::1".to_owned()];
        names_us(&headers, &uri.parse().unwrap(), own, &further)
    }

    #[test]
    fn own_names() {
        for host in [
            "127.0.0.1:9090",
            "127.0.0.1",
            "127.8.9.1",
            "localhost:9090",
            "LocalHost",
            "localhost:",
            "a.localhost",
            "[::1]:9090",
            "[::ffff:127.0.0.1]",
            "10.0.0.7:9090",
            "10.0.0.7",
            "metrics.example",
            "METRICS.example:443",
            "[fd00::1]:9090",
        ] {
            assert!(answers(&[host], "/metrics"), "{host}");
        }
    }

    #[test]
    fn other_names() {
        for host in [
            "evil.example",
            "evil.example:9090",
            "10.0.0.8",
            "localhost.evil.example",
            "metrics.example.evil.example",
            "notlocalhost",
            "user@localhost",
            "localhost@evil.example",
            "127.0.0.1.evil.example",
            "",
            "local host",
            "localhost.",
            "localhost:8q80",
            "localhost:80:80",
            "[::1]9090",
        ] {
            assert!(!answers(&[host], "/metrics"), "{host}");
        }
        assert!(!answers(&[], "/metrics"));
        assert!(!answers(&["localhost", "localhost"], "/metrics"));
        assert!(!answers(&["localhost"], "http://evil.example/metrics"));
        assert!(!answers(&["evil.example"], "http://localhost/metrics"));
        assert!(answers(&["localhost"], "http://localhost/metrics"));
    }
}
