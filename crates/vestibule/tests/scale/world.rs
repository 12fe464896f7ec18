//! A database of a test's own, beside a sandbox.

use std::{env, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;
use vestibule::{
    Settings, clock::SystemClock, settings::SettingsReader, store::Directory, tenancy::TenantSpaces,
};
use vestibule_sandbox::Sandbox;
use vestibule_testbed::{Postgres, TestDatabase};

/// The size that a variable sets; none: the test stays small.
pub(crate) fn full_size(name: &str) -> Option<usize> {
    let text = env::var(name).ok()?;
    Some(text.parse().expect("a size"))
}

/// Settings of a process, and what they name.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) pairs: Vec<(&'static str, String)>,
    pub(crate) place: Place,
}

pub(crate) enum Place {
    Files(TempDir),
    Postgres(Box<TestDatabase>),
}

impl World {
    /// One file per account.
    pub(crate) async fn files() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vestibule.db");
        let url = format!("sqlite:{}", file.display());
        let pairs = vec![("DATABASE_URL", url)];
        Self::new(pairs, Place::Files(directory)).await
    }

    /// A database of the server.
    pub(crate) async fn on(server: &Postgres, tenancy: &str) -> Self {
        let database = server.database().await;
        let pairs = vec![
            ("DATABASE_URL", database.application_url()),
            ("DATABASE_ADMIN_URL", database.owner_url()),
            ("VESTIBULE_BINDING_KEY", STANDARD.encode([7; 32])),
            ("TENANCY", tenancy.to_owned()),
        ];
        Self::new(pairs, Place::Postgres(Box::new(database))).await
    }

    async fn new(pairs: Vec<(&'static str, String)>, place: Place) -> Self {
        Self {
            sandbox: Sandbox::builder().start().await.unwrap(),
            pairs,
            place,
        }
    }

    /// The environment of a process.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        [self.sandbox.environment(), self.pairs.clone()].concat()
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::read(SettingsReader::from_pairs(self.environment())).unwrap()
    }

    /// The data spaces as the command line has them, made and current.
    pub(crate) async fn owned(&self) -> (Directory, TenantSpaces) {
        let settings = self.settings().database;
        let clock = Arc::new(SystemClock);
        let owner = Directory::migrate(&settings, clock.clone()).await.unwrap();
        let spaces = TenantSpaces::open(&settings, &owner, clock).unwrap();
        spaces.prepare().await.unwrap();
        (owner, spaces)
    }

    pub(crate) fn database(&self) -> &TestDatabase {
        match &self.place {
            Place::Files(_) => panic!("files have no server"),
            Place::Postgres(database) => database,
        }
    }

    pub(crate) async fn superuser(&self) -> PgConnection {
        let options: PgConnectOptions = self.database().superuser_url().parse().unwrap();
        options.connect().await.unwrap()
    }
}
