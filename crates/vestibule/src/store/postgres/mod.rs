//! What is special about PostgreSQL: how it is reached, what its errors mean, and how a transaction
//! proves whose it is.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `mod.rs` | how a connection is opened, and whether a pooler stands in between |
//! | `signature.rs` | bindings and proofs, which only a server with the key can make |
//! | `functions.rs` | the functions through which the application's login reaches the directory |
//! | `install.rs` | what `migrate` makes of an empty database |
//! | `audit.rs` | what makes an installation less safe than it should be |

pub(crate) mod audit;
mod functions;
mod install;
mod signature;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sqlx::{ConnectOptions, FromRow as _, PgConnection, postgres::PgConnectOptions};

pub(crate) use self::functions::call;
pub(crate) use self::install::{
    FENCE, Installation, behind, install, prepare_binding, require_current,
};
pub(crate) use self::signature::Signer;
use super::{Connection, PostgresConnection, trouble::Trouble};
use crate::settings::{BindingKey, PostgresUrl};

/// The schema of the directory and of all that binds a transaction to its account.
pub(crate) const SCHEMA: &str = "vestibule";

/// The SQLSTATE of our functions where an account is being moved, or has moved.
pub(crate) const FENCED: &str = "VB001";
/// The SQLSTATE of our functions where a proof is missing, wrong or too old.
pub(crate) const NO_PROOF: &str = "VB003";

/// One database on a server, with a login: all that is needed to open connections and to bind
/// transactions on them.
#[derive(Debug)]
pub(crate) struct Server {
    url: PostgresUrl,
    /// Nothing stands between us and the server: statements may be prepared once and kept.
    direct: bool,
    signer: Signer,
    /// `track_activity_query_size`: so much of a statement's text other sessions can see.
    visible: AtomicUsize,
}

impl Server {
    /// Connects once and learns what the server is like.
    pub(crate) async fn meet(
        url: &PostgresUrl,
        keys: &[BindingKey],
        limit: Duration,
    ) -> Result<Self, sqlx::Error> {
        let meeting = async {
            let (mut connection, direct) = first_connection(url).await?;
            let server = Self {
                url: url.clone(),
                direct,
                signer: Signer::new(keys),
                visible: AtomicUsize::new(0),
            };
            server.look(&mut connection).await?;
            close(connection).await;
            Ok(server)
        };
        tokio::time::timeout(limit, meeting)
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// How much of a statement's text the server shows to other sessions of the same login.
    pub(crate) fn visible_text(&self) -> usize {
        self.visible.load(Ordering::Relaxed)
    }

    /// Options for every connection to it.
    pub(crate) fn options(&self) -> PgConnectOptions {
        options(&self.url, self.direct)
    }

    /// The same for another database of the same server.
    pub(crate) fn options_of(&self, database: &str) -> PgConnectOptions {
        self.options().database(database)
    }

    /// A connection of the application's login, which reaches the directory through functions.
    pub(crate) fn calling<'c>(&'c self, connection: &'c mut PgConnection) -> Connection<'c> {
        Connection::Postgres(PostgresConnection::calling(
            connection,
            self.direct,
            &self.signer,
        ))
    }

    /// A connection for statements as they are written.
    pub(crate) fn plain<'c>(&self, connection: &'c mut PgConnection) -> Connection<'c> {
        Connection::Postgres(PostgresConnection::plain(connection, self.direct))
    }

    /// Learns the server's clock and how much it shows. Repeated now and then: it may have been
    /// started anew with other settings.
    pub(crate) async fn look(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let visible = look(&self.signer, connection).await?;
        self.visible.store(visible, Ordering::Relaxed);
        Ok(())
    }
}

/// Sets the signer's clock; how much of a statement's text the server shows to others.
async fn look(signer: &Signer, connection: &mut PgConnection) -> Result<usize, sqlx::Error> {
    let asked = std::time::Instant::now();
    // In one message: behind a pooler, what is prepared on one server connection may be run on
    // another, where it is somebody else's statement.
    let row = sqlx::raw_sql(
        "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
                pg_size_bytes(current_setting('track_activity_query_size'))",
    )
    .fetch_one(connection)
    .await?;
    let (now, visible) = <(i64, i64)>::from_row(&row)?;
    signer.clock().set(now, asked);
    Ok(usize::try_from(visible).unwrap_or(0))
}

/// A pooler refuses start-up parameters that it does not know, or drops them. So whoever finds
/// his own parameter on the other side speaks with the server itself.
async fn first_connection(url: &PostgresUrl) -> Result<(PgConnection, bool), sqlx::Error> {
    const MARK: (&str, &str) = ("vestibule.direct", "yes");
    let marked = options(url, true).options([MARK]).connect().await;
    if let Ok(mut connection) = marked {
        let row = sqlx::raw_sql("SELECT current_setting('vestibule.direct', true)")
            .fetch_one(&mut connection)
            .await?;
        let (seen,) = <(Option<String>,)>::from_row(&row)?;
        if seen.as_deref() == Some(MARK.1) {
            return Ok((connection, true));
        }
        close(connection).await;
    }
    Ok((options(url, false).connect().await?, false))
}

fn options(url: &PostgresUrl, direct: bool) -> PgConnectOptions {
    let options = url
        .options()
        .clone()
        .application_name("vestibule")
        // A stock PgBouncer refuses it.
        .extra_float_digits(None)
        .disable_statement_logging();
    if direct {
        options
    } else {
        // A statement that is prepared on one server connection is looked for on another.
        options.statement_cache_capacity(0)
    }
}

/// One connection, of which nothing is kept on the server: a pooler may stand in between.
pub(crate) async fn connect(
    url: &PostgresUrl,
    limit: Duration,
) -> Result<PgConnection, sqlx::Error> {
    tokio::time::timeout(limit, options(url, false).connect())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Says goodbye to the server. An error means that it was gone already.
pub(crate) async fn close(connection: PgConnection) {
    let goodbye = sqlx::Connection::close(connection);
    match tokio::time::timeout(GOODBYE, goodbye).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection was gone before it was closed"),
        Err(_) => tracing::debug!("a connection did not take the goodbye"),
    }
}

/// Whoever waits for the connection's place waits no longer than this; then the socket is closed
/// without a word.
const GOODBYE: Duration = Duration::from_secs(1);

/// What an SQLSTATE means.
pub(super) fn trouble_of(code: &str) -> Trouble {
    match code {
        // Cancelled (by `statement_timeout`, say), a lock that was not to be had, a deadlock, a
        // serialization failure, a standby that takes no writes yet.
        "57014" | "55P03" | "40P01" | "40001" | "25006" | FENCED => Trouble::Passing,
        // Connections, resources, the operator's hand, the system.
        _ if ["08", "53", "57P", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Trouble::Passing
        }
        _ => Trouble::Statement,
    }
}

/// Whether the connection itself is lost, so that nothing of the statement can have been done on a
/// connection that had no transaction open.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            // `57P01`: the server was told to stop while the connection lay idle.
            code.starts_with("57P") || code.starts_with("08")
        }
        _ => false,
    }
}

/// `"name"`, for names that are put into a statement's text.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`, for texts that are put into a statement's text.
pub(crate) fn literal(text: &str) -> String {
    // A backslash means nothing where `standard_conforming_strings` is on, which `E''` makes sure.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_break_out() {
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("it's \\"), "E'it''s \\\\'");
    }

    #[test]
    fn codes() {
        for code in [
            "08006", "53300", "57P01", "57014", "40001", "58030", "VB001",
        ] {
            assert_eq!(trouble_of(code), Trouble::Passing, "{code}");
        }
        for code in ["23505", "42501", "22P02", "VB003", ""] {
            assert_eq!(trouble_of(code), Trouble::Statement, "{code}");
        }
    }
}
