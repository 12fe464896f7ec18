//! The one place that makes a [`Principal`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::sync::Mutex as AsyncMutex;

use super::{Caller, LocalFacts, Principal};
use crate::{
    clock::{SharedClock, Timestamp},
    error::{Reason, Refusal},
    provider::{TenantCache, UserCache},
    revocation::Revocations,
    settings::{ProviderSettings, Provisioning},
    store::{Change, Directory, StoreError},
    tenancy::activity::ActivityLog,
    token::{TokenClass, VerifiedToken, YoungKey},
};

/// Decides who a verified token speaks for.
#[derive(Debug)]
pub struct Resolver {
    pub(super) directory: Directory,
    pub(super) local: Arc<LocalFacts>,
    pub(super) users: UserCache,
    pub(super) tenants: TenantCache,
    pub(super) policy: Policy,
    pub(super) remembered: RememberedRefusals,
    pub(super) first_visits: FirstVisits,
    pub(super) revocations: Arc<Revocations>,
    pub(super) activity: ActivityLog,
    pub(super) clock: SharedClock,
}

/// Who is asked first: what is remembered of the directory and of the provider.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) local: Arc<LocalFacts>,
    pub(crate) users: UserCache,
    pub(crate) tenants: TenantCache,
}

/// The settings that decide about people.
#[derive(Debug)]
pub(super) struct Policy {
    /// The provider's name in the directory; all its issuers are names of one provider.
    pub(super) provider: Arc<str>,
    pub(super) require_tenant: bool,
    pub(super) provisioning: Provisioning,
}

/// The provider's name in the directory.
pub const PROVIDER: &str = "authress";

impl Resolver {
    pub(crate) fn new(
        settings: &ProviderSettings,
        directory: Directory,
        remembered: Remembered,
        revocations: Arc<Revocations>,
        activity: ActivityLog,
        clock: SharedClock,
    ) -> Self {
        let Remembered {
            local,
            users,
            tenants,
        } = remembered;
        let policy = Policy {
            provider: PROVIDER.into(),
            require_tenant: settings.require_tenant,
            provisioning: settings.provisioning,
        };
        Self {
            directory,
            local,
            users,
            tenants,
            policy,
            remembered: RememberedRefusals::new(),
            first_visits: FirstVisits::default(),
            revocations,
            activity,
            clock,
        }
    }

    /// The caller that a verified token speaks for, with its account.
    ///
    /// # Errors
    /// A [`Refusal`] with the reason and, where the caller is known here, its own account.
    pub async fn principal(&self, token: &VerifiedToken) -> Result<Principal, Refusal> {
        self.resolve(token, None).await
    }

    /// As [`Resolver::principal`]; where the token stands by this `key`, it may be recalled.
    pub(crate) async fn resolve(
        &self,
        token: &VerifiedToken,
        key: Option<YoungKey>,
    ) -> Result<Principal, Refusal> {
        match token.class() {
            TokenClass::User => self.user(token, key).await,
            TokenClass::Machine => self.machine(token, key).await,
        }
    }

    /// Suspension and cut-offs, asked again on every request.
    pub(super) fn admit(
        &self,
        caller: &Caller,
        client_id: &Arc<str>,
        issued_at: Timestamp,
    ) -> Result<(), Refusal> {
        caller.admit(client_id)?;
        self.revocations
            .check_caller(caller.user_id(), caller.account_id(), issued_at)
            .map_err(|reason| Refusal {
                reason,
                caller: Some(caller.as_refused(client_id)),
            })
    }

    /// Forgets what a change of the directory may have made wrong.
    pub(crate) fn on_change(&self, change: &Change) {
        self.local.on_change(change);
        self.remembered.on_change(change);
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            // Suspended or deleted between two looks.
            StoreError::NotFound(_) => Reason::UnknownAccount.into(),
            error => {
                tracing::error!(%error, "the directory did not answer");
                Reason::StorageUnavailable.into()
            }
        }
    }
}

/// Refusals of verified tokens, per subject and tenants, so that someone who is refused cannot
/// make us ask the provider again with ever new tokens.
#[derive(Debug)]
pub(super) struct RememberedRefusals {
    refused: Cache<Arc<str>, (Reason, Timestamp)>,
}

impl RememberedRefusals {
    /// How long someone who was let in meanwhile may have to wait.
    const MAX_AGE: Duration = Duration::from_secs(10);
    const CAPACITY: usize = 10_000;

    fn new() -> Self {
        Self {
            refused: Cache::new(Self::CAPACITY),
        }
    }

    pub(super) fn check(&self, token: &VerifiedToken, now: Timestamp) -> Result<(), Refusal> {
        if self.refused.is_empty() {
            return Ok(());
        }
        match self.refused.get(&*Self::key(token)) {
            Some((reason, at)) if now.saturating_since(at) < Self::MAX_AGE => Err(reason.into()),
            _ => Ok(()),
        }
    }

    /// Outages are not remembered here: they end by themselves.
    pub(super) fn remember(&self, token: &VerifiedToken, reason: Reason, now: Timestamp) {
        let lasting = matches!(
            reason,
            Reason::UnknownUser
                | Reason::ProvisioningOff
                | Reason::NoTenant
                | Reason::SeveralTenants
                | Reason::UnknownTenant
                | Reason::ConnectionMismatch
                | Reason::UnknownAccount
        );
        if lasting {
            self.refused.insert(Self::key(token), (reason, now));
        }
    }

    fn on_change(&self, change: &Change) {
        match change {
            Change::Account(_) | Change::Everything => self.refused.clear(),
            Change::User { subject, .. } => {
                let prefix = format!("{subject}\n");
                self.refused.retain(|key, _| !key.starts_with(&prefix));
            }
            Change::Client(_) | Change::CutOff(_) => {}
        }
    }

    /// Subject and tenants hold no line feed, so the parts cannot run into each other. The
    /// connection is part of it: another way of signing in may be the one that is vouched for.
    fn key(token: &VerifiedToken) -> Arc<str> {
        let mut key = format!(
            "{}\n{}",
            token.subject(),
            token.authorized_party().unwrap_or("")
        );
        for tenant in token.tenant_candidates() {
            key.push('\n');
            key.push_str(tenant);
        }
        key.into()
    }
}

/// One at a time per subject; other subjects do not wait.
#[derive(Debug, Default)]
pub(super) struct FirstVisits {
    turns: Mutex<HashMap<Arc<str>, Weak<AsyncMutex<()>>>>,
}

impl FirstVisits {
    pub(super) fn turn(&self, subject: &str) -> Arc<AsyncMutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(subject).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(AsyncMutex::new(()));
        turns.insert(subject.into(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_visits_of_one_person_take_turns() {
        let visits = FirstVisits::default();
        let (ada, again) = (visits.turn("user_ada"), visits.turn("user_ada"));
        let bo = visits.turn("user_bo");
        assert!(Arc::ptr_eq(&ada, &again), "two at once");
        assert!(!Arc::ptr_eq(&ada, &bo), "one waits for another");
        drop((again, bo));
        // Who is in it stays; who has left is not kept.
        let cy = visits.turn("user_cy");
        assert!(Arc::ptr_eq(&ada, &visits.turn("user_ada")));
        assert!(!Arc::ptr_eq(&ada, &cy));
        assert_eq!(visits.turns.lock().unwrap().len(), 2);
    }
}
