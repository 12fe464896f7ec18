//! What sessions and data spaces promise.

mod activity;
mod budget;
mod export;
mod migrations;
mod moving;
mod postgres;
mod sessions;
mod spaces;
mod tables;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use uuid::Uuid;

use super::{SessionScope, TenantSession, TenantSpaces};
use crate::{
    settings::DatabaseSettings,
    store::{Account, Directory, directory_tests::Database},
};

const NOTES: &str = "CREATE TABLE notes (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE,
    parent BIGINT REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED
)";

/// Counts open files exactly: a look from outside would take too long to be true.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Arc<(AtomicUsize, AtomicUsize)>);

/// One open file.
#[derive(Debug)]
pub(super) struct Mark(Arc<(AtomicUsize, AtomicUsize)>);

impl OpenFiles {
    pub(super) fn mark(&self) -> Mark {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Mark(Arc::clone(&self.0))
    }

    pub(super) fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn migrator(migrations: &[(i64, &'static str)]) -> Migrator {
    Migrator::with_migrations(
        migrations
            .iter()
            .map(|(version, sql)| {
                let sql = (*sql).into_sql_str();
                Migration::new(*version, "a step".into(), MigrationType::Simple, sql, false)
            })
            .collect(),
    )
}

/// A directory with an account that has a table `notes`.
struct World {
    database: Database,
    directory: Directory,
    spaces: TenantSpaces,
    acme: Account,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut DatabaseSettings)) -> Self {
        let database = Database::new();
        let mut settings = database.settings();
        change(&mut settings);
        let directory = Directory::open(&settings, Arc::new(database.clock.clone()))
            .await
            .unwrap();
        let clock = Arc::new(database.clock.clone());
        let spaces = TenantSpaces::open(&settings, &directory, clock).unwrap();
        spaces
            .migrate_tenants(&migrator(&[(1, NOTES)]))
            .await
            .unwrap();
        let acme = spaces.create_account("Acme", "tenant_acme").await.unwrap();
        Self {
            database,
            directory,
            spaces,
            acme,
        }
    }

    /// As one more process would.
    fn other_process(&self) -> TenantSpaces {
        let clock = Arc::new(self.database.clock.clone());
        TenantSpaces::open(&self.database.settings(), &self.directory, clock).unwrap()
    }

    fn request(&self) -> (Arc<SessionScope>, TenantSession) {
        let scope = SessionScope::new(&self.spaces);
        let session = scope.session(self.acme.id).unwrap();
        (scope, session)
    }

    fn detached(&self) -> TenantSession {
        self.spaces.detached_session(self.acme.id).unwrap()
    }

    async fn texts(&self) -> Vec<String> {
        let texts = self
            .detached()
            .query("SELECT text FROM notes ORDER BY id")
            .fetch_all::<(String,)>()
            .await
            .unwrap();
        texts.into_iter().map(|(text,)| text).collect()
    }

    /// Waits until no connection is in use.
    async fn at_rest(&self) {
        for _ in 0..1_000 {
            if self.spaces.counts().0 == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("connections stay in use: {:?}", self.spaces.counts());
    }

    fn tenant_dir(&self) -> std::path::PathBuf {
        let settings = self.database.settings();
        settings.sqlite().unwrap().tenant_dir.clone()
    }

    fn file_of(&self, account: Uuid) -> std::path::PathBuf {
        self.spaces.file_of(account)
    }
}

async fn add(session: &TenantSession, text: &str) -> Result<u64, super::SessionError> {
    session
        .query("INSERT INTO notes (text) VALUES ($1)")
        .bind(text)
        .execute()
        .await
}
