//! URLs in settings, and how they may be shown.

use url::{Host, Url};

/// An `https` URL, or a plain `http` one of a loopback host, without user and password.
pub(super) fn provider_url(text: &str) -> Result<Url, String> {
    // A parser leaves them out; what is compared byte for byte keeps them, and is never met.
    if text.chars().any(|it| it.is_control() || it.is_whitespace()) {
        return Err("must not contain spaces or control characters".to_owned());
    }
    let url = Url::parse(text).map_err(|_| "must be a URL such as https://auth.example.com")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".to_owned());
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err("must begin with https:// (plain http is for loopback hosts only)".into());
        }
        _ => return Err("must begin with https://".to_owned()),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("must name a host".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or a fragment".to_owned());
    }
    Ok(url)
}

/// As [`provider_url`], and nothing behind the host.
pub(super) fn provider_origin(text: &str) -> Result<Url, String> {
    let url = provider_url(text)?;
    if url.path() == "/" {
        Ok(url)
    } else {
        Err(format!(
            "must end after the host: {}",
            url.origin().ascii_serialization()
        ))
    }
}

/// Whether the URL's host is this machine by its very form.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost")
                || name.to_ascii_lowercase().ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parser_would_leave_out_is_refused() {
        provider_url("https://auth.example.com/v1").unwrap();
        for text in [
            "\0https://auth.example.com",
            "https://auth.example.com\u{1f}",
            "https://auth.exa\tmple.com",
            "https://auth.example.com/a b",
            "https://auth.example.com\u{a0}",
        ] {
            let refused = provider_url(text).unwrap_err();
            assert!(
                refused.contains("control characters"),
                "{text:?}: {refused}"
            );
        }
    }
}
