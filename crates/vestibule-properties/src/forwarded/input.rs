//! What the bytes mean.
//!
//! ```text
//! 10.0.0.1                                     the peer
//! 10.0.0.0/8,fd00::/8                          the trusted networks; - for none
//! GET /orders?a=b                              the method, and what stands behind /v1/authorize
//! token                                        it has Ada's token; or a header, as often as one likes:
//! X-Forwarded-Uri: /orders
//!                                              an empty line, then a rule on each line:
//! either GET,POST *.acme.example /orders semicolon,preflight
//! ```

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::AUTHORIZATION};

use super::{
    rules::Rule,
    source::{self, Net},
};
use crate::world::WORLD;

/// More make no new cases.
const MOST_RULES: usize = 12;

pub(super) struct Input {
    pub(super) peer: IpAddr,
    pub(super) networks: String,
    pub(super) trusted: Vec<Net>,
    pub(super) asked: Asked,
    pub(super) rules: Vec<Rule>,
}

/// The request to `/v1/authorize` or below.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// What stands behind `/v1/authorize`.
    below: String,
}

/// What was asked of the application.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) target: String,
    pub(super) preflight: bool,
}

/// Several places say different things, or one says what is no text.
pub(super) struct Contradiction;

impl Input {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (head, rules) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let peer: IpAddr = lines.next()?.trim().parse().ok()?;
        let networks = lines.next()?.trim();
        let networks = if networks == "-" { "" } else { networks };
        let asked = Asked::read(lines)?;
        let rules = rules.lines().filter(|line| !line.is_empty());
        Some(Self {
            peer,
            trusted: source::networks(networks)?,
            networks: networks.to_owned(),
            asked,
            rules: rules
                .take(MOST_RULES)
                .map(Rule::read)
                .collect::<Option<_>>()?,
        })
    }
}

impl Asked {
    fn read<'t>(mut lines: impl Iterator<Item = &'t str>) -> Option<Self> {
        let first = lines.next()?;
        let (method, below) = first.split_once(' ').unwrap_or((first, ""));
        // Anything else is another route.
        if !(below.is_empty() || below.starts_with(['/', '?'])) {
            return None;
        }
        let mut headers = HeaderMap::new();
        for line in lines {
            if line == "token" {
                let value = format!("Bearer {}", WORLD.token);
                headers.insert(AUTHORIZATION, value.parse().ok()?);
                continue;
            }
            let (name, value) = line.split_once(':')?;
            let name: HeaderName = name.trim().parse().ok()?;
            if name != AUTHORIZATION && name != "content-length" {
                headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
            }
        }
        let uri: Uri = format!("/v1/authorize{below}").parse().ok()?;
        // What the HTTP library leaves out, nobody behind it sees.
        let below = uri
            .path_and_query()?
            .as_str()
            .strip_prefix("/v1/authorize")?;
        Some(Self {
            method: method.parse().ok()?,
            below: below.to_owned(),
            uri,
            headers,
        })
    }

    pub(super) fn has_token(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION)
    }

    /// The same without anything that a proxy would say of another request.
    pub(super) fn without_forwarded(&self) -> Self {
        let mut alone = self.clone();
        let names: Vec<_> = self.headers.keys().cloned().collect();
        for name in names {
            let is_word = ["x-forwarded", "x-original", "forwarded", "x-real-ip"];
            if is_word.iter().any(|word| name.as_str().starts_with(word)) {
                alone.headers.remove(name);
            }
        }
        alone
    }

    pub(super) fn original(&self, trusted: bool) -> Result<Option<Original>, Contradiction> {
        let said = |names: &[&str]| -> Result<Vec<String>, Contradiction> {
            let mut all = Vec::new();
            for name in names.iter().filter(|_| trusted) {
                all.extend(self.all(name)?);
            }
            Ok(all)
        };
        let mut targets = said(&["x-forwarded-uri", "x-original-uri"])?;
        targets.extend(self.below.starts_with('/').then(|| self.below.clone()));
        let Some(target) = the_one(targets)? else {
            return Ok(None);
        };
        let methods = said(&["x-forwarded-method", "x-original-method"])?;
        let method = the_one(methods)?.unwrap_or_else(|| self.method.to_string());
        let mut hosts = said(&["x-forwarded-host"])?;
        if hosts.is_empty() {
            hosts = self.all("host")?;
        }
        let host = the_one(hosts)?.unwrap_or_default();
        let has = |name: &str| self.headers.contains_key(name);
        Ok(Some(Original {
            preflight: method == "OPTIONS" && has("origin") && has("access-control-request-method"),
            method,
            host,
            target,
        }))
    }

    fn all(&self, name: &str) -> Result<Vec<String>, Contradiction> {
        let values = self.headers.get_all(name).iter();
        values
            .map(|value| value.to_str().map(str::to_owned).map_err(|_| Contradiction))
            .collect()
    }
}

fn the_one(mut said: Vec<String>) -> Result<Option<String>, Contradiction> {
    said.dedup();
    match said.len() {
        0 | 1 => Ok(said.pop()),
        _ => Err(Contradiction),
    }
}
