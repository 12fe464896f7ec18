//! The signing half: who calls, signed once for the same facts in half a minute.
//!
//! The facts themselves are what an assertion is remembered under, so that a changed role never
//! meets an old signature.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderValue;
use quick_cache::sync::Cache;
use serde::Serialize;

use super::{
    LIFETIME, TYPE,
    keys::{DayKey, PublicKey, Root},
};
use crate::{
    clock::SharedClock,
    principal::Principal,
    provider::access_key::AccessKey,
    settings::{SettingsReader, assertions},
};

/// How long one is handed out again, in seconds: what is left is for the way to the application.
const REUSE: i64 = 30;

/// Assertions remembered, each about a kilobyte.
const REMEMBERED: usize = 10_000;

/// Scopes beyond this many bytes are left out, from the end: a header has to fit into the buffers
/// of common proxies.
const SCOPE_BYTES: usize = 2_048;

/// The settings: `VESTIBULE_ASSERTION_AUDIENCES` and `VESTIBULE_ASSERTION_ISSUER`.
#[derive(Clone, Debug)]
pub struct SigningSettings {
    audiences: Vec<String>,
    issuer: Arc<str>,
    root: Root,
}

/// Signs who calls.
pub struct AssertionSigner {
    settings: SigningSettings,
    clock: SharedClock,
    today: Mutex<Arc<DayKey>>,
    signed: Cache<String, Signed>,
}

#[derive(Clone)]
struct Signed {
    header: HeaderValue,
    issued_at: i64,
}

/// What is asserted, but for the times.
#[derive(Serialize)]
struct Facts<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    kind: &'static str,
    role: &'a str,
    authress_user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    account_id: String,
    tenant_id: &'a str,
    client_id: &'a str,
    scope: String,
    /// `exp` of the token that the caller came with.
    token_exp: i64,
}

/// `/.well-known/jwks.json` (RFC 7517 §5).
#[derive(Clone, Debug, Serialize)]
pub struct PublishedKeys {
    keys: Vec<PublicKey>,
}

impl SigningSettings {
    /// Reads the section: none within where assertions are off, none at all where something was
    /// wrong, which `reader` then knows.
    ///
    /// The keys come from the access key, which all replicas have.
    pub fn read(
        reader: &mut SettingsReader,
        access_key: Option<&AccessKey>,
    ) -> Option<Option<Self>> {
        const AUDIENCES: &str = "VESTIBULE_ASSERTION_AUDIENCES";
        let audiences = reader.list(AUDIENCES);
        let all_plain = audiences
            .iter()
            .all(|audience| assertions::is_plain(audience));
        let audiences = reader.noted(
            AUDIENCES,
            match all_plain {
                true => Ok(audiences),
                false => Err(format!(
                    "must be {}, separated by commas",
                    assertions::PLAIN
                )),
            },
        );
        let issuer = assertions::issuer(reader);
        let (audiences, issuer) = (audiences?, issuer?);
        if audiences.is_empty() {
            return Some(None);
        }
        if audiences.iter().any(|audience| **audience == *issuer) {
            reader.problem(AUDIENCES, "must differ from VESTIBULE_ASSERTION_ISSUER");
            return None;
        }
        Some(Some(Self {
            audiences,
            issuer,
            root: Root::of(access_key?),
        }))
    }

    /// The applications that assertions may be for; the first one is for whoever names none.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }
}

impl AssertionSigner {
    /// Signs as the settings say, at the time of `clock`.
    pub fn new(settings: SigningSettings, clock: SharedClock) -> Self {
        let today = settings.root.key_at(clock.now().as_secs());
        Self {
            settings,
            clock,
            today: Mutex::new(Arc::new(today)),
            signed: Cache::new(REMEMBERED),
        }
    }

    /// The header's value about this caller for `audience`, or for the first application.
    pub fn about(&self, principal: &Principal, audience: Option<&str>) -> HeaderValue {
        self.about_at(principal, audience, self.clock.now().as_secs())
    }

    fn about_at(&self, principal: &Principal, audience: Option<&str>, now: i64) -> HeaderValue {
        let nothing = HeaderValue::from_static("");
        let Some(audience) = audience.or(self.settings.audiences.first().map(String::as_str))
        else {
            return nothing;
        };
        let token_ends = principal.token().expires_at.as_secs();
        // Text and numbers only: it cannot fail.
        let facts = serde_json::to_string(&self.facts(principal, audience)).unwrap_or_default();
        if let Some(signed) = self.signed.get(&facts)
            && (signed.issued_at..signed.issued_at.saturating_add(REUSE)).contains(&now)
        {
            return signed.header;
        }
        let expires_at = now.saturating_add(LIFETIME).min(token_ends);
        let Ok(header) = HeaderValue::try_from(self.sign(&facts, now, expires_at)) else {
            return nothing;
        };
        self.signed.insert(
            facts,
            Signed {
                header: header.clone(),
                issued_at: now,
            },
        );
        header
    }

    /// The keys that applications check with.
    pub fn published(&self) -> PublishedKeys {
        PublishedKeys {
            keys: self.settings.root.published_at(self.clock.now().as_secs()),
        }
    }

    fn facts<'a>(&'a self, principal: &'a Principal, audience: &'a str) -> Facts<'a> {
        let (user, account) = (principal.user(), principal.account());
        let mut scope = String::new();
        for part in &*principal.token().scopes {
            if scope.len() + part.len() + 1 > SCOPE_BYTES {
                break;
            }
            if !scope.is_empty() {
                scope.push(' ');
            }
            scope.push_str(part);
        }
        Facts {
            iss: &self.settings.issuer,
            aud: audience,
            sub: user.id.to_string(),
            kind: principal.kind().as_str(),
            role: &user.role,
            authress_user_id: &user.authress_user_id,
            email: user.email.as_deref(),
            name: user.name.as_deref(),
            account_id: account.id.to_string(),
            tenant_id: &account.authress_tenant_id,
            client_id: &principal.token().client_id,
            scope,
            token_exp: principal.token().expires_at.as_secs(),
        }
    }

    /// A compact JWS (RFC 7515 §7.1) over the facts and the times.
    fn sign(&self, facts: &str, issued_at: i64, expires_at: i64) -> String {
        let key = self.key_at(issued_at);
        let header = format!(
            r#"{{"alg":"EdDSA","typ":"{TYPE}","kid":"{}"}}"#,
            key.key_id()
        );
        // One object: the times before the facts.
        let rest = facts.strip_prefix('{').unwrap_or_default();
        let claims = format!(r#"{{"iat":{issued_at},"exp":{expires_at},{rest}"#);
        let mut token = String::with_capacity(256 + claims.len() * 2);
        BASE64_URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = key.sign(token.as_bytes());
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    fn key_at(&self, now: i64) -> Arc<DayKey> {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if !today.is_of(now) {
            *today = Arc::new(self.settings.root.key_at(now));
        }
        Arc::clone(&today)
    }
}

impl fmt::Debug for AssertionSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionSigner")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
