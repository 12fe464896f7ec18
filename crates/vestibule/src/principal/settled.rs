//! A caller who was found a moment ago, kept beside his token: a request that brings the same token
//! while nothing has changed has the same principal.
//!
//! What is kept are facts, and what they rest on: the token's key, the directory's word on the
//! caller, and how long both need not be asked for again. At every use all of it is asked: whether
//! it is time, whether the key set and the directory's word are still the same, whether changes of
//! the directory can be heard at all, whether caller and account are active, and what was cut off.
//! Any other answer than yes only means that the whole way is gone again.

use std::sync::Arc;

use super::{Identified, Principal, Proven, resolver::Resolver};
use crate::{
    changes::Unchanged,
    clock::Timestamp,
    error::Reason,
    token::{VerifiedToken, YoungKey},
};

/// What a principal rests on, beside its token.
#[derive(Debug)]
pub(super) struct Grounds {
    from: Timestamp,
    /// From then on somebody is asked again, the provider about the caller or for the keys, or the
    /// token has expired.
    until: Timestamp,
    /// Whether the directory says the same of the caller.
    local: Unchanged,
    /// Whether the set that the token's key is in is the same.
    keys: Unchanged,
}

impl Grounds {
    /// `key` and `local` were taken at the moment `from`, before anything was looked at.
    pub(super) fn new(
        token: &VerifiedToken,
        key: YoungKey,
        local: Unchanged,
        from: Timestamp,
        until: Timestamp,
    ) -> Option<Self> {
        let until = until.min(key.until).min(token.expires_at());
        (from < until).then_some(Self {
            from,
            until,
            local,
            keys: key.unchanged,
        })
    }

    fn hold(&self, now: Timestamp) -> bool {
        // A clock that was set back proves nothing.
        self.from <= now && now < self.until && self.local.holds() && self.keys.holds()
    }
}

impl Principal {
    /// What may be kept beside the token.
    pub(crate) fn settled(&self) -> Option<(&VerifiedToken, &Arc<Identified>)> {
        match (&self.identified.proven, &self.identified.grounds) {
            (Proven::Token(token, _), Some(_)) => Some((token, &self.identified)),
            _ => None,
        }
    }
}

impl Resolver {
    /// The principal, where everything that it rests on holds.
    pub(crate) fn recall(&self, identified: Arc<Identified>, now: Timestamp) -> Option<Principal> {
        let grounds = identified.grounds.as_ref()?;
        if !grounds.hold(now) || self.directory.is_stale_at(now) {
            return None;
        }
        self.require_uncut(&identified).ok()?;
        Some(Principal {
            identified,
            scope: None,
        })
    }

    fn require_uncut(&self, identified: &Identified) -> Result<(), Reason> {
        let (caller, proven) = (&identified.caller, &identified.proven);
        self.revocations.check(|cuts| {
            let token = identified.verified_token();
            token.is_none_or(|token| cuts.concern(token))
                || cuts.concern_caller(caller.user_id(), caller.account_id(), proven.issued_at())
        })
    }
}
