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

pub(super) const OPERATIONS: &[&Operation] = &[&KEPT_MIGRATIONS, &TENANTS_CURRENT];

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

/// Whether every account had all migrations that are kept when they were applied last. New
/// accounts are made with all of them.
static TENANTS_CURRENT: Operation = Operation {
    name: "tenants_current",
    takes: &[],
    gives: &[("noted", Kind::BigInt)],
    sql: "SELECT COUNT(*) FROM settings s
          WHERE s.name = 'tenants_current'
            AND s.value = CAST((SELECT COUNT(*) FROM tenant_migrations) AS TEXT)",
};

impl Directory {
    pub(crate) async fn tenants_current(&self) -> Result<bool, StoreError> {
        let noted: Option<(i64,)> = self.fetch_optional(Query::of(&TENANTS_CURRENT)).await?;
        Ok(noted == Some((1,)))
    }

    /// Every account has these migrations. Nothing is noted where the list has grown meanwhile.
    pub(crate) async fn note_tenants_current(
        &self,
        kept: &[KeptMigration],
    ) -> Result<(), StoreError> {
        let number = i64::try_from(kept.len()).unwrap_or(i64::MAX);
        self.write(move |writing| {
            Box::pin(async move {
                let query = Query::new(
                    "INSERT INTO settings (name, value)
                     SELECT 'tenants_current', CAST($1 AS TEXT)
                     WHERE $1 = (SELECT COUNT(*) FROM tenant_migrations)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(number);
                writing.execute(query).await.map(drop)
            })
        })
        .await
    }

    pub(crate) async fn kept_migrations(&self) -> Result<Vec<KeptMigration>, StoreError> {
        self.fetch_all(Query::of(&KEPT_MIGRATIONS)).await
    }
}

impl Writing {
    /// The list is about to change.
    pub(crate) async fn forget_tenants_current(&mut self) -> Result<(), StoreError> {
        let query = Query::new("DELETE FROM settings WHERE name = 'tenants_current'");
        self.execute(query).await.map(drop)
    }

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
