//! All rows of one account's space, of one moment.

use futures_util::TryStreamExt;
use serde_json::{Map, Value as Json};
use sqlx::{AssertSqlSafe, Executor as _};
use uuid::Uuid;

use super::{
    Cluster, Clusters, database_of,
    making::{bind, plain, script, use_space},
    space_of,
};
use crate::{
    settings::Tenancy,
    store::{
        Query, StoreError,
        postgres::{close, quoted},
    },
};

impl Clusters {
    /// Gives each row to `each`, with the name of its table.
    ///
    /// # Errors
    /// What `each` fails with; others where the database fails.
    pub(in crate::tenancy) async fn export(
        &self,
        cluster: &Cluster,
        account: Uuid,
        mut each: impl FnMut(&str, &Map<String, Json>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let database = (self.tenancy == Tenancy::Database).then(|| database_of(account));
        let mut connection = self.owner_connection(cluster, database.as_deref()).await?;
        script(
            &mut connection,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL TimeZone TO 'UTC'",
        )
        .await?;
        let space = space_of(self.tenancy, account);
        if self.tenancy == Tenancy::Database {
            use_space(&mut connection, &space).await?;
        } else {
            let signer = self.owner_signer(&mut connection).await?;
            bind(&mut connection, &signer, account, &space).await?;
        }
        let tables: Vec<(String,)> = Query::new(
            "SELECT c.relname::text FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             ORDER BY c.relname",
        )
        .bind(&space)
        .fetch_all(plain(&mut connection))
        .await?;
        // Whoever bypasses row-level security must not export other accounts' rows either.
        let own = if self.tenancy == Tenancy::Row {
            format!("WHERE t.account_id = '{account}'")
        } else {
            String::new()
        };
        for (table,) in &tables {
            let shared = self.tenancy == Tenancy::Row && table == "vestibule_migrations";
            let own = if shared { "" } else { own.as_str() };
            let sql = format!(
                "SELECT to_jsonb(t)::text FROM {}.{} t {own}",
                quoted(&space),
                quoted(table)
            );
            let mut rows = connection.fetch(sqlx::raw_sql(AssertSqlSafe(sql)));
            while let Some(row) = rows.try_next().await? {
                let text: String = sqlx::Row::try_get_unchecked(&row, 0)?;
                let value = serde_json::from_str(&text)
                    .map_err(|error| StoreError::Unavailable(error.to_string()))?;
                each(table, &value)?;
            }
        }
        close(connection).await;
        Ok(())
    }
}
