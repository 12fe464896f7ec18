//! The directory's own tables, and the steps that led to them.
//!
//! On SQLite every process applies the missing steps when it opens the directory, in one
//! transaction that holds the write lock from its beginning: the second process finds the work
//! done. On PostgreSQL only `migrate` does (`postgres/install.rs`).

use sqlx::SqliteConnection;

use super::{
    StoreError,
    query::{Connection, Query, run_script},
};
use crate::clock::Timestamp;

/// The steps in their order. A step that was released is never changed.
const STEPS: &[&[&str]] = &[
    &[
        include_str!("schema/0001_directory.sql"),
        include_str!("schema/0001_sqlite.sql"),
    ],
    &[include_str!("schema/0003_cut_offs.sql")],
    &[include_str!("schema/0004_endings.sql")],
    &[include_str!("schema/0005_rounds.sql")],
];

/// The same steps on PostgreSQL, where changes are numbered and announced in another way.
pub(super) const POSTGRES_STEPS: &[&[&str]] = &[
    &[
        include_str!("schema/0001_directory.sql"),
        include_str!("schema/0001_postgres.sql"),
    ],
    &[include_str!("schema/0002_moves.sql")],
    &[include_str!("schema/0003_cut_offs.sql")],
    &[include_str!("schema/0004_endings.sql")],
    &[include_str!("schema/0005_rounds.sql")],
];

/// What marks a file as a directory of ours.
const MARK: &str = "CREATE TABLE IF NOT EXISTS vestibule_directory (
    step INTEGER PRIMARY KEY NOT NULL,
    applied_at BIGINT NOT NULL
)";

/// Applies the missing steps to the file behind `connection`.
pub(super) async fn bring_up_to_date(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut *connection)
        .await?;
    match apply(connection, now).await {
        Ok(()) => {
            sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
            Ok(())
        }
        // The connection is closed by the caller, which rolls back.
        Err(error) => Err(error),
    }
}

/// Refuses a file that holds something else: before anything in it is changed, its journal mode
/// included.
pub(super) async fn require_ours(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let (marked, tables): (i64, i64) = Query::new(
        "SELECT COALESCE(SUM(name = 'vestibule_directory'), 0), COUNT(*)
         FROM sqlite_master WHERE type = 'table'",
    )
    .fetch_optional(Connection::Sqlite(&mut *connection))
    .await?
    .unwrap_or_default();
    if marked == 0 && tables > 0 {
        return Err(StoreError::Refused(
            "it is the database of something else, with tables but no directory: let DATABASE_URL \
             name another file"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn apply(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
    require_ours(&mut *connection).await?;
    run_script(Connection::Sqlite(&mut *connection), MARK).await?;
    let (done,): (i64,) = Query::new("SELECT COALESCE(MAX(step), 0) FROM vestibule_directory")
        .fetch_optional(Connection::Sqlite(&mut *connection))
        .await?
        .unwrap_or_default();
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    if done > STEPS.len() {
        return Err(StoreError::Refused(format!(
            "the database was written by a newer version (step {done}, this version knows {}): \
             use that version, or restore a backup",
            STEPS.len()
        )));
    }
    for (index, texts) in STEPS.iter().enumerate().skip(done) {
        for text in *texts {
            run_script(Connection::Sqlite(&mut *connection), text).await?;
        }
        Query::new("INSERT INTO vestibule_directory (step, applied_at) VALUES ($1, $2)")
            .bind(i64::try_from(index + 1).unwrap_or(i64::MAX))
            .bind(now)
            .execute(Connection::Sqlite(&mut *connection))
            .await?;
    }
    Ok(())
}
