//! What a signed assertion must say to be accepted, and what of it is kept.
//!
//! E-mail, name, tenant and role are not read: they are for applications without the directory.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{LIFETIME, unverified::SignedText};
use crate::{
    clock::Timestamp,
    error::Reason,
    principal::PrincipalKind,
    settings::AcceptedAssertions,
    token::{
        claims::{moment, required, text},
        json::{Json, Members, read_object},
        policy::scopes,
    },
};

/// What was asserted.
#[derive(Debug)]
pub(crate) struct AssertedFacts {
    pub(crate) kind: PrincipalKind,
    /// The local id of the user or service client.
    pub(crate) id: Uuid,
    /// The Authress user id, or the service client's `client_id`.
    pub(crate) subject: Arc<str>,
    pub(crate) account_id: Uuid,
    pub(crate) issuer: Arc<str>,
    pub(crate) client_id: Arc<str>,
    pub(crate) scopes: Arc<[Arc<str>]>,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// `exp` of the token that the assertion was made for.
    pub(crate) token_ends: Timestamp,
}

/// The rules.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) accepted: AcceptedAssertions,
    pub(super) leeway: Duration,
}

#[derive(Default)]
struct Claims {
    iss: Option<Json>,
    sub: Option<Json>,
    aud: Option<Json>,
    exp: Option<Json>,
    iat: Option<Json>,
    nbf: Option<Json>,
    kind: Option<Json>,
    authress_user_id: Option<Json>,
    account_id: Option<Json>,
    client_id: Option<Json>,
    scope: Option<Json>,
    token_exp: Option<Json>,
}

impl Members for Claims {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Json>> {
        Some(match name {
            "iss" => &mut self.iss,
            "sub" => &mut self.sub,
            "aud" => &mut self.aud,
            "exp" => &mut self.exp,
            "iat" => &mut self.iat,
            "nbf" => &mut self.nbf,
            "kind" => &mut self.kind,
            "authress_user_id" => &mut self.authress_user_id,
            "account_id" => &mut self.account_id,
            "client_id" => &mut self.client_id,
            "scope" => &mut self.scope,
            "token_exp" => &mut self.token_exp,
            _ => return None,
        })
    }
}

impl Policy {
    /// Judges what a key of ours has signed, at the moment `now`.
    pub(super) fn accept(
        &self,
        signed: &SignedText,
        now: Timestamp,
    ) -> Result<AssertedFacts, Reason> {
        let mut claims = Claims::default();
        read_object(signed.as_str(), &mut claims)?;
        let issuer = text(&claims.iss)?.ok_or(Reason::MissingIssuer)?;
        if *issuer != *self.accepted.issuer {
            return Err(Reason::UnknownIssuer);
        }
        // One application, never a list: who is meant beside us could use it here.
        if *required(text(&claims.aud)?)? != *self.accepted.audience {
            return Err(Reason::WrongAudience);
        }
        // None is ever written, and one that we ignored could forbid what we allow.
        if claims.nbf.is_some() {
            return Err(Reason::BadClaim);
        }
        let scope = match &claims.scope {
            Some(Json::Text(scope)) => scope,
            Some(_) => return Err(Reason::BadClaim),
            None => return Err(Reason::MissingClaim),
        };
        let facts = AssertedFacts {
            kind: kind(required(text(&claims.kind)?)?)?,
            id: id(&claims.sub)?,
            subject: required(text(&claims.authress_user_id)?)?.into(),
            account_id: id(&claims.account_id)?,
            issuer: Arc::clone(&self.accepted.issuer),
            client_id: required(text(&claims.client_id)?)?.into(),
            scopes: scopes(scope)?,
            issued_at: required(moment(&claims.iat)?)?,
            expires_at: required(moment(&claims.exp)?)?,
            token_ends: required(moment(&claims.token_exp)?)?,
        };
        self.require_time(&facts, now)?;
        if facts.expires_at > facts.token_ends {
            return Err(Reason::BadClaim);
        }
        let most = Duration::from_secs(LIFETIME.unsigned_abs()) + self.leeway;
        if facts.expires_at.saturating_since(facts.issued_at) > most {
            return Err(Reason::LifetimeTooLong);
        }
        Ok(facts)
    }

    /// Asked at every use. As for tokens, the leeway moves both ends; `exp` may lie before `iat`,
    /// where the token itself was let in within its leeway.
    pub(super) fn require_time(&self, facts: &AssertedFacts, now: Timestamp) -> Result<(), Reason> {
        if now >= facts.expires_at + self.leeway {
            return Err(Reason::Expired);
        }
        if facts.issued_at > now + self.leeway {
            return Err(Reason::NotYetValid);
        }
        Ok(())
    }
}

fn kind(text: &str) -> Result<PrincipalKind, Reason> {
    [PrincipalKind::User, PrincipalKind::Machine]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or(Reason::BadClaim)
}

fn id(claim: &Option<Json>) -> Result<Uuid, Reason> {
    let text = required(text(claim)?)?;
    let id = Uuid::try_parse(text).map_err(|_| Reason::BadClaim)?;
    // In the one form in which it is written here.
    match id.to_string() == text {
        true => Ok(id),
        false => Err(Reason::BadClaim),
    }
}
