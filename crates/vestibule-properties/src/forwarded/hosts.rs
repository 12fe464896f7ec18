//! Every name that a server may take a host for.

/// The names in a `Host` header, or in one that a proxy wrote: with anything but a name and a port
/// in it, servers differ. None where that is so.
pub(super) fn name(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let (name, port) = match host.rfind(':') {
        // RFC 3986 §3.2.2: within brackets it belongs to the address.
        Some(colon) if !host[colon..].contains(']') => (&host[..colon], &host[colon + 1..]),
        _ => (&*host, ""),
    };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let of_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let is_name = match name.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        Some(address) => address.is_some_and(|address| address.bytes().all(of_address)),
        None => name.bytes().all(of_name),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    // The root of all names may be written, once.
    let name = name.strip_suffix('.').unwrap_or(name);
    (is_name && is_port && !name.ends_with('.')).then(|| name.to_owned())
}
