//! From a bearer token to a [`VerifiedToken`], step by step. Read this file first.

use std::sync::Arc;

use super::{
    KeySource, RegisteredClients, TokenDigest, VerifiedToken,
    issuer::Issuer,
    policy::TokenPolicy,
    proof::Proof,
    refused::{Ground, Refused},
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

/// A token whose signature can be checked: there is a key for it. Nothing is proven.
pub(super) struct Candidate<'t> {
    digest: TokenDigest,
    unverified: UnverifiedToken<'t>,
    issuer: Issuer,
    proof: Proof,
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

    /// Where keys come from.
    pub(super) fn keys(&self) -> &dyn KeySource {
        &*self.keys
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
        let verified = match self.candidate(token, TokenDigest::of(token)).await {
            Ok(candidate) => self.prove(candidate, now),
            Err(refused) => Err(refused),
        };
        verified.map_err(|refused| refused.reason)
    }

    /// Everything before the signature: cheap, but for a call to the provider.
    pub(super) async fn candidate<'t>(
        &self,
        token: &BearerToken<'t>,
        digest: TokenDigest,
    ) -> Result<Candidate<'t>, Refused> {
        let (unverified, issuer) = self.form(token).map_err(Refused::form)?;
        self.admit(&issuer).await?;
        let set = issuer.key_set();
        let kid = unverified.header().kid();
        let key = self.keys.key(&set, kid).await?;
        let proof = Proof {
            set,
            kid: self.policy.repeated.find(kid),
            key,
        };
        Ok(Candidate {
            digest,
            unverified,
            issuer,
            proof,
        })
    }

    /// The signature, which is what costs, and the claims.
    pub(super) fn prove(
        &self,
        candidate: Candidate<'_>,
        now: Timestamp,
    ) -> Result<VerifiedToken, Refused> {
        let Candidate {
            digest,
            unverified,
            issuer,
            mut proof,
        } = candidate;
        let signed = match unverified.proven_by(&proof.key) {
            Ok(signed) => signed,
            Err(reason) => {
                return Err(Refused {
                    reason,
                    ground: Some(Ground::Signature(proof)),
                });
            }
        };
        match self.policy.accept(issuer, &signed, now) {
            Ok(facts) => {
                proof.kid = self.policy.repeated.keep(&proof.kid);
                Ok(VerifiedToken::new(digest, facts, proof))
            }
            Err(reason) => {
                let end = signed.claims().expires_at();
                let ground = match (reason, end) {
                    (Reason::Expired, Ok(end)) => Some(Ground::Expired(proof, end)),
                    _ => None,
                };
                Err(Refused { reason, ground })
            }
        }
    }

    /// What the token alone decides, and the settings.
    fn form<'t>(&self, token: &BearerToken<'t>) -> Result<(UnverifiedToken<'t>, Issuer), Reason> {
        let unverified = UnverifiedToken::read(token, &self.policy.tenant_claim)?;
        let issuer = self.policy.issuers.find(unverified.unverified_issuer()?)?;
        unverified.header().require_type(issuer.class())?;
        Ok((unverified, issuer))
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
