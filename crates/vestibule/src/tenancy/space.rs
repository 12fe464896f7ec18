//! One connection that serves an account's transactions, whatever the database.

use std::time::Duration;

use uuid::Uuid;

use super::{SessionError, conflict, postgres::PostgresSpace, space_file::SpaceFile};
use crate::store::{Connection, Query};

/// A connection on which a transaction of one account can be begun.
#[derive(Debug)]
pub(super) enum Space {
    File(SpaceFile),
    Postgres(Box<PostgresSpace>),
}

/// What came of beginning a transaction. Unless it was begun, nothing is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Yes,
    /// The connection turned out to be lost; another one may be tried.
    Lost,
    /// The account is being moved, or has moved; the connection can be used for others.
    Fenced,
}

impl Space {
    pub(super) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::File(file) => file.connection(),
            Self::Postgres(space) => space.connection(),
        }
    }

    /// The connection for calls of our functions.
    pub(super) fn calling(&mut self) -> Connection<'_> {
        match self {
            Self::File(file) => file.connection(),
            Self::Postgres(space) => space.calling(),
        }
    }

    /// Begins a transaction of `account`.
    pub(super) async fn begin(
        &mut self,
        account: Uuid,
        limit: Duration,
    ) -> Result<Begun, SessionError> {
        match self {
            Self::File(file) => file.begin().await.map(|()| Begun::Yes),
            Self::Postgres(space) => space.begin(account, limit).await,
        }
    }

    /// Whether the transaction that was begun is still open.
    pub(super) fn in_transaction(&self) -> bool {
        match self {
            Self::File(file) => file.in_transaction(),
            // No statement that a session runs ends it: see `statement.rs`.
            Self::Postgres(_) => true,
        }
    }

    /// Whether a transaction goes on after a statement of it failed.
    pub(super) fn survives_errors(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// The statement as it must be written here: where accounts share tables, every key begins
    /// with the account, which no application's text names.
    pub(super) fn rewritten(&self, query: Query) -> Query {
        match self {
            Self::Postgres(space) if space.shares_tables() => {
                match conflict::with_account(query.sql()) {
                    Some(sql) => query.with_sql(sql),
                    None => query,
                }
            }
            _ => query,
        }
    }

    pub(super) async fn commit(&mut self) -> Result<(), SessionError> {
        match self {
            Self::File(file) => file.commit().await,
            Self::Postgres(space) => space.commit().await,
        }
    }

    pub(super) async fn rollback(&mut self) -> Result<(), SessionError> {
        match self {
            Self::File(file) => file.rollback().await,
            Self::Postgres(space) => space.rollback().await,
        }
    }

    /// Forgets what was prepared on a connection to a server. No transaction is open.
    pub(super) async fn forget_statements(&mut self) -> Result<(), SessionError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Postgres(space) => space.forget_statements().await,
        }
    }

    /// The process of a server that works on the transaction. It goes on when the connection is
    /// closed: a server notices that nobody waits for an answer only when it has one, and until
    /// then the transaction holds its locks.
    pub(super) fn backend(&self) -> Option<i32> {
        match self {
            Self::File(_) => None,
            Self::Postgres(space) => space.backend(),
        }
    }

    /// Interrupts what runs, for good, where that can be done from here.
    pub(super) fn stop(&self) {
        if let Self::File(file) = self {
            file.stop();
        }
    }

    /// Closes the connection, which rolls back what is open.
    pub(super) async fn close(self) {
        match self {
            Self::File(file) => file.close().await,
            Self::Postgres(space) => space.close().await,
        }
    }
}

#[cfg(test)]
impl Space {
    pub(super) fn marked(self, mark: super::tests::Mark) -> Self {
        match self {
            Self::File(file) => Self::File(file.marked(mark)),
            Self::Postgres(space) => Self::Postgres(space),
        }
    }
}
