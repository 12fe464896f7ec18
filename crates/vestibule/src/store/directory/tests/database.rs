//! The databases that the suite is tried on.

use std::{sync::Arc, time::Duration};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use vestibule_testbed::TestDatabase;

use super::super::Directory;
use crate::{
    clock::{ManualClock, Timestamp},
    settings::{DatabaseLocation, DatabaseSettings, SettingsReader, SqliteSettings, Tenancy},
};

/// A database that several processes could open. Dropping it removes it.
pub(crate) struct Database {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: ManualClock,
    postgres: Option<Postgres>,
}

/// The same on PostgreSQL.
struct Postgres {
    database: TestDatabase,
    login: PostgresLogin,
}

/// By which statements the suite reaches the directory.
#[derive(Clone, Copy)]
pub(super) enum PostgresLogin {
    Owner,
    Functions,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(Timestamp::from_secs(1_750_000_000)),
            postgres: None,
        }
    }

    pub(super) async fn on_postgres(login: PostgresLogin) -> Self {
        let database = vestibule_testbed::Postgres::shared().database().await;
        let mut new = Self::new();
        new.postgres = Some(Postgres { database, login });
        Directory::migrate(&new.settings(), Arc::new(new.clock.clone()))
            .await
            .unwrap()
            .close()
            .await;
        new
    }

    /// A superuser's connection, past everything.
    pub(super) async fn superuser(&self) -> PgConnection {
        let postgres = self.postgres.as_ref().unwrap();
        let url: PgConnectOptions = postgres.database.superuser_url().parse().unwrap();
        url.connect().await.unwrap()
    }

    pub(crate) fn settings(&self) -> DatabaseSettings {
        match &self.postgres {
            Some(postgres) => postgres_settings(&postgres.database, Tenancy::Row),
            None => DatabaseSettings {
                location: DatabaseLocation::Sqlite(SqliteSettings {
                    file: self.dir.path().join("main.db"),
                    tenant_dir: self.dir.path().join("tenants"),
                }),
                tenancy: Tenancy::Database,
                pool_size: 4,
                timeout: Duration::from_secs(5),
                max_stale: Duration::from_secs(60),
                activity_keep: 10_000,
                activity_max_age: None,
            },
        }
    }

    /// As one more process would.
    pub(crate) async fn open(&self) -> Directory {
        let clock = Arc::new(self.clock.clone());
        let settings = self.settings();
        let login = self.postgres.as_ref().map(|postgres| postgres.login);
        match login {
            None => Directory::open(&settings, clock).await,
            Some(PostgresLogin::Owner) => Directory::open_as_owner(&settings, clock).await,
            Some(PostgresLogin::Functions) => {
                Directory::open_through_functions(&settings, clock).await
            }
        }
        .unwrap()
    }
}

/// Settings for a database of the test's own, with a key of the test's own.
pub(crate) fn postgres_settings(database: &TestDatabase, tenancy: Tenancy) -> DatabaseSettings {
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [7; 32]);
    let mut reader = SettingsReader::from_pairs([
        ("DATABASE_URL", database.application_url()),
        ("DATABASE_ADMIN_URL", database.owner_url()),
        ("VESTIBULE_BINDING_KEY", key),
        ("TENANCY", tenancy.as_str().to_owned()),
        ("DATABASE_POOL_SIZE", "6".to_owned()),
    ]);
    let settings = DatabaseSettings::read(&mut reader);
    reader.finish().unwrap();
    settings.unwrap()
}
