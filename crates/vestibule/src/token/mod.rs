//! 2. [`BearerToken`](crate::bearer::BearerToken) → [`VerifiedToken`]: what the token says, and that it was entitled to say it.
//!
//! RFC 7519 (JWT), RFC 8725 (best practice), RFC 9068 (access tokens); Authress' own shapes.
//!
//! ```text
//! BearerToken ─unverified─▶ iss, kid ─issuer─▶ class, key set ─KeySource─▶ key
//!                 └───────────────── proven by the key ─────────────────────▶ SignedClaims ─policy─▶ VerifiedToken
//! ```
//!
//! `verifier` is this line, step by step; `policy` holds every rule about claims, and is where a
//! new one goes; `cached_verifier` remembers what was proven, and asks at every use whether the key
//! still counts and whether it is time; `refused` remembers what can never be accepted.

mod cache;
mod cached_verifier;
pub(crate) mod claims;
mod digest;
pub(crate) mod header;
mod issuer;
pub(crate) mod json;
mod key_set;
pub(crate) mod policy;
mod proof;
mod refused;
mod repeated;
pub(crate) mod signature;
pub(crate) mod unverified;
mod verifier;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;
use serde::Serialize;

use self::proof::Proof;
pub use self::{
    cached_verifier::{CacheOutcome, CachedVerifier, Verification},
    digest::TokenDigest,
    issuer::is_client_id,
    key_set::{KeySet, KeySetError},
    policy::TokenPolicy,
    signature::VerifyingKey,
    verifier::Verifier,
};
use crate::{changes::Unchanged, clock::Timestamp, error::Reason};

/// Whether the provider or the service client itself signed the token: decided by whose keys
/// verified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenClass {
    /// Signed by the provider for a person.
    User,
    /// Signed by a service client for itself.
    Machine,
}

/// Names one set of verification keys. A `kid` means something only within its set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySetId {
    /// The keys of one configured issuer of user tokens.
    Issuer(Arc<str>),
    /// The keys of one service client, by its `client_id`.
    Client(Arc<str>),
}

/// Where the verifier gets keys from.
pub trait KeySource: Send + Sync + fmt::Debug + 'static {
    /// The key `kid` of the set.
    ///
    /// Fails with [`Reason::UnknownKey`] or [`Reason::ProviderUnavailable`].
    fn key<'a>(
        &'a self,
        set: &'a KeySetId,
        kid: &'a str,
    ) -> BoxFuture<'a, Result<VerifyingKey, Reason>>;

    /// The key, where the set is held and so young that nobody has to be asked: what every use of
    /// a remembered token asks. None says nothing about the key; [`KeySource::key`] does.
    fn young_key(&self, _set: &KeySetId, _kid: &str) -> Option<YoungKey> {
        None
    }
}

/// A key of a set that need not be asked for again.
#[derive(Clone, Debug)]
pub struct YoungKey {
    pub(crate) key: VerifyingKey,
    /// From then on its set is asked for again.
    pub(crate) until: Timestamp,
    /// Whether its set is still the one that is held.
    pub(crate) unchanged: Unchanged,
}

/// Which service clients are registered here.
pub trait RegisteredClients: Send + Sync + fmt::Debug + 'static {
    /// Asked before any call to the provider is made for the client.
    fn is_registered<'a>(&'a self, client_id: &'a str) -> BoxFuture<'a, Result<bool, Reason>>;
}

/// Proof that a token was verified, with the facts that it stated. Cheap to clone.
///
/// Only the verifier makes one.
#[derive(Clone, Debug)]
pub struct VerifiedToken(Arc<Proven>);

#[derive(Debug)]
struct Proven {
    digest: TokenDigest,
    facts: Facts,
    proof: Proof,
    /// Whether somebody has come in with it.
    used: AtomicBool,
}

/// What the application may know of the token. The token itself is not kept.
#[derive(Clone, Debug, Serialize)]
pub struct TokenFacts {
    /// `iss`, one of the configured issuers or the service client's own; where the caller came with
    /// an assertion, its issuer.
    pub issuer: Arc<str>,
    /// The application or service client that holds the token.
    pub client_id: Arc<str>,
    /// Scopes: those the provider granted to a user, those registered here for a machine.
    pub scopes: Arc<[Arc<str>]>,
    /// `exp` of the token, also where an assertion was made for it, which ends sooner.
    pub expires_at: Timestamp,
}

/// What was verified.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) class: TokenClass,
    pub(crate) stated: TokenFacts,
    pub(crate) subject: Arc<str>,
    pub(crate) authorized_party: Option<Arc<str>>,
    pub(crate) tenant_candidates: Box<[Arc<str>]>,
    pub(crate) issued_at: Timestamp,
    /// The later of `iat` and `nbf`.
    pub(crate) valid_from: Timestamp,
}

impl VerifiedToken {
    /// Private to this module's children: the verifier is the only caller.
    fn new(digest: TokenDigest, facts: Facts, proof: Proof) -> Self {
        Self(Arc::new(Proven {
            digest,
            facts,
            proof,
            used: AtomicBool::new(false),
        }))
    }

    /// Whether nobody has asked this before of this token since it was verified.
    pub(crate) fn first_use(&self) -> bool {
        // Looked at before it is written: a hit writes to no shared memory.
        !self.0.used.load(Ordering::Relaxed) && !self.0.used.swap(true, Ordering::Relaxed)
    }

    fn proof(&self) -> &Proof {
        &self.0.proof
    }

    /// Stands for the token.
    pub(crate) fn digest(&self) -> &TokenDigest {
        &self.0.digest
    }

    /// The set that the signing key is in, and the key's name there.
    pub(crate) fn key_set(&self) -> (&KeySetId, &str) {
        (&self.0.proof.set, &self.0.proof.kid)
    }

    /// What the application may know of it, as the token says it.
    pub(crate) fn facts(&self) -> &TokenFacts {
        &self.0.facts.stated
    }

    fn valid_from(&self) -> Timestamp {
        self.0.facts.valid_from
    }

    /// Who signed it.
    pub fn class(&self) -> TokenClass {
        self.0.facts.class
    }

    /// `iss`.
    pub fn issuer(&self) -> &Arc<str> {
        &self.0.facts.stated.issuer
    }

    /// `sub`: the Authress user id, or the service client's id.
    pub fn subject(&self) -> &str {
        &self.0.facts.subject
    }

    /// `client_id`: the application, or the service client.
    pub fn client_id(&self) -> &Arc<str> {
        &self.0.facts.stated.client_id
    }

    /// `azp`: the connection through which a person signed in.
    pub fn authorized_party(&self) -> Option<&str> {
        self.0.facts.authorized_party.as_deref()
    }

    /// The tenants that the token may be for; empty for machines.
    pub fn tenant_candidates(&self) -> &[Arc<str>] {
        &self.0.facts.tenant_candidates
    }

    /// The scopes that the provider granted to a person; empty for machines, whose own claims
    /// grant nothing.
    pub fn scopes(&self) -> &Arc<[Arc<str>]> {
        &self.0.facts.stated.scopes
    }

    /// `iat`.
    pub fn issued_at(&self) -> Timestamp {
        self.0.facts.issued_at
    }

    /// `exp`.
    pub fn expires_at(&self) -> Timestamp {
        self.0.facts.stated.expires_at
    }
}
