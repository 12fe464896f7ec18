//! The end of an account that was moved, or whose move was broken off.

use std::sync::Arc;

use uuid::Uuid;

use super::super::{Cluster, Clusters, making::lift_fence};
use crate::{
    settings::Tenancy,
    store::{Directory, StoreError, postgres::close},
};

impl Clusters {
    /// Removes what a move that was broken off has left on the cluster on which the account does
    /// not lie.
    pub(in crate::tenancy) async fn remove_elsewhere(
        &self,
        directory: &Directory,
        account: Uuid,
        lies: &Arc<Cluster>,
    ) -> Result<(), StoreError> {
        let Some(kept) = directory.move_of(account).await? else {
            return Ok(());
        };
        for name in [&kept.source, &kept.target] {
            let cluster = self.called(name)?;
            if Arc::ptr_eq(cluster, lies) || self.is_one_place(account, cluster, lies).await? {
                continue;
            }
            self.remove_apart(cluster, account).await?;
        }
        Ok(())
    }

    /// Takes down what keeps servers away from where the account once was. What is left of a
    /// cluster that does not answer is the account's id.
    pub(in crate::tenancy) async fn lift_fences_elsewhere(
        &self,
        account: Uuid,
        lay: &Arc<Cluster>,
    ) {
        if self.tenancy == Tenancy::Database {
            // It went with the database.
            return;
        }
        for cluster in self.all().filter(|cluster| !Arc::ptr_eq(cluster, lay)) {
            let lifted = async {
                let mut on = self.owner_connection(cluster, None).await?;
                lift_fence(&mut on, account).await?;
                close(on).await;
                Ok::<_, StoreError>(())
            };
            if let Err(error) = lifted.await {
                tracing::warn!(
                    cluster = cluster.shown(),
                    %error,
                    "the fence of an account that was deleted may be left"
                );
            }
        }
    }
}
