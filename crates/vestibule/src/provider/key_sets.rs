//! Key sets: fetched, refreshed, bounded.
use super::AuthressApi;
use crate::{
    clock::SharedClock,
    error::Reason,
    settings::ProviderSettings,
    store::Directory,
    token::{KeySetId, KeySource, VerifyingKey},
};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// The key sets of all issuers and service clients.
#[derive(Debug)]
pub struct KeySets;

impl KeySets {
    pub(crate) fn new(
        _: &ProviderSettings,
        _: Arc<AuthressApi>,
        _: Directory,
        _: SharedClock,
    ) -> Arc<Self> {
        Arc::new(Self)
    }
    /// Loads the kept sets of all configured issuers and starts fetching fresh ones (at start-up).
    pub(crate) async fn warm_up(self: &Arc<Self>) {}
    /// Whether every configured issuer has usable keys: part of `/readyz`.
    pub fn ready(&self) -> bool {
        false
    }
}

impl KeySource for KeySets {
    fn key<'a>(
        &'a self,
        _set: &'a KeySetId,
        _kid: &'a str,
    ) -> BoxFuture<'a, Result<VerifyingKey, Reason>> {
        Box::pin(async { Err(Reason::UnknownKey) })
    }
}
