//! The storm over the real thing: principals from tokens, sessions from principals.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use sqlx::AssertSqlSafe;
use uuid::Uuid;
use vestibule::{
    Principal, Settings, TenantSession, Vestibule,
    clock::SystemClock,
    settings::SettingsReader,
    store::Directory,
    tenancy::{SessionError, TenantSpaces},
};
use vestibule_sandbox::{Sandbox, Tenant, User};

use crate::{
    hostile::statements,
    place::Place,
    storm::{Accounts, Session},
};

pub(crate) struct Ours {
    vestibule: Vestibule,
    callers: Vec<Principal>,
    hostile: Vec<Vec<String>>,
    pub(crate) place: Place,
    _sandbox: Sandbox,
}

impl Ours {
    /// So many accounts, which share so many connections.
    pub(crate) async fn open(place: Place, accounts: usize, sessions: u32) -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        make_accounts(&sandbox, &place, accounts).await;
        let pairs = [sandbox.environment(), place.settings(sessions, false)].concat();
        let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
        let vestibule = Vestibule::builder(settings).build().await.unwrap();
        let mut callers = Vec::new();
        for number in 0..accounts {
            let user = format!("user_{number}");
            let token = sandbox.user_token(&user).azp("con_1").mint();
            let mut headers = HeaderMap::new();
            headers.insert(
                header::AUTHORIZATION,
                format!("Bearer {token}").parse().unwrap(),
            );
            let caller = vestibule.authenticator().validate_token(&headers).await;
            callers.push(caller.unwrap());
        }
        let hostile = callers
            .iter()
            .map(|caller| statements(place.target(caller.account().id).as_ref()))
            .collect();
        Self {
            vestibule,
            callers,
            hostile,
            place,
            _sandbox: sandbox,
        }
    }

    pub(crate) fn id(&self, account: usize) -> Uuid {
        self.callers[account].account().id
    }

    /// The first two accounts get a row and a key each.
    pub(crate) async fn write_first_rows(&self) {
        for account in 0..2 {
            let (session, owner) = (self.session(account), crate::storm::name(account));
            session.write(self.id(account), &owner).await.unwrap();
            session.upsert(1, &owner).await.unwrap();
            Session::commit(session).await.unwrap();
        }
    }

    pub(crate) fn session(&self, account: usize) -> TenantSession {
        self.vestibule
            .get_tenant_session(&self.callers[account])
            .unwrap()
    }
}

/// As the command line does it, with the owner's login where there is one.
async fn make_accounts(sandbox: &Sandbox, place: &Place, accounts: usize) {
    let pairs = [sandbox.environment(), place.settings(1, true)].concat();
    let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
    let clock = Arc::new(SystemClock);
    let database = &settings.database;
    let directory = Directory::migrate(database, clock.clone()).await.unwrap();
    let spaces = TenantSpaces::open(database, &directory, clock).unwrap();
    spaces.prepare().await.unwrap();
    let migrations = sqlx::migrate!("tests/isolation/migrations");
    spaces.migrate_tenants(&migrations).await.unwrap();
    for number in 0..accounts {
        let (tenant, user) = (format!("tenant_{number}"), format!("user_{number}"));
        sandbox.add_tenant(Tenant::new(&tenant).connection("con_1"));
        sandbox.add_user(User::new(&user).tenant(&tenant));
        spaces.create_account(&tenant, &tenant).await.unwrap();
    }
    spaces.close().await;
}

impl Accounts for Ours {
    type Session = TenantSession;

    async fn begin(&self, account: usize) -> Option<TenantSession> {
        Some(self.session(account))
    }

    async fn committed(&self, account: usize) -> Vec<(Uuid, String)> {
        let id = self.id(account);
        let mut rows: Vec<(Uuid, String)> = self.place.rows(id, "id, owner", "rows").await;
        let owners: Vec<(String,)> = self.place.rows(id, "owner", "keys").await;
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

    fn hostile(&self, other: usize) -> &[String] {
        &self.hostile[other]
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

    async fn refer(&self, id: Uuid, target: Uuid) -> Option<()> {
        let query = self.query("INSERT INTO refs (id, target) VALUES ($1, $2)");
        query.bind(id).bind(target).execute().await.ok().map(drop)
    }

    async fn owners(&self) -> Option<Vec<String>> {
        let query = self.query("SELECT owner FROM rows UNION SELECT owner FROM keys");
        let rows: Vec<(String,)> = query.fetch_all().await.ok()?;
        Some(rows.into_iter().map(|(owner,)| owner).collect())
    }

    async fn run(&self, sql: String) -> Option<Vec<String>> {
        texts(self, sql).await.ok()
    }

    async fn commit(self) -> Option<()> {
        TenantSession::commit(self).await.ok()
    }

    async fn rollback(self) -> Option<()> {
        TenantSession::rollback(self).await.ok()
    }
}

/// What a statement reads, as far as its first column is text.
pub(crate) async fn texts(
    session: &TenantSession,
    sql: String,
) -> Result<Vec<String>, SessionError> {
    let rows: Vec<(Option<String>,)> = session.query(AssertSqlSafe(sql)).fetch_all().await?;
    Ok(rows.into_iter().filter_map(|(text,)| text).collect())
}
