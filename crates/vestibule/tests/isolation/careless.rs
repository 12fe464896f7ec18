//! Wrong on purpose: a pool that hands out whatever connection lies idle, so that the next caller
//! gets the last caller's account. This is how the published leaks of pooled sessions happened.

use std::{path::PathBuf, sync::Mutex};

use sqlx::{
    ConnectOptions as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tempfile::TempDir;
use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

use crate::storm::Accounts;

pub(crate) struct Careless {
    place: TempDir,
    hostile: [String; 1],
    idle: std::sync::Arc<Mutex<Vec<SqliteConnection>>>,
}

pub(crate) struct CarelessSession {
    connection: AsyncMutex<SqliteConnection>,
    idle: std::sync::Arc<Mutex<Vec<SqliteConnection>>>,
}

impl Careless {
    pub(crate) async fn open(accounts: usize) -> Self {
        let careless = Self {
            place: tempfile::tempdir().unwrap(),
            hostile: ["SELECT owner FROM rows".to_owned()],
            idle: Default::default(),
        };
        for account in 0..accounts {
            let mut file = careless.connect(account).await;
            let tables = include_str!("migrations/0001_rows.sql");
            sqlx::raw_sql(tables).execute(&mut file).await.unwrap();
        }
        careless
    }

    fn file(&self, account: usize) -> PathBuf {
        self.place.path().join(format!("{account}.db"))
    }

    async fn connect(&self, account: usize) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.file(account))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .connect()
            .await
            .unwrap()
    }
}

impl Accounts for Careless {
    type Session = CarelessSession;

    async fn begin(&self, account: usize) -> Option<CarelessSession> {
        let idle = self.idle.lock().unwrap().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect(account).await,
        };
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await
            .ok()?;
        let idle = std::sync::Arc::clone(&self.idle);
        Some(CarelessSession {
            connection: AsyncMutex::new(connection),
            idle,
        })
    }

    async fn committed(&self, account: usize) -> Vec<(Uuid, String)> {
        let mut file = self.connect(account).await;
        sqlx::query_as("SELECT id, owner FROM rows")
            .fetch_all(&mut file)
            .await
            .unwrap()
    }

    fn hostile(&self, _: usize) -> &[String] {
        &self.hostile
    }
}

careless_session! {
    CarelessSession,
    "INSERT INTO keys VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET owner = $2"
}
