//! Changes: every change of an account, a user or a service client, made by whatever process,
//! reaches this process within a second.
//!
//! The change is a row, written in the transaction that makes it. A dedicated connection looks
//! five times a second at `PRAGMA data_version`, which costs no I/O, and reads the new rows when
//! it moved. Changes of this process are announced at once, and once more when their rows are
//! read, which does no harm.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection as _, SqliteConnection};
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Directory;
use crate::{
    clock::Timestamp,
    store::{
        Change, StoreError,
        query::{Connection, Query},
        sqlite,
    },
};

/// Five looks a second: a change is heard well within the second that is promised, also when a
/// look comes late.
const POLL: Duration = Duration::from_millis(200);
/// One look that takes longer is given up, and the connection with it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Whoever could not look for this long takes everything for changed.
const TOO_LONG: Duration = Duration::from_secs(5);
/// Rows are kept this long. Every process has read them long before.
const KEEP: Duration = Duration::from_secs(3_600);
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// More changes at once are cheaper to take for everything.
const BATCH: usize = 1_000;

type OnChange = Arc<dyn Fn(&Change) + Send + Sync>;

/// Who wants to hear of changes.
#[derive(Default)]
pub(super) struct Subscribers {
    next: AtomicU64,
    all: RwLock<Vec<(u64, OnChange)>>,
}

/// Hears of changes as long as it lives.
#[derive(Debug)]
#[must_use = "dropping it ends the watch"]
pub struct WatchGuard {
    directory: Directory,
    subscriber: u64,
    stop: CancellationToken,
    task: AsyncMutex<JoinHandle<()>>,
}

impl Directory {
    /// Calls `on_change` for every change that any process makes from now on, within a second;
    /// for those of this process before the method that makes them returns.
    ///
    /// `on_change` runs on the task that hears of the change and must not block.
    /// [`Change::Everything`] comes where changes may have been missed.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read now; later it is tried again and again.
    pub async fn watch(
        &self,
        on_change: impl Fn(&Change) + Send + Sync + 'static,
    ) -> Result<WatchGuard, StoreError> {
        let mut watcher = Watcher::new(self.clone(), Arc::new(on_change));
        watcher.look().await?;
        // Subscribed after the first look: from here on nothing is missed by both ways together.
        let subscriber = self.inner.subscribers.add(Arc::clone(&watcher.on_change));
        self.confirm();
        let stop = CancellationToken::new();
        let task = tokio::spawn(watcher.run(stop.clone()));
        Ok(WatchGuard {
            directory: self.clone(),
            subscriber,
            stop,
            task: AsyncMutex::new(task),
        })
    }

    /// The last moment at which this process had heard of every change. It stands still while
    /// the database cannot be read, or where nobody watches.
    pub fn last_confirmed(&self) -> Timestamp {
        Timestamp::from_millis(self.inner.confirmed.load(Ordering::Acquire))
    }

    fn confirm(&self) {
        let now = self.now().as_millis();
        self.inner.confirmed.store(now, Ordering::Release);
    }

    /// Removes changes that everybody has read. The newest stays: numbers go on from it.
    pub(super) async fn prune_changes(&self) -> Result<(), StoreError> {
        let until = self.now().saturating_sub(KEEP);
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::new(
                    "DELETE FROM changes WHERE at < $1 AND seq < (SELECT MAX(seq) FROM changes)",
                )
                .bind(until);
                writing.execute(query).await.map(drop)
            })
        })
        .await
    }
}

impl Subscribers {
    pub(super) fn announce(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = all.iter().map(|(_, call)| Arc::clone(call)).collect();
        for on_change in all {
            changes.iter().for_each(|change| on_change(change));
        }
    }

    fn add(&self, on_change: OnChange) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.push((id, on_change));
        id
    }

    fn remove(&self, id: u64) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| *other != id);
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribers").finish_non_exhaustive()
    }
}

impl WatchGuard {
    /// Ends the watch and closes its connection: only where nobody leaves one open does the last
    /// to close the file take its write-ahead log away, and the file alone is the whole database.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        let mut task = self.task.lock().await;
        if !task.is_finished() {
            // A task that panicked has nothing left to close.
            drop((&mut *task).await);
        }
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.task.get_mut().abort();
        self.directory.inner.subscribers.remove(self.subscriber);
    }
}

/// Reads the changes of all processes, over a connection of its own: `data_version` compares
/// two looks of the same connection.
struct Watcher {
    directory: Directory,
    on_change: OnChange,
    connection: Option<SqliteConnection>,
    /// `data_version` at the last look over this connection.
    version: Option<i64>,
    /// The last change that was read; none before the first look.
    position: Option<i64>,
    confirmed: Instant,
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    seq: i64,
    kind: String,
    key: String,
    provider: Option<String>,
}

impl Watcher {
    fn new(directory: Directory, on_change: OnChange) -> Self {
        Self {
            directory,
            on_change,
            connection: None,
            version: None,
            position: None,
            confirmed: Instant::now(),
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut pruned = Instant::now();
        let mut failing = false;
        while stop
            .run_until_cancelled(tokio::time::sleep(POLL))
            .await
            .is_some()
        {
            let failure = match tokio::time::timeout(PATIENCE, self.look()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer in time".to_owned()),
            };
            match failure {
                None => {
                    if self.confirmed.elapsed() >= TOO_LONG {
                        (self.on_change)(&Change::Everything);
                    }
                    self.confirmed = Instant::now();
                    self.directory.confirm();
                    if failing {
                        tracing::info!("changes of the directory can be read again");
                    }
                    failing = false;
                }
                Some(error) => {
                    self.connection = None;
                    if !failing {
                        tracing::warn!(%error, "changes of the directory cannot be read");
                    }
                    failing = true;
                }
            }
            if pruned.elapsed() >= PRUNE_EVERY {
                pruned = Instant::now();
                if let Err(error) = self.directory.prune_changes().await {
                    tracing::warn!(%error, "old changes could not be removed");
                }
            }
        }
        if let Some(connection) = self.connection.take() {
            // Nobody is left to be told of a connection that was gone already.
            drop(connection.close().await);
        }
    }

    /// One look. What is new goes to `on_change`.
    async fn look(&mut self) -> Result<(), StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                self.version = None;
                let inner = &self.directory.inner;
                let options = sqlite::options(&inner.file, PATIENCE);
                none.insert(sqlite::connect(&options, PATIENCE).await?)
            }
        };
        let (version,): (i64,) = Query::new("PRAGMA data_version")
            .fetch_optional(Connection::Sqlite(&mut *connection))
            .await?
            .unwrap_or_default();
        if self.version == Some(version) {
            return Ok(());
        }
        let Some(position) = self.position else {
            self.position = Some(newest(connection).await?);
            self.version = Some(version);
            return Ok(());
        };
        let rows: Vec<ChangeRow> = Query::new(
            "SELECT seq, kind, key, provider FROM changes WHERE seq >= $1 ORDER BY seq LIMIT $2",
        )
        .bind(position)
        .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
        .fetch_all(Connection::Sqlite(&mut *connection))
        .await?;
        // The row at the position was read before. Where it is gone, so may be others; where
        // the list is full, the rest is skipped.
        let seen = rows.first().map_or(0, |row| row.seq) == position;
        if (seen || position == 0) && rows.len() < BATCH {
            for row in rows {
                if row.seq > position {
                    self.position = Some(row.seq);
                    (self.on_change)(&row.into_change());
                }
            }
        } else {
            self.position = Some(newest(connection).await?);
            (self.on_change)(&Change::Everything);
        }
        self.version = Some(version);
        Ok(())
    }
}

/// The number of the newest change; 0 where there was none yet.
async fn newest(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let newest: Option<(i64,)> = Query::new("SELECT COALESCE(MAX(seq), 0) FROM changes")
        .fetch_optional(Connection::Sqlite(connection))
        .await?;
    Ok(newest.unwrap_or_default().0)
}

impl ChangeRow {
    fn into_change(self) -> Change {
        match (self.kind.as_str(), self.provider) {
            ("account", _) => match Uuid::parse_str(&self.key) {
                Ok(id) => Change::Account(id),
                Err(_) => Change::Everything,
            },
            ("user", Some(provider)) => Change::User {
                provider,
                subject: self.key,
            },
            ("client", _) => Change::Client(self.key),
            // A newer version may know more kinds.
            _ => Change::Everything,
        }
    }
}
