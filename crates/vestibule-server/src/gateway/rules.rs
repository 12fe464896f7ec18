//! Which rule a request meets: `[[rules]]` of the settings file.
//!
//! Where there are rules, what meets none is refused. The most specific rule applies, whatever the
//! order in the file: one for this very host before one for its subdomains, of these the longer
//! name, before one for any; then the longer path; then one that names the method.

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::path::{BadPath, Oddities, Oddity, RequestPath};

/// All rules; none at all lets every active principal through to everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

/// One rule, checked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rule {
    /// As it is in the file, for people.
    #[serde(rename = "for")]
    shown: String,
    #[serde(skip)]
    host: HostPattern,
    #[serde(skip)]
    path: RequestPath,
    #[serde(skip)]
    methods: BTreeSet<String>,
    /// Who may call.
    pub(crate) callers: Callers,
    /// The roles of which the caller must have one; empty: any.
    pub(crate) roles: Vec<String>,
    /// The scopes that his token must have, all.
    pub(crate) scopes: Vec<String>,
    /// What Authress must say that he may.
    pub(crate) permission: Option<Permission>,
    /// The application that its assertions are for.
    pub(crate) audience: Option<Arc<str>>,
    /// Whether a browser's question before a request of another site passes without a token.
    pub(crate) preflight: bool,
    #[serde(skip)]
    allow: Oddities,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Callers {
    /// Everybody; tokens are not looked at.
    Public,
    /// People.
    User,
    /// Service clients.
    Machine,
    /// Any principal.
    Either,
}

/// A permission at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Permission {
    /// Such as `orders:read`.
    pub(crate) name: String,
    /// The resource, in which `{path}`, `{account_id}` and `{tenant_id}` stand for the request's.
    pub(crate) resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    /// Everything below this name, with its leading dot.
    Below(String),
    Exactly(String),
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenRule {
    host: Option<String>,
    path: String,
    #[serde(default)]
    methods: Vec<String>,
    callers: Callers,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    permission: Option<String>,
    resource: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    preflight: bool,
    #[serde(default)]
    allow: Vec<String>,
}

/// Why a request is refused before anybody looks at its token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unjudgeable {
    /// The path is none.
    #[error("the path {0}")]
    Path(#[from] BadPath),
    /// Servers would take different names out of it.
    #[error("the host is not a name, with or without port")]
    Host,
    /// Servers disagree about it, and the rule does not allow that.
    #[error("servers read the path differently ({}), and the rule does not allow it", .0.as_str())]
    Odd(Oddity),
    /// It meets one rule for one server and another for another.
    #[error("servers read the path differently, and would not find the same rule")]
    TwoRules,
}

impl Rules {
    /// Checks the rules of a settings file; what is wrong comes as text, a line for each.
    ///
    /// `audiences` are the applications that assertions may be for.
    pub(crate) fn new(
        written: Vec<WrittenRule>,
        audiences: &[String],
    ) -> Result<Self, Vec<String>> {
        let mut rules = Vec::new();
        let mut problems = Vec::new();
        for (number, rule) in (1..).zip(written) {
            match Rule::new(rule, audiences) {
                Ok(rule) => rules.push(rule),
                Err(problem) => problems.push(format!("rule {number}: {problem}")),
            }
        }
        for (place, rule) in rules.iter().enumerate() {
            if let Some(twin) = rules
                .iter()
                .take(place)
                .find(|other| other.meets_the_same(rule))
            {
                problems.push(format!(
                    "two rules are for the same requests: {}; {}",
                    twin.shown, rule.shown
                ));
            }
        }
        if problems.is_empty() {
            Ok(Self(rules))
        } else {
            Err(problems)
        }
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule that applies; none where none does.
    ///
    /// # Errors
    /// The path cannot be judged.
    pub(crate) fn find(
        &self,
        method: &str,
        host: &str,
        target: &str,
    ) -> Result<Option<&Rule>, Unjudgeable> {
        let path = RequestPath::parse(target)?;
        let host = without_port(host).ok_or(Unjudgeable::Host)?;
        let found = self.most_specific(method, &host, &path);
        let allowed = found.map(|rule| rule.allow).unwrap_or_default();
        if let Some(oddity) = path.oddities().beyond(allowed).next() {
            return Err(Unjudgeable::Odd(oddity));
        }
        if let Some(other) = path.read_liberally()? {
            let meant = self.most_specific(method, &host, &other);
            if meant.map(|rule| &rule.shown) != found.map(|rule| &rule.shown) {
                return Err(Unjudgeable::TwoRules);
            }
        }
        Ok(found)
    }

    fn most_specific(&self, method: &str, host: &str, path: &RequestPath) -> Option<&Rule> {
        self.0
            .iter()
            .filter(|rule| rule.meets(method, host, path))
            .max_by_key(|rule| {
                let rank = (rule.host.rank(), rule.path.depth(), rule.names(method));
                // The methods themselves decide between two that only a preflight meets both.
                (rank, &rule.methods)
            })
    }
}

impl Rule {
    fn new(written: WrittenRule, audiences: &[String]) -> Result<Self, String> {
        let host = match &written.host {
            None => HostPattern::Any,
            Some(host) => HostPattern::new(host)?,
        };
        let path = RequestPath::parse(&written.path)
            .map_err(|error| format!("the path {:?} {error}", written.path))?;
        if let Some(oddity) = path.oddities().beyond(Oddities::default()).next() {
            return Err(format!(
                "servers read the path {:?} differently ({}): write it plainly",
                written.path,
                oddity.as_str()
            ));
        }
        let mut methods = BTreeSet::new();
        for method in &written.methods {
            if method.is_empty()
                || !method
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
            {
                return Err(format!(
                    "{method:?} is no method: write it in capitals, such as GET"
                ));
            }
            methods.insert(method.clone());
        }
        let allow = written
            .allow
            .iter()
            .map(|name| {
                let known = Oddity::ALL
                    .into_iter()
                    .find(|oddity| oddity.as_str() == name);
                known.ok_or_else(|| {
                    let all = Oddity::ALL.map(Oddity::as_str).join(", ");
                    format!("`allow` does not know {name:?}: it takes {all}")
                })
            })
            .collect::<Result<Oddities, String>>()?;
        let permission = match (written.permission, written.resource) {
            (None, None) => None,
            (Some(name), Some(resource)) => Some(Permission::new(name, resource)?),
            _ => return Err("`permission` and `resource` belong together".to_owned()),
        };
        if let Some(audience) = &written.audience
            && !audiences.contains(audience)
        {
            return Err(format!(
                "`audience` {audience:?} is not one of VESTIBULE_ASSERTION_AUDIENCES"
            ));
        }
        let demands =
            !written.roles.is_empty() || !written.scopes.is_empty() || permission.is_some();
        if written.callers == Callers::Public && demands {
            return Err("a public rule looks at no token: it can demand nothing of one".to_owned());
        }
        let shown = format!(
            "{} {}{}",
            if methods.is_empty() {
                "*".to_owned()
            } else {
                written.methods.join(",")
            },
            written.host.as_deref().unwrap_or("*"),
            written.path
        );
        Ok(Self {
            host,
            path,
            methods,
            callers: written.callers,
            roles: written.roles,
            scopes: written.scopes,
            permission,
            audience: written.audience.map(Into::into),
            preflight: written.preflight,
            allow,
            shown,
        })
    }

    fn meets(&self, method: &str, host: &str, path: &RequestPath) -> bool {
        // A preflight asks for another method, and speaks for all.
        let method_fits = self.methods.is_empty()
            || self.methods.contains(method)
            || (self.preflight && method == "OPTIONS");
        method_fits && self.host.meets(host) && path.is_below(&self.path)
    }

    /// How it names the method: as its own, as one of which a preflight asks, or not at all.
    fn names(&self, method: &str) -> u8 {
        match self.methods.contains(method) {
            true => 2,
            false => u8::from(!self.methods.is_empty()),
        }
    }

    /// Whether the order in the file would decide between the two.
    fn meets_the_same(&self, other: &Self) -> bool {
        let same_place = self.host == other.host
            && self.path.is_below(&other.path)
            && other.path.is_below(&self.path);
        let (mine, others) = (&self.methods, &other.methods);
        same_place
            && match (mine.is_empty(), others.is_empty()) {
                (true, true) => true,
                (false, false) => !mine.is_disjoint(others),
                _ => false,
            }
    }
}

/// For people: whom the rule is for, and what it demands.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.callers {
            Callers::Public => "everybody, without a token",
            Callers::User => "a user",
            Callers::Machine => "a service client",
            Callers::Either => "a user or a service client",
        };
        write!(f, "meets the rule for {}: {who}", self.shown)?;
        if !self.roles.is_empty() {
            write!(f, ", with the role {}", self.roles.join(" or "))?;
        }
        if !self.scopes.is_empty() {
            write!(f, ", with the scopes {}", self.scopes.join(" and "))?;
        }
        if let Some(Permission { name, resource }) = &self.permission {
            write!(f, ", who may {name} on {resource}")?;
        }
        if self.preflight {
            f.write_str("; preflights pass without a token")?;
        }
        Ok(())
    }
}

impl Permission {
    /// The longest that Authress takes.
    const NAME: usize = 64;
    const RESOURCE: usize = 512;
    const PLACEHOLDERS: [&'static str; 3] = ["{path}", "{account_id}", "{tenant_id}"];

    fn new(name: String, resource: String) -> Result<Self, String> {
        if name.is_empty() || name.len() > Self::NAME {
            return Err(format!("`permission` has 1 to {} characters", Self::NAME));
        }
        if resource.is_empty() || resource.len() > Self::RESOURCE {
            return Err(format!("`resource` has 1 to {} characters", Self::RESOURCE));
        }
        let plain = Self::PLACEHOLDERS
            .iter()
            .fold(resource.clone(), |text, known| text.replace(known, ""));
        if plain.contains(['{', '}']) {
            return Err(format!(
                "`resource` knows the placeholders {}",
                Self::PLACEHOLDERS.join(", ")
            ));
        }
        Ok(Self { name, resource })
    }
}

impl HostPattern {
    fn new(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
            });
        if !is_name {
            return Err(format!(
                "{text:?} is no host: write api.acme.example or *.acme.example, in small letters and without port"
            ));
        }
        Ok(if name.len() == text.len() {
            Self::Exactly(name.to_owned())
        } else {
            Self::Below(format!(".{name}"))
        })
    }

    /// How much it says: the whole name most, then the longer end of one.
    const fn rank(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Below(end) => end.len(),
            Self::Exactly(_) => usize::MAX,
        }
    }

    fn meets(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
            Self::Exactly(name) => host == name,
        }
    }
}

/// The name of a `Host` header, in small letters; none where it has anything but a name or an
/// address, and a port (RFC 9110 §7.2). Of `a@b` or `a, b` one server takes the one, another the
/// other.
fn without_port(host: &str) -> Option<String> {
    let (name, port) = match host.rsplit_once(':') {
        // Within brackets it belongs to the address.
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    let is_name = match name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')),
        None => name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')),
    };
    // The root of all names may be written, once.
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    (is_name && is_port && !name.ends_with('.')).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
