//! Two accounts, a listener, and what a test may see of both.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::Path, http::StatusCode, routing::get};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, Recorder, SharedString,
    Unit,
};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{net::TcpListener, task::AbortHandle};
use uuid::Uuid;
use vestibule::{
    Problem, Repository, SessionError, Settings, SystemAccess, TenantRepository, TenantService,
    TenantSession, Vestibule,
    clock::SystemClock,
    settings::{DatabaseSettings, SettingsReader},
    store::Directory,
    tenancy::TenantSpaces,
};
use vestibule_sandbox::Sandbox;
use vestibule_testbed::Place;

use crate::wire::{Answer, Wire};

/// Longer than anything takes that works, shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) vestibule: Vestibule,
    pub(crate) access: SystemAccess,
    pub(crate) acme: Uuid,
    pub(crate) globex: Uuid,
    sandbox: Sandbox,
    directory: Place,
    servers: Mutex<Vec<AbortHandle>>,
}

/// The application's rows, in the form that an application gives them.
#[derive(Clone)]
pub(crate) struct Marks(pub(crate) TenantSession);

/// What the application does with them.
pub(crate) struct Marking(pub(crate) Marks);

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Acme with Ada and Globex with Grace, both with the application's tables.
    pub(crate) async fn with(change: impl FnOnce(&mut DatabaseSettings)) -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        sandbox.add_demo_world();
        let directory = Place::from_environment().await;
        let mut pairs = sandbox.environment();
        pairs.extend(directory.settings());
        let mut settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
        change(&mut settings.database);
        let clock = Arc::new(SystemClock);
        let accounts = Directory::migrate(&settings.database, clock.clone())
            .await
            .unwrap();
        let spaces = TenantSpaces::open(&settings.database, &accounts, clock).unwrap();
        spaces.prepare().await.unwrap();
        let builder = Vestibule::builder(settings.clone());
        let (vestibule, access) = builder.build_with_system_access().await.unwrap();
        vestibule
            .migrate_tenants(sqlx::migrate!("tests/sessions/migrations"))
            .await
            .unwrap();

        let acme = spaces.create_account("Acme", "tenant_acme").await.unwrap();
        let globex = spaces.create_account("Globex", "tenant_globex");
        let globex = globex.await.unwrap();
        spaces.close().await;
        accounts.close().await;
        Self {
            vestibule,
            access,
            acme: acme.id,
            globex: globex.id,
            sandbox,
            directory,
            servers: Mutex::default(),
        }
    }

    /// A token of Ada of Acme. Each is a new one.
    pub(crate) fn ada(&self) -> String {
        self.token("user_ada")
    }

    /// A token of Grace of Globex. Each is a new one.
    pub(crate) fn grace(&self) -> String {
        self.token("user_grace")
    }

    fn token(&self, user: &str) -> String {
        let token = self.sandbox.user_token(user);
        token.claim("jti", Uuid::now_v7().to_string()).mint()
    }

    /// Puts these routes behind the layer and on a port, beside `GET /marks` and
    /// `POST /marks/{label}`.
    pub(crate) async fn serve(&self, routes: Router) -> SocketAddr {
        let routes = routes
            .route("/marks", get(list))
            .route("/marks/{label}", axum::routing::post(add));
        self.serve_bare(routes.layer(self.vestibule.layer())).await
    }

    /// Puts a whole application on a port.
    pub(crate) async fn serve_bare(&self, application: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, application).await });
        self.servers.lock().unwrap().push(server.abort_handle());
        address
    }

    /// What everybody can see of an account's marks: those that were committed.
    pub(crate) async fn committed(&self, account: Uuid) -> Vec<String> {
        let sql = "SELECT label FROM {space}marks WHERE {own} ORDER BY label";
        self.directory.texts(account, sql).await
    }

    /// Holds the account's write lock, as another process would, until it is dropped.
    pub(crate) async fn lock(&self, account: Uuid) -> SqliteConnection {
        let mut file = self.file(account).await;
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut file)
            .await
            .unwrap();
        file
    }

    /// A connection of the test's own.
    pub(crate) async fn file(&self, account: Uuid) -> SqliteConnection {
        let file = self.path(account);
        let options = SqliteConnectOptions::new().filename(file);
        options.connect().await.unwrap()
    }

    pub(crate) fn path(&self, account: Uuid) -> PathBuf {
        let name = format!("{}.db", account.hyphenated());
        self.directory.path().join("tenants").join(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for server in self.servers.lock().unwrap().drain(..) {
            server.abort();
        }
    }
}

impl TenantRepository for Marks {
    fn new(session: TenantSession) -> Self {
        Self(session)
    }
}

impl TenantService for Marking {
    fn new(session: TenantSession) -> Self {
        Self(Marks::new(session))
    }
}

impl Marks {
    pub(crate) async fn add(&self, label: &str) -> Result<(), SessionError> {
        self.0
            .query("INSERT INTO marks (id, label) VALUES ($1, $2)")
            .bind(Uuid::now_v7())
            .bind(label)
            .execute()
            .await
            .map(drop)
    }

    /// A mark in a box that is not there: nobody notices before the commit.
    pub(crate) async fn add_lost(&self, label: &str) -> Result<(), SessionError> {
        self.0
            .query("INSERT INTO marks (id, label, box) VALUES ($1, $2, 'nowhere')")
            .bind(Uuid::now_v7())
            .bind(label)
            .execute()
            .await
            .map(drop)
    }

    /// A mark that takes its time to be committed.
    pub(crate) async fn add_heavy(&self, label: &str) -> Result<(), SessionError> {
        self.0
            .query("INSERT INTO marks (id, label, load) VALUES ($1, $2, $3)")
            .bind(Uuid::now_v7())
            .bind(label)
            .bind(vec![0; 8_000_000])
            .execute()
            .await
            .map(drop)
    }

    pub(crate) async fn labels(&self) -> Result<Vec<String>, SessionError> {
        let rows: Vec<(String,)> = self
            .0
            .query("SELECT label FROM marks ORDER BY label")
            .fetch_all()
            .await?;
        Ok(rows.into_iter().map(|(label,)| label).collect())
    }
}

async fn list(Repository(marks): Repository<Marks>) -> Result<Json<Vec<String>>, Problem> {
    Ok(Json(marks.labels().await?))
}

async fn add(
    Repository(marks): Repository<Marks>,
    Path(label): Path<String>,
) -> Result<StatusCode, Problem> {
    marks.add(&label).await?;
    Ok(StatusCode::CREATED)
}

/// One request on a connection of its own.
pub(crate) async fn ask(to: SocketAddr, method: &str, path: &str, token: &str) -> Answer {
    let mut wire = Wire::connect(to).await;
    wire.send(method, path, Some(token)).await;
    wire.answer().await
}

/// What `GET /marks` says, which waits for the account's turn.
pub(crate) async fn marks(on: SocketAddr, token: &str) -> Vec<String> {
    let answer = ask(on, "GET", "/marks", token).await;
    serde_json::from_str(&answer.expect(200).body).unwrap()
}

/// The outcome, which must not take long.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(outcome) => outcome,
            Err(_) => panic!("{caller}: this takes too long"),
        }
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    soon(async move {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
}

/// The metrics of this thread, and so of a test on a single-threaded runtime.
#[derive(Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<HashMap<String, Arc<AtomicU64>>>>);

impl Metrics {
    pub(crate) fn here() -> (&'static Self, LocalRecorderGuard<'static>) {
        let metrics: &'static Self = Box::leak(Box::default());
        (metrics, metrics::set_default_local_recorder(metrics))
    }

    /// Sessions that have a connection now.
    pub(crate) fn open(&self) -> f64 {
        f64::from_bits(self.bits("vestibule_tenant_sessions_open"))
    }

    /// Sessions that ever had one.
    pub(crate) fn opened(&self) -> u64 {
        self.bits("vestibule_tenant_sessions_opened_total")
    }

    fn bits(&self, name: &str) -> u64 {
        self.cell(name).load(Ordering::Relaxed)
    }

    fn cell(&self, name: &str) -> Arc<AtomicU64> {
        let mut cells = self.0.lock().unwrap();
        Arc::clone(cells.entry(name.to_owned()).or_default())
    }
}

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key.name()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key.name()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
