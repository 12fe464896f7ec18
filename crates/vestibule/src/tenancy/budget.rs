//! One budget of connections for all accounts, shared out fairly.
//!
//! A plain semaphore serves whoever came first, so that an account with five hundred waiting
//! requests keeps everybody else out until all of them are served. Here a permit that becomes free
//! goes to the account that holds the fewest; among equals to the one that has waited longest
//! since it last got something; within an account, first come, first served. Whoever is alone may
//! use everything.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use uuid::Uuid;

/// So many permits, and the accounts that hold them and wait for them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budget {
    ledger: Arc<Mutex<Ledger>>,
}

/// The right to one connection. Dropping it passes it on.
#[derive(Debug)]
#[must_use = "dropping it gives the connection to somebody else"]
pub(super) struct Permit {
    _claim: Claim,
}

/// A place in the queue, and once that is reached the permit itself.
///
/// One thing for both, because only the ledger knows which of them it is: a waiter may be dropped
/// at the very moment at which it is served.
#[derive(Debug)]
struct Claim {
    budget: Budget,
    account: Uuid,
    ticket: u64,
}

/// Holds what [`Budget::spare`] gave away. Never waits.
const NOBODY: Uuid = Uuid::nil();

/// Where an account stands among those that wait, the lowest first: the permits that it holds, and
/// since when it has waited.
type Rank = (usize, u64);

struct Ledger {
    size: usize,
    /// Only ever more than none while nobody waits.
    free: usize,
    /// The last number given. Claims and grants are numbered in the order in which they come.
    last: u64,
    /// The accounts that hold permits or wait for some.
    shares: HashMap<Uuid, Share>,
    /// The accounts that wait.
    ranks: BTreeMap<Rank, Uuid>,
}

/// What one account holds and waits for.
#[derive(Default)]
struct Share {
    held: usize,
    /// The number of the account's last grant.
    served: u64,
    /// By ticket, the oldest first.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Budget {
    pub(super) fn new(size: usize) -> Self {
        Self {
            ledger: Arc::new(Mutex::new(Ledger {
                size,
                free: size,
                last: 0,
                shares: HashMap::new(),
                ranks: BTreeMap::new(),
            })),
        }
    }

    /// A permit for a connection of `account`, as soon as it is the account's turn.
    ///
    /// Dropping the future gives up the place in the queue, and passes on what had just been
    /// granted.
    pub(super) async fn acquire(&self, account: Uuid) -> Permit {
        let (ticket, granted) = self.ledger().claim(account);
        let claim = self.claim(account, ticket);
        if let Some(granted) = granted {
            // Cannot fail: the other end stays in the ledger until it is used, or the claim given
            // up.
            let _ = granted.await;
        }
        Permit { _claim: claim }
    }

    /// A free permit, where there is one, for work that is no account's.
    pub(super) fn spare(&self) -> Option<Permit> {
        let ticket = self.ledger().claim_spare()?;
        Some(Permit {
            _claim: self.claim(NOBODY, ticket),
        })
    }

    /// How many permits are held.
    pub(super) fn in_use(&self) -> usize {
        let ledger = self.ledger();
        ledger.size - ledger.free
    }

    /// How many wait for one.
    pub(super) fn waiting(&self) -> usize {
        let ledger = self.ledger();
        ledger
            .shares
            .values()
            .map(|share| share.waiting.len())
            .sum()
    }

    fn claim(&self, account: Uuid, ticket: u64) -> Claim {
        Claim {
            budget: self.clone(),
            account,
            ticket,
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Held for a few assignments, which do not panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("in_use", &self.in_use())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let served = self.budget.ledger().give_up(self.account, self.ticket);
        // Outside of the lock: waking somebody runs code that is not ours.
        if let Some(served) = served {
            // Where the waiter is just being dropped, its claim passes the permit on.
            let _ = served.send(());
        }
    }
}

impl Ledger {
    /// A permit at once, or a place in the queue and word of when it is reached.
    fn claim(&mut self, account: Uuid) -> (u64, Option<oneshot::Receiver<()>>) {
        if self.free > 0 {
            return (self.grant(account), None);
        }
        let ticket = self.next_number();
        let (served, granted) = oneshot::channel();
        self.change(account, |share| share.waiting.insert(ticket, served));
        (ticket, Some(granted))
    }

    fn claim_spare(&mut self) -> Option<u64> {
        (self.free > 0).then(|| self.grant(NOBODY))
    }

    /// Ends a claim: its place in the queue or its permit, which goes to the next. Who is to hear
    /// of that.
    fn give_up(&mut self, account: Uuid, ticket: u64) -> Option<oneshot::Sender<()>> {
        let was_served = self.change(account, |share| {
            // Whoever is no longer in the queue has been served.
            let was_served = share.waiting.remove(&ticket).is_none();
            if was_served {
                share.held -= 1;
            }
            was_served
        });
        if !was_served {
            return None;
        }
        self.free += 1;
        self.serve_next()
    }

    fn serve_next(&mut self) -> Option<oneshot::Sender<()>> {
        let (_, &account) = self.ranks.first_key_value()?;
        self.grant(account);
        let (_, served) = self.change(account, |share| share.waiting.pop_first())?;
        Some(served)
    }

    /// Gives a free permit to an account; the number of the grant.
    fn grant(&mut self, account: Uuid) -> u64 {
        let number = self.next_number();
        self.free -= 1;
        self.change(account, |share| {
            share.held += 1;
            share.served = number;
        });
        number
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Changes an account's share, which may change its rank. The ledger forgets accounts that
    /// neither hold nor want anything.
    fn change<T>(&mut self, account: Uuid, change: impl FnOnce(&mut Share) -> T) -> T {
        let mut share = self.shares.remove(&account).unwrap_or_default();
        if let Some(rank) = share.rank() {
            self.ranks.remove(&rank);
        }
        let outcome = change(&mut share);
        if let Some(rank) = share.rank() {
            self.ranks.insert(rank, account);
        }
        if share.held > 0 || !share.waiting.is_empty() {
            self.shares.insert(account, share);
        }
        outcome
    }
}

impl Share {
    /// None where nobody waits. No two accounts have the same: no number is given twice.
    fn rank(&self) -> Option<Rank> {
        let (&oldest, _) = self.waiting.first_key_value()?;
        // Not the oldest ticket alone: an account that came with five hundred requests would be
        // first five hundred times.
        Some((self.held, oldest.max(self.served)))
    }
}
