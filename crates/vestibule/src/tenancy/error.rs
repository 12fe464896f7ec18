//! What can go wrong with a session, by who must act.

use sqlx::postgres::PgDatabaseError;

use crate::store::{StoreError, Trouble, trouble};

/// Why a session could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The request is over, or the session was committed or rolled back.
    #[error("the session is closed")]
    SessionClosed,
    /// The session is its request's: the status of the answer decides how it ends.
    #[error("the session belongs to its request, which ends it")]
    NotOwned,
    /// The transaction is gone: a statement of it was dropped before its end, or made the
    /// database roll back. Nothing of it stays.
    #[error("the transaction was broken off")]
    Aborted,
    /// No connection, or no answer within `DATABASE_TIMEOUT`, or no space: try again.
    #[error("the account's data cannot be reached: {0}")]
    Unavailable(String),
    /// The row that was asked for is not there.
    #[error("there is no such row")]
    NotFound,
    /// A cursor that no page gave.
    #[error("the cursor is not one that a page gave")]
    BadCursor,
    /// The session does not do this; the text says what and why.
    #[error("{0}")]
    Refused(String),
    /// The database refused the statement, or the commit.
    #[error("a statement failed: {0}")]
    Database(#[source] sqlx::Error),
}

impl SessionError {
    /// A unique or primary key has this value already.
    pub fn is_unique_violation(&self) -> bool {
        self.database_error()
            .is_some_and(|error| error.is_unique_violation())
    }

    /// The row that a foreign key names is not there, or is still named.
    pub fn is_foreign_key_violation(&self) -> bool {
        self.database_error()
            .is_some_and(|error| error.is_foreign_key_violation())
    }

    /// A value breaks a `CHECK` or `NOT NULL` rule.
    pub fn is_check_violation(&self) -> bool {
        self.database_error().is_some_and(|error| {
            matches!(
                error.kind(),
                sqlx::error::ErrorKind::CheckViolation | sqlx::error::ErrorKind::NotNullViolation
            )
        })
    }

    /// The statement was prepared before a migration changed what it gives. The text of the error
    /// is in the server's language, the name of what raises it is not.
    pub(super) fn is_outdated_plan(&self) -> bool {
        self.database_error()
            .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
            .is_some_and(|error| {
                error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
            })
    }

    fn database_error(&self) -> Option<&dyn sqlx::error::DatabaseError> {
        match self {
            Self::Database(error) => error.as_database_error(),
            _ => None,
        }
    }

    pub(super) fn too_slow() -> Self {
        Self::Unavailable("no answer within DATABASE_TIMEOUT".to_owned())
    }
}

impl From<sqlx::Error> for SessionError {
    fn from(error: sqlx::Error) -> Self {
        match trouble(&error) {
            Trouble::Passing => Self::Unavailable(error.to_string()),
            Trouble::NotADatabase => Self::Refused(format!(
                "the account's file is damaged ({error}): restore it from a backup"
            )),
            Trouble::Statement => Self::Database(error),
        }
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => Self::Unavailable(text),
            StoreError::BadCursor => Self::BadCursor,
            StoreError::Database(error) => Self::Database(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<SessionError> for StoreError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Unavailable(text) => Self::Unavailable(text),
            SessionError::BadCursor => Self::BadCursor,
            SessionError::Database(error) => Self::Database(error),
            SessionError::Refused(text) => Self::Refused(text),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
