//! Connections to the directory's database.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection as _, PgPool, Postgres, Sqlite, SqlitePool, Transaction,
    pool::PoolConnection,
};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use crate::store::{
    Connection,
    postgres::{SCHEMA, Server},
};

/// Connections that served nobody for this long are closed.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Connections to one of the databases.
#[derive(Debug)]
pub(super) enum Pool {
    Sqlite(SqliteDirectory),
    Postgres(PostgresDirectory),
}

#[derive(Debug)]
pub(super) struct SqliteDirectory {
    pub(super) pool: SqlitePool,
    pub(super) file: PathBuf,
    /// Writers of this process queue here, in order, and not in SQLite, which lets them poll.
    pub(super) writers: AsyncMutex<()>,
}

#[derive(Debug)]
pub(super) struct PostgresDirectory {
    pub(super) pool: PgPool,
    pub(super) server: Arc<Server>,
    pub(super) login: Login,
}

/// As whom the directory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Through functions only.
    Application,
    /// As the owner of the tables.
    Owner,
    /// As the owner who reaches operations through functions, so that one suite can try these
    /// too.
    #[cfg(test)]
    OwnerThroughFunctions,
}

/// A transaction that writes. Dropping it keeps nothing.
pub(super) enum OpenTransaction {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(PostgresTransaction),
}

/// A transaction on a connection that goes back to the pool only after a clean end: what sqlx
/// itself hands back after a cancelled `BEGIN` still holds the transaction.
pub(super) struct PostgresTransaction {
    connection: Option<PoolConnection<Postgres>>,
    server: Arc<Server>,
    login: Login,
}

impl Pool {
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(directory) => directory.pool.close().await,
            Self::Postgres(directory) => directory.pool.close().await,
        }
    }

    /// Runs one statement that reads. `limit` is the longest that the database may work on it.
    pub(super) async fn read<T>(
        &self,
        limit: Duration,
        run: impl AsyncFnOnce(Connection<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(directory) => {
                let mut connection = directory.pool.acquire().await?;
                run(Connection::Sqlite(&mut connection)).await
            }
            // Behind a pooler a statement takes two turns, one to be prepared and one to be run:
            // only a transaction makes sure that both are on the same server connection, and that
            // it is not somebody else's statement that runs.
            Self::Postgres(directory)
                if directory.login == Login::Application && directory.server.is_direct() =>
            {
                let mut connection = directory.pool.acquire().await?;
                run(directory.server.calling(&mut connection)).await
            }
            Self::Postgres(directory) => {
                let mut transaction = directory.begin(limit).await?;
                let outcome = run(transaction.connection()?).await;
                transaction.rollback().await;
                outcome
            }
        }
    }

    /// Waits for the turn to write, where writers take turns.
    pub(super) async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self {
            Self::Sqlite(directory) => Some(directory.writers.lock().await),
            Self::Postgres(_) => None,
        }
    }

    pub(super) async fn begin(&self, limit: Duration) -> Result<OpenTransaction, sqlx::Error> {
        Ok(match self {
            // A deferred BEGIN that reads first and then writes fails at once when another
            // process wrote in between.
            Self::Sqlite(directory) => {
                OpenTransaction::Sqlite(directory.pool.begin_with("BEGIN IMMEDIATE").await?)
            }
            Self::Postgres(directory) => OpenTransaction::Postgres(directory.begin(limit).await?),
        })
    }
}

impl PostgresDirectory {
    async fn begin(&self, limit: Duration) -> Result<PostgresTransaction, sqlx::Error> {
        let transaction = PostgresTransaction {
            connection: Some(self.pool.acquire().await?),
            server: Arc::clone(&self.server),
            login: self.login,
        };
        transaction.begun(limit).await
    }
}

impl PostgresTransaction {
    async fn begun(mut self, limit: Duration) -> Result<Self, sqlx::Error> {
        let mut begin = format!(
            "BEGIN; SET LOCAL statement_timeout = {}",
            limit.as_millis().max(1)
        );
        if self.login != Login::Application {
            // Names without a schema are the directory's.
            begin.push_str("; SET LOCAL search_path TO ");
            begin.push_str(SCHEMA);
            begin.push_str(", pg_temp");
        }
        sqlx::raw_sql(AssertSqlSafe(begin))
            .execute(self.inner()?)
            .await?;
        Ok(self)
    }

    fn inner(&mut self) -> Result<&mut sqlx::PgConnection, sqlx::Error> {
        self.connection
            .as_deref_mut()
            .ok_or(sqlx::Error::PoolClosed)
    }

    fn connection(&mut self) -> Result<Connection<'_>, sqlx::Error> {
        let connection = self.connection.as_deref_mut();
        let connection = connection.ok_or(sqlx::Error::PoolClosed)?;
        Ok(match self.login {
            Login::Owner => self.server.plain(connection),
            _ => self.server.calling(connection),
        })
    }

    async fn end(mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(self.inner()?).await?;
        // Clean: it may serve the next one.
        self.connection = None;
        Ok(())
    }

    async fn rollback(self) {
        if let Err(error) = self.end("ROLLBACK").await {
            tracing::debug!(%error, "a connection was lost before its transaction ended");
        }
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl OpenTransaction {
    pub(super) fn connection(&mut self) -> Result<Connection<'_>, sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => Ok(Connection::Sqlite(transaction)),
            Self::Postgres(transaction) => transaction.connection(),
        }
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.end("COMMIT").await,
        }
    }

    pub(super) async fn rollback(self) {
        match self {
            Self::Sqlite(transaction) => drop(transaction.rollback().await),
            Self::Postgres(transaction) => transaction.rollback().await,
        }
    }
}

/// Before a connection is handed out: one that lay idle may have been lost meanwhile, which one
/// question tells; one that was in use just now is not asked.
pub(super) async fn is_alive(
    connection: &mut sqlx::PgConnection,
    idle: Duration,
) -> Result<bool, sqlx::Error> {
    const SHORT: Duration = Duration::from_secs(1);
    Ok(idle < SHORT || connection.ping().await.is_ok())
}
