//! How the application's migrations reach all spaces: each space in a transaction of its own, by
//! the owner's login, several at a time.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;

use super::{
    Cluster, Clusters, OWN, OwnerConnections, ROWS, database_of,
    making::{
        begin, beginning, fencing, plain, script, secure, securing_database, securing_rows,
        securing_schema, use_space, using,
    },
    owners::OwnerConnection,
    space_of,
};
use crate::{
    clock::Timestamp,
    settings::Tenancy,
    store::{KeptMigration, Query, StoreError, postgres::literal},
    tenancy::{
        contents::{apply, apply_and_record, record},
        migrations::missing,
    },
};

/// What is done to each unit.
#[derive(Clone, Copy, Debug)]
pub(in crate::tenancy) struct Work<'w> {
    /// What it must have.
    pub(in crate::tenancy) kept: &'w [KeptMigration],
    /// Also where it lacks nothing: the application's login gets what it needs there.
    pub(in crate::tenancy) secures: bool,
    pub(in crate::tenancy) now: Timestamp,
}

/// What is migrated as one: an account's own tables, or all accounts' on one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tenancy) enum Unit {
    Account(Uuid),
    Shared,
}

impl Clusters {
    /// Applies what the unit lacks, all of it or nothing; whether there was anything.
    pub(in crate::tenancy) async fn migrate(
        &self,
        cluster: &Arc<Cluster>,
        unit: Unit,
        owners: &OwnerConnections,
        work: &Work<'_>,
    ) -> Result<bool, StoreError> {
        let mut owner = self.owner_of(cluster, unit, owners).await?;
        let space = self.unit_space(unit);
        // Whoever comes second finds the work done.
        let lock = format!(
            "SELECT pg_advisory_xact_lock(7012851, hashtext({}))",
            literal(&space)
        );
        let done = self.enter(&mut owner, unit, &lock).await?;
        let missing = missing(work.kept, &done)?;
        let changes = !missing.is_empty();
        let connection = &mut owner.connection;
        if let (Unit::Account(account), Tenancy::Database) = (unit, self.tenancy) {
            let login = cluster.logins.application.login();
            complete_fence(connection, login).await?;
            require_unfenced(connection, account).await?;
        }
        for migration in missing {
            if unit == Unit::Shared {
                self.migrate_rows(connection, cluster, migration)
                    .await
                    .map_err(|error| in_migration(migration, error))?;
                use_space(connection, &space).await?;
                record(plain(connection), migration, work.now).await?;
            } else {
                apply_and_record(plain(connection), migration, work.now).await?;
            }
        }
        // Shared tables were secured after each of their migrations, and by `prepare`.
        if unit != Unit::Shared && (changes || work.secures) {
            let mut securing = self.securing(cluster, unit);
            if let (Unit::Account(account), Tenancy::Database) = (unit, self.tenancy)
                && work.secures
            {
                let login = cluster.logins.application.login();
                self.prepare_proofs(&mut owner.connection, login).await?;
                let own = self.securing_own_database(&database_of(account), login);
                securing = format!("{own}; {securing}");
            }
            let connection = &mut owner.connection;
            secure(connection, &format!("{securing}; COMMIT")).await?;
            owners.give_back(owner).await;
        } else {
            owners.commit(owner).await?;
        }
        Ok(changes)
    }

    /// One migration of the tables that all accounts share. It may change rows of all accounts,
    /// and its keys are completed by the account; afterwards the tables are secured again.
    async fn migrate_rows(
        &self,
        connection: &mut PgConnection,
        cluster: &Cluster,
        migration: &KeptMigration,
    ) -> Result<(), StoreError> {
        let open = format!("SELECT vestibule.open_rows({})", literal(ROWS));
        secure(connection, &open).await?;
        let query = Query::new("SELECT vestibule.migration_for_rows($1::name, $2)")
            .bind(ROWS)
            .bind(&migration.sql);
        let completed: Option<(String,)> = query.fetch_optional(plain(connection)).await?;
        let completed = completed.map_or_else(|| migration.sql.clone(), |(sql,)| sql);
        apply(plain(connection), migration, &completed).await?;
        secure(connection, &self.securing(cluster, Unit::Shared)).await
    }

    /// Tries all migrations on an empty space, of which nothing stays.
    pub(in crate::tenancy) async fn try_out(
        &self,
        wanted: &[KeptMigration],
        id: Uuid,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let cluster = self.main();
        match self.tenancy {
            // Nothing of it stays where one fails.
            Tenancy::Row => Ok(()),
            Tenancy::Schema => {
                let mut connection = self.owner_connection(cluster, None).await?;
                begin(&mut connection).await?;
                let made = self.make(&mut connection, cluster, id, wanted, now).await;
                script(&mut connection, "ROLLBACK").await?;
                made
            }
            Tenancy::Database => {
                self.make_apart(cluster, id, wanted, now).await?;
                self.remove_apart(cluster, id).await
            }
        }
    }

    /// Version and checksum of what the unit has.
    pub(in crate::tenancy) async fn applied(
        &self,
        cluster: &Arc<Cluster>,
        unit: Unit,
        owners: &OwnerConnections,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let mut owner = self.owner_of(cluster, unit, owners).await?;
        let done = self.enter(&mut owner, unit, "").await?;
        owners.commit(owner).await?;
        Ok(done)
    }

    /// What is to be migrated on the cluster where accounts share tables.
    pub(in crate::tenancy) fn shares_tables(&self) -> bool {
        self.tenancy == Tenancy::Row
    }

    fn securing(&self, cluster: &Cluster, unit: Unit) -> String {
        let login = cluster.logins.application.login();
        match (unit, self.tenancy) {
            (Unit::Shared, _) => securing_rows(login),
            (Unit::Account(_), Tenancy::Database) => securing_database(login),
            (Unit::Account(account), _) => securing_schema(&self.unit_space(unit), account, login),
        }
    }

    /// Begins a transaction in which names are the unit's and its rows can be seen: policies hold
    /// for the owner too. Gives version and checksum of what the unit has, in the one message.
    async fn enter(
        &self,
        owner: &mut OwnerConnection,
        unit: Unit,
        lock: &str,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let mut script = format!("{}; {lock}; {}", beginning(), using(&self.unit_space(unit)));
        if let (Unit::Account(account), Tenancy::Schema) = (unit, self.tenancy) {
            let binding = literal(&owner.signer.binding(account));
            script.push_str("; SET LOCAL vestibule.binding TO ");
            script.push_str(&binding);
        }
        script.push_str("; SELECT version, checksum FROM vestibule_migrations ORDER BY version");
        let rows = sqlx::raw_sql(AssertSqlSafe(script))
            .fetch_all(&mut owner.connection)
            .await?;
        // The lock's answer is a row too.
        let done = rows.iter().filter(|row| row.len() == 2);
        let done = done.map(|row| Ok((row.try_get("version")?, row.try_get("checksum")?)));
        Ok(done.collect::<Result<_, sqlx::Error>>()?)
    }

    fn unit_space(&self, unit: Unit) -> String {
        match unit {
            Unit::Shared => ROWS.to_owned(),
            Unit::Account(_) if self.tenancy == Tenancy::Database => OWN.to_owned(),
            Unit::Account(account) => space_of(self.tenancy, account),
        }
    }
}

/// An account's own database that an earlier version made has no fence.
async fn complete_fence(connection: &mut PgConnection, login: &str) -> Result<(), StoreError> {
    let query =
        Query::new("SELECT COUNT(pg_catalog.to_regprocedure('vestibule.require_unfenced(uuid)'))");
    if query.fetch_optional(plain(connection)).await? == Some((0_i64,)) {
        script(connection, &fencing(login)).await?;
    }
    Ok(())
}

/// The account is not touched where it is being moved, or has moved: in `schema`, and where
/// accounts share tables, its rows cannot be seen then.
async fn require_unfenced(connection: &mut PgConnection, account: Uuid) -> Result<(), StoreError> {
    Query::new("SELECT vestibule.require_unfenced($1)")
        .bind(account)
        .execute(plain(connection))
        .await?;
    Ok(())
}

fn in_migration(migration: &KeptMigration, error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(text) => StoreError::Refused(format!(
            "migration {} ({}): {text}",
            migration.version, migration.description
        )),
        other => other,
    }
}

/// Keeps the list of the application's migrations as it is until this transaction ends.
pub(in crate::tenancy) async fn hold_migrations(
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    script(
        connection,
        "LOCK TABLE vestibule.tenant_migrations IN SHARE MODE",
    )
    .await
}

/// Names without a schema are the directory's again.
pub(in crate::tenancy) async fn use_directory(
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    Query::new("SELECT set_config('search_path', 'vestibule, pg_temp', true)")
        .execute(plain(connection))
        .await?;
    Ok(())
}
