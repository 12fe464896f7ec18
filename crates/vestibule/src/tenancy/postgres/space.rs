//! One connection to PostgreSQL that serves one account's transaction after the other.
//!
//! Beginning costs one round trip: what the last transaction may have left is cleared, and the
//! account is bound, in the same message. Ending clears too: nothing may stay behind on a server
//! connection that a pooler gives to somebody else, and what settings say of new transactions would
//! hold for the next one, which begins with the message that clears.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, FromRow as _, PgConnection, Row as _,
    postgres::PgConnectOptions,
};
use uuid::Uuid;

use super::super::{SessionError, space::Begun};
use crate::{
    settings::Tenancy,
    store::{
        Connection,
        postgres::{FENCED, Server, close, is_lost, literal},
    },
};

/// After this long the server is asked again for its clock and what it shows of statements.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What a transaction leaves on its connection when it is over, as far as SQL in a session can:
/// cursors, settings, locks. Temporary tables cannot be made (`TEMPORARY` is not granted).
const CLEAR: &str = "CLOSE ALL; RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all()";

/// The same before a transaction, whose first statement lets go of the locks: one statement less.
const CLEAR_FIRST: &str = "CLOSE ALL; RESET ALL";
const UNLOCK_FIRST: &str = "pg_catalog.pg_advisory_unlock_all(), ";

const BACKEND: &str = "pg_catalog.pg_backend_pid() AS backend";

/// A connection that was closed a moment ago is still one to the server, which may have no place
/// for another.
const FULL: &str = "53300";
const FULL_FOR: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// What the driver asks for when it connects. Clearing leaves it so on a connection of ours, but
/// resets a pooler's to what the server has instead, and texts in another encoding would be stored
/// as something else.
const AS_CONNECTED: &str = ", pg_catalog.set_config('client_encoding', 'UTF8', true), \
    pg_catalog.set_config('TimeZone', 'UTC', true), \
    pg_catalog.set_config('DateStyle', 'ISO, MDY', true)";

/// A connection that sees no account until a transaction is begun for one.
#[derive(Debug)]
pub(in crate::tenancy) struct PostgresSpace {
    connection: PgConnection,
    server: Arc<Server>,
    tenancy: Tenancy,
    /// The process on the server that has the transaction. A pooler may give every transaction
    /// another one.
    backend: Option<i32>,
}

impl PostgresSpace {
    /// Connects to `database`, or to the server's own where there is none. An account's own
    /// database must say that it is that account's.
    pub(in crate::tenancy) async fn open(
        server: &Arc<Server>,
        tenancy: Tenancy,
        own_database_of: Option<Uuid>,
    ) -> Result<Self, SessionError> {
        let options = match own_database_of {
            Some(account) => server.options_of(&database_of(account)),
            None => server.options(),
        };
        let connection = connected(&options).await.map_err(cannot_connect)?;
        let mut space = Self {
            connection,
            server: Arc::clone(server),
            tenancy,
            backend: None,
        };
        if let Some(account) = own_database_of {
            space.require_owner(account).await?;
        }
        Ok(space)
    }

    /// The database's own word for whose it is: its name could have been given to another's.
    async fn require_owner(&mut self, account: Uuid) -> Result<(), SessionError> {
        // In one message: see `look` of the server.
        let ask = format!(
            "SELECT {}; SELECT account_id FROM tenant.vestibule_account",
            ask_for_fence(account)
        );
        let asked = sqlx::raw_sql(AssertSqlSafe(ask));
        let rows = asked.fetch_all(&mut self.connection).await;
        // The fence's answer comes first.
        let row = rows.map(|rows| rows.into_iter().nth(1));
        let owner = row.and_then(|row| row.map(|row| <(Uuid,)>::from_row(&row)).transpose());
        match owner {
            Ok(Some((owner,))) if owner == account => Ok(()),
            Ok(_) => Err(SessionError::Refused(format!(
                "the database of account {account} is not that account's: restore it from a backup"
            ))),
            Err(error) if is_not_as_made(&error) => Err(SessionError::Unavailable(format!(
                "the database of account {account} is being made, or its data went elsewhere"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    pub(in crate::tenancy) fn shares_tables(&self) -> bool {
        self.tenancy == Tenancy::Row
    }

    pub(in crate::tenancy) fn connection(&mut self) -> Connection<'_> {
        self.server.plain(&mut self.connection)
    }

    pub(in crate::tenancy) fn calling(&mut self) -> Connection<'_> {
        self.server.calling(&mut self.connection)
    }

    /// Begins a transaction of `account`.
    pub(in crate::tenancy) async fn begin(
        &mut self,
        account: Uuid,
        limit: Duration,
    ) -> Result<Begun, SessionError> {
        if self.server.signer().clock().age() > LOOK_AGAIN
            && let Err(error) = self.server.look(&mut self.connection).await
        {
            return lost_or(error);
        }
        let batch = self.batch(account, limit);
        let rows = sqlx::raw_sql(AssertSqlSafe(batch)).fetch_all(&mut self.connection);
        match rows.await {
            Ok(rows) => {
                let backend = rows.last().map(|row| row.try_get("backend")).transpose()?;
                self.backend = backend;
                Ok(Begun::Yes)
            }
            Err(error) if is_code(&error, &[FENCED]) => {
                self.rollback().await?;
                Ok(Begun::Fenced)
            }
            Err(error) => lost_or(error),
        }
    }

    /// The process on the server that has the transaction. It is ours as long as the connection
    /// is open.
    pub(in crate::tenancy) fn backend(&self) -> Option<i32> {
        self.backend
    }

    fn batch(&self, account: Uuid, limit: Duration) -> String {
        let space = literal(&format!("{}, pg_temp", space_of(self.tenancy, account)));
        let limit = limit.as_millis().max(1);
        let own = "pg_catalog.set_config";
        let fence = ask_for_fence(account);
        // A connection of our own has let go of its locks, and is as we connected it.
        let (unlock, as_connected) = if self.server.is_direct() {
            ("", "")
        } else {
            (UNLOCK_FIRST, AS_CONNECTED)
        };
        if self.tenancy == Tenancy::Database {
            return format!(
                "{CLEAR_FIRST}; BEGIN; SELECT {unlock}{own}('search_path', {space}, true), \
                 {own}('statement_timeout', '{limit}', true){as_connected}, {fence}, {BACKEND}"
            );
        }
        // Other sessions of this login can read the beginning of a statement's text: the binding
        // stands behind what they can see.
        let curtain = "-".repeat(self.server.visible_text());
        let binding = self.server.signer().binding(account);
        format!(
            "/*{curtain}*/ {CLEAR_FIRST}; BEGIN; SELECT {unlock}\
             {own}('vestibule.binding', '{binding}', true), {own}('search_path', {space}, true), \
             {own}('statement_timeout', '{limit}', true){as_connected}, {fence}, {BACKEND}"
        )
    }

    pub(in crate::tenancy) async fn commit(&mut self) -> Result<(), SessionError> {
        self.end("COMMIT").await
    }

    pub(in crate::tenancy) async fn rollback(&mut self) -> Result<(), SessionError> {
        self.end("ROLLBACK").await
    }

    async fn end(&mut self, how: &str) -> Result<(), SessionError> {
        sqlx::raw_sql(AssertSqlSafe(format!("{how}; {CLEAR}")))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    pub(in crate::tenancy) async fn forget_statements(&mut self) -> Result<(), SessionError> {
        Ok(self.connection.clear_cached_statements().await?)
    }

    pub(in crate::tenancy) async fn close(self) {
        close(self.connection).await;
    }
}

async fn connected(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let begun = Instant::now();
    loop {
        match options.connect().await {
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(FULL) && begun.elapsed() < FULL_FOR =>
            {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            connected => return connected,
        }
    }
}

fn lost_or(error: sqlx::Error) -> Result<Begun, SessionError> {
    if is_lost(&error) {
        Ok(Begun::Lost)
    } else {
        Err(error.into())
    }
}

fn is_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| codes.contains(&code.as_ref()))
}

/// An account's own database that is not whole: schemas, tables, functions or rights are missing.
/// So it is for a moment when it is made, and where the account has left it.
fn is_not_as_made(error: &sqlx::Error) -> bool {
    is_code(error, &["3F000", "42P01", "42883", "42501"])
}

/// What every transaction of the account begins with: it fails where the account is fenced.
fn ask_for_fence(account: Uuid) -> String {
    format!("vestibule.require_unfenced('{account}') AS fence")
}

/// Whatever keeps us from connecting, it is not the caller's doing.
fn cannot_connect(error: sqlx::Error) -> SessionError {
    SessionError::Unavailable(error.to_string())
}

/// The schema that holds an account's tables.
pub(in crate::tenancy) fn space_of(tenancy: Tenancy, account: Uuid) -> String {
    match tenancy {
        Tenancy::Row => ROWS.to_owned(),
        Tenancy::Schema => format!("account_{}", account.simple()),
        Tenancy::Database => OWN.to_owned(),
    }
}

/// The schema of the tables that all accounts share.
pub(in crate::tenancy) const ROWS: &str = "vestibule_tenants";
/// The schema of the tables in an account's own database.
pub(in crate::tenancy) const OWN: &str = "tenant";

/// The name of an account's own database.
pub(in crate::tenancy) fn database_of(account: Uuid) -> String {
    format!("vestibule_{}", account.simple())
}
