//! What lies in an account's space, whatever the database: our own tables, and the application's
//! migrations.

use std::fmt::Write as _;

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    store::{Connection, KeptMigration, Query, StoreError, postgres::literal, run_script},
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
        apply_and_record(on.reborrow(), migration, now).await?;
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

/// Runs a migration and writes down that it was applied.
pub(super) async fn apply_and_record(
    mut on: Connection<'_>,
    migration: &KeptMigration,
    now: Timestamp,
) -> Result<(), StoreError> {
    if matches!(on, Connection::Sqlite(_)) {
        apply(on.reborrow(), migration, &migration.sql).await?;
        return record(on, migration, now).await;
    }
    // In one message: each migration of each account would wait for two more answers.
    let checksum = migration.checksum.iter().fold(
        String::with_capacity(migration.checksum.len() * 2),
        |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        },
    );
    // On lines of its own: the migration may end in a comment, or without a semicolon.
    let both = format!(
        "{}\n;\nINSERT INTO vestibule_migrations (version, description, checksum, applied_at)
         VALUES ({}, {}, pg_catalog.decode('{checksum}', 'hex'), {})",
        migration.sql,
        migration.version,
        literal(&migration.description),
        now.as_millis(),
    );
    apply(on, migration, &both).await
}

/// Runs a migration, as the text that it is here. What the database says against it names it.
pub(super) async fn apply(
    on: Connection<'_>,
    migration: &KeptMigration,
    sql: &str,
) -> Result<(), StoreError> {
    run_script(on, sql)
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
