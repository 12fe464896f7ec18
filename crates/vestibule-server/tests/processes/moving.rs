//! `account move` between two clusters, killed at any moment, while an application writes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, routing::post};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};
use uuid::Uuid;
use vestibule::{Problem, Settings, TenantSession, Vestibule, settings::SettingsReader};
use vestibule_testbed::{OwnServer, Postgres, TestDatabase};

use crate::{
    postgres::{KEY, Site},
    world::{eventually, http},
};

/// A site with a second cluster, and an account.
struct World {
    site: Site,
    eu: TestDatabase,
    _server: OwnServer,
    settings: Vec<(&'static str, String)>,
    tenancy: &'static str,
}

impl World {
    async fn new(tenancy: &'static str) -> Self {
        let mut site = Site::new(tenancy, false).await;
        let server = Postgres::own().await;
        let eu = server.postgres().database().await;
        let settings = vec![
            ("DATABASE_URL", site.database.application_url()),
            ("DATABASE_ADMIN_URL", site.database.owner_url()),
            ("TENANCY", tenancy.to_owned()),
            ("VESTIBULE_BINDING_KEY", KEY.to_owned()),
            ("DATABASE_TIMEOUT", "3".to_owned()),
            ("VESTIBULE_CLUSTERS", format!("eu={}", eu.application_url())),
            ("VESTIBULE_ADMIN_CLUSTERS", format!("eu={}", eu.owner_url())),
        ];
        for (name, value) in &settings {
            site.place.set(name, value);
        }
        site.place.json(&["migrate"]);
        Self {
            site,
            eu,
            _server: server,
            settings,
            tenancy,
        }
    }

    /// One more process of an application that writes notes.
    async fn serve(&self) -> SocketAddr {
        let mut pairs = self.site.sandbox.environment();
        pairs.extend(self.settings.iter().cloned());
        let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
        let vestibule = Vestibule::builder(settings).build().await.unwrap();
        vestibule.migrate_tenants(migrations()).await.unwrap();
        let application = Router::new()
            .route("/notes", post(add).get(all))
            .layer(vestibule.layer());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, application).await });
        address
    }

    /// The notes that a superuser finds on a cluster.
    async fn notes_at(&self, account: &str, on: &str) -> Vec<Uuid> {
        let account: Uuid = account.parse().unwrap();
        let database = if on == "main" {
            &self.site.database
        } else {
            &self.eu
        };
        let mut url = url_of(&database.superuser_url());
        let (space, own) = match self.tenancy {
            "row" => (
                "vestibule_tenants".to_owned(),
                format!(" WHERE account_id = '{account}'"),
            ),
            "schema" => (format!("account_{}", account.simple()), String::new()),
            _ => {
                url.set_path(&format!("vestibule_{}", account.simple()));
                ("tenant".to_owned(), String::new())
            }
        };
        let Ok(mut superuser) = PgConnection::connect(url.as_str()).await else {
            return Vec::new();
        };
        let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(format!("{space}.notes"))
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        if !there {
            return Vec::new();
        }
        let sql = format!("SELECT id FROM {space}.notes{own}");
        let ids = sqlx::query_scalar(AssertSqlSafe(sql));
        ids.fetch_all(&mut superuser).await.unwrap()
    }
}

fn url_of(text: &str) -> reqwest::Url {
    text.parse().unwrap()
}

fn migrations() -> Migrator {
    const NOTES: &str = "CREATE TABLE notes (number BIGSERIAL PRIMARY KEY, id UUID NOT NULL)";
    let notes = Migration::new(
        1,
        "notes".into(),
        MigrationType::Simple,
        NOTES.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![notes])
}

async fn add(session: TenantSession, id: String) -> Result<StatusCode, Problem> {
    let query = session.query("INSERT INTO notes (id) VALUES ($1)");
    query.bind(Uuid::try_parse(&id).unwrap()).execute().await?;
    Ok(StatusCode::CREATED)
}

async fn all(session: TenantSession) -> Result<Json<Vec<Uuid>>, Problem> {
    let query = session.query("SELECT id FROM notes");
    let ids: Vec<(Uuid,)> = query.fetch_all().await?;
    Ok(Json(ids.into_iter().map(|(id,)| id).collect()))
}

#[derive(Default)]
struct Written {
    acknowledged: BTreeSet<Uuid>,
    /// To be tried again.
    refused: BTreeSet<Uuid>,
    over: AtomicBool,
}

/// Writes one note after the other until it is told to stop.
async fn write(at: SocketAddr, token: Token, written: Arc<Mutex<Written>>) {
    let http = http();
    while !written.lock().unwrap().over.load(Ordering::Relaxed) {
        let id = Uuid::new_v4();
        let answer = http
            .post(format!("http://{at}/notes"))
            .bearer_auth(&token.0)
            .body(id.to_string())
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let code = answer.headers().get("x-vestibule-code").cloned();
        let again = answer.headers().contains_key("retry-after");
        note(&written, id, status, code.as_ref(), again);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn note(
    written: &Mutex<Written>,
    id: Uuid,
    status: u16,
    code: Option<&http::HeaderValue>,
    again: bool,
) {
    let mut written = written.lock().unwrap();
    if status == 201 {
        written.acknowledged.insert(id);
        return;
    }
    let code = code.map(|code| code.to_str().unwrap());
    assert_eq!((status, code), (503, Some("storage_unavailable")));
    assert!(again);
    written.refused.insert(id);
}

/// A token that all writers share.
#[derive(Clone)]
struct Token(String);

async fn killed_at_any_moment(tenancy: &'static str) {
    const MOVES: usize = 2;
    let world = World::new(tenancy).await;
    let servers = [world.serve().await, world.serve().await];
    let acme = world.site.place.account("Acme", "tenant_acme");
    let token = Token(world.site.sandbox.user_token("user_ada").mint());
    let written = Arc::new(Mutex::new(Written::default()));
    let writers: Vec<_> = servers
        .into_iter()
        .map(|at| tokio::spawn(write(at, token.clone(), Arc::clone(&written))))
        .collect();
    let mut killed = 0;
    for number in 0..MOVES {
        let (from, to) = if number.is_multiple_of(2) {
            ("main", "eu")
        } else {
            ("eu", "main")
        };
        let before = written.lock().unwrap().acknowledged.len();
        eventually(Duration::from_secs(10), "writes", async || {
            written.lock().unwrap().acknowledged.len() > before + 5
        })
        .await;
        // Each time a little later, so that all of it is met.
        let mut patience = Duration::from_millis(60);
        let done = loop {
            let mut child =
                world
                    .site
                    .place
                    .spawn(&["account", "move", &acme, "--cluster", to, "--json"]);
            tokio::time::sleep(patience).await;
            patience = patience * 4 / 3;
            if child.try_wait().unwrap().is_some() {
                let output = child.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{said}");
                break serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
            }
            // `kill -9`.
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
            let both = tokio::join!(world.notes_at(&acme, "main"), world.notes_at(&acme, "eu"));
            let (here, there) = (both.0.len(), both.1.len());
            assert!(here > 0 || there > 0, "{here} {there}");
        };
        assert_eq!(done["left"], 0, "{done}");
        assert_eq!(world.notes_at(&acme, from).await.len(), 0, "{done}");
    }
    assert!(killed >= 10, "killed {killed} times only");
    written.lock().unwrap().over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let found = world.notes_at(&acme, "main").await;
    let written = written.lock().unwrap();
    let once: BTreeSet<Uuid> = found.iter().copied().collect();
    assert_eq!(once.len(), found.len(), "a note is there twice");
    let lost: Vec<_> = written.acknowledged.difference(&once).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(!written.refused.is_empty(), "nobody was kept away");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_in_row() {
    killed_at_any_moment("row").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_in_schema() {
    killed_at_any_moment("schema").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_in_a_database() {
    killed_at_any_moment("database").await;
}

/// What the command says, and within what time every server follows.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_says() {
    let world = World::new("schema").await;
    let servers = [world.serve().await, world.serve().await];
    let acme = world.site.place.account("Acme", "tenant_acme");
    let ada = world.site.sandbox.user_token("user_ada").mint();
    let notes = async |at: SocketAddr| {
        let get = http().get(format!("http://{at}/notes")).bearer_auth(&ada);
        get.send().await.unwrap().status().as_u16()
    };
    for at in servers {
        assert_eq!(notes(at).await, 200);
    }
    let said = world
        .site
        .place
        .run(&["account", "move", &acme, "--cluster", "eu"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("rows left on main: 0"), "{said:?}");
    assert!(said.stderr.contains("4 of 7: copying notes"), "{said:?}");
    eventually(Duration::from_secs(1), "follows", async || {
        notes(servers[0]).await == 200 && notes(servers[1]).await == 200
    })
    .await;
    let said = world.site.place.json(&["account", "show", &acme]);
    assert_eq!(said["cluster"], "eu");
    let said = world
        .site
        .place
        .json(&["account", "move", &acme, "--cluster", "eu"]);
    assert_eq!(said["moved"], false);
    let said = world
        .site
        .place
        .json(&["account", "move", &acme, "--cluster", "main"]);
    assert_eq!((&said["moved"], &said["left"]), (&true.into(), &0.into()));
    let table = serde_json::json!({ "name": "vestibule_account", "copied": 1, "left": 0 });
    assert!(
        said["tables"].as_array().unwrap().contains(&table),
        "{said}"
    );
    let said = world
        .site
        .place
        .run(&["account", "move", &acme, "--cluster", "us"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("VESTIBULE_CLUSTERS"), "{said:?}");
    let said = world.site.place.run(&["doctor", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
}
