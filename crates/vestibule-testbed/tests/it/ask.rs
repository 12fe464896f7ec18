//! Connections, and whether they answer.

use std::{str::FromStr, time::Duration};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

/// Longer than any answer takes, shorter than a test's patience.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);

/// A connection without the start parameter that a stock PgBouncer refuses.
pub(crate) async fn connect(url: &str) -> sqlx::Result<PgConnection> {
    let options = PgConnectOptions::from_str(url)?.extra_float_digits(None);
    PgConnection::connect_with(&options).await
}

/// One round trip, with nothing prepared.
pub(crate) async fn ask(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("SELECT 1").execute(connection).await?;
    Ok(())
}

/// Nothing happens in [`SILENCE`]: no answer, and no error either.
pub(crate) async fn is_silent<T>(doing: impl Future<Output = T>) -> bool {
    tokio::time::timeout(SILENCE, doing).await.is_err()
}
