//! The directory itself, one file per kind of record.
//!
//! Reads take a connection of the pool. Writes go through [`Directory::write`]: one transaction,
//! in a task of its own, so that a caller who goes away neither tears it apart nor leaves a
//! half-open one behind in the pool.

mod accounts;
mod clients;
mod facts;
mod migrations;
mod provider;
#[cfg(test)]
pub(crate) mod tests;
mod users;
mod watch;
mod writing;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions},
};
use tokio::sync::Mutex as AsyncMutex;

pub(crate) use self::migrations::KeptMigration;
pub use self::users::AccountUsers;
use self::watch::Subscribers;
pub use self::watch::WatchGuard;
use self::writing::Writing;
use super::{
    StoreError,
    ids::Ids,
    query::{Connection, FromDatabaseRow, Query},
    schema, sqlite,
};
use crate::{
    clock::{SharedClock, Timestamp},
    settings::DatabaseSettings,
};

/// The directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    file: PathBuf,
    timeout: Duration,
    clock: SharedClock,
    ids: Ids,
    /// Writers of this process queue here, in order, and not in SQLite, which lets them poll.
    writers: AsyncMutex<()>,
    subscribers: Subscribers,
    /// Milliseconds of the last moment at which no change of another process was missing.
    confirmed: AtomicI64,
}

/// Connections to one of the databases. Another database is one more variant.
#[derive(Debug)]
enum Pool {
    Sqlite(SqlitePool),
}

impl Directory {
    /// Opens the directory; creates the file where it is missing, and brings its tables up to
    /// date, safely beside other processes that do the same.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the file cannot be opened or made;
    /// [`StoreError::Refused`] where it belongs to something else or to a newer version.
    pub async fn open(settings: &DatabaseSettings, clock: SharedClock) -> Result<Self, StoreError> {
        let file = sqlite::absolute(&settings.file)?;
        let options = sqlite::options(&file, settings.timeout);
        let first = prepared(&file, &options, settings.timeout, clock.now())
            .await
            .map_err(|error| error.about(&file))?;
        let pool = SqlitePoolOptions::new()
            .max_connections(settings.pool_size.max(1))
            .acquire_timeout(settings.timeout)
            // A file does not drop its connections.
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        // Only now: the last connection that closes a file takes its write-ahead log away, and
        // whoever comes at that moment finds the file locked.
        first.close().await?;
        Ok(Self {
            inner: Arc::new(Inner {
                pool: Pool::Sqlite(pool),
                file,
                timeout: settings.timeout,
                ids: Ids::new(Arc::clone(&clock)),
                confirmed: AtomicI64::new(clock.now().as_millis()),
                clock,
                writers: AsyncMutex::new(()),
                subscribers: Subscribers::default(),
            }),
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it does not within `DATABASE_TIMEOUT`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let query = Query::new("SELECT COUNT(*) FROM settings");
        self.fetch_optional::<(i64,)>(query).await.map(drop)
    }

    /// Closes all connections. Later calls fail with [`StoreError::Unavailable`].
    pub async fn close(&self) {
        match &self.inner.pool {
            Pool::Sqlite(pool) => pool.close().await,
        }
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    async fn fetch_all<T: FromDatabaseRow>(&self, query: Query) -> Result<Vec<T>, StoreError> {
        self.reading(async |on| query.fetch_all(on).await).await
    }

    async fn fetch_optional<T: FromDatabaseRow>(
        &self,
        query: Query,
    ) -> Result<Option<T>, StoreError> {
        self.reading(async |on| query.fetch_optional(on).await)
            .await
    }

    async fn reading<T>(
        &self,
        run: impl AsyncFnOnce(Connection<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let read = async {
            match &self.inner.pool {
                Pool::Sqlite(pool) => {
                    let mut connection = pool.acquire().await?;
                    run(Connection::Sqlite(&mut connection)).await
                }
            }
        };
        match tokio::time::timeout(self.inner.timeout, read).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(StoreError::too_slow()),
        }
    }
}

/// The first connection to the file, which is there, ours, and up to date.
async fn prepared(
    file: &Path,
    options: &SqliteConnectOptions,
    limit: Duration,
    now: Timestamp,
) -> Result<SqliteConnection, StoreError> {
    sqlite::ensure_private(file)?;
    let mut first = sqlite::connect(options, limit).await?;
    schema::require_ours(&mut first).await?;
    sqlite::use_wal(&mut first, limit).await?;
    schema::bring_up_to_date(&mut first, now).await?;
    Ok(first)
}
