//! Where accounts' data lie: on PostgreSQL, which may have further clusters.

use uuid::Uuid;

use super::{Directory, Kind, Operation, Writing};
use crate::store::{Change, StoreError, query::Query};

pub(super) const OPERATIONS: &[&Operation] = &[&PLACEMENT];

static PLACEMENT: Operation = Operation {
    name: "placement",
    takes: &[Kind::Uuid],
    gives: &[("cluster", Kind::Text)],
    sql: "SELECT cluster FROM placements WHERE account_id = $1",
};

impl Directory {
    /// The cluster of the account; none: the main one.
    pub(crate) async fn placement(&self, account: Uuid) -> Result<Option<String>, StoreError> {
        let query = Query::of(&PLACEMENT).bind(account);
        let row: Option<(String,)> = self.fetch_optional(query).await?;
        Ok(row.map(|(cluster,)| cluster))
    }
}

impl Writing {
    /// From the commit on, the account lies on this cluster; none: the main one.
    pub(crate) async fn place(
        &mut self,
        account: Uuid,
        cluster: Option<&str>,
    ) -> Result<(), StoreError> {
        let query = Query::new("DELETE FROM placements WHERE account_id = $1").bind(account);
        self.execute(query).await?;
        if let Some(cluster) = cluster {
            let query = Query::new("INSERT INTO placements (account_id, cluster) VALUES ($1, $2)")
                .bind(account)
                .bind(cluster);
            self.execute(query).await?;
        }
        self.announce(Change::Account(account));
        Ok(())
    }
}
