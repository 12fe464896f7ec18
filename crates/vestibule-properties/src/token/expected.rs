//! Which tokens are accepted: the contract, written down a second time.

use std::sync::Arc;

use vestibule::{VerifiedToken, token::TokenClass};

use super::{ISSUER, NOW, OWN_CLIENT, ROBOT};
use crate::tree::Tree;

const AUDIENCE: &str = "test.accounts.authress.io";
const LEEWAY: i64 = 30_000;
const LONGEST: i64 = 86_400_000 + LEEWAY;
/// The first moment that RFC 3339 cannot write any more, in seconds.
const YEAR_10000: i64 = 253_402_300_800;

/// The settings that matter here.
pub(super) struct Rules {
    pub(super) api_audiences: &'static [&'static str],
    pub(super) applications: &'static [&'static str],
    pub(super) tenant_claim: &'static str,
    pub(super) allow_client_issued_users: bool,
}

/// What a token says.
#[derive(Debug, PartialEq)]
pub(super) struct Facts {
    class: TokenClass,
    issuer: String,
    subject: String,
    client_id: String,
    authorized_party: Option<String>,
    tenants: Vec<String>,
    scopes: Vec<String>,
    /// In milliseconds.
    issued_at: i64,
    expires_at: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            api_audiences: &[],
            applications: &[],
            tenant_claim: "aud",
            allow_client_issued_users: false,
        }
    }
}

impl Facts {
    pub(super) fn of(token: &VerifiedToken) -> Self {
        let texts = |list: &[Arc<str>]| list.iter().map(|text| text.to_string()).collect();
        Self {
            class: token.class(),
            issuer: token.issuer().to_string(),
            subject: token.subject().to_owned(),
            client_id: token.client_id().to_string(),
            authorized_party: token.authorized_party().map(str::to_owned),
            tenants: texts(token.tenant_candidates()),
            scopes: texts(token.scopes()),
            issued_at: token.issued_at().as_millis(),
            expires_at: token.expires_at().as_millis(),
        }
    }
}

impl Rules {
    /// What a token of this header and these claims says, if it is to be accepted where `signer`
    /// signed it.
    pub(super) fn accepted(
        &self,
        header: &[u8],
        claims: &[u8],
        signer: TokenClass,
    ) -> Option<Facts> {
        let header = object(header)?;
        let claims = object(claims)?;
        let forbidden = ["crit", "jwk", "jku", "x5u", "x5c"];
        if forbidden.iter().any(|name| header.get(name).is_some())
            || header.get("alg")?.text()? != "EdDSA"
        {
            return None;
        }
        let typ = header.get("typ")?.text()?.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        let kid = header.get("kid")?.text()?;
        let issuer = claims.get("iss")?.text()?;
        let client_issuer = |origin: &str| issuer == format!("{origin}/v1/clients/{ROBOT}");
        let fits = match signer {
            TokenClass::User => issuer == ISSUER && kid == "account1" && typ == "at+jwt",
            TokenClass::Machine => {
                client_issuer(ISSUER) && kid == "robot1" && (typ == "at+jwt" || typ == "jwt")
            }
        };
        if !fits {
            return None;
        }
        let (issued_at, expires_at) = validity(&claims)?;
        let facts = Facts {
            class: signer,
            issuer: issuer.to_owned(),
            subject: value(claims.get("sub")?)?.to_owned(),
            client_id: String::new(),
            authorized_party: None,
            tenants: Vec::new(),
            scopes: Vec::new(),
            issued_at,
            expires_at,
        };
        match signer {
            TokenClass::User => self.user(&claims, facts),
            TokenClass::Machine => machine(&claims, facts),
        }
    }

    fn user(&self, claims: &Tree, mut facts: Facts) -> Option<Facts> {
        let subject = &facts.subject;
        let client = value(claims.get("client_id")?)?;
        let of_subject = |c: char| c.is_ascii_alphanumeric() || "+._|/~:@ -".contains(c);
        let fits = subject.len() <= 128
            && subject.chars().all(of_subject)
            && subject != "."
            && subject != ".."
            && client.len() <= 128
            && client.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
            && subject != client
            && !is_like_a_client(subject)
            && client != OWN_CLIENT
            && (self.allow_client_issued_users || !is_like_a_client(client))
            && (self.applications.is_empty() || self.applications.contains(&client));
        if !fits {
            return None;
        }
        let audiences = values(claims.get("aud"))?;
        if !self.api_audiences.is_empty()
            && !audiences
                .iter()
                .any(|one| self.api_audiences.contains(&one.as_str()))
        {
            return None;
        }
        facts.authorized_party = match claims.get("azp") {
            None => None,
            Some(party) => Some(value(party).filter(|party| party.len() <= 128)?.to_owned()),
        };
        for tenant in values(claims.get(self.tenant_claim))? {
            if self.api_audiences.contains(&tenant.as_str()) || tenant.contains("://") {
                continue;
            }
            if tenant.len() > 128 {
                return None;
            }
            if !facts.tenants.contains(&tenant) {
                facts.tenants.push(tenant);
            }
        }
        if let Some(scope) = claims.get("scope") {
            for scope in scope.text()?.split(' ').filter(|scope| !scope.is_empty()) {
                // RFC 6749 §3.3: scope-token.
                if !scope
                    .bytes()
                    .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
                {
                    return None;
                }
                if !facts.scopes.iter().any(|known| known == scope) {
                    facts.scopes.push(scope.to_owned());
                }
            }
        }
        facts.client_id = client.to_owned();
        (facts.scopes.len() <= 1_000).then_some(facts)
    }
}

fn machine(claims: &Tree, mut facts: Facts) -> Option<Facts> {
    let stated = claims.get("client_id").map(value);
    let fits = facts.subject == ROBOT
        && stated.is_none_or(|stated| stated == Some(ROBOT))
        && values(Some(claims.get("aud")?))? == [AUDIENCE];
    facts.client_id = ROBOT.to_owned();
    fits.then_some(facts)
}

/// The text of one object in which every member occurs once.
fn object(text: &[u8]) -> Option<Tree> {
    Tree::read(text).filter(|tree| tree.is_object() && tree.has_each_member_once())
}

/// `iat` and `exp`, if they are there and the token is good now.
fn validity(claims: &Tree) -> Option<(i64, i64)> {
    let now = NOW * 1_000;
    let issued_at = moment(claims.get("iat")?)?;
    let expires_at = moment(claims.get("exp")?)?;
    let not_before = match claims.get("nbf") {
        None => issued_at,
        Some(moment_of) => moment(moment_of)?,
    };
    let good = now < expires_at + LEEWAY
        && issued_at <= expires_at
        && expires_at - issued_at <= LONGEST
        && issued_at <= now + LEEWAY
        && not_before <= now + LEEWAY;
    good.then_some((issued_at, expires_at))
}

/// Milliseconds; RFC 7519 §2: seconds, with or without a fraction.
fn moment(value: &Tree) -> Option<i64> {
    let millis = match value {
        Tree::Integer(seconds) => seconds.checked_mul(1_000)?,
        Tree::Float(seconds) if *seconds >= 0.0 && *seconds <= (YEAR_10000 - 1) as f64 => {
            (seconds * 1_000.0).floor() as i64
        }
        _ => return None,
    };
    (0..=(YEAR_10000 - 1) * 1_000)
        .contains(&millis)
        .then_some(millis)
}

/// A text that a claim may be.
fn value(value: &Tree) -> Option<&str> {
    let text = value.text()?;
    let fits = (1..=512).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then_some(text)
}

/// None of them, one text, or a list of texts.
fn values(claim: Option<&Tree>) -> Option<Vec<String>> {
    match claim {
        None => Some(Vec::new()),
        Some(Tree::List(list)) if list.len() > 64 => None,
        Some(Tree::List(list)) => list
            .iter()
            .map(|one| value(one).map(str::to_owned))
            .collect(),
        Some(one) => Some(vec![value(one)?.to_owned()]),
    }
}

fn is_like_a_client(text: &str) -> bool {
    ["sc_", "ext_", "scauth_", "authress_"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
}
