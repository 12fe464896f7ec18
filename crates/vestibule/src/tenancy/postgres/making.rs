//! How an account's space comes into being, and goes. Only the owner's login does this.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{Cluster, Clusters, OWN, ROWS, database_of, space_of};
use crate::{
    clock::Timestamp,
    settings::Tenancy,
    store::{
        Connection, KeptMigration, PostgresConnection, Query, StoreError,
        postgres::{FENCE, Signer, close, connect, literal, prepare_binding, quoted},
        run_script,
    },
    tenancy::contents,
};

/// Making a database takes a checkpoint's time at worst.
const LONG: Duration = Duration::from_secs(60);

impl Clusters {
    /// What every account of the cluster stands on: the functions that bind and secure, and, where
    /// accounts share tables, their schema with our own tables. Safe to run again.
    ///
    /// # Errors
    /// Names the cluster and what to do.
    pub(in crate::tenancy) async fn prepare(&self, cluster: &Cluster) -> Result<(), StoreError> {
        if self.tenancy == Tenancy::Database {
            return Ok(());
        }
        let mut connection = self.owner_connection(cluster, None).await?;
        begin(&mut connection).await?;
        let login = cluster.logins.application.login();
        prepare_binding(&mut connection, &self.settings.binding_keys, login).await?;
        script(&mut connection, include_str!("tables.sql")).await?;
        let retaining = self.retaining(login);
        script(&mut connection, &retaining).await?;
        if self.tenancy == Tenancy::Row {
            prepare_rows(&mut connection, login).await?;
        }
        commit(connection).await
    }

    /// Makes the space of a new account in the transaction of `connection`, which is the owner's
    /// on the account's cluster, with all migrations. Names without a schema are then the space's.
    pub(in crate::tenancy) async fn make(
        &self,
        connection: &mut PgConnection,
        cluster: &Cluster,
        account: Uuid,
        migrations: &[KeptMigration],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let login = cluster.logins.application.login();
        let space = space_of(self.tenancy, account);
        match self.tenancy {
            Tenancy::Row => {
                // The row is the account's, as every other row is.
                let signer = self.owner_signer(connection).await?;
                bind(connection, &signer, account, &space).await?;
                contents::insert_owner(plain(connection), account, now).await
            }
            Tenancy::Schema => {
                let create = format!("CREATE SCHEMA {}", quoted(&space));
                script(connection, &create).await.map_err(|error| {
                    error.or_refused("42P06", || format!("the schema {space} exists already"))
                })?;
                fill(connection, &space, account, migrations, now).await?;
                secure(connection, &securing_schema(&space, account, login)).await
            }
            Tenancy::Database => {
                self.prepare_own_database(connection, login).await?;
                fill(connection, &space, account, migrations, now).await?;
                secure(connection, &securing_database(login)).await
            }
        }
    }

    /// Makes the account's space apart from the directory's transaction: on another cluster, or
    /// in a database of its own. What is left of a failure is removed.
    pub(in crate::tenancy) async fn make_apart(
        &self,
        cluster: &Cluster,
        account: Uuid,
        migrations: &[KeptMigration],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let database = (self.tenancy == Tenancy::Database).then(|| database_of(account));
        if let Some(database) = &database {
            let mut connection = self.owner_connection(cluster, None).await?;
            let create = format!("CREATE DATABASE {} TEMPLATE template0", quoted(database));
            script(&mut connection, &create).await.map_err(|error| {
                error.or_refused("42P04", || {
                    format!("the database {database} exists already")
                })
            })?;
            close(connection).await;
        }
        let made = async {
            let mut connection = self.owner_connection(cluster, database.as_deref()).await?;
            begin(&mut connection).await?;
            self.make(&mut connection, cluster, account, migrations, now)
                .await?;
            commit(connection).await
        }
        .await;
        if made.is_err() && database.is_some() {
            // Ours, made above. Where this fails too, a database is left that belongs to nobody.
            drop(self.remove_apart(cluster, account).await);
        }
        made
    }

    /// Whether the space lies in the directory's own database, so that one transaction holds both.
    pub(in crate::tenancy) fn lies_with_directory(&self, cluster: &Cluster) -> bool {
        cluster.name.is_none() && self.tenancy != Tenancy::Database
    }

    /// Removes the account's space in the transaction of `connection`.
    pub(in crate::tenancy) async fn remove(
        &self,
        connection: &mut PgConnection,
        account: Uuid,
    ) -> Result<(), StoreError> {
        let space = space_of(self.tenancy, account);
        if self.tenancy != Tenancy::Database {
            // Whoever removes the account is not kept away from it.
            lift_fence(connection, account).await?;
        }
        match self.tenancy {
            Tenancy::Row => {
                let signer = self.owner_signer(connection).await?;
                bind(connection, &signer, account, &space).await?;
                let clear = include_str!("clear_account.sql")
                    .replace("$ACCOUNT", &literal(&account.to_string()));
                script(connection, &clear).await
            }
            Tenancy::Schema => {
                let drop_it = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(&space));
                script(connection, &drop_it).await
            }
            Tenancy::Database => Ok(()),
        }
    }

    /// Removes a space that lies apart from the directory.
    pub(in crate::tenancy) async fn remove_apart(
        &self,
        cluster: &Cluster,
        account: Uuid,
    ) -> Result<(), StoreError> {
        if self.tenancy == Tenancy::Database {
            return self.drop_database(cluster, &database_of(account)).await;
        }
        let mut connection = self.owner_connection(cluster, None).await?;
        begin(&mut connection).await?;
        self.remove(&mut connection, account).await?;
        commit(connection).await
    }

    /// Drops a database whoever is connected to it: a pooler keeps connections of the
    /// application's login for long, and only that login itself, or a superuser, may end them.
    ///
    /// A pooler that looks up passwords in that very database keeps a superuser's connection
    /// there, which nobody of us may end. Then the database is emptied and closed; `doctor` names
    /// it until it is dropped.
    async fn drop_database(&self, cluster: &Cluster, name: &str) -> Result<(), StoreError> {
        const TRIES: u32 = 10;
        const PAUSE: Duration = Duration::from_millis(100);
        let mut owner = self.owner_connection(cluster, None).await?;
        let drop_it = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
        for _ in 0..TRIES {
            match script(&mut owner, &drop_it).await {
                // Somebody else's connection, or one that is just ending.
                Err(StoreError::Database(sqlx::Error::Database(error)))
                    if matches!(error.code().as_deref(), Some("42501" | "55006")) =>
                {
                    self.end_sessions(cluster, name).await?;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    close(owner).await;
                    return Ok(());
                }
            }
        }
        let mut inside = self.owner_connection(cluster, Some(name)).await?;
        let empty = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(OWN));
        script(&mut inside, &empty).await?;
        close(inside).await;
        let shut = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", quoted(name));
        script(&mut owner, &shut).await?;
        close(owner).await;
        tracing::warn!(
            database = name,
            "the account's database is empty, but is still there: another login, such as a \
             pooler's auth_user, is connected to it. Drop it when that has left"
        );
        Ok(())
    }

    /// Ends what the application's login does in the database.
    async fn end_sessions(&self, cluster: &Cluster, database: &str) -> Result<(), StoreError> {
        let url = &cluster.logins.application;
        let mut connection = connect(url, self.timeout)
            .await
            .map_err(|error| StoreError::Unavailable(format!("{url}: {error}")))?;
        // In one message: behind a pooler, what is prepared on one server connection may be run on
        // another.
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
             WHERE datname = {} AND usename = current_user",
            literal(database)
        );
        script(&mut connection, &end).await?;
        close(connection).await;
        Ok(())
    }

    /// A connection of the owner to the cluster's database, or to another one there.
    pub(in crate::tenancy) async fn owner_connection(
        &self,
        cluster: &Cluster,
        database: Option<&str>,
    ) -> Result<PgConnection, StoreError> {
        let url = cluster.logins.owner();
        let url = match database {
            Some(database) => url.with_database(database),
            None => url.clone(),
        };
        connect(&url, self.timeout)
            .await
            .map_err(|error| StoreError::Unavailable(format!("{url}: {error}")))
    }

    /// Nobody but the application's login connects to an account's own database, and nobody makes
    /// anything in it.
    async fn prepare_own_database(
        &self,
        connection: &mut PgConnection,
        login: &str,
    ) -> Result<(), StoreError> {
        script(connection, OWN_DATABASE).await?;
        self.prepare_proofs(connection, login).await?;
        let query = Query::new("SELECT current_database()::text");
        let name: Option<(String,)> = query.fetch_optional(plain(connection)).await?;
        let (name,) = name.unwrap_or_default();
        script(connection, &self.securing_own_database(&name, login)).await
    }

    /// The keys with which calls of functions are proven in an account's own database, where there
    /// are any. From here on names without a schema are not the space's.
    pub(super) async fn prepare_proofs(
        &self,
        connection: &mut PgConnection,
        login: &str,
    ) -> Result<(), StoreError> {
        prepare_binding(connection, &self.settings.binding_keys, login).await
    }

    /// The functions and the fence of an account's own database, and who may connect to it. Safe
    /// to run again.
    pub(super) fn securing_own_database(&self, name: &str, login: &str) -> String {
        format!(
            "{tables};
             REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO {login};
             {fence};
             {retaining}",
            tables = include_str!("tables.sql"),
            name = quoted(name),
            fence = fencing(login),
            retaining = self.retaining(login),
            login = quoted(login)
        )
    }

    /// How entries of activity come and go, and how many stay.
    fn retaining(&self, login: &str) -> String {
        let (account, space, own) = match self.tenancy {
            Tenancy::Row => (
                "vestibule.bound_account()",
                "'vestibule_tenants.vestibule_activity'",
                "format('a.account_id = %L', account)",
            ),
            Tenancy::Schema => (
                "vestibule.bound_account()",
                "format('account_%s.vestibule_activity', replace(account::text, '-', ''))",
                "'true'",
            ),
            Tenancy::Database => (
                "(SELECT t.account_id FROM tenant.vestibule_account t)",
                "'tenant.vestibule_activity'",
                "'true'",
            ),
        };
        include_str!("activity.sql")
            .replace("$KEEP", &self.retention.keeps().to_string())
            .replace("$MAX_AGE", &self.retention.max_age_millis().to_string())
            .replace("$ACCOUNT", account)
            .replace("$SPACE", space)
            .replace("$OWN", own)
            .replace("$LOGIN", &quoted(login))
    }

    /// A signer with the time of the owner's connection.
    pub(super) async fn owner_signer(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Signer, StoreError> {
        Ok(Signer::with_clock_of(&self.settings.binding_keys, connection).await?)
    }
}

/// The tables that all accounts share, with our own among them.
async fn prepare_rows(connection: &mut PgConnection, login: &str) -> Result<(), StoreError> {
    let query = Query::new("SELECT COUNT(*) FROM pg_catalog.pg_namespace WHERE nspname = $1");
    let found: Option<(i64,)> = query.bind(ROWS).fetch_optional(plain(connection)).await?;
    if found != Some((1,)) {
        script(
            connection,
            &format!(
                "CREATE SCHEMA {0}; REVOKE ALL ON SCHEMA {0} FROM PUBLIC",
                ROWS
            ),
        )
        .await?;
        use_space(connection, ROWS).await?;
        contents::make_tables(plain(connection)).await?;
    }
    secure(connection, &securing_rows(login)).await
}

/// What keeps sessions away from an account's own database while it is being moved.
pub(super) fn fencing(login: &str) -> String {
    format!(
        "{FENCE};
         GRANT USAGE ON SCHEMA vestibule TO {0};
         GRANT EXECUTE ON FUNCTION vestibule.require_unfenced(uuid) TO {0}",
        quoted(login)
    )
}

const OWN_DATABASE: &str = "
CREATE SCHEMA tenant; REVOKE ALL ON SCHEMA tenant FROM PUBLIC;
CREATE SCHEMA vestibule; REVOKE ALL ON SCHEMA vestibule FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
";

/// Our own tables and all migrations, in a space of one account.
async fn fill(
    connection: &mut PgConnection,
    space: &str,
    account: Uuid,
    migrations: &[KeptMigration],
    now: Timestamp,
) -> Result<(), StoreError> {
    use_space(connection, space).await?;
    contents::fill(plain(connection), account, migrations, now).await
}

/// From here on, names without a schema are the space's, in this transaction.
pub(super) async fn use_space(
    connection: &mut PgConnection,
    space: &str,
) -> Result<(), StoreError> {
    script(connection, &using(space)).await
}

pub(super) fn using(space: &str) -> String {
    format!("SET LOCAL search_path TO {}, pg_temp", quoted(space))
}

/// Binds the owner's transaction to an account: forced row-level security binds him too.
pub(super) async fn bind(
    connection: &mut PgConnection,
    signer: &Signer,
    account: Uuid,
    space: &str,
) -> Result<(), StoreError> {
    use_space(connection, space).await?;
    Query::new("SELECT set_config('vestibule.binding', $1, true)")
        .bind(&*signer.binding(account))
        .execute(plain(connection))
        .await?;
    Ok(())
}

/// What makes the tables that all accounts share safe.
pub(super) fn securing_rows(login: &str) -> String {
    let (space, login) = (literal(ROWS), literal(login));
    format!("SELECT vestibule.secure_rows({space}, {login})")
}

/// What makes the tables in an account's own database safe.
pub(super) fn securing_database(login: &str) -> String {
    let (space, login) = (literal(OWN), literal(login));
    format!("SELECT vestibule.secure_database({space}, {login})")
}

/// What makes the tables in an account's own schema safe. On Citus, workers know neither the
/// setting nor the key: there the search path keeps accounts apart.
pub(super) fn securing_schema(space: &str, account: Uuid, login: &str) -> String {
    let (space, login) = (literal(space), literal(login));
    format!(
        "SELECT CASE
             WHEN EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')
             THEN vestibule.secure_space_without_policies({space}, {login})
             ELSE vestibule.secure_space({space}, '{account}', {login})
         END"
    )
}

/// Runs a script that calls functions of `tables.sql`. Their refusals say what to write instead.
pub(super) async fn secure(connection: &mut PgConnection, sql: &str) -> Result<(), StoreError> {
    match script(connection, sql).await {
        Err(StoreError::Database(error)) => {
            let refusal = error
                .as_database_error()
                .filter(|error| error.code().as_deref() == Some("VB002"))
                .map(|error| error.message().to_owned());
            Err(refusal.map_or_else(|| error.into(), StoreError::Refused))
        }
        done => done,
    }
}

/// From the commit on, sessions reach the account here; in this transaction, at once.
pub(super) async fn lift_fence(
    connection: &mut PgConnection,
    account: Uuid,
) -> Result<(), StoreError> {
    Query::new("DELETE FROM vestibule.fences WHERE account_id = $1")
        .bind(account)
        .execute(plain(connection))
        .await?;
    Ok(())
}

pub(super) fn plain(connection: &mut PgConnection) -> Connection<'_> {
    Connection::Postgres(PostgresConnection::plain(connection, false))
}

pub(super) async fn script(connection: &mut PgConnection, sql: &str) -> Result<(), StoreError> {
    Ok(run_script(plain(connection), sql).await?)
}

pub(super) async fn begin(connection: &mut PgConnection) -> Result<(), StoreError> {
    script(connection, &beginning()).await
}

/// Begins a transaction.
pub(super) fn beginning() -> String {
    format!(
        "BEGIN; SET LOCAL client_min_messages TO warning; SET LOCAL statement_timeout = {}",
        LONG.as_millis()
    )
}

pub(super) async fn commit(mut connection: PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
