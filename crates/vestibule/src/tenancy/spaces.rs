//! Connections to the accounts' data spaces: who gets one, and how long it is kept open.
//!
//! Where sessions of one account must follow each other, they queue here, in order, before they
//! take one of the `DATABASE_POOL_SIZE` connections: an account whose requests are slow then holds
//! one connection, not all of them. The connections are shared out between the accounts by their
//! [`Budget`]. A connection serves the next session only after a clean `COMMIT` or `ROLLBACK`; in
//! every doubtful case it is closed, and counts until it is. One that serves nobody for long is
//! closed too.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::Instant,
};
use uuid::Uuid;

use super::{
    SessionError,
    budget::{Budget, Permit},
    space::{Place, Seat, Space},
    space_file::Files,
};
use crate::{
    clock::{SharedClock, Timestamp},
    settings::DatabaseSettings,
    store::{Change, Connection, Directory, Ids, StoreError},
};

/// A connection that serves nobody for this long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The data spaces of all accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TenantSpaces {
    inner: Arc<Inner>,
}

struct Inner {
    place: Place,
    directory: Directory,
    clock: SharedClock,
    ids: Ids,
    timeout: Duration,
    size: usize,
    budget: Budget,
    turns: Mutex<HashMap<Uuid, Weak<AsyncMutex<()>>>>,
    idle: Mutex<Idle>,
    runtime: Handle,
}

/// Connections that serve nobody.
#[derive(Debug, Default)]
struct Idle {
    /// The longest unused first. With those in use there are at most `size`.
    unused: VecDeque<Unused>,
    /// Whether a task is there to close those that stay unused.
    is_watched: bool,
}

#[derive(Debug)]
struct Unused {
    seat: Seat,
    space: Space,
    since: Instant,
}

/// What the task that watches unused connections does next.
enum Watch {
    /// Closes this one, which counts as in use until it is closed.
    Close(Space, Permit),
    /// Nothing until then.
    Sleep(Instant),
}

impl TenantSpaces {
    /// The spaces of the accounts in `directory`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the directory of the files cannot be made.
    pub fn open(
        settings: &DatabaseSettings,
        directory: &Directory,
        clock: SharedClock,
    ) -> Result<Self, StoreError> {
        let place = Place::Files(Files::in_dir(&settings.tenant_dir)?);
        let runtime = Handle::try_current()
            .map_err(|_| StoreError::Unavailable("there is no tokio runtime".to_owned()))?;
        let size = usize::try_from(settings.pool_size.max(1)).unwrap_or(1);
        Ok(Self {
            inner: Arc::new(Inner {
                place,
                directory: directory.clone(),
                ids: Ids::new(Arc::clone(&clock)),
                clock,
                timeout: settings.timeout,
                size,
                budget: Budget::new(size),
                turns: Mutex::default(),
                idle: Mutex::default(),
                runtime,
            }),
        })
    }

    /// Closes the connections that serve nobody.
    pub async fn close(&self) {
        let unused = std::mem::take(&mut self.inner.idle().unused);
        for connection in unused {
            connection.space.close().await;
        }
    }

    /// Closes what is kept open for an account that changed: it may be gone, and its data with
    /// it.
    pub(crate) fn on_change(&self, change: &Change) {
        let Change::Account(id) = change else { return };
        while let Some(space) = self.take_idle(*id) {
            self.inner.runtime.spawn(space.close());
        }
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    pub(super) fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(super) fn new_id(&self) -> Uuid {
        self.inner.ids.next()
    }

    pub(super) fn dir(&self) -> &Path {
        let Place::Files(files) = &self.inner.place;
        files.dir()
    }

    pub(super) fn file_of(&self, account: Uuid) -> PathBuf {
        let Place::Files(files) = &self.inner.place;
        files.file_of(account)
    }

    /// A connection to the account's space with an open transaction, within `DATABASE_TIMEOUT`.
    pub(super) async fn begin(&self, account: Uuid) -> Result<Lease, SessionError> {
        let begun = tokio::time::timeout(self.inner.timeout, async {
            // First the account's turn, then a connection: who waits holds nothing.
            let turn = self.turn(account).await;
            let permit = self.inner.budget.acquire(account).await;
            let mut lease = self.lend(account, Held { permit, turn }).await?;
            lease.space_mut()?.begin(account).await?;
            Ok(lease)
        });
        begun
            .await
            .unwrap_or_else(|_| Err(SessionError::too_slow()))
    }

    /// The account's turn, where its sessions take turns.
    async fn turn(&self, account: Uuid) -> Option<OwnedMutexGuard<()>> {
        if !self.inner.place.takes_turns() {
            return None;
        }
        let turn = self.inner.turn_of(account);
        Some(turn.lock_owned().await)
    }

    async fn lend(&self, account: Uuid, held: Held) -> Result<Lease, SessionError> {
        let (spaces, seat) = (self.clone(), self.inner.place.seat_of(account));
        // In a task of its own: where the caller goes away, what was being opened is closed all
        // the same, and counts until then.
        let opening = self.inner.runtime.spawn(async move {
            let space = spaces.inner.connection(seat, account).await?;
            Ok(Lease::new(spaces, seat, space, held))
        });
        opening.await.unwrap_or(Err(SessionError::Aborted))
    }

    /// A connection that is kept open for this account alone.
    pub(super) fn take_idle(&self, account: Uuid) -> Option<Space> {
        self.inner.idle().take(Seat::Account(account))
    }
}

impl Inner {
    fn turn_of(&self, account: Uuid) -> Arc<AsyncMutex<()>> {
        let mut turns = lock(&self.turns);
        if let Some(turn) = turns.get(&account).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(account, Arc::downgrade(&turn));
        turn
    }

    /// One of those that serve nobody, or a new one. The caller holds a permit for it.
    async fn connection(&self, seat: Seat, account: Uuid) -> Result<Space, SessionError> {
        if let Some(space) = self.idle().take(seat) {
            return Ok(space);
        }
        while let Some(evicted) = self.evict() {
            evicted.close().await;
        }
        self.place.open(account, self.timeout).await
    }

    /// The connection that must go so that there is room for one more.
    fn evict(&self) -> Option<Space> {
        let mut idle = self.idle();
        if idle.unused.len() + self.budget.in_use() <= self.size {
            return None;
        }
        idle.unused.pop_front().map(|unused| unused.space)
    }

    /// Keeps a clean connection for the next session that has its seat.
    fn keep(self: &Arc<Self>, seat: Seat, space: Space, permit: Permit) {
        let mut idle = self.idle();
        idle.unused.push_back(Unused {
            seat,
            space,
            since: Instant::now(),
        });
        // Under the lock, so that nobody counts this connection twice.
        drop(permit);
        if !std::mem::replace(&mut idle.is_watched, true) {
            self.runtime.spawn(close_unused(Arc::downgrade(self)));
        }
    }

    /// None, and nobody watches any more, where nothing is idle.
    fn watch(&self) -> Option<Watch> {
        let mut idle = self.idle();
        let Some(oldest) = idle.unused.front() else {
            idle.is_watched = false;
            return None;
        };
        let (now, due) = (Instant::now(), oldest.since + IDLE_LIMIT);
        if now < due {
            return Some(Watch::Sleep(due));
        }
        let Some(permit) = self.budget.spare() else {
            // Everything is in demand: whoever opens a connection closes this one first.
            return Some(Watch::Sleep(now + IDLE_LIMIT));
        };
        let unused = idle.unused.pop_front()?;
        Some(Watch::Close(unused.space, permit))
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        lock(&self.idle)
    }
}

impl Idle {
    /// The one that was used last: the others can then grow old.
    fn take(&mut self, seat: Seat) -> Option<Space> {
        let at = self.unused.iter().rposition(|unused| unused.seat == seat)?;
        self.unused.remove(at).map(|unused| unused.space)
    }
}

/// Closes connections that stay unused, one after the other, until nothing is idle. Holds the
/// spaces only while it looks at them.
async fn close_unused(spaces: Weak<Inner>) {
    while let Some(next) = spaces.upgrade().and_then(|spaces| spaces.watch()) {
        match next {
            Watch::Sleep(until) => tokio::time::sleep_until(until).await,
            Watch::Close(space, permit) => {
                space.close().await;
                drop(permit);
            }
        }
    }
}

#[cfg(test)]
impl TenantSpaces {
    /// Connections in use, and connections that serve nobody.
    pub(super) fn counts(&self) -> (usize, usize) {
        let idle = self.inner.idle();
        (self.inner.budget.in_use(), idle.unused.len())
    }

    /// The most files that were open at one time.
    pub(super) fn most_open(&self) -> usize {
        let Place::Files(files) = &self.inner.place;
        files.open_files.most()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("place", &self.place)
            .field("size", &self.size)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Held for a few assignments, which do not panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection on loan, with an open transaction of one account. Dropping it closes the
/// connection, in the background and without waiting for a statement that runs.
#[derive(Debug)]
pub(super) struct Lease {
    spaces: TenantSpaces,
    seat: Seat,
    loan: Option<(Space, Held)>,
    counted: Option<Counted>,
}

/// What the next one waits for.
#[derive(Debug)]
struct Held {
    permit: Permit,
    turn: Option<OwnedMutexGuard<()>>,
}

/// Counts a session as open as long as it lives.
#[derive(Debug)]
struct Counted(());

impl Counted {
    fn new() -> Self {
        metrics::counter!("vestibule_tenant_sessions_opened_total").increment(1);
        metrics::gauge!("vestibule_tenant_sessions_open").increment(1);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("vestibule_tenant_sessions_open").decrement(1);
    }
}

impl Lease {
    fn new(spaces: TenantSpaces, seat: Seat, space: Space, held: Held) -> Self {
        Self {
            spaces,
            seat,
            loan: Some((space, held)),
            counted: None,
        }
    }

    /// From here on the lease is a tenant session, and counted as one.
    pub(super) fn count_as_session(&mut self) {
        self.counted.get_or_insert_with(Counted::new);
    }

    fn space_mut(&mut self) -> Result<&mut Space, SessionError> {
        match &mut self.loan {
            Some((space, _)) => Ok(space),
            None => Err(SessionError::Aborted),
        }
    }

    pub(super) fn connection(&mut self) -> Result<Connection<'_>, SessionError> {
        Ok(self.space_mut()?.connection())
    }

    /// Whether the transaction that was begun is still open.
    pub(super) fn in_transaction(&self) -> bool {
        let space = self.loan.as_ref().map(|(space, _)| space);
        space.is_some_and(Space::in_transaction)
    }

    pub(super) async fn commit(mut self) -> Result<(), SessionError> {
        let limit = self.spaces.timeout();
        let space = self.space_mut()?;
        match tokio::time::timeout(limit, space.commit()).await {
            Ok(Ok(())) => {
                self.give_back();
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SessionError::too_slow()),
        }
    }

    pub(super) async fn rollback(mut self) {
        let limit = self.spaces.timeout();
        let Ok(space) = self.space_mut() else { return };
        if !space.in_transaction() {
            return;
        }
        if let Ok(Ok(())) = tokio::time::timeout(limit, space.rollback()).await {
            self.give_back();
        }
    }

    /// The connection is clean: it may serve the next session of its seat.
    fn give_back(&mut self) {
        if let Some((space, Held { permit, turn })) = self.loan.take() {
            self.spaces.inner.keep(self.seat, space, permit);
            // Who comes next on this account finds the connection.
            drop(turn);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((space, held)) = self.loan.take() {
            space.stop();
            // Turn and connection are free only once the lock on the data is.
            self.spaces.inner.runtime.spawn(async move {
                space.close().await;
                drop(held);
            });
        }
    }
}
