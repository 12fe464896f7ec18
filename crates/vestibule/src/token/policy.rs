//! What a signed token must say to be accepted. **A new check of a claim goes here**: into
//! [`TokenPolicy::validity`] if it is about time, into `user` or `machine` if it is about one
//! class of tokens; and a row for it into `tests/claims.rs` (`tests/time.rs`).
//!
//! The class was decided by whose keys proved the token. `client_id` is only compared with it:
//! in a machine's token it is what the holder of the key chose to write.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Facts, TokenClass, TokenFacts,
    claims::Claims,
    issuer::{Issuer, Issuers, is_named_like_a_client},
    repeated::Repeated,
    unverified::SignedClaims,
};
use crate::{clock::Timestamp, error::Reason, settings::ProviderSettings};

/// Authress' limit for the ids of users and tenants.
const MAX_ID_BYTES: usize = 128;
/// The most scopes of one token. More cost memory in the cache of tokens, and no provider grants
/// as many; how long they are, the token's own length bounds.
const MAX_SCOPES: usize = 1_000;

/// The rules, from the settings. There is no default and nothing to switch off by leaving out.
#[derive(Debug)]
pub struct TokenPolicy {
    pub(super) issuers: Issuers,
    pub(super) tenant_claim: Arc<str>,
    pub(super) repeated: Repeated,
    /// The client of our own access key: never a caller, or whoever can make us send a token
    /// could call us with it.
    own_client: Arc<str>,
    machine_audience: Arc<str>,
    api_audiences: Vec<String>,
    applications: Vec<String>,
    allow_client_issued_users: bool,
    leeway: Duration,
    max_lifetime: Duration,
}

struct Validity {
    issued_at: Timestamp,
    valid_from: Timestamp,
    expires_at: Timestamp,
}

impl TokenPolicy {
    /// The rules that the settings ask for.
    pub fn new(settings: &ProviderSettings) -> Self {
        Self {
            issuers: Issuers::new(settings),
            tenant_claim: settings.tenant_claim.as_str().into(),
            repeated: Repeated::new(),
            own_client: settings.access_key.client_id().into(),
            machine_audience: Arc::clone(&settings.machine_audience),
            api_audiences: settings.api_audiences.clone(),
            applications: settings.applications.clone(),
            allow_client_issued_users: settings.allow_client_issued_users,
            leeway: settings.token_leeway,
            max_lifetime: settings.token_max_lifetime,
        }
    }

    /// Judges proven claims at the moment `now`.
    pub(super) fn accept(
        &self,
        issuer: Issuer,
        signed: &SignedClaims,
        now: Timestamp,
    ) -> Result<Facts, Reason> {
        let claims = signed.claims();
        let validity = self.validity(claims, now)?;
        match issuer {
            Issuer::Provider { issuer } => self.user(issuer, claims, validity),
            Issuer::Client { issuer, client_id } => {
                self.machine(issuer, client_id, claims, validity)
            }
        }
    }

    /// Refuses the client of our own access key.
    pub(super) fn require_other_client(&self, client_id: &str) -> Result<(), Reason> {
        if *client_id == *self.own_client {
            return Err(Reason::OwnClient);
        }
        Ok(())
    }

    /// RFC 7519 §4.1.4: not "on or after" `exp`. The leeway moves that moment, so a token is
    /// accepted last in the millisecond before `exp` plus leeway.
    pub(super) fn require_unexpired(
        &self,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Reason> {
        if now >= expires_at + self.leeway {
            return Err(Reason::Expired);
        }
        Ok(())
    }

    /// RFC 7519 §4.1.5, and the same for `iat`.
    pub(super) fn require_begun(
        &self,
        valid_from: Timestamp,
        now: Timestamp,
    ) -> Result<(), Reason> {
        if valid_from > now + self.leeway {
            return Err(Reason::NotYetValid);
        }
        Ok(())
    }

    fn validity(&self, claims: &Claims, now: Timestamp) -> Result<Validity, Reason> {
        let expires_at = claims.expires_at()?;
        let issued_at = claims.issued_at()?;
        let not_before = claims.not_before()?;
        self.require_unexpired(expires_at, now)?;
        if expires_at < issued_at {
            return Err(Reason::BadClaim);
        }
        // A service client chooses its own `exp`; without a limit it could sign one for ever.
        if expires_at.saturating_since(issued_at) > self.max_lifetime + self.leeway {
            return Err(Reason::LifetimeTooLong);
        }
        // Issued in the future: `iat` decides whether a token is older than a cut-off, so nobody
        // may move it past one that is yet to come.
        let valid_from = not_before.map_or(issued_at, |moment| moment.max(issued_at));
        self.require_begun(valid_from, now)?;
        Ok(Validity {
            issued_at,
            valid_from,
            expires_at,
        })
    }

    /// A token that the provider signed for a person (authress.md §2, rules 1 and 4).
    fn user(&self, issuer: Arc<str>, claims: &Claims, validity: Validity) -> Result<Facts, Reason> {
        let subject = claims.subject()?;
        if !is_subject(subject) {
            return Err(Reason::BadClaim);
        }
        let client_id = claims.client_id()?.ok_or(Reason::MissingClaim)?;
        if !is_application_id(client_id) {
            return Err(Reason::BadClaim);
        }
        // A client about itself, though the provider signed it: never a person.
        if subject == client_id || is_named_like_a_client(subject) {
            return Err(Reason::SubjectMismatch);
        }
        self.require_other_client(subject)?;
        self.require_other_client(client_id)?;
        if is_named_like_a_client(client_id) && !self.allow_client_issued_users {
            return Err(Reason::ClientIssuedUser);
        }
        if !self.applications.is_empty() && !contains(&self.applications, client_id) {
            return Err(Reason::NotAnApplication);
        }
        let audiences = claims.audiences()?.unwrap_or_default();
        let names_this_api = audiences
            .iter()
            .any(|audience| contains(&self.api_audiences, audience));
        if !self.api_audiences.is_empty() && !names_this_api {
            return Err(Reason::WrongAudience);
        }
        let authorized_party = claims.authorized_party()?;
        if authorized_party.is_some_and(|party| party.len() > MAX_ID_BYTES) {
            return Err(Reason::BadClaim);
        }
        Ok(Facts {
            class: TokenClass::User,
            subject: subject.into(),
            authorized_party: authorized_party.map(|party| self.repeated.keep(party)),
            tenant_candidates: self.tenant_candidates(claims)?,
            issued_at: validity.issued_at,
            valid_from: validity.valid_from,
            stated: TokenFacts {
                issuer,
                client_id: self.repeated.keep(client_id),
                scopes: self
                    .repeated
                    .list(claims.scope()?.unwrap_or_default(), scopes)?,
                expires_at: validity.expires_at,
            },
        })
    }

    /// A token that a service client signed for itself (authress.md §2, rule 2). Nothing that it
    /// says about tenants, scopes or connections is believed.
    fn machine(
        &self,
        issuer: Arc<str>,
        client_id: Arc<str>,
        claims: &Claims,
        validity: Validity,
    ) -> Result<Facts, Reason> {
        if *claims.subject()? != *client_id {
            return Err(Reason::SubjectMismatch);
        }
        if claims
            .client_id()?
            .is_some_and(|stated| *stated != *client_id)
        {
            return Err(Reason::ClientIdMismatch);
        }
        // A list of this one audience says the same (RFC 7519 §4.1.3). A list with others in it
        // was not made for us alone.
        match claims.audiences()?.as_deref() {
            None => return Err(Reason::MissingClaim),
            Some([audience]) if **audience == *self.machine_audience => {}
            Some(_) => return Err(Reason::WrongAudience),
        }
        Ok(Facts {
            class: TokenClass::Machine,
            subject: Arc::clone(&client_id),
            authorized_party: None,
            tenant_candidates: Box::default(),
            issued_at: validity.issued_at,
            valid_from: validity.valid_from,
            stated: TokenFacts {
                issuer,
                client_id,
                scopes: Arc::default(),
                expires_at: validity.expires_at,
            },
        })
    }

    /// The values of the tenant claim that are neither APIs nor URLs, each once.
    fn tenant_candidates(&self, claims: &Claims) -> Result<Box<[Arc<str>]>, Reason> {
        let mut seen = BTreeSet::new();
        let mut candidates = Vec::new();
        for value in claims.tenants()?.unwrap_or_default() {
            if contains(&self.api_audiences, value) || value.contains("://") {
                continue;
            }
            // It names no API, and cannot be a tenant: what it is meant to be cannot be known.
            if value.len() > MAX_ID_BYTES {
                return Err(Reason::BadClaim);
            }
            if seen.insert(value) {
                candidates.push(self.repeated.keep(value));
            }
        }
        Ok(candidates.into())
    }
}

fn contains(list: &[String], value: &str) -> bool {
    list.iter().any(|one| one == value)
}

/// Authress' characters for user ids. Of its white space only the space: a line feed has no
/// place in logs and keys. `.` and `..` would vanish from the path of a URL.
fn is_subject(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len())
        && !matches!(text, "." | "..")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+._|/~:@ -".contains(&byte))
}

fn is_application_id(text: &str) -> bool {
    text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// RFC 6749 §3.3: words of printable ASCII but `"` and `\`, separated by spaces. Each is kept
/// once, in the order of the token.
pub(crate) fn scopes(text: &str) -> Result<Arc<[Arc<str>]>, Reason> {
    let mut seen = BTreeSet::new();
    let mut scopes = Vec::new();
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        let fits = scope
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        if !fits {
            return Err(Reason::BadClaim);
        }
        if seen.insert(scope) {
            scopes.push(scope.into());
        }
    }
    if scopes.len() > MAX_SCOPES {
        return Err(Reason::BadClaim);
    }
    Ok(scopes.into())
}
