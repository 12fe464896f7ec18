//! An account's data space, wherever it lies.
//!
//! Another database is one more variant of [`Place`] and of [`Space`]: sessions, turns, the budget
//! and the connections that are kept open do not know which one it is.

use std::time::Duration;

use uuid::Uuid;

use super::{
    SessionError,
    space_file::{Files, SpaceFile},
};
use crate::store::Connection;

/// Where the accounts' data lies.
#[derive(Debug)]
pub(super) enum Place {
    /// One SQLite file per account.
    Files(Files),
}

/// Which sessions a connection can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// Those of this account: the connection reaches no other's data.
    Account(Uuid),
}

impl Place {
    /// The kind of connection that serves the account's sessions.
    pub(super) fn seat_of(&self, account: Uuid) -> Seat {
        match self {
            Self::Files(_) => Seat::Account(account),
        }
    }

    /// Whether the sessions of one account follow each other.
    pub(super) fn takes_turns(&self) -> bool {
        match self {
            // One writer per file. Who waits for its lock inside SQLite waits in no order, and
            // holds a connection meanwhile.
            Self::Files(_) => true,
        }
    }

    /// A new connection of the account's seat: whoever has the same seat may use it next.
    pub(super) async fn open(&self, account: Uuid, limit: Duration) -> Result<Space, SessionError> {
        match self {
            Self::Files(files) => files.open(account, limit).await.map(Space::File),
        }
    }
}

/// A connection to data spaces, with at most one transaction, which is one account's.
#[derive(Debug)]
pub(super) enum Space {
    /// An account's file, opened.
    File(SpaceFile),
}

impl Space {
    pub(super) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::File(file) => file.connection(),
        }
    }

    /// Begins a transaction that sees the data of `account` and of nobody else.
    ///
    /// Where this fails or is broken off, nobody knows what the connection holds: it is closed.
    pub(super) async fn begin(&mut self, account: Uuid) -> Result<(), SessionError> {
        match self {
            Self::File(file) => file.begin(account).await,
        }
    }

    /// Whether the transaction that was begun is still open.
    pub(super) fn in_transaction(&self) -> bool {
        match self {
            Self::File(file) => file.in_transaction(),
        }
    }

    /// Keeps what was written. The connection is clean afterwards, or this is an error.
    pub(super) async fn commit(&mut self) -> Result<(), SessionError> {
        match self {
            Self::File(file) => file.commit().await,
        }
    }

    /// Keeps nothing. The connection is clean afterwards, or this is an error.
    pub(super) async fn rollback(&mut self) -> Result<(), SessionError> {
        match self {
            Self::File(file) => file.rollback().await,
        }
    }

    /// Interrupts what runs; for good. Does not wait.
    pub(super) fn stop(&self) {
        match self {
            Self::File(file) => file.stop(),
        }
    }

    /// Closes the connection, which rolls back what is open, and waits until it is gone.
    pub(super) async fn close(self) {
        match self {
            Self::File(file) => file.close().await,
        }
    }
}
