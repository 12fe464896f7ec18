//! Data spaces, and the connections to them.
//!
//! A space's name comes from the account's id alone; it holds the id too and opens for no other
//! account; opening never creates one.
//!
//! The connections are shared out between the accounts by their [`Budget`]. On SQLite the sessions
//! of one account queue before they take a connection: there is one writer per file. A connection
//! serves the next session only after a clean `COMMIT` or `ROLLBACK`; in every doubtful case it is
//! closed, and counts until it is.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
};
use tracing::Span;
use uuid::Uuid;

use super::{
    SessionError,
    budget::{Budget, Permit},
    places::{Place, Seat},
    postgres::Clusters,
    retention::Retention,
    space::{Begun, Space},
};
use crate::{
    clock::{SharedClock, Timestamp},
    settings::{DatabaseLocation, DatabaseSettings},
    store::{Change, Connection, Directory, IDLE_LIMIT, Ids, Query, StoreError, sqlite},
    trace,
};

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
    retention: Retention,
    size: usize,
    budget: Budget,
    turns: Mutex<HashMap<Uuid, Weak<AsyncMutex<()>>>>,
    /// Connections that serve nobody, the longest unused first. With those in use there are at
    /// most `size`.
    idle: Mutex<Vec<Idle>>,
    /// Whose turn it is to connect beyond the budget.
    breaking: AsyncMutex<()>,
    runtime: Handle,
    #[cfg(test)]
    open_files: super::tests::OpenFiles,
}

/// A connection that serves nobody.
#[derive(Debug)]
struct Idle {
    seat: Seat,
    since: Instant,
    space: Space,
}

/// Breaking a statement off may take this long; after that its own time limit ends it.
const BREAK_OFF: Duration = Duration::from_secs(1);

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
        Self::open_with(settings, directory, clock, IDLE_LIMIT)
    }

    pub(super) fn open_with(
        settings: &DatabaseSettings,
        directory: &Directory,
        clock: SharedClock,
        idle_limit: Duration,
    ) -> Result<Self, StoreError> {
        let (place, size) = match &settings.location {
            DatabaseLocation::Sqlite(files) => {
                let dir = sqlite::absolute(&files.tenant_dir)?;
                sqlite::create_private_dir(&dir).map_err(|error| {
                    StoreError::Unavailable(format!("{}: {error}", dir.display()))
                })?;
                (Place::Files(dir), settings.pool_size.max(1))
            }
            DatabaseLocation::Postgres(servers) => {
                let clusters = Clusters::new(settings, servers, directory);
                (
                    Place::Postgres(Box::new(clusters)),
                    settings.session_connections(),
                )
            }
        };
        let runtime = Handle::try_current()
            .map_err(|_| StoreError::Unavailable("there is no tokio runtime".to_owned()))?;
        let size = usize::try_from(size).unwrap_or(1);
        let spaces = Self {
            inner: Arc::new(Inner {
                place,
                directory: directory.clone(),
                ids: Ids::new(Arc::clone(&clock)),
                clock,
                timeout: settings.timeout,
                retention: Retention::of(settings),
                size,
                budget: Budget::new(size),
                turns: Mutex::default(),
                idle: Mutex::default(),
                breaking: AsyncMutex::default(),
                runtime,
                #[cfg(test)]
                open_files: Default::default(),
            }),
        };
        spaces
            .inner
            .runtime
            .spawn(close_idle(Arc::downgrade(&spaces.inner), idle_limit));
        Ok(spaces)
    }

    /// Closes the connections that serve nobody.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            idle.space.close().await;
        }
    }

    /// Closes what is kept open for an account that changed: it may be gone, and its space with
    /// it.
    pub(crate) fn on_change(&self, change: &Change) {
        match change {
            Change::Account(id) => {
                if let Some(clusters) = self.place().postgres() {
                    clusters.forget(*id);
                }
                for space in self.take_idle_of(*id) {
                    self.inner.runtime.spawn(space.close());
                }
            }
            Change::Everything => {
                if let Some(clusters) = self.place().postgres() {
                    clusters.forget_all();
                }
            }
            _ => {}
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.inner.place
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    pub(super) fn retention(&self) -> Retention {
        self.inner.retention
    }

    pub(super) fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    pub(super) fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(super) fn new_id(&self) -> Uuid {
        self.inner.ids.next()
    }

    pub(super) fn file_of(&self, account: Uuid) -> PathBuf {
        self.inner.place.file_of(account)
    }

    /// A connection to the account's space with an open transaction, within `DATABASE_TIMEOUT`.
    pub(super) async fn begin(&self, account: Uuid) -> Result<Lease, SessionError> {
        let begun = tokio::time::timeout(self.inner.timeout, async {
            let seat = self.place().seat_of(self.directory(), account).await?;
            // First the account's turn, then a connection: who waits holds nothing.
            let turn = if seat.takes_turns() {
                Some(self.turn(account).lock_owned().await)
            } else {
                None
            };
            let permit = self.inner.budget.acquire(account).await;
            let mut lease = Lease::new(self.clone(), account, seat, Held { turn, permit });
            // Where the caller goes away, the lease goes with what it was beginning on.
            lease.begin().await?;
            Ok(lease)
        });
        begun
            .await
            .unwrap_or_else(|_| Err(SessionError::too_slow()))
    }

    fn turn(&self, account: Uuid) -> Arc<AsyncMutex<()>> {
        let mut turns = lock(&self.inner.turns);
        if let Some(turn) = turns.get(&account).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(account, Arc::downgrade(&turn));
        turn
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        lock(&self.inner.idle)
    }

    /// The connection that was used last, of those that serve the seat.
    fn take_idle(&self, seat: &Seat) -> Option<Space> {
        let mut idle = self.idle();
        let at = idle.iter().rposition(|idle| idle.seat == *seat)?;
        Some(idle.remove(at).space)
    }

    /// Connections that serve this account and no other.
    pub(super) fn take_idle_of(&self, account: Uuid) -> Vec<Space> {
        self.take_where(|idle| idle.seat.is_only_of(account))
    }

    fn take_where(&self, wanted: impl Fn(&Idle) -> bool) -> Vec<Space> {
        let mut idle = self.idle();
        let taken = idle.extract_if(.., |idle| wanted(idle));
        taken.map(|idle| idle.space).collect()
    }

    /// Ends what a server's process does for a session that is gone.
    async fn break_off(&self, seat: &Seat, backend: i32) {
        let breaking = async {
            match (self.place(), seat) {
                (Place::Postgres(clusters), Seat::Cluster(cluster, _)) if !cluster.is_main() => {
                    // One more than the budget allows for a moment, but never two.
                    let _alone = self.inner.breaking.lock().await;
                    clusters.end_backend(cluster, backend).await
                }
                // The directory's connections are counted already.
                (Place::Postgres(_), _) => self.directory().end_backend(backend).await,
                (Place::Files(_), _) => Ok(()),
            }
        };
        match tokio::time::timeout(BREAK_OFF, breaking).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a statement could not be broken off"),
            Err(_) => tracing::debug!("a statement could not be broken off in time"),
        }
    }

    /// The connection that must go so that there is room for one more.
    fn evict(&self) -> Option<Space> {
        let mut idle = self.idle();
        let in_use = self.inner.budget.in_use();
        let full = !idle.is_empty() && idle.len() + in_use > self.inner.size;
        full.then(|| idle.remove(0).space)
    }
}

/// Closes what lay idle for too long, until the spaces are gone.
async fn close_idle(spaces: Weak<Inner>, limit: Duration) {
    loop {
        tokio::time::sleep(limit / 4).await;
        let Some(inner) = spaces.upgrade() else {
            return;
        };
        let spaces = TenantSpaces { inner };
        for space in spaces.take_where(|idle| idle.since.elapsed() > limit) {
            space.close().await;
        }
    }
}

#[cfg(test)]
impl TenantSpaces {
    /// Connections in use, and connections that serve nobody.
    pub(super) fn counts(&self) -> (usize, usize) {
        let idle = self.idle();
        (self.inner.budget.in_use(), idle.len())
    }

    /// The most files that were open at one time.
    pub(super) fn most_open(&self) -> usize {
        self.inner.open_files.most()
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection on loan, with the account's turn. Dropping it closes the connection, in the
/// background and without waiting for a statement that runs.
#[derive(Debug)]
pub(super) struct Lease {
    spaces: TenantSpaces,
    account: Uuid,
    seat: Seat,
    space: Option<Space>,
    held: Option<Held>,
    /// A statement runs.
    busy: bool,
    counted: Option<Counted>,
}

/// Counts a session as open as long as it lives, which its span does too.
#[derive(Debug)]
struct Counted(Span);

impl Counted {
    fn new(span: Span) -> Self {
        metrics::counter!("vestibule_tenant_sessions_opened_total").increment(1);
        metrics::gauge!("vestibule_tenant_sessions_open").increment(1);
        Self(span)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("vestibule_tenant_sessions_open").decrement(1);
        // A span lasts until it was left last.
        self.0.in_scope(|| {});
    }
}

/// What the next one waits for.
#[derive(Debug)]
struct Held {
    turn: Option<OwnedMutexGuard<()>>,
    permit: Permit,
}

impl Lease {
    fn new(spaces: TenantSpaces, account: Uuid, seat: Seat, held: Held) -> Self {
        Self {
            spaces,
            account,
            seat,
            space: None,
            held: Some(held),
            busy: false,
            counted: None,
        }
    }

    /// From here on the lease is a tenant session, and counted as one.
    pub(super) fn count_as_session(&mut self, span: Span) {
        self.counted.get_or_insert_with(|| Counted::new(span));
    }

    /// Notes how the session ended.
    fn ended(&self, how: &'static str) {
        if let Some(Counted(span)) = &self.counted {
            trace::session_ended(span, how);
        }
    }

    /// Begins the transaction where the account's data lie: also where they have moved, and this
    /// process has not heard of it yet.
    async fn begin(&mut self) -> Result<(), SessionError> {
        let begun = self.begin_at_seat().await;
        if let Err(SessionError::Unavailable(_)) = &begun
            && let Some(seat) = self.seat_elsewhere().await
        {
            if let Some(space) = self.space.take() {
                space.close().await;
            }
            self.seat = seat;
            return self.begin_at_seat().await;
        }
        begun
    }

    /// The account's seat by the directory's present word, where that is another one.
    async fn seat_elsewhere(&self) -> Option<Seat> {
        let place = self.spaces.place();
        place.postgres()?.forget(self.account);
        let seat = place.seat_of(self.spaces.directory(), self.account).await;
        seat.ok().filter(|seat| *seat != self.seat)
    }

    /// Begins the transaction on a connection that serves nobody, or on a new one. One that was
    /// lost while it lay idle is no reason to fail.
    async fn begin_at_seat(&mut self) -> Result<(), SessionError> {
        while let Some(space) = self.spaces.take_idle(&self.seat) {
            self.space = Some(space);
            if self.begin_on_space().await? {
                return Ok(());
            }
        }
        while let Some(evicted) = self.spaces.evict() {
            evicted.close().await;
        }
        #[cfg(test)]
        let mark = self.spaces.inner.open_files.mark();
        let place = self.spaces.place();
        let limit = self.spaces.timeout();
        let space = place.open(&self.seat, self.account, limit).await?;
        #[cfg(test)]
        let space = space.marked(mark);
        self.space = Some(space);
        if self.begin_on_space().await? {
            return Ok(());
        }
        Err(SessionError::Unavailable(
            "the connection was lost".to_owned(),
        ))
    }

    /// Begins once more, on the same connection, without what was prepared on it.
    pub(super) async fn begin_anew(&mut self) -> Result<(), SessionError> {
        let space = self.space_mut()?;
        space.rollback().await?;
        space.forget_statements().await?;
        if self.begin_on_space().await? {
            return Ok(());
        }
        Err(SessionError::Unavailable(
            "the connection was lost".to_owned(),
        ))
    }

    /// False where the connection was lost; it is closed then.
    async fn begin_on_space(&mut self) -> Result<bool, SessionError> {
        let (account, limit) = (self.account, self.spaces.timeout());
        match self.space_mut()?.begin(account, limit).await? {
            Begun::Yes => return Ok(true),
            Begun::Lost => {
                if let Some(lost) = self.space.take() {
                    lost.close().await;
                }
                return Ok(false);
            }
            Begun::Fenced => {}
        }
        if let Some(space) = self.space.take() {
            self.lay_down(space);
        }
        Err(SessionError::Unavailable(
            "the account is being moved to another cluster".to_owned(),
        ))
    }

    /// The connection may serve the next session.
    fn lay_down(&self, space: Space) {
        self.spaces.idle().push(Idle {
            seat: self.seat.clone(),
            since: Instant::now(),
            space,
        });
    }

    fn space_mut(&mut self) -> Result<&mut Space, SessionError> {
        self.space.as_mut().ok_or(SessionError::Aborted)
    }

    pub(super) fn connection(&mut self) -> Result<Connection<'_>, SessionError> {
        Ok(self.space_mut()?.connection())
    }

    /// The connection for calls of our functions, which demand a proof on PostgreSQL.
    pub(super) fn calling(&mut self) -> Result<Connection<'_>, SessionError> {
        Ok(self.space_mut()?.calling())
    }

    /// Notes whether a statement runs: one that is dropped midway is ended on the server too.
    pub(super) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// The statement as it must be written for this database.
    pub(super) fn rewritten(&self, query: Query) -> Query {
        match &self.space {
            Some(space) => space.rewritten(query),
            None => query,
        }
    }

    /// Whether the transaction that was begun is still open.
    pub(super) fn in_transaction(&self) -> bool {
        self.space.as_ref().is_some_and(Space::in_transaction)
    }

    /// Whether the transaction goes on after a statement of it failed.
    pub(super) fn survives_errors(&self) -> bool {
        self.space.as_ref().is_some_and(Space::survives_errors)
    }

    pub(super) async fn commit(mut self) -> Result<(), SessionError> {
        let limit = self.spaces.timeout();
        let space = self.space_mut()?;
        match tokio::time::timeout(limit, space.commit()).await {
            Ok(Ok(())) => {
                self.ended("commit");
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
            self.ended("rollback");
            self.give_back();
        }
    }

    /// The connection is clean: it may serve the next session.
    fn give_back(&mut self) {
        if let (Some(space), Some(held)) = (self.space.take(), self.held.take()) {
            let mut idle = self.spaces.idle();
            idle.push(Idle {
                seat: self.seat.clone(),
                since: Instant::now(),
                space,
            });
            // Under the lock, so that nobody counts this connection twice.
            drop(held.permit);
            drop(idle);
            drop(held.turn);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (space, held) = (self.space.take(), self.held.take());
        if let Some(space) = space {
            space.stop();
            let backend = space.backend().filter(|_| self.busy);
            let (spaces, seat) = (self.spaces.clone(), self.seat.clone());
            // Turn and connection are free only once the locks on the data are.
            self.spaces.inner.runtime.spawn(async move {
                if let Some(backend) = backend {
                    spaces.break_off(&seat, backend).await;
                }
                space.close().await;
                drop(held);
            });
        }
    }
}
