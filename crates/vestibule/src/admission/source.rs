//! Where a request comes from: the peer of the connection, or the address that a trusted proxy
//! names.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName};

use crate::settings::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Somebody's place in the network: an IPv4 address, or a /64 of IPv6, of which everybody has a
/// whole one to himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    /// The source of a request that came over a connection from `peer`.
    ///
    /// Each proxy adds the address that it was called from at the right end of `X-Forwarded-For`,
    /// so the rightmost one that is no trusted proxy is the last that somebody trusted has seen;
    /// what stands left of it, the caller wrote himself. None where that cannot be read.
    pub(super) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<Self> {
        let is_trusted = |address: IpAddr| Network::any_contains(trusted, address);
        let mut nearest = peer.to_canonical();
        if !is_trusted(nearest) {
            return Some(Self::from(nearest));
        }
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            for hop in value.to_str().ok()?.rsplit(',') {
                nearest = address(hop.trim())?;
                if !is_trusted(nearest) {
                    return Some(Self::from(nearest));
                }
            }
        }
        // Proxies among themselves.
        Some(Self::from(nearest))
    }
}

/// Whom a request is counted against: an address, or the first of a /64 of IPv6; none where nobody
/// can say.
pub fn source_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    Source::of(peer, headers, trusted).map(|Source(address)| address)
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// An address as proxies write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|it| it.ip());
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<IpAddr>().ok()
    };
    bare()
        .or_else(with_port)
        .or_else(bracketed)
        .map(|it| it.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn source(peer: &str, forwarded: &[&str], trusted: &[&str]) -> Option<Source> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|it| it.parse().unwrap()).collect();
        Source::of(peer.parse().unwrap(), &headers, &trusted)
    }

    fn at(address: &str) -> Option<Source> {
        Some(Source::from(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        for forwarded in [&[][..], &["1.2.3.4"], &["1.2.3.4, 10.0.0.1"], &["nonsense"]] {
            assert_eq!(source("192.0.2.7", forwarded, &[]), at("192.0.2.7"));
            let elsewhere = ["10.0.0.0/8"];
            assert_eq!(source("192.0.2.7", forwarded, &elsewhere), at("192.0.2.7"));
        }
    }

    #[test]
    fn the_rightmost_that_is_no_proxy_counts() {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"];
        for (forwarded, expected) in [
            (&["1.2.3.4"][..], "1.2.3.4"),
            (&["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
            (&["9.9.9.9, 1.2.3.4,10.1.1.1"], "1.2.3.4"),
            (
                &["9.9.9.9", "1.2.3.4", "10.1.1.1, 2001:db8:1::5"],
                "1.2.3.4",
            ),
            (&["1.2.3.4:5555"], "1.2.3.4"),
            (&["[2001:db8:2::5]:443"], "2001:db8:2::"),
            (&["[2001:db8:2::5]"], "2001:db8:2::"),
            (&["::ffff:1.2.3.4"], "1.2.3.4"),
            // Written by the caller: whatever stands there is not read.
            (&["nonsense, 1.2.3.4"], "1.2.3.4"),
            (&["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(
                source("10.0.0.1", forwarded, &trusted),
                at(expected),
                "{forwarded:?}"
            );
            let mapped = source("::ffff:10.0.0.1", forwarded, &trusted);
            assert_eq!(mapped, at(expected), "{forwarded:?}");
        }
        for unreadable in ["", "unknown", "1.2.3.4, _hidden", "1.2.3"] {
            assert_eq!(source("10.0.0.1", &[unreadable], &trusted), None);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        assert_eq!(
            source("2001:db8::1", &[], &[]),
            source("2001:db8::ffff:2", &[], &[])
        );
        assert_ne!(
            source("2001:db8::1", &[], &[]),
            source("2001:db8:0:1::1", &[], &[])
        );
        assert_ne!(source("192.0.2.1", &[], &[]), source("192.0.2.2", &[], &[]));
    }

    proptest! {
        /// Whatever a caller writes, he does not choose his source.
        #[test]
        fn a_caller_cannot_choose(written in "[ -~]{0,60}") {
            let added = format!("{written}, 1.2.3.4");
            prop_assert_eq!(source("10.0.0.1", &[&added], &["10.0.0.0/8"]), at("1.2.3.4"));
            prop_assert_eq!(source("1.2.3.4", &[&written], &["10.0.0.0/8"]), at("1.2.3.4"));
        }
    }
}
