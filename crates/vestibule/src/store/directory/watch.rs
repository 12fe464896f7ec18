//! Changes: every change of an account, a user or a service client, made by whatever process,
//! reaches this process within a second.
//!
//! The change is a row, written in the transaction that makes it. A dedicated connection looks for
//! new rows several times a second (`ears.rs`). Changes of this process are announced at once, and
//! once more when their rows are read, which does no harm.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Directory, Kind, Operation, ears::Ears};
use crate::{
    clock::Timestamp,
    store::{Change, CutOff, StoreError, query::Query},
};

/// One look that takes longer is given up, and the connection with it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// A look over a connection that has served may take at least this long, and [`UNUSUAL`] times as
/// long as the last one took. More: a line that fell silent makes changes late; less: a moment in
/// which the server is busy costs a connection.
const LEAST_PATIENCE: Duration = Duration::from_millis(200);
const UNUSUAL: u32 = 4;
/// Whoever could not look for this long takes everything for changed.
const TOO_LONG: Duration = Duration::from_secs(5);
/// Rows are kept this long. Every process has read them long before.
const KEEP: Duration = Duration::from_secs(3_600);
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// More changes at once are cheaper to take for everything.
const BATCH: usize = 1_000;

pub(super) const OPERATIONS: &[&Operation] =
    &[&ANNOUNCE, &NEWEST_CHANGE, &CHANGES_FROM, &PRUNE_CHANGES];

pub(super) static ANNOUNCE: Operation = Operation {
    name: "announce",
    takes: &[Kind::BigInt, Kind::Text, Kind::Text, Kind::Text],
    gives: &[],
    sql: "INSERT INTO changes (at, kind, key, provider) VALUES ($1, $2, $3, $4)",
};

static NEWEST_CHANGE: Operation = Operation {
    name: "newest_change",
    takes: &[],
    gives: &[("seq", Kind::BigInt)],
    sql: "SELECT COALESCE(MAX(seq), 0) FROM changes",
};

static CHANGES_FROM: Operation = Operation {
    name: "changes_from",
    takes: &[Kind::BigInt, Kind::BigInt],
    gives: &[
        ("seq", Kind::BigInt),
        ("kind", Kind::Text),
        ("key", Kind::Text),
        ("provider", Kind::Text),
    ],
    sql: "SELECT seq, kind, key, provider FROM changes WHERE seq >= $1 ORDER BY seq LIMIT $2",
};

static PRUNE_CHANGES: Operation = Operation {
    name: "prune_changes",
    takes: &[Kind::BigInt],
    gives: &[],
    sql: "DELETE FROM changes WHERE at < $1 AND seq < (SELECT MAX(seq) FROM changes)",
};

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
        let asked = self.now();
        watcher.look().await?;
        // Subscribed after the first look: from here on nothing is missed by both ways together.
        let subscriber = self.inner.subscribers.add(Arc::clone(&watcher.on_change));
        self.confirm(asked);
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

    /// Whether nobody could say for longer than `PRINCIPAL_MAX_STALE` that what is remembered of
    /// the directory is still so. A clock that was set back by more counts as much as time.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale_at(self.now())
    }

    /// [`Directory::is_stale`], at the moment `now`.
    pub(crate) fn is_stale_at(&self, now: Timestamp) -> bool {
        let confirmed = self.inner.confirmed.load(Ordering::Acquire);
        let age = now.as_millis().abs_diff(confirmed);
        u128::from(age) > self.inner.max_stale.as_millis()
    }

    /// Whoever looked at `asked`, or later, has heard of everything until then.
    fn confirm(&self, asked: Timestamp) {
        let asked = asked.as_millis();
        self.inner.confirmed.store(asked, Ordering::Release);
    }

    /// Removes changes that everybody has read. The newest stays: numbers go on from it.
    pub(super) async fn prune_changes(&self) -> Result<(), StoreError> {
        let until = self.now().saturating_sub(KEEP);
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::of(&PRUNE_CHANGES).bind(until);
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

/// Reads the changes of all processes.
struct Watcher {
    directory: Directory,
    on_change: OnChange,
    ears: Ears,
    /// The last change that was read; none before the first look.
    position: Option<i64>,
    confirmed: Instant,
    /// How long the last look took, without what it may take to connect.
    usual: Duration,
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
            ears: Ears::new(&directory.inner.pool),
            directory,
            on_change,
            position: None,
            confirmed: Instant::now(),
            usual: Duration::ZERO,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut pruned = Instant::now();
        let mut failing = false;
        while stop
            .run_until_cancelled(self.ears.next_look())
            .await
            .is_some()
        {
            let asked = self.directory.now();
            match self.look_in_time().await {
                Ok(()) => {
                    if self.confirmed.elapsed() >= TOO_LONG {
                        (self.on_change)(&Change::Everything);
                    }
                    self.confirmed = Instant::now();
                    self.directory.confirm(asked);
                    if failing {
                        tracing::info!("changes of the directory can be read again");
                    }
                    failing = false;
                }
                Err(error) => {
                    self.ears.forget();
                    if !failing {
                        tracing::warn!(%error, "changes of the directory cannot be read");
                    }
                    failing = true;
                }
            }
            if pruned.elapsed() >= PRUNE_EVERY {
                pruned = Instant::now();
                // Not waited for: it may queue for a connection, and looks go on meanwhile.
                let directory = self.directory.clone();
                tokio::spawn(async move {
                    if let Err(error) = directory.prune_changes().await {
                        tracing::warn!(%error, "old changes could not be removed");
                    }
                });
            }
        }
        self.ears.close().await;
    }

    /// One look, over another connection where the one that served so far does not any more.
    async fn look_in_time(&mut self) -> Result<(), StoreError> {
        if self.ears.trusts() {
            let patience = self.usual.saturating_mul(UNUSUAL);
            let patience = patience.clamp(LEAST_PATIENCE, PATIENCE);
            match self.look_within(patience).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%error, "another connection is tried"),
            }
            self.ears.forget();
        }
        self.look_within(PATIENCE).await
    }

    async fn look_within(&mut self, limit: Duration) -> Result<(), StoreError> {
        let looked = tokio::time::timeout(limit, self.look()).await;
        looked.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
    }

    /// One look. What is new goes to `on_change`.
    async fn look(&mut self) -> Result<(), StoreError> {
        let Some(news) = self.ears.news().await? else {
            return Ok(());
        };
        let Some(position) = self.position else {
            self.position = Some(self.newest().await?);
            return self.ears.has_read(news).await;
        };
        let query = Query::of(&CHANGES_FROM)
            .bind(position)
            .bind(i64::try_from(BATCH).unwrap_or(i64::MAX));
        let begun = Instant::now();
        let rows: Vec<ChangeRow> = query.fetch_all(self.ears.connection().await?).await?;
        self.usual = begun.elapsed();
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
            self.position = Some(self.newest().await?);
            (self.on_change)(&Change::Everything);
        }
        self.ears.has_read(news).await
    }

    /// The number of the newest change; 0 where there was none yet.
    async fn newest(&mut self) -> Result<i64, StoreError> {
        let query = Query::of(&NEWEST_CHANGE);
        let newest: Option<(i64,)> = query.fetch_optional(self.ears.connection().await?).await?;
        Ok(newest.unwrap_or_default().0)
    }
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
            ("cut_off", _) => {
                CutOff::from_line(&self.key).map_or(Change::Everything, Change::CutOff)
            }
            // A newer version may know more kinds.
            _ => Change::Everything,
        }
    }
}
