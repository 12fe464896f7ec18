//! Rows go from one database to the other as text (`COPY`), which every type of every extension
//! has, and which is exact with the settings that the move's transactions begin with.
//!
//! They are gathered in temporary tables of the new database first, and put into their tables by
//! one statement: keys that refer to each other, in circles too, are checked at its end, and tables
//! that accounts share are not locked while rows come in.

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use super::{
    super::{
        making::{plain, script},
        space_of,
    },
    Done, Moving,
    tables::Table,
};
use crate::store::{Query, StoreError};

/// Rows after which the progress is told again.
const OFTEN: u64 = 100_000;

impl Moving<'_> {
    /// Copies all rows, and compares; as JSON, how many of each table.
    pub(super) async fn copy(
        &mut self,
        old: &mut PgConnection,
        new: &mut PgConnection,
    ) -> Result<String, StoreError> {
        let tables = self.tables(old).await?;
        if tables != self.tables(new).await? {
            return Err(StoreError::Refused(
                "the tables are not the same on both clusters: run `vestibule migrate`, and \
                 compare them where that does not help"
                    .to_owned(),
            ));
        }
        let mut inserts = Vec::with_capacity(tables.len());
        for (index, table) in tables.iter().enumerate() {
            let gathered = format!("pg_temp.vestibule_move_{index}");
            self.gather(old, new, table, index).await?;
            inserts.push(format!(
                "i{index} AS (INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE \
                 SELECT {columns} FROM {gathered})",
                self.full_name(&table.name),
                columns = table.written,
            ));
        }
        let triggers = self.still_triggers(new).await?;
        if !inserts.is_empty() {
            script(new, &format!("WITH {} SELECT 1", inserts.join(", "))).await?;
        }
        script(new, "SET CONSTRAINTS ALL IMMEDIATE").await?;
        self.wake_triggers(new, &triggers).await?;
        self.refresh_views(old, new).await?;
        self.reached(Done::RowsCopied)?;
        self.step(5, "comparing");
        let mut copied = Vec::with_capacity(tables.len());
        for table in &tables {
            let (there, here) = (self.sum(old, table).await?, self.sum(new, table).await?);
            if there != here {
                return Err(StoreError::Refused(format!(
                    "the copy of {} is not what is there: {} rows became {}",
                    table.name, there.0, here.0
                )));
            }
            copied.push((&table.name, there.0));
        }
        self.reached(Done::Compared)?;
        serde_json::to_string(&copied).map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Materialized views, which an account's own database may have, hold what tables held.
    async fn refresh_views(
        &self,
        old: &mut PgConnection,
        new: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let views: Vec<(String,)> = Query::new(
            "SELECT c.relname::text FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind = 'm' AND c.relispopulated ORDER BY c.oid",
        )
        .bind(space_of(self.clusters.tenancy, self.account))
        .fetch_all(plain(old))
        .await?;
        for (view,) in views {
            let name = self.full_name(&view);
            script(new, &format!("REFRESH MATERIALIZED VIEW {name}")).await?;
        }
        Ok(())
    }

    /// The rows of one table, into a temporary table of the new database.
    async fn gather(
        &mut self,
        old: &mut PgConnection,
        new: &mut PgConnection,
        table: &Table,
        index: usize,
    ) -> Result<(), StoreError> {
        let what = format!("copying {}", table.name);
        self.step(4, what.clone());
        let (name, columns) = (format!("vestibule_move_{index}"), &table.written);
        let rows = self.rows(table, columns);
        script(
            new,
            &format!("CREATE TEMP TABLE {name} ON COMMIT DROP AS {rows} WITH NO DATA"),
        )
        .await?;
        let mut sink = new
            .copy_in_raw(&format!("COPY pg_temp.{name} ({columns}) FROM STDIN"))
            .await?;
        let mut stream = old
            .copy_out_raw(&format!("COPY ({rows}) TO STDOUT"))
            .await?;
        let (mut count, mut told) = (0, 0);
        while let Some(bytes) = stream.try_next().await? {
            // In this form every row is a line, and no value holds the end of one.
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            count += u64::try_from(lines).unwrap_or(0);
            sink.send(bytes).await?;
            if count >= told + OFTEN {
                told = count;
                self.step_with(4, what.clone(), count);
            }
        }
        drop(stream);
        sink.finish().await?;
        Ok(())
    }
}
