//! Where accounts' data lie, and what a connection there can be used for.

use std::{path::PathBuf, sync::Arc};

use uuid::Uuid;

use super::{
    SessionError,
    postgres::{Cluster, Clusters},
    space::Space,
    space_file::SpaceFile,
};
use crate::settings::Tenancy;

/// Where all accounts' data lie.
#[derive(Debug)]
pub(super) enum Place {
    /// One file per account in this directory.
    Files(PathBuf),
    /// Clusters of PostgreSQL.
    Postgres(Box<Clusters>),
}

/// Where one account's data lie.
#[derive(Clone, Debug)]
pub(super) enum Seat {
    File(Uuid),
    /// A connection to the cluster may serve any account there, or one account where each has a
    /// database of its own.
    Cluster(Arc<Cluster>, Option<Uuid>),
}

impl PartialEq for Seat {
    /// Whether a connection to the one serves the other.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Cluster(one, account), Self::Cluster(other, other_account)) => {
                Arc::ptr_eq(one, other) && account == other_account
            }
            _ => false,
        }
    }
}

impl Seat {
    /// Whether the account has connections of its own here.
    pub(super) fn is_only_of(&self, account: Uuid) -> bool {
        matches!(self, Self::File(owner) | Self::Cluster(_, Some(owner)) if *owner == account)
    }

    /// Whether the sessions of one account follow each other: SQLite has one writer per file.
    pub(super) const fn takes_turns(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

impl Place {
    pub(super) async fn seat_of(
        &self,
        directory: &crate::store::Directory,
        account: Uuid,
    ) -> Result<Seat, SessionError> {
        match self {
            Self::Files(_) => Ok(Seat::File(account)),
            Self::Postgres(clusters) => {
                let cluster = clusters.cluster_of(directory, account).await?;
                let own = (clusters.tenancy == Tenancy::Database).then_some(account);
                Ok(Seat::Cluster(cluster, own))
            }
        }
    }

    /// Opens a connection there for `account`.
    pub(super) async fn open(
        &self,
        seat: &Seat,
        account: Uuid,
        limit: std::time::Duration,
    ) -> Result<Space, SessionError> {
        match (self, seat) {
            (Self::Files(_), Seat::File(_)) => {
                let file = SpaceFile::open(&self.file_of(account), account, limit).await?;
                Ok(Space::File(file))
            }
            (Self::Postgres(clusters), Seat::Cluster(cluster, _)) => {
                let space = clusters.open(cluster, account).await?;
                Ok(Space::Postgres(Box::new(space)))
            }
            // A seat is only ever one of its own place.
            _ => Err(SessionError::Aborted),
        }
    }

    /// The file of an account on SQLite.
    pub(super) fn file_of(&self, account: Uuid) -> PathBuf {
        let name = format!("{}.db", account.hyphenated());
        match self {
            Self::Files(dir) => dir.join(name),
            Self::Postgres(_) => PathBuf::from(name),
        }
    }

    /// The database system, by OpenTelemetry's name.
    pub(super) const fn system(&self) -> &'static str {
        match self {
            Self::Files(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    pub(super) fn postgres(&self) -> Option<&Clusters> {
        match self {
            Self::Files(_) => None,
            Self::Postgres(clusters) => Some(clusters),
        }
    }
}
