//! Whom a request is counted against, worked out with masks instead of a library.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::input::Input;

/// A network: an address as 128 bits (RFC 4291 §2.5.5.2 for IPv4), and how many of them count.
pub(super) struct Net {
    address: u128,
    bits: u32,
}

/// The networks of a list; none where it is not one that this reads.
pub(super) fn networks(list: &str) -> Option<Vec<Net>> {
    let parts = list.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(net).collect()
}

fn net(text: &str) -> Option<Net> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let (whole, ahead) = match address {
        IpAddr::V4(_) => (32, 96),
        // Written as IPv6 with a length of its own: what that means is not tried here.
        IpAddr::V6(six) if length.is_some() && six.to_ipv4_mapped().is_some() => return None,
        IpAddr::V6(_) => (128, 0),
    };
    let length = match length {
        Some(length) => length.parse().ok().filter(|length| *length <= whole)?,
        None => whole,
    };
    Some(Net {
        address: wide(address),
        bits: ahead + length,
    })
}

fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().into(),
        IpAddr::V6(six) => six.into(),
    }
}

pub(super) fn is_trusted(networks: &[Net], address: IpAddr) -> bool {
    let is_four = |bits: u128| bits >> 32 == 0xffff;
    let address = wide(address);
    networks.iter().any(|net| {
        // An address of IPv4 is in no network of IPv6, however wide.
        let same_kind = is_four(address) == (is_four(net.address) && net.bits >= 96);
        let counts = 128 - net.bits;
        same_kind
            && address.checked_shr(counts).unwrap_or_default()
                == net.address.checked_shr(counts).unwrap_or_default()
    })
}

/// The first from the right that is no proxy; none where that is no address.
pub(super) fn expected(input: &Input) -> Option<IpAddr> {
    let mut hops = vec![Some(input.peer)];
    let values = input.asked.headers.get_all("x-forwarded-for").iter();
    let mut named = Vec::new();
    for value in values {
        match value.to_str() {
            Ok(text) => named.extend(text.split(',').map(address)),
            Err(_) => named.push(None),
        }
    }
    named.reverse();
    hops.extend(named);
    let mut last = None;
    for hop in hops {
        last = Some(hop?);
        if !is_trusted(&input.trusted, hop?) {
            break;
        }
    }
    last.map(place)
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let six = bare.and_then(|inner| inner.parse::<IpAddr>().ok());
    let with_port = || text.parse::<SocketAddr>().ok().map(|both| both.ip());
    text.parse().ok().or(six).or_else(with_port)
}

/// Everybody has 64 bits of IPv6 to himself.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let bits: u128 = six.into();
            IpAddr::V6(Ipv6Addr::from(bits & !u128::from(u64::MAX)))
        }
        four @ IpAddr::V4(_) => four,
    }
}
