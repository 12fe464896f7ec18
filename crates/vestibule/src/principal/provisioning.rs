//! A person's first visit: tenant → account → new local user.
//!
//! Parallel first requests, in any number of processes, end with one row: within this process
//! they queue per subject and find what the first one made; between processes the directory's
//! unique key decides.

use std::sync::Arc;

use super::{Caller, PrincipalKind, UserWithAccount, resolver::Resolver, user::profile_of};
use crate::{
    clock::Timestamp,
    error::{Reason, Refusal},
    provider::{AuthressUser, Dated, Found},
    settings::Provisioning,
    store::{Account, NewUser, Status},
    tenancy::activity::{ActivityEvent, ActivityKind},
    token::VerifiedToken,
};

impl Resolver {
    pub(super) async fn provision(
        &self,
        token: &VerifiedToken,
        profile: &AuthressUser,
    ) -> Result<Arc<Caller>, Refusal> {
        let turn = self.first_visits.turn(token.subject());
        let _first = turn.lock().await;
        self.remembered.check(token, self.clock.now())?;
        if let Some(caller) = self.local.user(token.subject()).await? {
            return Ok(caller);
        }
        let mut as_of = self.clock.now();
        let account = match self.vouched_account(token, &mut as_of).await {
            Ok(account) => account,
            Err(refusal) => {
                self.remembered.remember(token, refusal.reason, as_of);
                return Err(refusal);
            }
        };
        self.create_user(token, profile, account).await
    }

    /// What a first visit of this person would come to, without making a local user: the account;
    /// none where he is known already.
    pub(crate) async fn first_visit(
        &self,
        token: &VerifiedToken,
    ) -> Result<Option<Account>, Refusal> {
        if self.local.user(token.subject()).await?.is_some() {
            return Ok(None);
        }
        match self.users.get(token.subject()).await {
            Ok(Dated {
                found: Found::Present(_),
                ..
            }) => {}
            Ok(Dated {
                found: Found::Gone, ..
            }) => return Err(Reason::UnknownUser.into()),
            Err(_) => return Err(Reason::ProviderUnavailable.into()),
        }
        let mut as_of = self.clock.now();
        self.vouched_account(token, &mut as_of).await.map(Some)
    }

    /// The account whose tenant vouches for this person. `as_of` becomes the moment of the oldest
    /// answer that went into the decision.
    async fn vouched_account(
        &self,
        token: &VerifiedToken,
        as_of: &mut Timestamp,
    ) -> Result<Account, Refusal> {
        if self.policy.provisioning == Provisioning::Off {
            return Err(Reason::ProvisioningOff.into());
        }
        let candidate = match token.tenant_candidates() {
            [candidate] => candidate,
            [] => return Err(Reason::NoTenant.into()),
            _ => return Err(Reason::SeveralTenants.into()),
        };
        let tenant = match self.tenants.get(candidate).await {
            Ok(Dated {
                found: Found::Present(tenant),
                ..
            }) => tenant,
            Ok(Dated {
                found: Found::Gone,
                asked_at,
                ..
            }) => {
                *as_of = asked_at.min(*as_of);
                return Err(Reason::UnknownTenant.into());
            }
            Err(_) => return Err(Reason::ProviderUnavailable.into()),
        };
        // A tenant that names its connection vouches only for those who signed in through it:
        // otherwise anyone who may sign in anywhere could ask to be let into any tenant.
        if self.policy.provisioning == Provisioning::Connection
            && let Some(connection) = tenant.connection_id.as_deref()
            && token.authorized_party() != Some(connection)
        {
            return Err(Reason::ConnectionMismatch.into());
        }
        let account = self.directory.find_account_by_tenant(candidate).await?;
        let account = account.ok_or(Reason::UnknownAccount)?;
        match account.status {
            Status::Active => Ok(account),
            Status::Suspended => Err(Reason::AccountSuspended.into()),
        }
    }

    async fn create_user(
        &self,
        token: &VerifiedToken,
        profile: &AuthressUser,
        account: Account,
    ) -> Result<Arc<Caller>, Refusal> {
        let new = NewUser {
            account_id: account.id,
            provider: self.policy.provider.to_string(),
            subject: token.subject().to_owned(),
            profile: profile_of(profile),
        };
        let provisioned = self.directory.provision_user(&new).await?;
        // What is remembered says that the person is unknown, until the announced change arrives.
        self.local.forget_user(token.subject());
        if provisioned.created {
            metrics::counter!("vestibule_users_provisioned_total").increment(1);
            let mut event = ActivityEvent::new(account.id, ActivityKind::Provisioning);
            event.user_id = Some(provisioned.user.id);
            self.activity.record(event);
            tracing::info!(account.id = %account.id, user.id = %provisioned.user.id, "user provisioned");
        }
        if provisioned.user.account_id != account.id {
            // Another process was faster, for another tenant of the same person.
            return Err(Reason::TenantMismatch.into());
        }
        let identity = UserWithAccount {
            user: provisioned.user,
            account,
        };
        Ok(Arc::new(Caller::new(PrincipalKind::User, identity)))
    }
}
