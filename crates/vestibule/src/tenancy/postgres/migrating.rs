//! How the application's migrations reach all spaces: each space in a transaction of its own, by
//! the owner's login, several at a time.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Cluster, Clusters, OWN, ROWS, database_of,
    making::{
        begin, bind, call, commit, plain, prepare_fence, script, secure_database, secure_rows,
        secure_schema, use_space,
    },
    space_of,
};
use crate::{
    clock::Timestamp,
    settings::Tenancy,
    store::{KeptMigration, Query, StoreError, postgres::literal},
    tenancy::{
        contents::{apply, record},
        migrations::{applied, missing},
    },
};

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
        cluster: &Cluster,
        unit: Unit,
        kept: &[KeptMigration],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut connection = self.unit_connection(cluster, unit).await?;
        let space = self.unit_space(unit);
        begin(&mut connection).await?;
        // Whoever comes second finds the work done.
        script(
            &mut connection,
            &format!(
                "SELECT pg_advisory_xact_lock(7012851, hashtext({}))",
                literal(&space)
            ),
        )
        .await?;
        if let (Unit::Account(account), Tenancy::Database) = (unit, self.tenancy) {
            let login = cluster.logins.application.login();
            complete_fence(&mut connection, login).await?;
            require_unfenced(&mut connection, account).await?;
        }
        self.enter(&mut connection, unit).await?;
        let done = applied(plain(&mut connection)).await?;
        let missing = missing(kept, &done)?;
        if missing.is_empty() {
            commit(connection).await?;
            return Ok(false);
        }
        for migration in missing {
            if unit == Unit::Shared {
                self.migrate_rows(&mut connection, cluster, migration)
                    .await
                    .map_err(|error| in_migration(migration, error))?;
                use_space(&mut connection, &space).await?;
            } else {
                apply(plain(&mut connection), migration).await?;
            }
            record(plain(&mut connection), migration, now).await?;
        }
        if unit != Unit::Shared {
            self.secure(&mut connection, cluster, unit).await?;
        }
        commit(connection).await?;
        Ok(true)
    }

    /// One migration of the tables that all accounts share. It may change rows of all accounts,
    /// and its keys are completed by the account; afterwards the tables are secured again.
    async fn migrate_rows(
        &self,
        connection: &mut PgConnection,
        cluster: &Cluster,
        migration: &KeptMigration,
    ) -> Result<(), StoreError> {
        let open = "SELECT vestibule.open_rows($1::name)";
        call(connection, open, &[ROWS]).await?;
        let query = Query::new("SELECT vestibule.migration_for_rows($1::name, $2)")
            .bind(ROWS)
            .bind(&migration.sql);
        let completed: Option<(String,)> = query.fetch_optional(plain(connection)).await?;
        let completed = KeptMigration {
            sql: completed.map_or_else(|| migration.sql.clone(), |(sql,)| sql),
            ..migration.clone()
        };
        apply(plain(connection), &completed).await?;
        self.secure(connection, cluster, Unit::Shared).await
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
        cluster: &Cluster,
        unit: Unit,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let mut connection = self.unit_connection(cluster, unit).await?;
        begin(&mut connection).await?;
        self.enter(&mut connection, unit).await?;
        let done = applied(plain(&mut connection)).await?;
        commit(connection).await?;
        Ok(done)
    }

    /// What is to be migrated on the cluster where accounts share tables.
    pub(in crate::tenancy) fn shares_tables(&self) -> bool {
        self.tenancy == Tenancy::Row
    }

    async fn secure(
        &self,
        connection: &mut PgConnection,
        cluster: &Cluster,
        unit: Unit,
    ) -> Result<(), StoreError> {
        let login = cluster.logins.application.login();
        match (unit, self.tenancy) {
            (Unit::Shared, _) => secure_rows(connection, login).await,
            (Unit::Account(_), Tenancy::Database) => secure_database(connection, login).await,
            (Unit::Account(account), _) => {
                let space = self.unit_space(unit);
                secure_schema(connection, &space, account, login).await
            }
        }
    }

    /// Names are the unit's, and its rows can be seen: policies hold for the owner too.
    async fn enter(&self, connection: &mut PgConnection, unit: Unit) -> Result<(), StoreError> {
        let space = self.unit_space(unit);
        match unit {
            Unit::Account(account) if self.tenancy == Tenancy::Schema => {
                let signer = self.owner_signer(connection).await?;
                bind(connection, &signer, account, &space).await
            }
            _ => use_space(connection, &space).await,
        }
    }

    fn unit_space(&self, unit: Unit) -> String {
        match unit {
            Unit::Shared => ROWS.to_owned(),
            Unit::Account(_) if self.tenancy == Tenancy::Database => OWN.to_owned(),
            Unit::Account(account) => space_of(self.tenancy, account),
        }
    }

    async fn unit_connection(
        &self,
        cluster: &Cluster,
        unit: Unit,
    ) -> Result<PgConnection, StoreError> {
        match (unit, self.tenancy) {
            (Unit::Account(account), Tenancy::Database) => {
                let database = database_of(account);
                self.owner_connection(cluster, Some(&database)).await
            }
            _ => self.owner_connection(cluster, None).await,
        }
    }
}

/// An account's own database that an earlier version made has no fence.
async fn complete_fence(connection: &mut PgConnection, login: &str) -> Result<(), StoreError> {
    let query =
        Query::new("SELECT COUNT(pg_catalog.to_regprocedure('vestibule.require_unfenced(uuid)'))");
    if query.fetch_optional(plain(connection)).await? == Some((0_i64,)) {
        prepare_fence(connection, login).await?;
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
