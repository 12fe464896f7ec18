//! Who can do something about a database's error.

use sqlx::postgres::PgDatabaseError;

use super::{postgres, sqlite};

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It passes, or the operator makes it pass: busy, full, unreadable, stopped.
    Passing,
    /// The file is not what it should be.
    NotADatabase,
    /// The statement is wrong, or breaks a rule of the schema.
    Statement,
}

pub(crate) fn trouble(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Trouble::Passing,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            if error.try_downcast_ref::<PgDatabaseError>().is_some() {
                postgres::trouble_of(&code)
            } else {
                sqlite::trouble_of(&code)
            }
        }
        _ => Trouble::Statement,
    }
}
