//! A process that serves an application, and its callers.

use std::{
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use sqlx::{PgConnection, postgres::PgConnectOptions};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;
use vestibule::{Principal, Problem, TenantSession, Vestibule, store::Page};
use vestibule_sandbox::{Tenant, User};

use crate::world::World;

/// The application's process.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    pub(crate) vestibule: Vestibule,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(world: &World) -> Self {
        let vestibule = Vestibule::builder(world.settings()).build().await.unwrap();
        let routes = Router::new()
            .route("/v1/me", get(me))
            .route("/notes", get(count).post(add))
            .route("/hold/{milliseconds}", get(hold))
            .route("/people", get(people))
            .with_state(vestibule.clone())
            .layer(vestibule.layer());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let serving = axum::serve(listener, routes).into_future();
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            at,
            vestibule,
            task,
        }
    }

    pub(crate) async fn end(self) {
        self.task.abort();
        self.vestibule.shutdown().await;
    }

    /// The status of the answer.
    pub(crate) async fn get(&self, path: &str, token: &str) -> StatusCode {
        let answer = HTTP
            .get(format!("http://{}{path}", self.at))
            .bearer_auth(token)
            .send();
        let answer = answer.await.unwrap();
        let status = answer.status();
        answer.bytes().await.unwrap();
        status
    }

    /// Goes away before the answer comes.
    pub(crate) async fn get_and_leave(&self, path: &str, token: &str, patience: Duration) {
        let left = tokio::time::timeout(patience, self.get(path, token)).await;
        assert!(left.is_err(), "{path} was answered in time: {left:?}");
    }
}

/// Reads nothing.
async fn me(principal: Principal) -> Json<Principal> {
    Json(principal)
}

async fn count(session: TenantSession) -> Result<Json<i64>, Problem> {
    let query = session.query("SELECT COUNT(*) FROM notes");
    let (count,): (i64,) = query.fetch_one().await?;
    Ok(Json(count))
}

async fn add(session: TenantSession) -> Result<StatusCode, Problem> {
    let query = session.query("INSERT INTO notes (id, text) VALUES ($1, 'a note')");
    query.bind(Uuid::now_v7()).execute().await?;
    Ok(StatusCode::CREATED)
}

/// Asks the directory, and nothing of the account's own.
async fn people(State(vestibule): State<Vestibule>, principal: Principal) -> StatusCode {
    let page = Page {
        limit: 10,
        cursor: None,
    };
    for _ in 0..5 {
        if vestibule.users_of(&principal).list(&page).await.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    StatusCode::OK
}

/// Works in the database for so long.
async fn hold(session: TenantSession, Path(for_so_long): Path<i64>) -> Result<(), Problem> {
    let query = session.query("SELECT pg_sleep($1 / 1000.0)::text");
    let _: (String,) = query.bind(for_so_long).fetch_one().await?;
    Ok(())
}

static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    // An error means that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
});

impl World {
    /// A person of the tenant of this number, at the provider.
    pub(crate) fn add_person(&self, number: usize) {
        self.add_person_of(number, number);
    }

    pub(crate) fn add_person_of(&self, number: usize, tenant_number: usize) {
        let tenant = tenant(tenant_number);
        self.sandbox.add_tenant(Tenant::new(&tenant));
        self.sandbox
            .add_user(User::new(person(number)).name("One").tenant(tenant));
    }

    /// A token that nobody has seen yet.
    pub(crate) fn token(&self, number: usize) -> String {
        let token = self.sandbox.user_token(&person(number));
        token.claim("jti", Uuid::now_v7().to_string()).mint()
    }
}

pub(crate) fn person(number: usize) -> String {
    format!("user_{number}")
}

pub(crate) fn tenant(number: usize) -> String {
    format!("tenant_{number}")
}

/// Looks all the time at how many connections a login has, on one cluster or several together.
pub(crate) struct Lookout {
    most: Arc<AtomicI64>,
    looks: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Lookout {
    /// Each login with a superuser's connection to its cluster.
    pub(crate) fn over(mut clusters: Vec<(PgConnection, String)>) -> Self {
        let (most, looks) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicU64::new(0)));
        let (highest, count) = (Arc::clone(&most), Arc::clone(&looks));
        let task = tokio::spawn(async move {
            loop {
                let mut now = 0;
                for (superuser, login) in &mut clusters {
                    now += connections(superuser, login).await;
                }
                highest.fetch_max(now, Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Self { most, looks, task }
    }

    /// The most that were seen.
    pub(crate) fn end(self) -> i64 {
        self.task.abort();
        assert!(self.looks.load(Ordering::Relaxed) > 20, "nobody looked");
        self.most.load(Ordering::Relaxed)
    }
}

pub(crate) async fn connections(superuser: &mut PgConnection, login: &str) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM pg_stat_activity WHERE usename = $1")
        .bind(login)
        .fetch_one(superuser)
        .await
        .unwrap()
}

pub(crate) async fn superuser_of(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    sqlx::ConnectOptions::connect(&options).await.unwrap()
}
