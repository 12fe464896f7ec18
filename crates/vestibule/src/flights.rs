//! One work at a time per key, however many requests wait for it: the verification of a token, the
//! reading of a caller.
//!
//! A flight belongs to nobody: all who wait for it drive it, so it ends as soon as it can while
//! anyone is left, whoever started it and went away, and it stops when the last one went. All get
//! its answer, a refusal too. It leaves the table in the moment it ends, so an answer is shared
//! by those who waited for it, and remembered by nobody.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};

type Flight<A> = BoxFuture<'static, A>;

/// The flights that are under way, by key `K`, with the answer `A`. Clones share them.
pub(crate) struct Flights<K: Eq + Hash, A: Clone>(Arc<Table<K, A>>);

struct Table<K: Eq + Hash, A: Clone> {
    flights: Mutex<HashMap<K, Entry<A>>>,
    next_number: AtomicU64,
    /// What those hear who wait for a work that panicked.
    broken: fn() -> A,
}

struct Entry<A: Clone> {
    number: u64,
    flight: WeakShared<Flight<A>>,
}

/// Takes its flight out of the table when it ends or is given up.
struct Landing<K: Eq + Hash, A: Clone> {
    table: Arc<Table<K, A>>,
    key: K,
    number: u64,
}

impl<K, A> Flights<K, A>
where
    K: Clone + Eq + Hash + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    /// None is under way. `broken` is what those hear who wait for a work that panicked.
    pub(crate) fn new(broken: fn() -> A) -> Self {
        Self(Arc::new(Table {
            flights: Mutex::default(),
            next_number: AtomicU64::new(0),
            broken,
        }))
    }

    /// The answer of the flight for `key` that is under way, or of `work` if there is none.
    ///
    /// `work` is asked for while the table is locked, so it must only put the work together.
    pub(crate) fn join(
        &self,
        key: K,
        work: impl FnOnce() -> BoxFuture<'static, A>,
    ) -> Shared<Flight<A>> {
        let mut flights = self.0.lock();
        // Weak, so that the table keeps no work alive that nobody waits for.
        let under_way = flights.get(&key).and_then(|entry| entry.flight.upgrade());
        if let Some(flight) = under_way {
            return flight;
        }
        let work = work();
        let number = self.0.next_number.fetch_add(1, Ordering::Relaxed);
        let landing = Landing {
            table: Arc::clone(&self.0),
            key: key.clone(),
            number,
        };
        let flight = landed(work, landing).shared();
        if let Some(weak) = flight.downgrade() {
            let entry = Entry {
                number,
                flight: weak,
            };
            flights.insert(key, entry);
        }
        flight
    }

    /// How many are under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl<K: Eq + Hash, A: Clone> Clone for Flights<K, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash, A: Clone> fmt::Debug for Flights<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({} under way)", self.0.lock().len())
    }
}

impl<K: Eq + Hash, A: Clone> Table<K, A> {
    /// Nothing is left half done under this lock, so what a panic left is whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Entry<A>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, A: Clone> Drop for Landing<K, A> {
    fn drop(&mut self) {
        let mut flights = self.table.lock();
        // Another may have started between the moment the last one left this flight and now.
        if flights
            .get(&self.key)
            .is_some_and(|entry| entry.number == self.number)
        {
            flights.remove(&self.key);
        }
    }
}

/// A panic must not reach those who wait through the future that they share: it would poison it
/// for them all. It becomes an answer; the next request begins anew.
fn landed<K, A>(work: Flight<A>, landing: Landing<K, A>) -> Flight<A>
where
    K: Eq + Hash + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    async move {
        let answer = AssertUnwindSafe(work).catch_unwind().await;
        answer.unwrap_or_else(|_| (landing.table.broken)())
    }
    .boxed()
}
