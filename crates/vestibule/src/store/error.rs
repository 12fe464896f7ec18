//! What can go wrong with the database, by who must act.

use std::path::Path;

use super::trouble::{Trouble, trouble};

/// The directory could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached, is busy for too long, or its disk is full: try again.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// Somebody has it already; the text says what.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// The text says what is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// What was asked for has a form that it cannot have; the text says what to write.
    #[error("{0}")]
    Invalid(String),
    /// The cursor of a page is not one that a page before it gave.
    #[error("the cursor is not one that a page gave")]
    BadCursor,
    /// The database, or a file of it, is not what it should be; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// A statement failed: ours to mend.
    #[error("a statement failed: {0}")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// What a caller hears who waited longer than `DATABASE_TIMEOUT`.
    pub(crate) fn too_slow() -> Self {
        Self::Unavailable("no answer within DATABASE_TIMEOUT".to_owned())
    }

    /// The error for one of several who waited for the same: all of them hear that it failed, and
    /// whatever it was, it keeps them from what they wanted.
    pub(crate) fn shared(&self) -> Self {
        match self {
            Self::Unavailable(text) => Self::Unavailable(text.clone()),
            other => Self::Unavailable(other.to_string()),
        }
    }

    /// Names the file that it is about, so that its owner knows where to look.
    pub(crate) fn about(self, file: &Path) -> Self {
        let file = file.display();
        match self {
            Self::Unavailable(text) => Self::Unavailable(format!("{file}: {text}")),
            Self::Refused(text) => Self::Refused(format!("{file}: {text}")),
            other => other,
        }
    }

    /// Says what a state of PostgreSQL means; other errors stay as they are.
    pub(crate) fn or_refused(self, sqlstate: &str, what: impl FnOnce() -> String) -> Self {
        match self {
            Self::Database(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(sqlstate) =>
            {
                Self::Refused(what())
            }
            other => other,
        }
    }

    /// Whether a unique key was broken.
    pub(crate) fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }

    /// Names what a broken unique key means; other errors stay as they are.
    pub(crate) fn or_exists(self, what: impl FnOnce() -> String) -> Self {
        match self {
            Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Self::AlreadyExists(what())
            }
            other => other,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match trouble(&error) {
            Trouble::Passing => Self::Unavailable(error.to_string()),
            Trouble::NotADatabase => Self::Refused(format!(
                "not a SQLite database, or damaged ({error}): restore it from a backup"
            )),
            Trouble::Statement => Self::Database(error),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}
