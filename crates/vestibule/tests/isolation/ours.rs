//! The storm over the real thing: principals from tokens, sessions from principals.

use std::{path::PathBuf, sync::Arc};

use axum::http::{HeaderMap, header};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use uuid::Uuid;
use vestibule::{
    Principal, Settings, TenantSession, Vestibule, clock::SystemClock, settings::SettingsReader,
    store::Directory, tenancy::TenantSpaces,
};
use vestibule_sandbox::{Sandbox, Tenant, User};

use crate::storm::{Accounts, Session};

/// Four connections for fifty accounts.
const CONNECTIONS: &str = "4";

pub(crate) struct Ours {
    vestibule: Vestibule,
    callers: Vec<Principal>,
    place: TempDir,
    _sandbox: Sandbox,
}

impl Ours {
    pub(crate) async fn open(accounts: usize) -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        let place = tempfile::tempdir().unwrap();
        let mut pairs = sandbox.environment();
        let file = place.path().join("vestibule.db");
        pairs.push(("DATABASE_URL", format!("sqlite:{}", file.display())));
        pairs.push(("DATABASE_POOL_SIZE", CONNECTIONS.to_owned()));
        pairs.push(("DATABASE_TIMEOUT", "30".to_owned()));
        let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
        let clock = Arc::new(SystemClock);
        let directory = Directory::open(&settings.database, clock.clone())
            .await
            .unwrap();
        let spaces = TenantSpaces::open(&settings.database, &directory, clock).unwrap();
        let vestibule = Vestibule::builder(settings).build().await.unwrap();
        let mut callers = Vec::new();
        for number in 0..accounts {
            let (tenant, user) = (format!("tenant_{number}"), format!("user_{number}"));
            sandbox.add_tenant(Tenant::new(&tenant).connection("con_1"));
            sandbox.add_user(User::new(&user).tenant(&tenant));
            spaces.create_account(&tenant, &tenant).await.unwrap();
            let token = sandbox.user_token(&user).azp("con_1").mint();
            let mut headers = HeaderMap::new();
            headers.insert(
                header::AUTHORIZATION,
                format!("Bearer {token}").parse().unwrap(),
            );
            callers.push(
                vestibule
                    .authenticator()
                    .validate_token(&headers)
                    .await
                    .unwrap(),
            );
        }
        let migrations = sqlx::migrate!("tests/isolation/migrations");
        vestibule.migrate_tenants(migrations).await.unwrap();
        Self {
            vestibule,
            callers,
            place,
            _sandbox: sandbox,
        }
    }

    fn file(&self, account: usize) -> PathBuf {
        let id = self.callers[account].account().id;
        self.place.path().join(format!("tenants/{id}.db"))
    }
}

impl Accounts for Ours {
    type Session = TenantSession;

    async fn begin(&self, account: usize) -> Option<TenantSession> {
        self.vestibule
            .get_tenant_session(&self.callers[account])
            .ok()
    }

    async fn committed(&self, account: usize) -> Vec<(Uuid, String)> {
        let options = SqliteConnectOptions::new().filename(self.file(account));
        let mut file = options.connect().await.unwrap();
        let mut rows: Vec<(Uuid, String)> = sqlx::query_as("SELECT id, owner FROM rows")
            .fetch_all(&mut file)
            .await
            .unwrap();
        let owners: Vec<(String,)> = sqlx::query_as("SELECT owner FROM keys")
            .fetch_all(&mut file)
            .await
            .unwrap();
        // Keys are overwritten by their own account at will; only whose they are is of interest.
        let owner = crate::storm::name(account);
        rows.extend(
            owners
                .into_iter()
                .filter(|(seen,)| *seen != owner)
                .map(|(o,)| (Uuid::nil(), o)),
        );
        rows
    }
}

impl Session for TenantSession {
    async fn write(&self, id: Uuid, owner: &str) -> Option<()> {
        let query = self.query("INSERT INTO rows (id, owner) VALUES ($1, $2)");
        query.bind(id).bind(owner).execute().await.ok().map(drop)
    }

    async fn upsert(&self, key: i64, owner: &str) -> Option<()> {
        let query = self.query(
            "INSERT INTO keys (key, owner) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET owner = excluded.owner",
        );
        query.bind(key).bind(owner).execute().await.ok().map(drop)
    }

    async fn owners(&self) -> Option<Vec<String>> {
        let query = self.query("SELECT owner FROM rows UNION ALL SELECT owner FROM keys");
        let rows: Vec<(String,)> = query.fetch_all().await.ok()?;
        Some(rows.into_iter().map(|(owner,)| owner).collect())
    }

    async fn run(&self, sql: &'static str) -> Option<()> {
        self.query(sql).execute().await.ok().map(drop)
    }

    async fn commit(self) -> Option<()> {
        TenantSession::commit(self).await.ok()
    }

    async fn rollback(self) -> Option<()> {
        TenantSession::rollback(self).await.ok()
    }
}
