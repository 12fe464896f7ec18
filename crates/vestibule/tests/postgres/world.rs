//! One customer on PostgreSQL, and processes that serve it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Json, Router, http::StatusCode, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use sqlx::{ConnectOptions as _, PgConnection, migrate::Migrator, postgres::PgConnectOptions};
use uuid::Uuid;
use vestibule::{
    Lease, Principal, Problem, Settings, TenantSession, Vestibule,
    clock::SystemClock,
    settings::{DatabaseSettings, SettingsReader},
    store::{Account, Directory},
    tenancy::TenantSpaces,
};
use vestibule_sandbox::Sandbox;
use vestibule_testbed::{Route, TestDatabase};

/// `DATABASE_TIMEOUT` of all processes here.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) database: TestDatabase,
    /// The directory as the command line has it open.
    pub(crate) owner: Directory,
    pub(crate) acme: Account,
    more: Vec<(&'static str, String)>,
    settings: DatabaseSettings,
}

impl World {
    pub(crate) async fn new(database: TestDatabase, more: &[(&'static str, &str)]) -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        sandbox.add_demo_world();
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let more: Vec<_> = more.collect();
        let url = database.application_url();
        let settings = settings(&sandbox, url, database.owner_url(), &more).database;
        let clock = Arc::new(SystemClock);
        let owner = Directory::migrate(&settings, clock.clone()).await.unwrap();
        let spaces = TenantSpaces::open(&settings, &owner, clock).unwrap();
        spaces.prepare().await.unwrap();
        let acme = spaces.create_account("Acme", "tenant_acme").await.unwrap();
        spaces.close().await;
        let world = Self {
            sandbox,
            database,
            owner,
            acme,
            more,
            settings,
        };
        let migrations = sqlx::migrate!("tests/postgres/migrations");
        world.migrate(&migrations).await;
        world
    }

    /// The application's own migrations, as another process applies them.
    pub(crate) async fn migrate(&self, migrations: &Migrator) {
        let clock = Arc::new(SystemClock);
        let spaces = TenantSpaces::open(&self.settings, &self.owner, clock).unwrap();
        spaces.migrate_tenants(migrations).await.unwrap();
        spaces.close().await;
    }

    /// One more process, which reaches the database directly.
    pub(crate) async fn serve(&self) -> SocketAddr {
        self.serve_at(self.database.application_url()).await
    }

    /// One more process, which reaches it on this way.
    pub(crate) async fn serve_through(&self, route: &Route) -> SocketAddr {
        self.serve_at(route.application_url()).await
    }

    async fn serve_at(&self, url: String) -> SocketAddr {
        let settings = settings(&self.sandbox, url, self.database.owner_url(), &self.more);
        let vestibule = Vestibule::builder(settings).build().await.unwrap();
        let application = Router::new()
            .route("/me", get(me))
            .route("/stay", get(stay))
            .route("/notes", get(count).post(add))
            .route("/notes/all", get(all))
            .route("/tags", get(tags))
            .layer(vestibule.layer());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, application).await });
        address
    }

    /// A token of Ada of Acme. Each is a new one.
    pub(crate) fn ada(&self) -> String {
        self.token_of("user_ada")
    }

    pub(crate) fn token_of(&self, user: &str) -> String {
        let token = self.sandbox.user_token(user);
        token.claim("jti", Uuid::now_v7().to_string()).mint()
    }

    pub(crate) async fn superuser(&self) -> PgConnection {
        let options: PgConnectOptions = self.database.superuser_url().parse().unwrap();
        options.connect().await.unwrap()
    }

    /// Connections of the application's login that do something, or hold a transaction.
    pub(crate) async fn busy(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE usename = $1 AND state <> 'idle'",
        )
        .bind(self.database.application())
        .fetch_one(&mut self.superuser().await)
        .await
        .unwrap()
    }
}

fn settings(
    sandbox: &Sandbox,
    url: String,
    owner_url: String,
    more: &[(&'static str, String)],
) -> Settings {
    let mut pairs = sandbox.environment();
    pairs.push(("DATABASE_URL", url));
    pairs.push(("DATABASE_ADMIN_URL", owner_url));
    pairs.push(("VESTIBULE_BINDING_KEY", STANDARD.encode([7; 32])));
    pairs.push(("DATABASE_TIMEOUT", TIMEOUT.as_secs().to_string()));
    pairs.push(("DATABASE_POOL_SIZE", "6".to_owned()));
    pairs.extend(more.iter().cloned());
    Settings::read(SettingsReader::from_pairs(pairs)).unwrap()
}

async fn me(principal: Principal) -> Json<Principal> {
    Json(principal)
}

/// Answers when the caller may stay no longer, and says why as a refusal would.
async fn stay(mut lease: Lease) -> [(&'static str, &'static str); 1] {
    [("x-vestibule-code", lease.ended().await.as_str())]
}

async fn count(session: TenantSession) -> Result<Json<i64>, Problem> {
    let query = session.query("SELECT COUNT(*) FROM notes");
    let (count,): (i64,) = query.fetch_one().await?;
    Ok(Json(count))
}

async fn all(session: TenantSession) -> Result<Json<Vec<String>>, Problem> {
    let query = session.query("SELECT * FROM notes");
    let notes: Vec<(Uuid, String)> = query.fetch_all().await?;
    Ok(Json(notes.into_iter().map(|(_, text)| text).collect()))
}

/// Of the table that the second migration makes.
async fn tags(session: TenantSession) -> Result<Json<i64>, Problem> {
    let query = session.query("SELECT COUNT(*) FROM tags");
    let (count,): (i64,) = query.fetch_one().await?;
    Ok(Json(count))
}

async fn add(session: TenantSession) -> Result<StatusCode, Problem> {
    let query = session.query("INSERT INTO notes (id, text) VALUES ($1, 'a note')");
    query.bind(Uuid::now_v7()).execute().await?;
    Ok(StatusCode::CREATED)
}

/// What a request was answered, and when.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) begun: Instant,
    pub(crate) took: Duration,
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) retry_after: bool,
    pub(crate) body: String,
}

/// Made once: it reads all root certificates of the machine.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    // An error means that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
});

pub(crate) async fn ask(at: SocketAddr, method: &str, path: &str, token: &str) -> Answer {
    let begun = Instant::now();
    let answer = HTTP
        .request(method.parse().unwrap(), format!("http://{at}{path}"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    let header = |name| answer.headers().get(name).cloned();
    let code = header("x-vestibule-code").map(|code| code.to_str().unwrap().to_owned());
    let retry_after = header("retry-after").is_some();
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap();
    Answer {
        begun,
        took: begun.elapsed(),
        status,
        code: code.unwrap_or_default(),
        retry_after,
        body,
    }
}

/// Waits until it is so, and says how long that took.
pub(crate) async fn within(limit: Duration, what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The gauges of this process.
#[derive(Clone, Default)]
pub(crate) struct Gauges(Arc<Mutex<HashMap<String, Arc<AtomicU64>>>>);

impl Gauges {
    pub(crate) fn install() -> Self {
        let gauges = Self::default();
        metrics::set_global_recorder(gauges.clone()).unwrap_or_else(|_| panic!("one per process"));
        gauges
    }

    pub(crate) fn sessions_open(&self) -> f64 {
        let cell = self.cell("vestibule_tenant_sessions_open");
        f64::from_bits(cell.load(Ordering::Relaxed))
    }

    fn cell(&self, name: &str) -> Arc<AtomicU64> {
        let mut cells = self.0.lock().unwrap();
        Arc::clone(cells.entry(name.to_owned()).or_default())
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key.name()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
