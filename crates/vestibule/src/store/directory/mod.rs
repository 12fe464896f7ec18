//! The directory itself, one file per kind of record.
//!
//! Reads take a connection of the pool. Writes go through [`Directory::write`]: one transaction,
//! in a task of its own, so that a caller who goes away neither tears it apart nor leaves a
//! half-open one behind in the pool.

mod accounts;
mod clients;
mod cut_offs;
mod ears;
mod endings;
mod facts;
mod imports;
mod migrations;
mod moves;
mod opening;
mod placements;
mod pool;
mod provider;
mod rounds;
#[cfg(test)]
pub(crate) mod tests;
mod users;
mod watch;
mod writing;

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

pub use self::imports::{Difference, IMPORT_LIMIT, Imported, ImportedClient, ImportedUser};
pub(crate) use self::migrations::KeptMigration;
pub(crate) use self::moves::KeptMove;
pub(crate) use self::pool::IDLE_LIMIT;
pub use self::users::AccountUsers;
pub use self::watch::WatchGuard;
pub(crate) use self::writing::Writing;
use self::{pool::Pool, watch::Subscribers};
use super::{
    StoreError,
    ids::Ids,
    query::{Connection, FromDatabaseRow, Kind, Operation, Query},
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
    timeout: Duration,
    max_stale: Duration,
    clock: SharedClock,
    ids: Ids,
    subscribers: Subscribers,
    /// Milliseconds of the last moment at which no change of another process was missing.
    confirmed: AtomicI64,
}

/// What the application's login may do with the directory on PostgreSQL; see [`Operation`].
pub(super) const OPERATIONS: &[&[&Operation]] = &[
    accounts::OPERATIONS,
    clients::OPERATIONS,
    cut_offs::OPERATIONS,
    facts::OPERATIONS,
    migrations::OPERATIONS,
    opening::OPERATIONS,
    placements::OPERATIONS,
    provider::OPERATIONS,
    HERE,
    rounds::OPERATIONS,
    users::OPERATIONS,
    watch::OPERATIONS,
];

const HERE: &[&Operation] = &[&PING];

static PING: Operation = Operation {
    name: "ping",
    takes: &[],
    gives: &[("settings", Kind::BigInt)],
    sql: "SELECT COUNT(*) FROM settings",
};

impl Directory {
    fn new(pool: Pool, settings: &DatabaseSettings, clock: SharedClock) -> Self {
        Self {
            inner: Arc::new(Inner {
                pool,
                timeout: settings.timeout,
                max_stale: settings.max_stale,
                ids: Ids::new(Arc::clone(&clock)),
                confirmed: AtomicI64::new(clock.now().as_millis()),
                clock,
                subscribers: Subscribers::default(),
            }),
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it does not within `DATABASE_TIMEOUT`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.fetch_optional::<(i64,)>(Query::of(&PING))
            .await
            .map(drop)
    }

    /// Closes all connections. Later calls fail with [`StoreError::Unavailable`].
    pub async fn close(&self) {
        self.inner.pool.close().await;
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
        // In a box: every extractor's future would grow by what talks to the databases.
        let read = Box::pin(self.inner.pool.read(self.inner.timeout, run));
        match tokio::time::timeout(self.inner.timeout, read).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(StoreError::too_slow()),
        }
    }
}
