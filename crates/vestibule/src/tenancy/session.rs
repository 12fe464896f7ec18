//! The session that a handler gets: statements on the rows of exactly one account.

use std::{fmt, sync::Arc};

use sqlx::SqlSafeStr;
use uuid::Uuid;

use super::{
    SessionError, TenantSpaces,
    shared::{Outcome, SharedSession, Wanted},
    statement,
};
use crate::store::{FromDatabaseRow, Query, Rows, Value};

/// One transaction that can see exactly one account's data. Cheap to clone: all clones share the
/// transaction.
///
/// It takes no connection until its first statement. A request's session is committed when the
/// answer's status is below 400 and rolled back otherwise; a clone that is kept past the request
/// fails with [`SessionError::SessionClosed`]. On SQLite the sessions of one account follow each
/// other, so a second session for the same account within one request waits in vain for the
/// first.
///
/// # Example
/// ```
/// # use vestibule::tenancy::{SessionError, TenantSession};
/// # async fn add(session: &TenantSession) -> Result<(), SessionError> {
/// session
///     .query("INSERT INTO notes (text) VALUES ($1)")
///     .bind("Buy milk")
///     .execute()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TenantSession {
    shared: Arc<SharedSession>,
}

impl TenantSession {
    pub(super) fn new(shared: Arc<SharedSession>) -> Self {
        Self { shared }
    }

    /// The account whose data this session sees.
    pub fn account_id(&self) -> Uuid {
        self.shared.account()
    }

    /// A statement. Placeholders are `$1`, `$2`, …; one call runs one statement, which reads or
    /// writes rows.
    pub fn query(&self, sql: impl SqlSafeStr) -> SessionQuery {
        let query = Query::new(sql);
        let refused = statement::check(query.sql()).err();
        SessionQuery {
            shared: Arc::clone(&self.shared),
            query,
            refused,
        }
    }

    pub(super) fn spaces(&self) -> &TenantSpaces {
        self.shared.spaces()
    }

    /// A statement of ours, which may use our own tables.
    pub(super) fn own_query(&self, sql: &'static str) -> SessionQuery {
        SessionQuery {
            shared: Arc::clone(&self.shared),
            query: Query::new(sql),
            refused: None,
        }
    }

    /// Ends a session that belongs to no request and keeps what was written. All clones are
    /// closed.
    ///
    /// # Errors
    /// [`SessionError::NotOwned`] on a request's session; [`SessionError::Aborted`] where a
    /// statement was broken off, so that nothing is kept; others where the database fails.
    pub async fn commit(self) -> Result<(), SessionError> {
        self.require_owned()?;
        self.shared.commit().await
    }

    /// Ends a session that belongs to no request and keeps nothing, as dropping all of its clones
    /// does too.
    ///
    /// # Errors
    /// [`SessionError::NotOwned`] on a request's session; [`SessionError::SessionClosed`] where
    /// it has ended.
    pub async fn rollback(self) -> Result<(), SessionError> {
        self.require_owned()?;
        self.shared.rollback().await
    }

    fn require_owned(&self) -> Result<(), SessionError> {
        if self.shared.is_holders() {
            Ok(())
        } else {
            Err(SessionError::NotOwned)
        }
    }
}

impl TenantSpaces {
    /// A session outside of a request; its holder ends it.
    pub(crate) fn detached_session(&self, account: Uuid) -> Result<TenantSession, SessionError> {
        Ok(TenantSession::new(SharedSession::detached(self, account)))
    }
}

impl fmt::Debug for TenantSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantSession")
            .field("account", &self.account_id())
            .finish_non_exhaustive()
    }
}

/// One statement of a session, on its way.
///
/// Dropping the future of a statement that runs breaks the session off: a transaction of which
/// nobody knows what it holds is not committed.
#[must_use = "a statement runs only when it is executed or fetched"]
pub struct SessionQuery {
    shared: Arc<SharedSession>,
    query: Query,
    refused: Option<SessionError>,
}

impl SessionQuery {
    /// The value of the next placeholder.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// Runs the statement; how many rows it changed.
    ///
    /// # Errors
    /// [`SessionError`]: see its members.
    pub async fn execute(self) -> Result<u64, SessionError> {
        match self.run(Wanted::Count).await? {
            Outcome::Count(rows) => Ok(rows),
            Outcome::Rows(_) => Ok(0),
        }
    }

    /// Runs the statement; all of its rows.
    ///
    /// # Errors
    /// [`SessionError`]: see its members.
    pub async fn fetch_all<T: FromDatabaseRow>(self) -> Result<Vec<T>, SessionError> {
        match self.rows(Wanted::All).await? {
            Some(rows) => Ok(rows.into_all()?),
            None => Ok(Vec::new()),
        }
    }

    /// Runs the statement; its first row, if there is one.
    ///
    /// # Errors
    /// [`SessionError`]: see its members.
    pub async fn fetch_optional<T: FromDatabaseRow>(self) -> Result<Option<T>, SessionError> {
        match self.rows(Wanted::First).await? {
            Some(rows) => Ok(rows.into_first()?),
            None => Ok(None),
        }
    }

    /// Runs the statement; its first row.
    ///
    /// # Errors
    /// [`SessionError::NotFound`] where there is none; others: see [`SessionError`].
    pub async fn fetch_one<T: FromDatabaseRow>(self) -> Result<T, SessionError> {
        self.fetch_optional().await?.ok_or(SessionError::NotFound)
    }

    /// Runs the statement; the first column of its first row.
    ///
    /// # Errors
    /// [`SessionError::NotFound`] where there is no row; others: see [`SessionError`].
    pub async fn fetch_scalar<T>(self) -> Result<T, SessionError>
    where
        (T,): FromDatabaseRow,
    {
        self.fetch_one::<(T,)>().await.map(|(value,)| value)
    }

    async fn rows(self, wanted: Wanted) -> Result<Option<Rows>, SessionError> {
        match self.run(wanted).await? {
            Outcome::Rows(rows) => Ok(Some(rows)),
            Outcome::Count(_) => Ok(None),
        }
    }

    async fn run(self, wanted: Wanted) -> Result<Outcome, SessionError> {
        match self.refused {
            Some(refused) => Err(refused),
            None => self.shared.run(self.query, wanted).await,
        }
    }
}

impl fmt::Debug for SessionQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the values: they are the account's data.
        f.debug_struct("SessionQuery")
            .field("sql", &self.query.sql())
            .finish_non_exhaustive()
    }
}
