//! Refused tokens, kept for a short while, so that the same garbage costs one verification.
//!
//! A memory of its own: however many come, they push out no token that was accepted. It keeps only
//! refusals that time and the provider cannot turn: a form that no token has, a signature that the
//! key did not make, an `exp` that has passed. A key that is not known may appear, a token may
//! become valid, a client may be registered: such refusals are made anew each time.

use std::time::Duration;

use quick_cache::sync::Cache;

use super::{KeySource, TokenDigest, policy::TokenPolicy, proof::Proof};
use crate::{clock::Timestamp, error::Reason};

/// Entries of some hundred bytes. More: memory for garbage; fewer: garbage in turn is judged again.
const REFUSED: usize = 10_000;

/// Longer keeps garbage that nobody sends any more; shorter judges again what a client in a loop
/// sends every few seconds.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Why a token is refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    /// What the refusal rests on; none where it may change by itself.
    pub(super) ground: Option<Ground>,
}

/// What a lasting refusal rests on.
#[derive(Clone, Debug)]
pub(super) enum Ground {
    /// The token alone, and settings that do not change.
    Form,
    /// This key did not make the signature.
    Signature(Proof),
    /// This key made the signature, and this was the end of the token.
    Expired(Proof, Timestamp),
}

/// A bounded store of refused tokens. Holds no token, only digests.
#[derive(Debug)]
pub(super) struct RefusedTokens(Cache<TokenDigest, (Refused, Timestamp)>);

impl RefusedTokens {
    pub(super) fn new() -> Self {
        Self(Cache::new(REFUSED))
    }

    /// Why the token with this digest is refused, where that is certain.
    pub(super) fn get(
        &self,
        digest: &TokenDigest,
        keys: &dyn KeySource,
        policy: &TokenPolicy,
        now: Timestamp,
    ) -> Option<Reason> {
        let (refused, at) = self.0.get(digest)?;
        // A clock that was set back makes no entry last longer.
        if at > now || now.saturating_since(at) >= MAX_AGE {
            return None;
        }
        let lasts = match &refused.ground {
            None => false,
            Some(Ground::Form) => true,
            Some(Ground::Signature(proof)) => proof.stands_surely(keys),
            Some(Ground::Expired(proof, end)) => {
                proof.stands_surely(keys) && policy.require_unexpired(*end, now).is_err()
            }
        };
        lasts.then_some(refused.reason)
    }

    /// Keeps a refusal of the moment `at`, if it lasts.
    pub(super) fn insert(&self, digest: TokenDigest, refused: Refused, at: Timestamp) {
        if refused.ground.is_some() {
            self.0.insert(digest, (refused, at));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Refused {
    /// A refusal that rests on the token alone.
    pub(super) fn form(reason: Reason) -> Self {
        Self {
            reason,
            ground: Some(Ground::Form),
        }
    }
}

/// A refusal that may change by itself.
impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            ground: None,
        }
    }
}
