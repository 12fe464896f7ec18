//! What the build of SQLite must not be able to do.

use std::str::FromStr;

use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

/// Whether this build of SQLite cannot reach a second file: `ATTACH` and `VACUUM INTO` are both
/// refused (`SQLITE_MAX_ATTACHED=0`). With either, one account's SQL could read and write
/// another's file. For `doctor`.
pub async fn attach_is_impossible() -> bool {
    // `:memory:` so that nothing is written where the build can.
    refuses("ATTACH ':memory:' AS other").await && refuses("VACUUM INTO ':memory:'").await
}

async fn refuses(sql: &'static str) -> bool {
    let Ok(options) = SqliteConnectOptions::from_str("sqlite::memory:") else {
        return false;
    };
    let Ok(mut connection) = options.disable_statement_logging().connect().await else {
        return false;
    };
    match sqlx::raw_sql(sql).execute(&mut connection).await {
        Ok(_) => false,
        Err(error) => error.to_string().contains("too many attached databases"),
    }
}
