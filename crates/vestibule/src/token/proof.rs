//! What a signature was checked with.
//!
//! That a key made a signature stays true for ever; that the key counts does not. So whatever is
//! remembered of a token is remembered together with its key, and holds only as long as the same
//! key is in the same set under the same name.

use std::sync::Arc;

use super::{KeySetId, KeySource, VerifyingKey, YoungKey};
use crate::error::Reason;

/// The key that a signature was checked with, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    pub(super) set: KeySetId,
    pub(super) kid: Arc<str>,
    pub(super) key: VerifyingKey,
}

impl Proof {
    /// Whether the key counts now. May ask the provider, as a new token's verification would.
    ///
    /// # Errors
    ///
    /// As [`KeySource::key`].
    pub(super) async fn stands(&self, keys: &dyn KeySource) -> Result<bool, Reason> {
        if self.stands_surely(keys) {
            return Ok(true);
        }
        let key = keys.key(&self.set, &self.kid).await?;
        Ok(key == self.key)
    }

    /// Whether the key counts for certain, without asking anybody.
    pub(super) fn stands_surely(&self, keys: &dyn KeySource) -> bool {
        self.young(keys).is_some()
    }

    /// The key's standing, where it counts for certain: as [`Proof::stands_surely`].
    pub(super) fn young(&self, keys: &dyn KeySource) -> Option<YoungKey> {
        let young = keys.young_key(&self.set, &self.kid)?;
        // A set that was fetched again has its keys anew.
        (young.key == self.key).then_some(young)
    }
}
