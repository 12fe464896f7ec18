//! Key sets: fetched, refreshed, bounded.
//!
//! A key that is known is answered from memory. A `kid` that is not may be a new key, or invented:
//! it makes us fetch at once, however fresh the set is, and then at most once a second for each
//! set; start-up and background fetches do not count. Requests join a fetch under way; none waits
//! for the next turn. Clients' sets share a budget beside that, in which a client with invented
//! `kid`s takes nothing from another's rotation ([`budget`](super::budget)). A set is replaced as a
//! whole, so a key that left it verifies nothing more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::{task::AbortHandle, time::Instant};

use super::{
    AuthressApi, Found, ProviderError,
    authress::{Provider, is_possible_id},
    budget::{Budget, PATIENCE},
    kept::{FactStore, KeptFacts, Kind},
    refresh::Ages,
    slot::{Busy, Fetch, Fetched, Fresher, Slot, Slots, Urgency, slot_of, slots},
};
use crate::{
    clock::{SharedClock, Timestamp},
    error::Reason,
    settings::ProviderSettings,
    store::{Directory, StoreError},
    token::{KeySet, KeySetId, KeySource, VerifyingKey, YoungKey},
};

/// Key sets of service clients kept in memory; the least used are fetched again.
const CLIENTS: usize = 10_000;

/// The shortest time between two fetches of one set for unknown `kid`s.
const UNKNOWN_KID_PAUSE: Duration = Duration::from_secs(1);

/// The first and the longest pause between two tries to fetch an issuer's set, start to start.
/// The longest bounds the way back after an outage (5 s).
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(4);

/// The pause between two looks for kept answers of any kind that are too old to be used.
const TIDY_PAUSE: Duration = Duration::from_secs(3_600);

/// The key sets of all issuers and service clients.
#[derive(Debug)]
pub struct KeySets {
    issuers: HashMap<Arc<str>, Arc<SetSlot>>,
    clients: Slots<SetSlot>,
    source: Arc<Source>,
    /// What goes on in the background from [`KeySets::warm_up`] on: one refresher for each issuer,
    /// and one who tidies up.
    background: Mutex<Vec<AbortHandle>>,
}

/// What is held of one issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IssuerKeys {
    /// The issuer, as in `AUTHRESS_ISSUERS`.
    pub issuer: Arc<str>,
    /// How many keys of its set can be used.
    pub keys: usize,
    /// When the set was fetched; none where it never was.
    pub fetched_at: Option<Timestamp>,
    /// Whether a token of the issuer can be verified now.
    pub usable: bool,
}

/// Where sets come from.
#[derive(Debug)]
struct Source {
    provider: Arc<dyn Provider>,
    kept: KeptFacts,
    ages: Ages,
    /// Past it no kept answer of any kind may be used.
    longest_age: Duration,
    clock: SharedClock,
    clients: Budget,
}

/// The keys of a set; none where all of them are withdrawn.
type Keys = Option<Arc<KeySet>>;

/// One set, and when an unknown `kid` last made us fetch it.
#[derive(Debug)]
struct SetSlot {
    set: Arc<Slot<Keys>>,
    fetched_for_unknown: Mutex<Option<Instant>>,
}

impl KeySets {
    pub(crate) fn new(
        settings: &ProviderSettings,
        api: Arc<AuthressApi>,
        directory: Directory,
        clock: SharedClock,
    ) -> Arc<Self> {
        Self::over(settings, api, Arc::new(directory), clock)
    }

    pub(super) fn over(
        settings: &ProviderSettings,
        provider: Arc<dyn Provider>,
        store: Arc<dyn FactStore>,
        clock: SharedClock,
    ) -> Arc<Self> {
        let issuers = settings.issuers.iter().cloned();
        Arc::new(Self {
            issuers: issuers.map(|issuer| (issuer, Arc::default())).collect(),
            clients: slots(CLIENTS),
            source: Arc::new(Source {
                provider,
                kept: KeptFacts::new(settings, store),
                ages: Ages {
                    // Strangers can make us look for keys, so zero cannot mean every time.
                    soft: settings.jwks_refresh.max(UNKNOWN_KID_PAUSE),
                    hard: settings.jwks_max_age,
                },
                longest_age: settings.jwks_max_age.max(settings.user_cache_max_age),
                clock,
                clients: Budget::default(),
            }),
            background: Mutex::default(),
        })
    }

    /// Loads the kept sets of all configured issuers and starts fetching fresh ones (at start-up).
    ///
    /// Does not wait for the provider. The fetching goes on until the value is dropped.
    pub(crate) async fn warm_up(self: &Arc<Self>) {
        let recalls = self.issuers.iter().map(|(issuer, slot)| async {
            let id = KeySetId::Issuer(Arc::clone(issuer));
            slot.set.recall(|| self.source.recall(&id)).await;
        });
        join_all(recalls).await;
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !background.is_empty() {
            return;
        }
        for (issuer, slot) in &self.issuers {
            let id = KeySetId::Issuer(Arc::clone(issuer));
            let refresher = keep_fresh(id, Arc::downgrade(&slot.set), Arc::clone(&self.source));
            background.push(tokio::spawn(refresher).abort_handle());
        }
        let tidying = tidy_up(Arc::clone(&self.source));
        background.push(tokio::spawn(tidying).abort_handle());
    }

    /// Whether every configured issuer has usable keys: part of `/readyz`.
    pub fn ready(&self) -> bool {
        let now = self.source.clock.now();
        self.issuers
            .values()
            .all(|slot| slot.set.usable(now).flatten().is_some())
    }

    /// What is held of each configured issuer, in the order of their names.
    pub fn issuers(&self) -> Vec<IssuerKeys> {
        let now = self.source.clock.now();
        let mut issuers: Vec<IssuerKeys> = self
            .issuers
            .iter()
            .map(|(issuer, slot)| {
                let held = slot.set.held();
                IssuerKeys {
                    issuer: Arc::clone(issuer),
                    keys: held
                        .as_ref()
                        .and_then(|held| held.value.as_ref())
                        .map_or(0, |set| set.len()),
                    fetched_at: held.map(|held| held.fetched_at),
                    usable: slot.set.usable(now).flatten().is_some(),
                }
            })
            .collect();
        issuers.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        issuers
    }

    /// Waits until what is to be kept is written, for a few seconds at most.
    pub(crate) async fn flush(&self) {
        self.source.kept.flush().await;
    }

    async fn find(&self, id: &KeySetId, kid: &str) -> Result<VerifyingKey, Reason> {
        let slot = match id {
            KeySetId::Issuer(issuer) => Arc::clone(self.issuers.get(issuer).ok_or(UNKNOWN)?),
            KeySetId::Client(client) if is_possible_id(client) => slot_of(&self.clients, client),
            KeySetId::Client(_) => return Err(UNKNOWN),
        };
        let started = slot.set.started();
        let source = &self.source;
        slot.set.recall(|| source.recall(id)).await;
        let set = slot
            .set
            .get(&*source.clock, |urgency| source.fetch(id, urgency))
            .await
            .map_err(unavailable)?
            .value;
        match set.and_then(|set| set.get(kid)) {
            Some(key) => Ok(key),
            None => slot.find_fresher(id, kid, started, source).await,
        }
    }
}

impl KeySource for KeySets {
    fn key<'a>(
        &'a self,
        set: &'a KeySetId,
        kid: &'a str,
    ) -> BoxFuture<'a, Result<VerifyingKey, Reason>> {
        Box::pin(self.find(set, kid))
    }

    fn young_key(&self, set: &KeySetId, kid: &str) -> Option<YoungKey> {
        let now = self.source.clock.now();
        let held = match set {
            KeySetId::Issuer(issuer) => self.issuers.get(issuer)?.set.young(now),
            KeySetId::Client(client) => self.clients.get(client)?.set.young(now),
        }?;
        Some(YoungKey {
            key: held.value?.get(kid)?,
            until: held.until,
            unchanged: held.unchanged?,
        })
    }
}

impl Drop for KeySets {
    fn drop(&mut self) {
        let background = self.background.get_mut();
        for task in background.unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

const UNKNOWN: Reason = Reason::UnknownKey;

impl Default for SetSlot {
    fn default() -> Self {
        Self {
            set: Arc::new(Slot::counted()),
            fetched_for_unknown: Mutex::default(),
        }
    }
}

impl SetSlot {
    /// The key in a set that was asked for after the request came, when `started` fetches had
    /// been started.
    async fn find_fresher(
        &self,
        id: &KeySetId,
        kid: &str,
        started: u64,
        source: &Arc<Source>,
    ) -> Result<VerifyingKey, Reason> {
        // Twice: a fetch that was under way when the request came may have missed the key by a
        // moment, and then the one that the request is entitled to has not been made yet.
        for _ in 0..2 {
            let flight = match self
                .set
                .fresher_than(started, || self.fetch_for_unknown(id, source))
            {
                Fresher::Held => break,
                Fresher::Wait(flight) => flight,
                // Whether the key exists is not known then.
                Fresher::NotNow { failing: true, .. } => return Err(Reason::ProviderUnavailable),
                Fresher::NotNow { why, .. } => return Err(why),
            };
            let number = flight.number();
            let set = flight.outcome().await.map_err(unavailable)?.value;
            if let Some(key) = set.and_then(|set| set.get(kid)) {
                source.note_worth(id);
                return Ok(key);
            }
            if number > started {
                return Err(UNKNOWN);
            }
        }
        let held = self.set.usable(source.clock.now());
        held.flatten().and_then(|set| set.get(kid)).ok_or(UNKNOWN)
    }

    fn fetch_for_unknown(
        &self,
        id: &KeySetId,
        source: &Arc<Source>,
    ) -> Result<Fetch<Keys>, Reason> {
        let mut last = self
            .fetched_for_unknown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < UNKNOWN_KID_PAUSE) {
            return Err(UNKNOWN);
        }
        let fetch = source.fetch_for_unknown(id);
        let fetch = fetch.ok_or(Reason::ProviderUnavailable)?;
        *last = Some(Instant::now());
        Ok(fetch)
    }
}

impl Busy for SetSlot {
    fn is_busy(&self) -> bool {
        self.set.is_busy()
    }

    fn let_go(&self) {
        self.set.changed();
    }
}

impl Source {
    async fn recall(&self, id: &KeySetId) -> Result<Option<Fetched<Keys>>, StoreError> {
        let (kind, key) = name(id);
        let kept = self.kept.load(kind, key).await?;
        Ok(kept.and_then(|(body, fetched_at)| {
            let set = KeySet::parse(&body).ok()?;
            Some(self.fetched(Some(Arc::new(set)), fetched_at))
        }))
    }

    /// A fetch of the set; none where the budget for clients' sets is used up.
    fn fetch(self: &Arc<Self>, id: &KeySetId, urgency: Urgency) -> Option<Fetch<Keys>> {
        let now = Instant::now();
        let turn = match id {
            KeySetId::Issuer(_) => now,
            KeySetId::Client(_) => {
                let patience = match urgency {
                    Urgency::Needed => PATIENCE,
                    Urgency::Background | Urgency::Waited => Duration::ZERO,
                };
                self.clients.reserve(now, patience)?
            }
        };
        Some(self.fetch_at(turn, id))
    }

    /// The same, for a `kid` that may be invented.
    fn fetch_for_unknown(self: &Arc<Self>, id: &KeySetId) -> Option<Fetch<Keys>> {
        let now = Instant::now();
        let turn = match id {
            KeySetId::Issuer(_) => now,
            KeySetId::Client(client) => self.clients.reserve_for_unknown(client, now)?,
        };
        Some(self.fetch_at(turn, id))
    }

    fn fetch_at(self: &Arc<Self>, turn: Instant, id: &KeySetId) -> Fetch<Keys> {
        let (source, id) = (Arc::clone(self), id.clone());
        Box::pin(async move {
            if turn > Instant::now() {
                tokio::time::sleep_until(turn).await;
            }
            source.ask(&id).await
        })
    }

    /// Notes that a fetch for an unknown `kid` brought its key.
    fn note_worth(&self, id: &KeySetId) {
        if let KeySetId::Client(client) = id {
            self.clients.was_worth_it(client);
        }
    }

    async fn ask(&self, id: &KeySetId) -> Result<Fetched<Keys>, ProviderError> {
        let began = self.clock.now();
        let (kind, key) = name(id);
        match self.provider.key_set(id).await? {
            Found::Present(document) if !document.keys.is_empty() => {
                let body = document.body.to_vec();
                self.kept.keep(kind, key, body, began);
                Ok(self.fetched(Some(Arc::clone(&document.keys)), began))
            }
            // All keys are withdrawn, at once, and stay so across a restart.
            Found::Present(_) | Found::Gone => {
                self.kept.forget(kind, key);
                Ok(self.fetched(None, began))
            }
        }
    }

    fn fetched(&self, value: Keys, fetched_at: Timestamp) -> Fetched<Keys> {
        Fetched {
            value,
            fetched_at,
            ages: self.ages,
        }
    }
}

/// Fetches an issuer's set again and again, so that its keys are there when a request comes.
async fn keep_fresh(id: KeySetId, set: Weak<Slot<Keys>>, source: Arc<Source>) {
    let mut retry = RETRY_FIRST;
    loop {
        let started = Instant::now();
        let Some(slot) = set.upgrade() else {
            return;
        };
        let flight = slot.join_or_start(|| {
            let (source, id) = (Arc::clone(&source), id.clone());
            Box::pin(async move { source.ask(&id).await })
        });
        drop(slot);
        let pause = match flight.outcome().await {
            Ok(_) => {
                retry = RETRY_FIRST;
                source.ages.soft.max(RETRY_FIRST)
            }
            Err(_) => {
                let pause = retry;
                retry = (retry * 2).min(RETRY_LAST);
                pause
            }
        };
        tokio::time::sleep_until(started + pause).await;
    }
}

/// Forgets kept answers past their age, now and again.
async fn tidy_up(source: Arc<Source>) {
    loop {
        let oldest = source.clock.now().saturating_sub(source.longest_age);
        source.kept.forget_before(oldest).await;
        tokio::time::sleep(TIDY_PAUSE).await;
    }
}

/// The name under which a set is kept.
fn name(id: &KeySetId) -> (Kind, &Arc<str>) {
    match id {
        KeySetId::Issuer(issuer) => (Kind::IssuerKeys, issuer),
        KeySetId::Client(client) => (Kind::ClientKeys, client),
    }
}

fn unavailable(_: ProviderError) -> Reason {
    Reason::ProviderUnavailable
}

#[cfg(test)]
mod tests;
