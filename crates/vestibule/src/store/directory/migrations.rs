//! The application's migrations, kept here so that whoever creates an account applies them all.

use super::{Directory, Kind, Operation, Writing};
use crate::store::{StoreError, query::Query};

/// One migration as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct KeptMigration {
    pub(crate) version: i64,
    pub(crate) description: String,
    pub(crate) checksum: Vec<u8>,
    pub(crate) sql: String,
}

pub(super) const OPERATIONS: &[&Operation] = &[&KEPT_MIGRATIONS];

static KEPT_MIGRATIONS: Operation = Operation {
    name: "kept_migrations",
    takes: &[],
    gives: &[
        ("version", Kind::BigInt),
        ("description", Kind::Text),
        ("checksum", Kind::Bytes),
        ("sql", Kind::Text),
    ],
    sql: "SELECT version, description, checksum, sql FROM tenant_migrations ORDER BY version",
};

impl Directory {
    pub(crate) async fn kept_migrations(&self) -> Result<Vec<KeptMigration>, StoreError> {
        self.fetch_all(Query::of(&KEPT_MIGRATIONS)).await
    }
}

impl Writing {
    pub(crate) async fn kept_migrations(&mut self) -> Result<Vec<KeptMigration>, StoreError> {
        self.fetch_all(Query::of(&KEPT_MIGRATIONS)).await
    }

    pub(crate) async fn keep_migration(
        &mut self,
        migration: &KeptMigration,
    ) -> Result<(), StoreError> {
        let query = Query::new(
            "INSERT INTO tenant_migrations (version, description, checksum, sql, kept_at)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(migration.version)
        .bind(&migration.description)
        .bind(migration.checksum.clone())
        .bind(&migration.sql)
        .bind(self.now());
        self.execute(query).await.map(drop)
    }

    /// Forgets a migration that no account has.
    pub(crate) async fn drop_migration(&mut self, version: i64) -> Result<(), StoreError> {
        let query = Query::new("DELETE FROM tenant_migrations WHERE version = $1").bind(version);
        self.execute(query).await.map(drop)
    }
}
