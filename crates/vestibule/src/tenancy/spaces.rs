//! Data spaces: one SQLite file per account, and the connections to them.
//!
//! The file's name comes from the account's id alone; the file holds the id too and opens for no
//! other account; opening never creates one.
//!
//! Sessions of one account queue here, in order, before they take one of the
//! `DATABASE_POOL_SIZE` connections: SQLite has one writer per file, and an account whose
//! requests are slow holds one connection, not all of them. The connections are shared out between
//! the accounts by their [`Budget`]. A connection serves the next session
//! only after a clean `COMMIT` or `ROLLBACK`; in every doubtful case it is closed, and counts
//! until it is.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
};
use uuid::Uuid;

use super::{
    SessionError,
    budget::{Budget, Permit},
    space_file::SpaceFile,
};
use crate::{
    clock::{SharedClock, Timestamp},
    settings::DatabaseSettings,
    store::{Change, Connection, Directory, Ids, StoreError, sqlite},
};

/// The data spaces of all accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TenantSpaces {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    directory: Directory,
    clock: SharedClock,
    ids: Ids,
    timeout: Duration,
    size: usize,
    budget: Budget,
    turns: Mutex<HashMap<Uuid, Weak<AsyncMutex<()>>>>,
    /// Connections that serve nobody, the longest unused first. With those in use there are at
    /// most `size`.
    idle: Mutex<Vec<(Uuid, SpaceFile)>>,
    runtime: Handle,
    #[cfg(test)]
    open_files: super::tests::OpenFiles,
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
        let Some(files) = settings.sqlite() else {
            return Err(StoreError::Refused("not yet".to_owned()));
        };
        let dir = sqlite::absolute(&files.tenant_dir)?;
        sqlite::create_private_dir(&dir)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", dir.display())))?;
        let runtime = Handle::try_current()
            .map_err(|_| StoreError::Unavailable("there is no tokio runtime".to_owned()))?;
        let size = usize::try_from(settings.pool_size.max(1)).unwrap_or(1);
        Ok(Self {
            inner: Arc::new(Inner {
                dir,
                directory: directory.clone(),
                ids: Ids::new(Arc::clone(&clock)),
                clock,
                timeout: settings.timeout,
                size,
                budget: Budget::new(size),
                turns: Mutex::default(),
                idle: Mutex::default(),
                runtime,
                #[cfg(test)]
                open_files: Default::default(),
            }),
        })
    }

    /// Closes the connections that serve nobody.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for (_, file) in idle {
            file.close().await;
        }
    }

    /// Closes what is kept open for an account that changed: it may be gone, and its file with
    /// it.
    pub(crate) fn on_change(&self, change: &Change) {
        if let Change::Account(id) = change
            && let Some(file) = self.take_idle(*id)
        {
            self.inner.runtime.spawn(file.close());
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

    pub(super) fn dir(&self) -> &std::path::Path {
        &self.inner.dir
    }

    pub(super) fn file_of(&self, account: Uuid) -> PathBuf {
        self.inner.dir.join(format!("{}.db", account.hyphenated()))
    }

    /// A connection to the account's space with an open transaction, within `DATABASE_TIMEOUT`.
    pub(super) async fn begin(&self, account: Uuid) -> Result<Lease, SessionError> {
        let begun = tokio::time::timeout(self.inner.timeout, async {
            // First the account's turn, then a connection: who waits holds nothing.
            let turn = self.turn(account).lock_owned().await;
            let permit = self.inner.budget.acquire(account).await;
            let mut lease = Lease::new(self.clone(), account, turn, permit);
            // In a task of its own: where the caller goes away, the lease is still there to
            // close what was being opened, and counts until then.
            let opening = self.inner.runtime.spawn(async move {
                lease.open().await?;
                Ok(lease)
            });
            let opened: Result<Lease, SessionError> =
                opening.await.unwrap_or(Err(SessionError::Aborted));
            let mut lease = opened?;
            lease.file_mut()?.begin().await?;
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

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Uuid, SpaceFile)>> {
        lock(&self.inner.idle)
    }

    pub(super) fn take_idle(&self, account: Uuid) -> Option<SpaceFile> {
        let mut idle = self.idle();
        let at = idle.iter().position(|(owner, _)| *owner == account)?;
        Some(idle.remove(at).1)
    }

    /// The connection that must go so that there is room for one more.
    fn evict(&self) -> Option<SpaceFile> {
        let mut idle = self.idle();
        let in_use = self.inner.budget.in_use();
        let full = !idle.is_empty() && idle.len() + in_use > self.inner.size;
        full.then(|| idle.remove(0).1)
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
            .field("dir", &self.dir)
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
    file: Option<SpaceFile>,
    held: Option<Held>,
    counted: Option<Counted>,
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

/// What the next one waits for.
#[derive(Debug)]
struct Held {
    turn: OwnedMutexGuard<()>,
    permit: Permit,
}

impl Lease {
    fn new(spaces: TenantSpaces, account: Uuid, turn: OwnedMutexGuard<()>, permit: Permit) -> Self {
        Self {
            spaces,
            account,
            file: None,
            held: Some(Held { turn, permit }),
            counted: None,
        }
    }

    /// From here on the lease is a tenant session, and counted as one.
    pub(super) fn count_as_session(&mut self) {
        self.counted.get_or_insert_with(Counted::new);
    }

    /// The account's connection from those that serve nobody, or a new one.
    async fn open(&mut self) -> Result<(), SessionError> {
        if let Some(file) = self.spaces.take_idle(self.account) {
            self.file = Some(file);
            return Ok(());
        }
        while let Some(evicted) = self.spaces.evict() {
            evicted.close().await;
        }
        let path = self.spaces.file_of(self.account);
        #[cfg(test)]
        let mark = self.spaces.inner.open_files.mark();
        let file = SpaceFile::open(&path, self.account, self.spaces.timeout()).await?;
        #[cfg(test)]
        let file = file.marked(mark);
        self.file = Some(file);
        Ok(())
    }

    fn file_mut(&mut self) -> Result<&mut SpaceFile, SessionError> {
        self.file.as_mut().ok_or(SessionError::Aborted)
    }

    pub(super) fn connection(&mut self) -> Result<Connection<'_>, SessionError> {
        Ok(self.file_mut()?.connection())
    }

    /// Whether the transaction that was begun is still open.
    pub(super) fn in_transaction(&self) -> bool {
        self.file.as_ref().is_some_and(SpaceFile::in_transaction)
    }

    pub(super) async fn commit(mut self) -> Result<(), SessionError> {
        let limit = self.spaces.timeout();
        let file = self.file_mut()?;
        match tokio::time::timeout(limit, file.commit()).await {
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
        let Ok(file) = self.file_mut() else { return };
        if !file.in_transaction() {
            return;
        }
        if let Ok(Ok(())) = tokio::time::timeout(limit, file.rollback()).await {
            self.give_back();
        }
    }

    /// The connection is clean: it may serve the account's next session.
    fn give_back(&mut self) {
        if let (Some(file), Some(held)) = (self.file.take(), self.held.take()) {
            let mut idle = self.spaces.idle();
            idle.push((self.account, file));
            // Under the lock, so that nobody counts this connection twice.
            drop(held.permit);
            drop(idle);
            drop(held.turn);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (file, held) = (self.file.take(), self.held.take());
        if let Some(file) = file {
            file.stop();
            // Turn and connection are free only once the lock on the file is.
            self.spaces.inner.runtime.spawn(async move {
                file.close().await;
                drop(held);
            });
        }
    }
}
