//! Users and tenants as the provider described them last.
//!
//! The ages of a user are `USER_CACHE_TTL` and `USER_CACHE_MAX_AGE`; tenants, which are asked for
//! on first visits only, share them. What does not exist is remembered for a shorter time, so
//! that whoever was just created gets in.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{
    AuthressApi, AuthressTenant, AuthressUser, Found, ProviderError,
    authress::{Provider, is_possible_id},
    kept::{FactStore, KeptFacts, Kind},
    reading,
    refresh::Ages,
    slot::{Fetch, Fetched, Slot, Slots, Urgency, slot_of, slots},
};
use crate::{
    clock::{SharedClock, Timestamp},
    settings::ProviderSettings,
    store::Directory,
};

/// Users kept in memory, at about half a kilobyte for an ordinary one. Past it the least used are
/// read again from the directory.
const USERS: usize = 100_000;

/// Tenants kept in memory.
const TENANTS: usize = 10_000;

/// How long "there is none" is believed.
const GONE_MAX_AGE: Duration = Duration::from_secs(10);

/// Users fetched in the background at the same time. Past it an old answer stays old a little
/// longer; nobody waits for it before twice its soft age.
const BACKGROUND_FETCHES: usize = 64;

/// What the provider said, and when it was asked: a conclusion that is remembered counts its age
/// from there, else two memories would add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dated<T> {
    pub(crate) found: Found<T>,
    pub(crate) asked_at: Timestamp,
    /// From then on it is asked again; until then it does not change.
    pub(crate) young_until: Timestamp,
}

/// Users by subject. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct UserCache(Arc<Users>);

#[derive(Debug)]
struct Users {
    slots: Slots<Slot<Found<AuthressUser>>>,
    provider: Arc<dyn Provider>,
    kept: KeptFacts,
    ages: Ages,
    clock: SharedClock,
    background: Arc<Semaphore>,
}

/// Tenants by id. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TenantCache(Arc<Tenants>);

#[derive(Debug)]
struct Tenants {
    slots: Slots<Slot<Found<AuthressTenant>>>,
    provider: Arc<dyn Provider>,
    ages: Ages,
    clock: SharedClock,
}

impl UserCache {
    pub(crate) fn new(
        settings: &ProviderSettings,
        api: Arc<AuthressApi>,
        directory: Directory,
        clock: SharedClock,
    ) -> Self {
        Self::over(settings, api, Arc::new(directory), clock)
    }

    pub(super) fn over(
        settings: &ProviderSettings,
        provider: Arc<dyn Provider>,
        store: Arc<dyn FactStore>,
        clock: SharedClock,
    ) -> Self {
        Self(Arc::new(Users {
            slots: slots(USERS),
            provider,
            kept: KeptFacts::new(settings, store),
            ages: user_ages(settings),
            clock,
            background: Arc::new(Semaphore::new(BACKGROUND_FETCHES)),
        }))
    }

    /// The user with this subject: from memory where the answer is young enough, else from the
    /// provider, or from what was kept while the provider fails.
    ///
    /// # Errors
    /// The provider could not be asked and nothing usable is kept.
    pub(crate) async fn get(&self, subject: &str) -> Result<Dated<AuthressUser>, ProviderError> {
        let users = &self.0;
        if !is_possible_id(subject) {
            return Ok(Dated::gone(users.clock.now()));
        }
        let slot = slot_of(&users.slots, subject);
        slot.recall(|| users.recall(subject)).await;
        slot.get(&*users.clock, |urgency| users.fetch(subject, urgency))
            .await
            .map(Dated::from)
    }

    /// Waits until what is to be kept is written, for a few seconds at most.
    pub(crate) async fn flush(&self) {
        self.0.kept.flush().await;
    }
}

impl Users {
    async fn recall(
        &self,
        subject: &str,
    ) -> Result<Option<Fetched<Found<AuthressUser>>>, crate::store::StoreError> {
        let kept = self.kept.load(Kind::User, subject).await?;
        Ok(kept.and_then(|(body, fetched_at)| {
            let user = reading::user(&body, subject).ok()?;
            let found = Found::Present(Arc::new(user));
            Some(fetched(found, fetched_at, self.ages))
        }))
    }

    fn fetch(
        self: &Arc<Self>,
        subject: &str,
        urgency: Urgency,
    ) -> Option<Fetch<Found<AuthressUser>>> {
        let turn = match urgency {
            Urgency::Background => Some(Arc::clone(&self.background).try_acquire_owned().ok()?),
            Urgency::Waited | Urgency::Needed => None,
        };
        let users = Arc::clone(self);
        let subject: Arc<str> = subject.into();
        Some(Box::pin(async move {
            let _turn = turn;
            let began = users.clock.now();
            let found = users.provider.user(&subject).await?;
            match &found {
                Found::Present(user) => {
                    let body = reading::user_body(user);
                    users.kept.keep(Kind::User, &subject, body, began);
                }
                Found::Gone => users.kept.forget(Kind::User, &subject),
            }
            Ok(fetched(found, began, users.ages))
        }))
    }
}

impl TenantCache {
    pub(crate) fn new(
        settings: &ProviderSettings,
        api: Arc<AuthressApi>,
        clock: SharedClock,
    ) -> Self {
        Self::over(settings, api, clock)
    }

    pub(super) fn over(
        settings: &ProviderSettings,
        provider: Arc<dyn Provider>,
        clock: SharedClock,
    ) -> Self {
        Self(Arc::new(Tenants {
            slots: slots(TENANTS),
            provider,
            ages: user_ages(settings),
            clock,
        }))
    }

    /// The tenant with this id.
    ///
    /// # Errors
    /// The provider could not be asked and nothing usable is remembered.
    pub(crate) async fn get(&self, tenant: &str) -> Result<Dated<AuthressTenant>, ProviderError> {
        let tenants = &self.0;
        if !is_possible_id(tenant) {
            return Ok(Dated::gone(tenants.clock.now()));
        }
        let slot = slot_of(&tenants.slots, tenant);
        slot.get(&*tenants.clock, |_| Some(tenants.fetch(tenant)))
            .await
            .map(Dated::from)
    }
}

impl Tenants {
    fn fetch(self: &Arc<Self>, tenant: &str) -> Fetch<Found<AuthressTenant>> {
        let tenants = Arc::clone(self);
        let tenant: Arc<str> = tenant.into();
        Box::pin(async move {
            let began = tenants.clock.now();
            let found = tenants.provider.tenant(&tenant).await?;
            Ok(fetched(found, began, tenants.ages))
        })
    }
}

impl<T> Dated<T> {
    fn gone(now: Timestamp) -> Self {
        Self {
            found: Found::Gone,
            asked_at: now,
            young_until: now,
        }
    }
}

impl<T> From<Fetched<Found<T>>> for Dated<T> {
    fn from(fetched: Fetched<Found<T>>) -> Self {
        Self {
            asked_at: fetched.fetched_at,
            young_until: fetched.young_until(),
            found: fetched.value,
        }
    }
}

fn user_ages(settings: &ProviderSettings) -> Ages {
    Ages {
        soft: settings.user_cache_ttl,
        hard: settings.user_cache_max_age,
    }
}

fn fetched<T>(value: Found<T>, fetched_at: Timestamp, ages: Ages) -> Fetched<Found<T>> {
    let ages = match value {
        Found::Present(_) => ages,
        Found::Gone => {
            let brief = ages.soft.min(ages.hard).min(GONE_MAX_AGE);
            Ages {
                soft: brief,
                hard: brief,
            }
        }
    };
    Fetched {
        value,
        fetched_at,
        ages,
    }
}

#[cfg(test)]
mod tests;
