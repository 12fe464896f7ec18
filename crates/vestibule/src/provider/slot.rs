//! One thing that the provider was asked for: its last answer, its last failure, and the one
//! fetch under way.
//!
//! A fetch runs in a task of its own. A request that is cancelled neither ends it nor leaves
//! those who wait for it hanging.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter, sync::Cache};
use tokio::{
    sync::{OnceCell, watch},
    time::Instant,
};
use tracing::{Instrument as _, Span};

use super::{
    ProviderError,
    refresh::{self, Ages, Decision, FAILURE_MEMORY, Failed, Flying, Standing},
};
use crate::{
    changes::{ChangeCount, Unchanged},
    clock::{Clock, Timestamp},
};

/// An answer with the time of its fetch.
#[derive(Clone, Debug)]
pub(super) struct Fetched<T> {
    pub(super) value: T,
    /// When the fetch began: the answer is not older.
    pub(super) fetched_at: Timestamp,
    pub(super) ages: Ages,
}

impl<T> Fetched<T> {
    /// From then on it is asked for again, or may not be used.
    pub(super) fn young_until(&self) -> Timestamp {
        self.fetched_at + self.ages.soft.min(self.ages.hard)
    }
}

/// A fetch that has not begun.
pub(super) type Fetch<T> = BoxFuture<'static, Result<Fetched<T>, ProviderError>>;

/// Why a fetch is wanted. Who hands out fetches may refuse, by giving none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Nobody waits for it.
    Background,
    /// A request waits, but has something to fall back to.
    Waited,
    /// A request waits and fails without it.
    Needed,
}

/// One thing that the provider was asked for.
#[derive(Debug)]
pub(super) struct Slot<T> {
    state: Mutex<State<T>>,
    /// Counts what is held; none where nobody draws conclusions from it.
    changes: Option<ChangeCount>,
    /// Filled once what the directory kept was looked at.
    recalled: OnceCell<()>,
}

#[derive(Debug)]
struct State<T> {
    held: Option<Fetched<T>>,
    /// How many fetches were started.
    started: u64,
    /// The number of the last one that succeeded.
    confirmed: u64,
    failure: Option<Failure>,
    flight: Option<Flight<T>>,
}

#[derive(Debug)]
struct Failure {
    started: Instant,
    ended: Instant,
    error: ProviderError,
}

type Outcome<T> = Result<Fetched<T>, ProviderError>;

/// A fetch under way, to wait for.
#[derive(Debug)]
pub(super) struct Flight<T> {
    number: u64,
    probe: bool,
    outcome: watch::Receiver<Option<Outcome<T>>>,
}

/// What [`Slot::fresher_than`] can offer.
#[derive(Debug)]
pub(super) enum Fresher<T, R> {
    /// Nothing: what is held comes from a later fetch.
    Held,
    /// A fetch under way, or one that was just started.
    Wait(Flight<T>),
    /// No new fetch may be started now; `failing` where the last one failed a moment ago.
    NotNow { failing: bool, why: R },
}

/// Slots by key, bounded; those in use stay.
pub(super) type Slots<S> = Cache<Arc<str>, Arc<S>, UnitWeighter, DefaultHashBuilder, KeepInUse>;

/// Keeps slots in memory while a request or a fetch holds them: a slot that is thrown out and made
/// again would lose its fetch, and ask twice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeepInUse;

/// What is kept in [`Slots`].
pub(super) trait Busy {
    /// Whether a fetch is under way.
    fn is_busy(&self) -> bool;

    /// It is thrown out: what changes from now on, it will not hear of.
    fn let_go(&self) {}
}

/// Ends a flight, however its task ends.
struct Landing<T: Clone> {
    slot: Arc<Slot<T>>,
    number: u64,
    started: Instant,
    done: Option<watch::Sender<Option<Outcome<T>>>>,
}

/// What is held and need not be asked for again.
#[derive(Clone, Debug)]
pub(super) struct Young<T> {
    pub(super) value: T,
    /// From then on it is asked for again.
    pub(super) until: Timestamp,
    /// Whether it is still what is held; none where that is not counted.
    pub(super) unchanged: Option<Unchanged>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            changes: None,
            state: Mutex::new(State {
                held: None,
                started: 0,
                confirmed: 0,
                failure: None,
                flight: None,
            }),
            recalled: OnceCell::new(),
        }
    }
}

impl<T> Slot<T> {
    /// A slot whose changes are counted.
    pub(super) fn counted() -> Self {
        Self {
            changes: Some(ChangeCount::default()),
            ..Self::default()
        }
    }

    /// Called once what is held is another.
    pub(super) fn changed(&self) {
        if let Some(changes) = &self.changes {
            changes.changed();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The lock is held for a few assignments, which do not panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Send + Sync + 'static> Slot<T> {
    /// The answer, as [`refresh::decide`] says: at once from what is held, or from a fetch.
    ///
    /// # Errors
    /// The provider failed and nothing usable is held.
    pub(super) async fn get(
        self: &Arc<Self>,
        clock: &dyn Clock,
        fetch: impl Fn(Urgency) -> Option<Fetch<T>>,
    ) -> Outcome<T> {
        let flight = {
            let mut state = self.lock();
            let now = clock.now();
            let usable = state.usable(now);
            match (refresh::decide(&state.standing(now)), usable) {
                (Decision::Use, Some(value)) => return Ok(value),
                (Decision::UseAndFetch { probe }, Some(value)) => {
                    if let Some(fetch) = fetch(Urgency::Background) {
                        // Nobody waits for it: it is no part of this request's trace.
                        self.launch(&mut state, probe, fetch, Span::none());
                    }
                    return Ok(value);
                }
                (Decision::Fail, _) => return Err(state.last_error()),
                (_, usable) => {
                    let urgency = match usable {
                        Some(_) => Urgency::Waited,
                        None => Urgency::Needed,
                    };
                    match (state.flight.clone(), usable) {
                        (Some(flight), _) => flight,
                        (None, usable) => match (fetch(urgency), usable) {
                            (Some(fetch), _) => {
                                self.launch(&mut state, false, fetch, Span::current())
                            }
                            (None, Some(value)) => return Ok(value),
                            (None, None) => return Err(ProviderError::OverBudget),
                        },
                    }
                }
            }
        };
        match flight.outcome().await {
            Ok(fetched) => Ok(fetched),
            Err(error) => self.lock().usable(clock.now()).ok_or(error),
        }
    }

    /// How many fetches were started so far: a later one brings what was true after this moment.
    pub(super) fn started(&self) -> u64 {
        self.lock().started
    }

    /// Something from a later fetch than those `started` when the request came: for a request
    /// that finds what is held wanting.
    ///
    /// `may_start` is asked, once, where a new fetch would be needed.
    pub(super) fn fresher_than<R>(
        self: &Arc<Self>,
        started: u64,
        may_start: impl FnOnce() -> Result<Fetch<T>, R>,
    ) -> Fresher<T, R> {
        let mut state = self.lock();
        if state.confirmed > started {
            return Fresher::Held;
        }
        if let Some(flight) = &state.flight {
            return Fresher::Wait(flight.clone());
        }
        match may_start() {
            Ok(fetch) => Fresher::Wait(self.launch(&mut state, false, fetch, Span::current())),
            Err(why) => Fresher::NotNow {
                why,
                failing: state
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.ended.elapsed() < FAILURE_MEMORY),
            },
        }
    }

    /// Joins the fetch under way, or starts one.
    pub(super) fn join_or_start(self: &Arc<Self>, fetch: impl FnOnce() -> Fetch<T>) -> Flight<T> {
        let mut state = self.lock();
        match &state.flight {
            Some(flight) => flight.clone(),
            None => self.launch(&mut state, false, fetch(), Span::current()),
        }
    }

    /// What is held, usable or not.
    pub(super) fn held(&self) -> Option<Fetched<T>> {
        self.lock().held.clone()
    }

    /// What is held, where it may be used at `now`.
    pub(super) fn usable(&self, now: Timestamp) -> Option<T> {
        self.lock().usable(now).map(|fetched| fetched.value)
    }

    /// What is held, where it is so young that it is not asked for again.
    pub(super) fn young(&self, now: Timestamp) -> Option<Young<T>> {
        let state = self.lock();
        let held = state.held.as_ref()?;
        let age = refresh::age(held.fetched_at, now)?;
        let young = age < held.ages.soft && held.ages.usable(age);
        young.then(|| Young {
            value: held.value.clone(),
            until: held.young_until(),
            // Under the lock nothing changes.
            unchanged: self.changes.as_ref().map(ChangeCount::unchanged),
        })
    }

    /// Looks at what was kept before this process began; once, and only where nothing is held.
    ///
    /// `load` fails where it could not look: then the next request tries again.
    pub(super) async fn recall<F, E>(&self, load: impl FnOnce() -> F)
    where
        F: Future<Output = Result<Option<Fetched<T>>, E>>,
    {
        if self.recalled.initialized() {
            return;
        }
        let recalled = self.recalled.get_or_try_init(|| async {
            if self.lock().held.is_none()
                && let Some(kept) = load().await?
            {
                self.lock().held.get_or_insert(kept);
                self.changed();
            }
            Ok::<(), E>(())
        });
        // Not being able to look is as good as having found nothing.
        let _ = recalled.await;
    }

    /// Starts a fetch, within `span`; the caller has seen, under the lock, that there is none.
    fn launch(
        self: &Arc<Self>,
        state: &mut State<T>,
        probe: bool,
        fetch: Fetch<T>,
        span: Span,
    ) -> Flight<T> {
        let (done, outcome) = watch::channel(None);
        state.started += 1;
        let number = state.started;
        let flight = Flight {
            number,
            probe,
            outcome,
        };
        state.flight = Some(flight.clone());
        let landing = Landing {
            slot: Arc::clone(self),
            number,
            started: Instant::now(),
            done: Some(done),
        };
        tokio::spawn(async move { landing.land(fetch.await) }.instrument(span));
        flight
    }
}

impl<T: Clone> State<T> {
    fn usable(&self, now: Timestamp) -> Option<Fetched<T>> {
        let held = self.held.as_ref()?;
        let age = refresh::age(held.fetched_at, now)?;
        held.ages.usable(age).then(|| held.clone())
    }

    fn standing(&self, now: Timestamp) -> Standing {
        const NOTHING: Ages = Ages {
            soft: Duration::ZERO,
            hard: Duration::ZERO,
        };
        let held = self.held.as_ref();
        Standing {
            age: held.and_then(|held| refresh::age(held.fetched_at, now)),
            ages: held.map_or(NOTHING, |held| held.ages),
            failed: self.failure.as_ref().map(|failure| Failed {
                since_start: failure.started.elapsed(),
                since_end: failure.ended.elapsed(),
            }),
            in_flight: self.flight.as_ref().map(|flight| Flying {
                probe: flight.probe,
            }),
        }
    }

    fn last_error(&self) -> ProviderError {
        self.failure
            .as_ref()
            .map_or(ProviderError::Unreachable, |failure| failure.error.clone())
    }
}

impl<T> Clone for Flight<T> {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            probe: self.probe,
            outcome: self.outcome.clone(),
        }
    }
}

impl<T: Clone> Flight<T> {
    /// Its number, as [`Slot::started`] counts.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Its end.
    pub(super) async fn outcome(mut self) -> Outcome<T> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(ProviderError::Unreachable)),
            Err(_) => Err(ProviderError::Unreachable),
        }
    }
}

impl<T: Clone> Landing<T> {
    fn land(mut self, result: Result<Fetched<T>, ProviderError>) {
        self.end(result);
    }

    fn end(&mut self, result: Result<Fetched<T>, ProviderError>) {
        let Some(done) = self.done.take() else { return };
        let outcome = {
            let mut state = self.slot.lock();
            state.flight = None;
            match result {
                Ok(fetched) => {
                    state.held = Some(fetched.clone());
                    self.slot.changed();
                    state.confirmed = self.number;
                    state.failure = None;
                    Ok(fetched)
                }
                Err(error) => {
                    // A call that was never made says nothing about the provider.
                    if error != ProviderError::OverBudget {
                        state.failure = Some(Failure {
                            started: self.started,
                            ended: Instant::now(),
                            error: error.clone(),
                        });
                    }
                    Err(error)
                }
            }
        };
        done.send_replace(Some(outcome));
    }
}

impl<T: Clone> Drop for Landing<T> {
    /// The task ended without an answer: it panicked, or the runtime stops.
    fn drop(&mut self) {
        self.end(Err(ProviderError::Unreachable));
    }
}

impl<T: Clone> fmt::Debug for Landing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landing").finish_non_exhaustive()
    }
}

impl<T> Busy for Slot<T> {
    fn is_busy(&self) -> bool {
        self.lock().flight.is_some()
    }
}

impl<S: Busy> Lifecycle<Arc<str>, Arc<S>> for KeepInUse {
    type RequestState = ();

    fn is_pinned(&self, _: &Arc<str>, slot: &Arc<S>) -> bool {
        Arc::strong_count(slot) > 1 || slot.is_busy()
    }

    fn on_evict(&self, (): &mut (), _: Arc<str>, slot: Arc<S>) {
        slot.let_go();
    }
}

/// A bounded memory of slots.
pub(super) fn slots<S: Busy>(capacity: usize) -> Slots<S> {
    Cache::with(
        capacity,
        capacity as u64,
        UnitWeighter,
        DefaultHashBuilder::default(),
        KeepInUse,
    )
}

/// The slot of `key`, made where there is none.
pub(super) fn slot_of<S: Busy + Default>(slots: &Slots<S>, key: &str) -> Arc<S> {
    if let Some(slot) = slots.get(key) {
        return slot;
    }
    let key: Arc<str> = key.into();
    match slots.get_or_insert_with(&key, || Ok::<_, Infallible>(Arc::default())) {
        Ok(slot) => slot,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> String {
        format!("key {number}")
    }

    #[tokio::test]
    async fn memory_is_bounded_and_what_is_in_use_stays() {
        let slots = slots::<Slot<u8>>(100);
        let fill = |numbers: std::ops::Range<usize>| {
            for number in numbers {
                slot_of(&slots, &key(number));
            }
        };
        fill(0..1_000);
        let held = slot_of(&slots, "held");
        let fetched = slot_of(&slots, "fetched");
        fetched.join_or_start(|| Box::pin(std::future::pending()));
        let fetched = {
            let address = Arc::as_ptr(&fetched);
            drop(fetched);
            address
        };
        slot_of(&slots, "idle");
        fill(1_000..10_000);
        assert!(slots.len() <= 110, "{}", slots.len());
        assert!(slots.get("idle").is_none());
        assert!(Arc::ptr_eq(&held, &slot_of(&slots, "held")));
        assert!(std::ptr::eq(
            fetched,
            Arc::as_ptr(&slot_of(&slots, "fetched"))
        ));
        assert!(slot_of(&slots, "fetched").is_busy());
    }
}
