//! From a bearer token to a [`VerifiedToken`], step by step. Read this file first.

use std::sync::Arc;

use super::{
    KeySource, RegisteredClients, VerifiedToken, issuer::Issuer, policy::TokenPolicy,
    unverified::UnverifiedToken,
};
use crate::{bearer::BearerToken, clock::Timestamp, error::Reason};

/// Verifies tokens: no memory, one answer per question. [`CachedVerifier`](super::CachedVerifier)
/// remembers.
#[derive(Debug)]
pub struct Verifier {
    policy: TokenPolicy,
    keys: Arc<dyn KeySource>,
    clients: Arc<dyn RegisteredClients>,
}

impl Verifier {
    /// A verifier with these rules, that takes keys from `keys` and asks `clients` whom to take
    /// them for.
    pub fn new(
        policy: TokenPolicy,
        keys: Arc<dyn KeySource>,
        clients: Arc<dyn RegisteredClients>,
    ) -> Self {
        Self {
            policy,
            keys,
            clients,
        }
    }

    /// The rules.
    pub fn policy(&self) -> &TokenPolicy {
        &self.policy
    }

    /// Verifies one token at the moment `now`.
    ///
    /// The order is that of cost and of trust: form, header and issuer cost nothing; only an
    /// issuer on the list, and only a client registered here, makes us ask for a key; only a
    /// signed claim is judged.
    ///
    /// # Errors
    ///
    /// The first [`Reason`] that applies. Those that a token without a valid signature can get
    /// all become `invalid_token`, `provider_unavailable` or `storage_unavailable` on the wire.
    pub async fn verify(
        &self,
        token: &BearerToken<'_>,
        now: Timestamp,
    ) -> Result<VerifiedToken, Reason> {
        let unverified = UnverifiedToken::read(token, &self.policy.tenant_claim)?;
        let issuer = self.policy.issuers.find(unverified.unverified_issuer()?)?;
        unverified.header().require_type(issuer.class())?;
        self.admit(&issuer).await?;
        let key_set = issuer.key_set();
        let key = self.keys.key(&key_set, unverified.header().kid()).await?;
        let signed = unverified.proven_by(&key)?;
        self.policy.accept(issuer, &signed, now)
    }

    /// Whether an issuer is worth a call to the provider: anyone can write the name of a client
    /// into a token, so only those registered here count.
    async fn admit(&self, issuer: &Issuer) -> Result<(), Reason> {
        match issuer {
            Issuer::Provider { .. } => Ok(()),
            Issuer::Client { client_id, .. } => {
                self.policy.require_other_client(client_id)?;
                if self.clients.is_registered(client_id).await? {
                    Ok(())
                } else {
                    Err(Reason::UnregisteredClient)
                }
            }
        }
    }
}
