//! Connections of the owner's login for a run over many spaces. What a server has learned of our
//! functions on one of them, it would have to learn anew on the next: that costs more than a
//! small space's migrations.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::PgConnection;

use super::{Cluster, Clusters, Unit, database_of, making::script};
use crate::{
    settings::Tenancy,
    store::{
        StoreError,
        postgres::{Signer, close},
    },
};

/// A server's process remembers every table that it has seen. After so many spaces it may forget.
const SPACES: usize = 1_000;

/// Connections that nobody works with: never more than were in use at the same time.
#[derive(Debug, Default)]
pub(in crate::tenancy) struct OwnerConnections(Mutex<Vec<OwnerConnection>>);

/// A connection without an open transaction. It may be used again only after a clean end; dropped,
/// it is closed.
#[derive(Debug)]
pub(super) struct OwnerConnection {
    cluster: Arc<Cluster>,
    pub(super) connection: PgConnection,
    pub(super) signer: Signer,
    spaces: usize,
    /// An account's own database is nobody else's.
    of_one: bool,
}

impl OwnerConnections {
    /// Commits what was done.
    pub(super) async fn commit(&self, mut used: OwnerConnection) -> Result<(), StoreError> {
        script(&mut used.connection, "COMMIT").await?;
        self.give_back(used).await;
        Ok(())
    }

    /// The connection is clean: it may serve another space.
    pub(super) async fn give_back(&self, mut used: OwnerConnection) {
        used.spaces += 1;
        if used.of_one || used.spaces >= SPACES {
            close(used.connection).await;
        } else {
            self.idle().push(used);
        }
    }

    pub(in crate::tenancy) async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            close(idle.connection).await;
        }
    }

    fn take(&self, cluster: &Arc<Cluster>) -> Option<OwnerConnection> {
        let mut idle = self.idle();
        let at = idle
            .iter()
            .position(|idle| Arc::ptr_eq(&idle.cluster, cluster))?;
        Some(idle.swap_remove(at))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<OwnerConnection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clusters {
    /// A connection to where the unit lies.
    pub(super) async fn owner_of(
        &self,
        cluster: &Arc<Cluster>,
        unit: Unit,
        among: &OwnerConnections,
    ) -> Result<OwnerConnection, StoreError> {
        let database = match (unit, self.tenancy) {
            (Unit::Account(account), Tenancy::Database) => Some(database_of(account)),
            _ => None,
        };
        if database.is_none()
            && let Some(idle) = among.take(cluster)
        {
            return Ok(idle);
        }
        let mut connection = self.owner_connection(cluster, database.as_deref()).await?;
        Ok(OwnerConnection {
            cluster: Arc::clone(cluster),
            signer: self.owner_signer(&mut connection).await?,
            connection,
            spaces: 0,
            of_one: database.is_some(),
        })
    }
}
