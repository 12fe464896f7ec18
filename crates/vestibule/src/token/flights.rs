//! One verification at a time per token, however many requests bring it.
//!
//! A flight belongs to nobody: all who wait for it drive it, so it ends as soon as it can while
//! anyone is left, whoever started it and went away, and it stops when the last one went. All get
//! its answer, a refusal too. It leaves the table in the moment it ends, so an answer is shared
//! by those who waited for it, and remembered by nobody.

use std::{
    collections::HashMap,
    fmt,
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

use super::{TokenDigest, VerifiedToken};
use crate::error::Reason;

type Answer = Result<VerifiedToken, Reason>;
type Flight = BoxFuture<'static, Answer>;

/// The flights that are under way. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Table>);

#[derive(Default)]
struct Table {
    flights: Mutex<HashMap<TokenDigest, Entry>>,
    next_number: AtomicU64,
}

struct Entry {
    number: u64,
    flight: WeakShared<Flight>,
}

/// Takes its flight out of the table when it ends or is given up.
struct Landing {
    table: Arc<Table>,
    digest: TokenDigest,
    number: u64,
}

impl Flights {
    /// The answer of the flight for `digest` that is under way, or of `work` if there is none.
    ///
    /// `work` is asked for while the table is locked, so it must only put the work together.
    pub(super) fn join(
        &self,
        digest: TokenDigest,
        work: impl FnOnce() -> BoxFuture<'static, Answer>,
    ) -> Shared<Flight> {
        let mut flights = self.0.lock();
        // Weak, so that the table keeps no work alive that nobody waits for.
        let under_way = flights
            .get(&digest)
            .and_then(|entry| entry.flight.upgrade());
        if let Some(flight) = under_way {
            return flight;
        }
        let work = work();
        let number = self.0.next_number.fetch_add(1, Ordering::Relaxed);
        let landing = Landing {
            table: Arc::clone(&self.0),
            digest,
            number,
        };
        let flight = landed(work, landing).shared();
        if let Some(weak) = flight.downgrade() {
            let entry = Entry {
                number,
                flight: weak,
            };
            flights.insert(digest, entry);
        }
        flight
    }

    /// How many are under way.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({} under way)", self.0.lock().len())
    }
}

impl Table {
    /// Nothing is left half done under this lock, so what a panic left is whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TokenDigest, Entry>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.table.lock();
        // Another may have started between the moment the last one left this flight and now.
        if flights
            .get(&self.digest)
            .is_some_and(|entry| entry.number == self.number)
        {
            flights.remove(&self.digest);
        }
    }
}

/// A panic must not reach those who wait through the future that they share: it would poison it
/// for them all. It becomes an answer; the next request begins anew.
fn landed(work: Flight, landing: Landing) -> Flight {
    async move {
        let _landing = landing;
        AssertUnwindSafe(work)
            .catch_unwind()
            .await
            .unwrap_or(Err(Reason::Internal))
    }
    .boxed()
}
