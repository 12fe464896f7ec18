//! One account's file, opened: a connection with the means to see and stop what it does.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

use super::{SessionError, contents};
use crate::{
    clock::Timestamp,
    store::{Connection, KeptMigration, Query, StoreError, sqlite},
};

/// One wait inside SQLite for another process's lock. Short, because it cannot be broken off:
/// the patience lies in asking again.
const BUSY: Duration = Duration::from_millis(50);
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// How many steps of SQLite's machine pass between two looks at the brake.
const STEPS_PER_LOOK: i32 = 2_000;

/// A connection to one account's file.
#[derive(Debug)]
pub(super) struct SpaceFile {
    connection: SqliteConnection,
    brake: Arc<Brake>,
    #[cfg(test)]
    mark: Option<super::tests::Mark>,
}

/// Shared with the connection's thread.
#[derive(Debug, Default)]
struct Brake {
    /// Interrupts the statement that runs, and every later one.
    stop: AtomicBool,
    /// The transaction was rolled back, by us or by SQLite itself (`INSERT OR ROLLBACK`, a full
    /// disk): what runs afterwards would be a transaction of its own, unnoticed.
    rolled_back: AtomicBool,
    /// A commit that was not asked for through [`SpaceFile::commit`] becomes a rollback.
    may_commit: AtomicBool,
}

impl SpaceFile {
    /// Opens the file of `account`; fails where it is missing or another's.
    pub(super) async fn open(
        file: &Path,
        account: Uuid,
        limit: Duration,
    ) -> Result<Self, SessionError> {
        if !file.exists() {
            return Err(SessionError::Refused(format!(
                "the file of account {account} is missing: restore it from a backup"
            )));
        }
        let mut connection = sqlite::connect(&sqlite::options(file, BUSY), limit).await?;
        let brake = Arc::new(Brake::default());
        {
            let mut handle = connection.lock_handle().await?;
            let seen = Arc::clone(&brake);
            handle.set_progress_handler(STEPS_PER_LOOK, move || !seen.stop.load(Ordering::Relaxed));
            let seen = Arc::clone(&brake);
            handle.set_rollback_hook(move || seen.rolled_back.store(true, Ordering::Release));
            let seen = Arc::clone(&brake);
            handle.set_commit_hook(move || seen.may_commit.load(Ordering::Acquire));
        }
        let mut opened = Self {
            connection,
            brake,
            #[cfg(test)]
            mark: None,
        };
        match opened.require_owner(account).await {
            Ok(()) => Ok(opened),
            Err(error) => {
                opened.close().await;
                Err(error)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn marked(mut self, mark: super::tests::Mark) -> Self {
        self.mark = Some(mark);
        self
    }

    /// The file's own word for whose it is. Its name could have been given to another's file.
    async fn require_owner(&mut self, account: Uuid) -> Result<(), SessionError> {
        let owner: Option<(Uuid, i64)> =
            Query::new("SELECT account_id, step FROM vestibule_account")
                .fetch_optional(self.connection())
                .await
                .map_err(|error| match SessionError::from(error) {
                    SessionError::Database(_) => not_of(account),
                    other => other,
                })?;
        match owner {
            Some((owner, _)) if owner != account => Err(not_of(account)),
            Some((_, step))
                if usize::try_from(step).unwrap_or(usize::MAX) > contents::STEPS.len() =>
            {
                Err(SessionError::Refused(format!(
                    "the file of account {account} was written by a newer version"
                )))
            }
            Some(_) => Ok(()),
            None => Err(not_of(account)),
        }
    }

    pub(super) fn connection(&mut self) -> Connection<'_> {
        Connection::Sqlite(&mut self.connection)
    }

    /// Begins the transaction, and waits as long as another process has the lock.
    pub(super) async fn begin(&mut self) -> Result<(), SessionError> {
        self.brake.may_commit.store(false, Ordering::Release);
        loop {
            // Immediate: a transaction that reads first and writes later would fail at once when
            // another one wrote in between, whatever the patience.
            let begun = sqlx::raw_sql("BEGIN IMMEDIATE")
                .execute(&mut self.connection)
                .await;
            match begun {
                Err(error) if sqlite::is_busy(&error) => tokio::time::sleep(ASK_AGAIN).await,
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        self.brake.rolled_back.store(false, Ordering::Release);
        Ok(())
    }

    /// Whether the transaction that was begun is still open.
    pub(super) fn in_transaction(&self) -> bool {
        !self.brake.rolled_back.load(Ordering::Acquire)
    }

    pub(super) async fn commit(&mut self) -> Result<(), SessionError> {
        if !self.in_transaction() {
            return Err(SessionError::Aborted);
        }
        self.brake.may_commit.store(true, Ordering::Release);
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.connection)
            .await?;
        self.brake.may_commit.store(false, Ordering::Release);
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<(), SessionError> {
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Interrupts what runs; for good.
    pub(super) fn stop(&self) {
        self.brake.stop.store(true, Ordering::Relaxed);
    }

    /// Closes the connection, which rolls back what is open, and waits until its thread is gone.
    pub(super) async fn close(self) {
        self.stop();
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "a connection was gone before it was closed");
        }
        #[cfg(test)]
        drop(self.mark);
    }
}

fn not_of(account: Uuid) -> SessionError {
    SessionError::Refused(format!(
        "the file of account {account} is not that account's: restore it from a backup"
    ))
}

/// Makes the file of a new account with our tables and all migrations, or nothing.
pub(super) async fn create(
    file: &Path,
    account: Uuid,
    migrations: &[KeptMigration],
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlite::create_private(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            StoreError::Refused(format!("{} exists already", file.display()))
        }
        _ => error.into(),
    })?;
    let filled = fill(file, account, migrations, now).await;
    if filled.is_err() {
        // Ours, made above.
        remove(file)?;
    }
    filled
}

/// Removes the file with all that SQLite put beside it.
pub(super) fn remove(file: &Path) -> Result<(), StoreError> {
    for file in sqlite::with_companions(file) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

async fn fill(
    file: &Path,
    account: Uuid,
    migrations: &[KeptMigration],
    now: Timestamp,
) -> Result<(), StoreError> {
    let limit = Duration::from_secs(5);
    let mut connection = sqlite::connect(&sqlite::options(file, BUSY), limit).await?;
    sqlite::use_wal(&mut connection, limit).await?;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut connection)
        .await?;
    contents::fill(
        Connection::Sqlite(&mut connection),
        account,
        migrations,
        now,
    )
    .await?;
    sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
    connection.close().await?;
    if let Some(dir) = file.parent() {
        sqlite::sync_dir(dir)?;
    }
    Ok(())
}
