//! What `migrate` makes of an empty database, and how others see that it was done.
//!
//! All of it runs in one transaction of the owner's login, and may be run again at any time: by a
//! newer version, with another key, for another login of the application.

use sqlx::PgConnection;

use super::{functions::definitions, literal, quoted, signature::padded};
use crate::{
    clock::Timestamp,
    settings::{BindingKey, Tenancy},
    store::{
        Connection, Operation, Query, StoreError, query::PostgresConnection, run_script,
        schema::POSTGRES_STEPS,
    },
};

/// What [`install`] is told.
pub(crate) struct Installation<'i> {
    pub(crate) tenancy: Tenancy,
    pub(crate) keys: &'i [BindingKey],
    /// The application's login.
    pub(crate) login: &'i str,
    pub(crate) operations: &'i [&'i Operation],
    pub(crate) now: Timestamp,
}

const TENANCY: &str = "tenancy";

/// What keeps sessions away from an account that is being moved.
pub(crate) const FENCE: &str = include_str!("fence.sql");

/// Makes or completes the directory. The caller holds an open transaction of the owner.
pub(crate) async fn install(
    connection: &mut PgConnection,
    installation: &Installation<'_>,
) -> Result<(), StoreError> {
    prepare_schema(connection).await?;
    require_ours(connection).await?;
    bring_up_to_date(connection, installation.now).await?;
    remember_tenancy(connection, installation.tenancy).await?;
    bind(connection, installation.keys, installation.login).await?;
    script(connection, proving(installation.keys)).await?;
    let functions = definitions(installation.operations, installation.login);
    script(connection, &functions).await
}

/// What a function demands of its caller: nothing without a key, as in the tenancy `database`.
fn proving(keys: &[BindingKey]) -> &'static str {
    if keys.is_empty() {
        include_str!("no_proof.sql")
    } else {
        include_str!("proof.sql")
    }
}

/// Makes what binds transactions, and what proves calls, on a database that holds accounts' data. The
/// caller holds an open transaction of the owner.
pub(crate) async fn prepare_binding(
    connection: &mut PgConnection,
    keys: &[BindingKey],
    login: &str,
) -> Result<(), StoreError> {
    prepare_schema(connection).await?;
    bind(connection, keys, login).await?;
    script(connection, proving(keys)).await
}

async fn prepare_schema(connection: &mut PgConnection) -> Result<(), StoreError> {
    script(
        connection,
        // One `migrate` after the other. The second setting is Citus's; elsewhere it means
        // nothing.
        "SELECT pg_advisory_xact_lock(7012850, 0);
         SET LOCAL citus.enable_schema_based_sharding TO off;
         SET LOCAL client_min_messages TO warning;
         CREATE SCHEMA IF NOT EXISTS vestibule;
         SET LOCAL search_path TO vestibule, pg_temp",
    )
    .await
}

/// Somebody else's schema of that name stays as it is.
async fn require_ours(connection: &mut PgConnection) -> Result<(), StoreError> {
    let query = Query::new(
        "SELECT COALESCE(SUM((relname IN ('vestibule_directory', 'binding_keys'))::int), 0) AS marked,
                COUNT(*) AS tables
         FROM pg_class WHERE relnamespace = 'vestibule'::regnamespace AND relkind = 'r'",
    );
    let (marked, tables): (i64, i64) = query
        .fetch_optional(own(connection))
        .await?
        .unwrap_or_default();
    if marked == 0 && tables > 0 {
        return Err(StoreError::Refused(
            "its schema vestibule belongs to something else: let DATABASE_URL name another database"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn bring_up_to_date(connection: &mut PgConnection, now: Timestamp) -> Result<(), StoreError> {
    script(
        connection,
        "CREATE TABLE IF NOT EXISTS vestibule_directory (
             step BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL
         )",
    )
    .await?;
    let query = Query::new("SELECT COALESCE(MAX(step), 0) FROM vestibule_directory");
    let (done,): (i64,) = query
        .fetch_optional(own(connection))
        .await?
        .unwrap_or_default();
    let done = known_step(done)?;
    for (index, texts) in POSTGRES_STEPS.iter().enumerate().skip(done) {
        for text in *texts {
            script(connection, text).await?;
        }
        Query::new("INSERT INTO vestibule_directory (step, applied_at) VALUES ($1, $2)")
            .bind(i64::try_from(index + 1).unwrap_or(i64::MAX))
            .bind(now)
            .execute(own(connection))
            .await?;
    }
    Ok(())
}

/// The number of steps that were applied, unless a newer version applied them.
fn known_step(step: i64) -> Result<usize, StoreError> {
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    if step > POSTGRES_STEPS.len() {
        return Err(StoreError::Refused(format!(
            "the database was written by a newer version (step {step}, this version knows {}): use \
             that version, or restore a backup",
            POSTGRES_STEPS.len()
        )));
    }
    Ok(step)
}

async fn remember_tenancy(
    connection: &mut PgConnection,
    tenancy: Tenancy,
) -> Result<(), StoreError> {
    Query::new("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(TENANCY)
        .bind(tenancy.as_str())
        .execute(own(connection))
        .await?;
    let query = Query::new("SELECT value FROM settings WHERE name = $1").bind(TENANCY);
    let kept: Option<(String,)> = query.fetch_optional(own(connection)).await?;
    require_tenancy(&kept.unwrap_or_default().0, tenancy)
}

fn require_tenancy(kept: &str, wanted: Tenancy) -> Result<(), StoreError> {
    if kept == wanted.as_str() {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "the database keeps accounts apart by {kept}, TENANCY says {}: correct the setting, or use \
         another database",
        wanted.as_str()
    )))
}

/// Fails where `migrate` has something to do, or the database was made for another tenancy.
pub(crate) fn require_current(step: i64, kept: &str, wanted: Tenancy) -> Result<(), StoreError> {
    if known_step(step)? < POSTGRES_STEPS.len() {
        return Err(behind());
    }
    require_tenancy(kept, wanted)
}

/// What every command but `migrate` says of a directory that is not there or not current.
pub(crate) fn behind() -> StoreError {
    StoreError::Refused(
        "the directory is not there, or is behind this version: run `vestibule migrate`".to_owned(),
    )
}

/// Keys, the function that checks bindings, and what the application's login may do.
async fn bind(
    connection: &mut PgConnection,
    keys: &[BindingKey],
    login: &str,
) -> Result<(), StoreError> {
    script(connection, FENCE).await?;
    script(connection, include_str!("binding.sql")).await?;
    script(connection, "DELETE FROM vestibule.binding_keys").await?;
    for (position, key) in (1_i32..).zip(keys) {
        let (inner, outer) = padded(key);
        Query::new("INSERT INTO vestibule.binding_keys VALUES ($1, $2, $3)")
            .bind(position)
            .bind(inner.as_slice())
            .bind(outer.as_slice())
            .execute(own(connection))
            .await?;
    }
    require_login(connection, login).await?;
    script(connection, &grants(login)).await
}

async fn require_login(connection: &mut PgConnection, login: &str) -> Result<(), StoreError> {
    let query =
        Query::new("SELECT COUNT(*) FROM pg_catalog.pg_roles WHERE rolname = $1").bind(login);
    let found: Option<(i64,)> = query.fetch_optional(own(connection)).await?;
    if found == Some((1,)) {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "the login {login} of DATABASE_URL does not exist: make it with `CREATE ROLE {} LOGIN \
         PASSWORD '…'`",
        quoted(login)
    )))
}

/// Exactly what the application's login needs; what everybody has by default is taken away. Where
/// the owner's login may not do that, `doctor` says so.
fn grants(login: &str) -> String {
    GRANTS
        .replace("$LOGIN_NAME", &literal(login))
        .replace("$LOGIN", &quoted(login))
}

const GRANTS: &str = "
REVOKE ALL ON SCHEMA vestibule FROM PUBLIC;
GRANT USAGE ON SCHEMA vestibule TO $LOGIN;
GRANT EXECUTE ON FUNCTION vestibule.bound_account(), vestibule.require_unfenced(uuid) TO $LOGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA vestibule FROM PUBLIC;
DO $grants$
DECLARE statement text;
BEGIN
    FOREACH statement IN ARRAY ARRAY[
        format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), $LOGIN_NAME),
        format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()),
        CASE WHEN current_user <> $LOGIN_NAME THEN
            format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM %I', current_database(), $LOGIN_NAME)
        END,
        CASE WHEN current_user <> $LOGIN_NAME THEN
            format('REVOKE ALL ON ALL TABLES IN SCHEMA vestibule FROM %I', $LOGIN_NAME)
        END,
        CASE WHEN to_regnamespace('public') IS NOT NULL THEN
            'REVOKE CREATE ON SCHEMA public FROM PUBLIC'
        END
    ] LOOP
        BEGIN
            IF statement IS NOT NULL THEN
                EXECUTE statement;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
END $grants$;
";

fn own(connection: &mut PgConnection) -> Connection<'_> {
    Connection::Postgres(PostgresConnection::plain(connection, false))
}

async fn script(connection: &mut PgConnection, sql: &str) -> Result<(), StoreError> {
    Ok(run_script(own(connection), sql).await?)
}
