//! What lies in an account's space, whatever the database: our own tables, and the application's
//! migrations.

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    store::{Connection, KeptMigration, Query, StoreError, run_script},
};

/// The steps of our own tables.
pub(super) const STEPS: &[&str] = &[include_str!("schema/0001_account.sql")];

/// Fills a new account's own space, to which names without a schema lead.
pub(super) async fn fill(
    mut on: Connection<'_>,
    account: Uuid,
    migrations: &[KeptMigration],
    now: Timestamp,
) -> Result<(), StoreError> {
    make_tables(on.reborrow()).await?;
    insert_owner(on.reborrow(), account, now).await?;
    for migration in migrations {
        apply(on.reborrow(), migration).await?;
        record(on.reborrow(), migration, now).await?;
    }
    Ok(())
}

/// Our own tables.
pub(super) async fn make_tables(mut on: Connection<'_>) -> Result<(), StoreError> {
    for step in STEPS {
        run_script(on.reborrow(), step).await?;
    }
    Ok(())
}

/// Writes down whose space it is.
pub(super) async fn insert_owner(
    on: Connection<'_>,
    account: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    Query::new("INSERT INTO vestibule_account (account_id, step, created_at) VALUES ($1, $2, $3)")
        .bind(account)
        .bind(i64::try_from(STEPS.len()).unwrap_or(i64::MAX))
        .bind(now)
        .execute(on)
        .await?;
    Ok(())
}

/// Runs a migration. What the database says against it names it.
pub(super) async fn apply(on: Connection<'_>, migration: &KeptMigration) -> Result<(), StoreError> {
    run_script(on, &migration.sql)
        .await
        .map_err(|error| match StoreError::from(error) {
            StoreError::Database(error) => StoreError::Refused(format!(
                "migration {} ({}) failed: {error}",
                migration.version, migration.description
            )),
            other => other,
        })
}

/// Writes down that the migration was applied.
pub(super) async fn record(
    on: Connection<'_>,
    migration: &KeptMigration,
    now: Timestamp,
) -> Result<(), StoreError> {
    Query::new(
        "INSERT INTO vestibule_migrations (version, description, checksum, applied_at)
         VALUES ($1, $2, $3, $4)",
    )
    .bind(migration.version)
    .bind(&migration.description)
    .bind(migration.checksum.clone())
    .bind(now)
    .execute(on)
    .await?;
    Ok(())
}
