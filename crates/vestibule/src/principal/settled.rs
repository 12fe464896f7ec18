//! A caller who was found a moment ago, kept beside his token: a request that brings the same token
//! while nothing has changed has the same principal.
//!
//! What is kept are facts, and what they rest on: the token's key, the directory's word on the
//! caller, and how long both need not be asked for again. At every use all of it is asked: whether
//! it is time, whether the key set and the directory's word are still the same, whether changes of
//! the directory can be heard at all, whether caller and account are active, and what was cut off.
//! Any other answer than yes only means that the whole way is gone again.

use std::sync::Arc;

use super::{Identified, Principal, resolver::Resolver};
use crate::{
    changes::Unchanged,
    clock::Timestamp,
    token::{VerifiedToken, YoungKey},
};

/// A principal, and how long what it was made of need not be looked at again.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) principal: Principal,
    /// None: this once.
    pub(super) lasting: Option<Lasting>,
}

/// What a principal rests on, beside its token.
#[derive(Debug)]
pub(super) struct Lasting {
    /// From then on the provider is asked about the caller again.
    pub(super) until: Timestamp,
    /// Whether the directory says the same of him.
    pub(super) local: Unchanged,
}

/// What a token's last use found out.
#[derive(Debug)]
pub(crate) struct Settled {
    identified: Arc<Identified>,
    token: VerifiedToken,
    from: Timestamp,
    until: Timestamp,
    local: Unchanged,
    keys: Unchanged,
}

impl Resolved {
    /// What may be kept of it, where `token` stands by this key.
    pub(crate) fn settled(
        self,
        token: VerifiedToken,
        key: YoungKey,
        now: Timestamp,
    ) -> Option<Settled> {
        let Lasting { until, local } = self.lasting?;
        let until = until.min(key.until);
        (now < until).then_some(Settled {
            identified: self.principal.identified,
            token,
            from: now,
            until,
            local,
            keys: key.unchanged,
        })
    }
}

impl Settled {
    /// The token that it belongs to.
    pub(crate) fn token(&self) -> &VerifiedToken {
        &self.token
    }

    fn holds(&self, now: Timestamp) -> bool {
        // A clock that was set back proves nothing.
        self.from <= now && now < self.until && self.local.holds() && self.keys.holds()
    }
}

impl Resolver {
    /// The principal, where everything that it rests on holds.
    pub(crate) fn recall(&self, settled: &Settled, now: Timestamp) -> Option<Principal> {
        if !settled.holds(now) || self.directory.is_stale_at(now) {
            return None;
        }
        let Identified { caller, token, .. } = &*settled.identified;
        self.admit(caller, &token.client_id, settled.token.issued_at())
            .ok()?;
        Some(Principal {
            identified: Arc::clone(&settled.identified),
            scope: None,
        })
    }
}
