//! URLs in settings, and how they may be shown.

use url::{Host, Url};

/// An `https` URL, or a plain `http` one of a loopback host, without user and password.
pub(super) fn provider_url(text: &str) -> Result<Url, String> {
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
