//! A person: Authress user → local user with account.
//!
//! In order: the provider's answer (remembered for `USER_CACHE_TTL`), the local user, the tenant
//! that the token names, suspension. A person without a local user goes on to `provisioning.rs`.
//! E-mail never finds or links anyone: an address is a claim, an Authress user id is an identity.

use std::sync::Arc;

use super::{Caller, Principal, Proven, resolver::Resolver, settled::Grounds};
use crate::{
    clock::Timestamp,
    error::{Reason, Refusal},
    provider::{AuthressUser, Dated, Found},
    store::Profile,
    token::{VerifiedToken, YoungKey},
};

impl Resolver {
    pub(super) async fn user(
        &self,
        token: &VerifiedToken,
        key: Option<YoungKey>,
    ) -> Result<Principal, Refusal> {
        let now = self.clock.now();
        self.remembered.check(token, now)?;
        let local = self.local.user_unchanged(token.subject());
        let (profile, until) = match self.users.get(token.subject()).await {
            Ok(Dated {
                found: Found::Present(profile),
                young_until,
                ..
            }) => (profile, young_until),
            Ok(Dated {
                found: Found::Gone,
                asked_at,
                ..
            }) => return Err(self.gone(token, asked_at).await),
            Err(_) => return Err(self.undecided(token).await),
        };
        let known = self.local.user(token.subject()).await?;
        let (caller, is_as_known) = match known {
            Some(known) => {
                self.require_tenant(&known, token)?;
                let caller = self.refreshed(Arc::clone(&known), &profile).await;
                let is_as_known = Arc::ptr_eq(&caller, &known);
                (caller, is_as_known)
            }
            None => (self.provision(token, &profile).await?, false),
        };
        self.admit(&caller, token.client_id(), token.issued_at())?;
        let grounds = key
            .filter(|_| is_as_known)
            .and_then(|key| Grounds::new(token, key, local, now, until));
        let proven = Proven::Token(token.clone(), None);
        Ok(Principal::new(caller, proven, grounds))
    }

    /// A known user's token must name the tenant of his account.
    pub(super) fn require_tenant(
        &self,
        caller: &Arc<Caller>,
        token: &VerifiedToken,
    ) -> Result<(), Refusal> {
        let tenant = caller.identity.account.authress_tenant_id.as_str();
        let candidates = token.tenant_candidates();
        let reason = if candidates.is_empty() {
            if !self.policy.require_tenant {
                return Ok(());
            }
            Reason::NoTenant
        } else if candidates.iter().any(|candidate| &**candidate == tenant) {
            return Ok(());
        } else {
            Reason::TenantMismatch
        };
        Err(Refusal {
            reason,
            caller: Some(caller.as_refused(token.client_id())),
        })
    }

    /// Takes over name, e-mail and picture when the provider has others.
    async fn refreshed(&self, caller: Arc<Caller>, profile: &Arc<AuthressUser>) -> Arc<Caller> {
        let user = &caller.identity.user;
        if user.email == profile.email
            && user.name == profile.name
            && user.picture == profile.picture
        {
            return caller;
        }
        let fresh = profile_of(profile);
        // The profile is a convenience: a database that cannot take it now refuses nobody.
        if let Err(error) = self.directory.refresh_profile(user.id, &fresh).await {
            tracing::warn!(%error, "a changed profile could not be stored");
        }
        let mut identity = caller.identity.clone();
        identity.user.email = fresh.email;
        identity.user.name = fresh.name;
        identity.user.picture = fresh.picture;
        Arc::new(Caller::new(caller.kind, identity))
    }

    /// Authress says that the user no longer exists, or said so when it was asked last.
    async fn gone(&self, token: &VerifiedToken, asked_at: Timestamp) -> Refusal {
        let refusal = self.with_local_caller(token, Reason::UnknownUser).await;
        self.remembered.remember(token, refusal.reason, asked_at);
        refusal
    }

    /// Authress did not answer, and nothing usable is remembered.
    async fn undecided(&self, token: &VerifiedToken) -> Refusal {
        self.with_local_caller(token, Reason::ProviderUnavailable)
            .await
    }

    /// The refusal, with the caller's own account where he is known here.
    async fn with_local_caller(&self, token: &VerifiedToken, reason: Reason) -> Refusal {
        let known = self.local.user(token.subject()).await.ok().flatten();
        Refusal {
            reason,
            caller: known.map(|caller| caller.as_refused(token.client_id())),
        }
    }
}

/// The provider's answer in the directory's words.
pub(super) fn profile_of(user: &AuthressUser) -> Profile {
    Profile {
        email: user.email.clone(),
        name: user.name.clone(),
        picture: user.picture.clone(),
    }
}
