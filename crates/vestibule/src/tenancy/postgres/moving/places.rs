//! The old place and the new one: made, emptied, looked at.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{
    super::{
        Cluster, Clusters, database_of,
        making::{plain, script},
        space_of,
    },
    Done, Moving,
};
use crate::{
    settings::Tenancy,
    store::{
        KeptMigration, Query, StoreError,
        postgres::{close, quoted},
    },
};

/// How often, and after what pause, a database is asked for again that the server is still making.
const CREATING: u32 = 120;
const CREATING_PAUSE: Duration = Duration::from_millis(250);

/// A new place, in a transaction that stays open and passes the fence.
pub(super) struct NewPlace {
    pub(super) on: PgConnection,
    /// The tables that are to bind their owner again when all rows are in them.
    forced: Vec<String>,
}

impl Moving<'_> {
    async fn is_one_place(&self, source: &Cluster, target: &Cluster) -> Result<bool, StoreError> {
        self.clusters
            .is_one_place(self.account, source, target)
            .await
    }

    /// Two names may lead to one database, or to one server, where databases of one name are the
    /// same: what is made there would be what is there already.
    pub(super) async fn require_two_places(
        &self,
        source: &Cluster,
        target: &Cluster,
    ) -> Result<(), StoreError> {
        if self.is_one_place(source, target).await? {
            return Err(StoreError::Refused(format!(
                "{} and {} are two names of one place: correct VESTIBULE_CLUSTERS and \
                 VESTIBULE_ADMIN_CLUSTERS",
                source.shown(),
                target.shown()
            )));
        }
        Ok(())
    }

    /// Both clusters have what a move needs, which `migrate` makes.
    pub(super) async fn require_prepared(
        &self,
        source: &Cluster,
        target: &Cluster,
    ) -> Result<(), StoreError> {
        let mut old = self.connection(source).await?;
        let prepared = require_fence(&mut old, source).await;
        if self.is_own_database() {
            close(old).await;
            return prepared;
        }
        prepared?;
        let mut new = self.connection(target).await?;
        require_fence(&mut new, target).await?;
        if self.shares_tables() {
            const APPLIED: &str = "SELECT version, checksum
                FROM vestibule_tenants.vestibule_migrations ORDER BY version";
            let here: Vec<(i64, Vec<u8>)> = Query::new(APPLIED).fetch_all(plain(&mut old)).await?;
            let there: Vec<(i64, Vec<u8>)> = Query::new(APPLIED).fetch_all(plain(&mut new)).await?;
            if here != there {
                return Err(StoreError::Refused(format!(
                    "the tables on {} and {} have not the same migrations: run `vestibule migrate`",
                    source.shown(),
                    target.shown()
                )));
            }
        }
        close(old).await;
        close(new).await;
        Ok(())
    }

    /// The new place, without rows.
    pub(super) async fn make_place(
        &mut self,
        target: &Cluster,
        migrations: &[KeptMigration],
    ) -> Result<NewPlace, StoreError> {
        let (clusters, now) = (self.clusters, self.spaces.now());
        let mut new = match clusters.tenancy {
            Tenancy::Database => {
                self.make_database(target).await?;
                self.reached(Done::TargetFenced)?;
                let mut new = self.transaction(target).await?;
                // Of one that could not be dropped.
                script(
                    &mut new,
                    "DROP SCHEMA IF EXISTS tenant CASCADE; DROP SCHEMA IF EXISTS vestibule CASCADE",
                )
                .await?;
                new
            }
            Tenancy::Schema | Tenancy::Row => {
                self.fence(target, "elsewhere").await?;
                self.reached(Done::TargetFenced)?;
                let mut new = self.keep_migrations_away(target).await?;
                self.enter(&mut new).await?;
                self.remove_rows(&mut new).await?;
                new
            }
        };
        if !self.shares_tables() {
            clusters
                .make(&mut new, target, self.account, migrations, now)
                .await?;
            self.clear(&mut new).await?;
        }
        let forced = self.see_all_rows(&mut new).await?;
        Ok(NewPlace { on: new, forced })
    }

    /// Keeps the new place with all its rows. Its fence stays until the switch.
    pub(super) async fn keep_place(&self, place: NewPlace) -> Result<(), StoreError> {
        let NewPlace { mut on, forced } = place;
        self.for_each(&mut on, &forced, "FORCE ROW LEVEL SECURITY")
            .await?;
        self.leave(&mut on, "elsewhere").await?;
        close(on).await;
        Ok(())
    }

    /// What migrations wrote goes: it comes again with the copy, as it was or as it was changed.
    async fn clear(&self, new: &mut PgConnection) -> Result<(), StoreError> {
        self.bind(new).await?;
        script(new, "SET CONSTRAINTS ALL IMMEDIATE").await?;
        let triggers = self.still_triggers(new).await?;
        let tables = self.tables(new).await?;
        let names = tables.iter().map(|table| self.full_name(&table.name));
        let names: Vec<_> = names.collect();
        script(new, &format!("TRUNCATE {}", names.join(", "))).await?;
        self.wake_triggers(new, &triggers).await
    }

    async fn make_database(&self, target: &Cluster) -> Result<(), StoreError> {
        let name = quoted(&database_of(self.account));
        self.clusters.remove_apart(target, self.account).await?;
        let mut on = self.clusters.owner_connection(target, None).await?;
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        let mut tries = CREATING;
        let made = loop {
            match script(&mut on, &create).await {
                // A run that was broken off had asked for it too, and the server is at it still:
                // when it is done, it is there.
                Err(error) if error.is_unique_violation() && tries > 0 => {
                    tries -= 1;
                    tokio::time::sleep(CREATING_PAUSE).await;
                }
                made => break made,
            }
        };
        let made = made.map_err(|error| error.or_refused("42P04", String::new));
        match made {
            // It could not be dropped, and is empty.
            Err(StoreError::Refused(_)) => {
                let open = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
                script(&mut on, &open).await?;
            }
            made => made?,
        }
        close(on).await;
        Ok(())
    }

    /// Removes the account's rows, or its schema, in a transaction that passes the fence.
    async fn remove_rows(&self, on: &mut PgConnection) -> Result<(), StoreError> {
        if !self.shares_tables() {
            return self.clusters.remove(on, self.account).await;
        }
        let mut there = false;
        for table in self.tables(on).await? {
            there |= self.count(on, &table).await? > 0;
        }
        if !there {
            return Ok(());
        }
        self.see_all_rows(on).await?;
        let triggers = self.still_triggers(on).await?;
        self.clusters.remove(on, self.account).await?;
        script(on, "SET CONSTRAINTS ALL IMMEDIATE").await?;
        self.wake_triggers(on, &triggers).await
    }

    /// Before the switch: removes what was made.
    pub(super) async fn remove_copy(
        &self,
        source: &Cluster,
        target: &Cluster,
    ) -> Result<(), StoreError> {
        if self.is_one_place(source, target).await? {
            // Nothing was made.
            return Ok(());
        }
        self.remove_at(target, "elsewhere").await
    }

    /// After the switch: removes what is left in the old place. Its fence stays.
    pub(super) async fn empty(&self, source: &Cluster, target: &Cluster) -> Result<(), StoreError> {
        self.require_two_places(source, target).await?;
        self.remove_at(source, target.shown()).await
    }

    async fn remove_at(&self, cluster: &Cluster, fence: &str) -> Result<(), StoreError> {
        if self.is_own_database() {
            return self.clusters.remove_apart(cluster, self.account).await;
        }
        self.fence(cluster, fence).await?;
        let mut on = self.transaction(cluster).await?;
        self.enter(&mut on).await?;
        self.remove_rows(&mut on).await?;
        self.leave(&mut on, fence).await?;
        close(on).await;
        Ok(())
    }

    /// After the switch: the account's data are where the directory says.
    pub(super) async fn require_there(&self, target: &Cluster) -> Result<(), StoreError> {
        let mut on = self.transaction(target).await?;
        self.bind(&mut on).await?;
        let query = Query::new("SELECT account_id FROM vestibule_account WHERE account_id = $1");
        let query = query.bind(self.account);
        let found: Option<(Uuid,)> = query.fetch_optional(plain(&mut on)).await?;
        close(on).await;
        match found {
            Some(_) => Ok(()),
            None => Err(StoreError::Refused(format!(
                "there is nothing of the account on {}",
                target.shown()
            ))),
        }
    }

    /// The rows that are left in the old place, and whether there is still a schema or a database
    /// of that name.
    pub(super) async fn left(
        &self,
        source: &Cluster,
    ) -> Result<(Vec<(String, i64)>, bool), StoreError> {
        let tenancy = self.clusters.tenancy;
        if tenancy == Tenancy::Row {
            let mut on = self.transaction(source).await?;
            self.enter(&mut on).await?;
            let mut left = Vec::new();
            for table in self.tables(&mut on).await? {
                let rows = self.count(&mut on, &table).await?;
                left.push((table.name, rows));
            }
            // Without a commit: the fence stays.
            close(on).await;
            return Ok((left, false));
        }
        let (sql, name) = match tenancy {
            Tenancy::Database => (
                "SELECT COUNT(*) FROM pg_catalog.pg_database WHERE datname = $1",
                database_of(self.account),
            ),
            _ => (
                "SELECT COUNT(*) FROM pg_catalog.pg_namespace WHERE nspname = $1",
                space_of(tenancy, self.account),
            ),
        };
        let mut on = self.clusters.owner_connection(source, None).await?;
        let query = Query::new(sql).bind(&name);
        let found: Option<(i64,)> = query.fetch_optional(plain(&mut on)).await?;
        close(on).await;
        let there = found != Some((0,));
        if there && tenancy == Tenancy::Schema {
            return Err(StoreError::Refused(format!(
                "the schema {name} is left on {}",
                source.shown()
            )));
        }
        Ok((Vec::new(), there))
    }
}

impl Clusters {
    /// Whether the account's place on the one is its place on the other.
    pub(super) async fn is_one_place(
        &self,
        account: Uuid,
        one: &Cluster,
        other: &Cluster,
    ) -> Result<bool, StoreError> {
        if !self.is_there(account, one).await? || !self.is_there(account, other).await? {
            return Ok(false);
        }
        let own = (self.tenancy == Tenancy::Database).then(|| database_of(account));
        // A lock is one of a database: it can be had twice only where there are two.
        let key = Uuid::new_v4().as_u128() & 0x7fff_ffff;
        let mut holder = self.owner_connection(one, own.as_deref()).await?;
        let lock = format!("BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(7012854, {key})");
        script(&mut holder, &lock).await?;
        let mut asking = self.owner_connection(other, own.as_deref()).await?;
        let query = Query::new(AssertSqlSafe(format!(
            "SELECT pg_catalog.pg_try_advisory_xact_lock(7012854, {key})"
        )));
        let had: Option<(bool,)> = query.fetch_optional(plain(&mut asking)).await?;
        close(asking).await;
        close(holder).await;
        Ok(had != Some((true,)))
    }

    /// Whether there is a database to connect to.
    async fn is_there(&self, account: Uuid, cluster: &Cluster) -> Result<bool, StoreError> {
        if self.tenancy != Tenancy::Database {
            return Ok(true);
        }
        let mut on = self.owner_connection(cluster, None).await?;
        let query = Query::new(
            "SELECT COUNT(*) FROM pg_catalog.pg_database WHERE datname = $1 AND datallowconn",
        );
        let query = query.bind(database_of(account));
        let found: Option<(i64,)> = query.fetch_optional(plain(&mut on)).await?;
        close(on).await;
        Ok(found == Some((1,)))
    }
}

async fn require_fence(on: &mut PgConnection, cluster: &Cluster) -> Result<(), StoreError> {
    let query =
        Query::new("SELECT COUNT(pg_catalog.to_regprocedure('vestibule.require_unfenced(uuid)'))");
    if query.fetch_optional(plain(on)).await? == Some((1_i64,)) {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "{} lacks what a move needs: run `vestibule migrate`",
        cluster.shown()
    )))
}
