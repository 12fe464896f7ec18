//! The tables of an account's place, and what would hide rows or act on them while they are copied.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    super::{
        making::{plain, script},
        space_of,
    },
    Moving,
};
use crate::store::{
    Query, StoreError,
    postgres::{literal, quoted},
};

/// A table whose rows are copied. A partition's are copied with the whole.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Table {
    pub(super) name: String,
    /// The columns that are written, as a list: those that are computed are not.
    pub(super) written: String,
    /// All columns, as a list.
    pub(super) columns: String,
    /// All columns with their types.
    pub(super) shape: String,
    partitioned: bool,
}

/// A trigger that does not act, until it is put back.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Stilled {
    table: String,
    name: String,
    /// When it acts: `pg_trigger.tgenabled`.
    mode: String,
}

/// Where accounts share tables, others wait for what waits for a table: never for long.
const LOCK_TRIES: u32 = 60;
const LOCK_WAIT: &str = "SET LOCAL lock_timeout TO '1s'";
const LOCK_PAUSE: Duration = Duration::from_millis(500);

impl Moving<'_> {
    pub(super) fn full_name(&self, name: &str) -> String {
        let space = space_of(self.clusters.tenancy, self.account);
        format!("{}.{}", quoted(&space), quoted(name))
    }

    pub(super) async fn tables(&self, on: &mut PgConnection) -> Result<Vec<Table>, StoreError> {
        let found = Query::new(
            "SELECT c.relname::text AS name, c.relkind = 'p' AS partitioned,
                COALESCE(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname)
                    FILTER (WHERE a.attgenerated = ''), '') AS written,
                COALESCE(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname), '') AS columns,
                COALESCE(string_agg(format('%I %s %s', a.attname,
                    pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated), ', '
                    ORDER BY a.attname), '') AS shape
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
               AND NOT (n.nspname = 'vestibule_tenants' AND c.relname = 'vestibule_migrations')
             GROUP BY c.oid, c.relname, c.relkind ORDER BY c.relname",
        )
        .bind(space_of(self.clusters.tenancy, self.account));
        Ok(found.fetch_all(plain(on)).await?)
    }

    /// The account's rows of a table.
    pub(super) fn rows(&self, table: &Table, columns: &str) -> String {
        // Tables that inherit from it are copied on their own.
        let only = if table.partitioned { "" } else { "ONLY " };
        let own = if self.shares_tables() {
            // Whoever bypasses row-level security must not copy other accounts' rows either.
            format!(" WHERE account_id = {}", literal(&self.account.to_string()))
        } else {
            String::new()
        };
        format!(
            "SELECT {columns} FROM {only}{}{own}",
            self.full_name(&table.name)
        )
    }

    /// Lets the owner's transaction see every row, whatever policies the application has made;
    /// the tables that bound their owner before.
    pub(super) async fn see_all_rows(
        &self,
        on: &mut PgConnection,
    ) -> Result<Vec<String>, StoreError> {
        let space = space_of(self.clusters.tenancy, self.account);
        if self.shares_tables() {
            return self.require_no_hidden_rows(on, &space).await;
        }
        let forced: Vec<(String,)> = Query::new(
            "SELECT c.relname::text FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relforcerowsecurity",
        )
        .bind(&space)
        .fetch_all(plain(on))
        .await?;
        let forced: Vec<String> = forced.into_iter().map(|(name,)| name).collect();
        self.for_each(on, &forced, "NO FORCE ROW LEVEL SECURITY")
            .await?;
        Ok(forced)
    }

    pub(super) async fn for_each(
        &self,
        on: &mut PgConnection,
        tables: &[String],
        what: &str,
    ) -> Result<(), StoreError> {
        let names = tables.iter().map(|table| self.full_name(table));
        let all: Vec<_> = names
            .map(|name| format!("ALTER TABLE {name} {what}"))
            .collect();
        script(on, &all.join(";")).await
    }

    /// Tables that accounts share are not changed for one of them. Our policy lets the account's
    /// rows through; a further one of the application may hide some from the owner's login too.
    async fn require_no_hidden_rows(
        &self,
        on: &mut PgConnection,
        space: &str,
    ) -> Result<Vec<String>, StoreError> {
        let hiding: Option<(String, String)> = Query::new(
            "SELECT c.relname::text, p.polname::text FROM pg_catalog.pg_policy p
             JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_roles me ON me.rolname = current_user
             WHERE n.nspname = $1 AND NOT p.polpermissive AND NOT me.rolsuper
               AND NOT me.rolbypassrls
               AND EXISTS (SELECT FROM unnest(p.polroles) r
                   WHERE CASE WHEN r = 0 THEN true ELSE pg_has_role(me.oid, r, 'USAGE') END)
             LIMIT 1",
        )
        .bind(space)
        .fetch_optional(plain(on))
        .await?;
        match hiding {
            None => Ok(Vec::new()),
            Some((table, policy)) => Err(StoreError::Refused(format!(
                "the policy {policy} of the table {table} may hide rows from the owner's login, \
                 and they would not be moved: let it bind the application's login only, in a \
                 migration (CREATE POLICY … TO)"
            ))),
        }
    }

    /// Triggers of the application do not act on rows that are copied or removed: they acted when
    /// the rows were written. Where accounts share tables, those of others wait from here on, if
    /// they write to a table with triggers, until this transaction ends.
    pub(super) async fn still_triggers(
        &self,
        on: &mut PgConnection,
    ) -> Result<Vec<Stilled>, StoreError> {
        let triggers: Vec<Stilled> = Query::new(
            "SELECT c.relname::text AS \"table\", t.tgname::text AS name,
                t.tgenabled::text AS mode
             FROM pg_catalog.pg_trigger t
             JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND NOT t.tgisinternal AND t.tgenabled <> 'D'
             ORDER BY c.oid, t.tgname",
        )
        .bind(space_of(self.clusters.tenancy, self.account))
        .fetch_all(plain(on))
        .await?;
        let still: Vec<String> = triggers
            .iter()
            .map(|trigger| self.turn(trigger, "DISABLE"))
            .collect();
        self.locking(on, &still.join(";")).await?;
        Ok(triggers)
    }

    pub(super) async fn wake_triggers(
        &self,
        on: &mut PgConnection,
        triggers: &[Stilled],
    ) -> Result<(), StoreError> {
        let wake: Vec<String> = triggers
            .iter()
            .map(|trigger| {
                let how = match trigger.mode.as_str() {
                    "A" => "ENABLE ALWAYS",
                    "R" => "ENABLE REPLICA",
                    _ => "ENABLE",
                };
                self.turn(trigger, how)
            })
            .collect();
        script(on, &wake.join(";")).await
    }

    fn turn(&self, trigger: &Stilled, how: &str) -> String {
        let table = self.full_name(&trigger.table);
        format!(
            "ALTER TABLE {table} {how} TRIGGER {}",
            quoted(&trigger.name)
        )
    }

    /// Runs what needs a table's lock, without letting others wait behind it for long.
    async fn locking(&self, on: &mut PgConnection, sql: &str) -> Result<(), StoreError> {
        if sql.is_empty() {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            script(on, &format!("SAVEPOINT locking; {LOCK_WAIT}")).await?;
            tries += 1;
            match script(on, sql).await {
                Err(error) if is_locked(&error) && tries < LOCK_TRIES => {
                    script(on, "ROLLBACK TO SAVEPOINT locking").await?;
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// How many rows, and a sum over all of them that does not depend on their order.
    pub(super) async fn sum(
        &self,
        on: &mut PgConnection,
        table: &Table,
    ) -> Result<(i64, String), StoreError> {
        let sql = format!(
            "SELECT COUNT(*), COALESCE(SUM(('x' || substr(encode(sha256(convert_to(r::text, \
             'UTF8')), 'hex'), 1, 15))::bit(60)::bigint), 0)::text FROM ({}) r",
            self.rows(table, &table.columns)
        );
        let sum = Query::new(AssertSqlSafe(sql));
        Ok(sum.fetch_optional(plain(on)).await?.unwrap_or_default())
    }

    pub(super) async fn count(
        &self,
        on: &mut PgConnection,
        table: &Table,
    ) -> Result<i64, StoreError> {
        let sql = format!("SELECT COUNT(*) FROM ({}) r", self.rows(table, "1"));
        let count: Option<(i64,)> = Query::new(AssertSqlSafe(sql))
            .fetch_optional(plain(on))
            .await?;
        Ok(count.unwrap_or_default().0)
    }
}

fn is_locked(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(text) if text.contains("lock timeout"))
        || matches!(error, StoreError::Database(sqlx::Error::Database(error))
            if error.code().as_deref() == Some("55P03"))
}
