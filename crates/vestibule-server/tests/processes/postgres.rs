//! The operator's path on PostgreSQL, in every tenancy, directly and through PgBouncer: from an
//! empty database to an account's end.

use std::time::Duration;

use serde_json::Value;
use vestibule_sandbox::Sandbox;
use vestibule_testbed::{Postgres, TestDatabase};

use crate::{
    support::{NOBODY, Place},
    world::{Answer, eventually, http},
};

/// Base64 of 32 bytes.
pub(crate) const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// A database that nobody has migrated yet, beside a sandbox.
pub(crate) struct Site {
    pub(crate) database: TestDatabase,
    pub(crate) sandbox: Sandbox,
    pub(crate) place: Place,
}

impl Site {
    pub(crate) async fn new(tenancy: &str, pooled: bool) -> Self {
        let database = Postgres::shared().database().await;
        let sandbox = Sandbox::builder().start().await.unwrap();
        sandbox.add_demo_world();
        let mut place = Place::new().with_sandbox(&sandbox);
        let (application, owner) = if pooled {
            let route = database.through_pgbouncer();
            (route.application_url(), route.owner_url())
        } else {
            (database.application_url(), database.owner_url())
        };
        place.set("DATABASE_URL", &application);
        place.set("DATABASE_ADMIN_URL", &owner);
        place.set("TENANCY", tenancy);
        place.set("VESTIBULE_BINDING_KEY", KEY);
        Self {
            database,
            sandbox,
            place,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_path_in_row() {
    the_operators_path("row", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_path_in_row_through_pgbouncer() {
    the_operators_path("row", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_path_in_schema() {
    the_operators_path("schema", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_path_in_schema_through_pgbouncer() {
    the_operators_path("schema", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_path_in_database() {
    the_operators_path("database", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_path_in_database_through_pgbouncer() {
    the_operators_path("database", true).await;
}

async fn the_operators_path(tenancy: &str, pooled: bool) {
    let Site {
        database,
        sandbox,
        mut place,
    } = Site::new(tenancy, pooled).await;
    // Whatever comes before `migrate` says what is missing, and makes nothing.
    for command in [
        &["account", "list"][..],
        &["account", "create", "--name", "A", "--tenant", "tenant_a"],
        &["migrate", "--status"],
        &["user", "list", "--account", NOBODY],
        &["serve"],
    ] {
        let said = place.run(command);
        assert_eq!(said.code, 1, "{command:?}: {said:?}");
        assert!(said.stderr.contains("vestibule migrate"), "{said:?}");
    }
    place.json(&["migrate"]);
    // Again: nothing to do.
    place.json(&["migrate"]);
    let acme = place.account("Acme", "tenant_acme");
    let globex = place.account("Globex", "tenant_globex");
    let create = [
        "account",
        "create",
        "--name",
        "X",
        "--tenant",
        "tenant_acme",
    ];
    assert_eq!(place.run(&create).code, 1);
    let existing = place.json(&[&create[..], &["--if-missing"]].concat());
    assert_eq!(existing["id"], acme.as_str());
    for (client, account) in [("sc_robot01", &acme), ("sc_robot02", &globex)] {
        let add = ["client", "add", "--client-id", client, "--account", account];
        place.json(&[&add[..], &["--name", "Robot"]].concat());
    }
    let status = place.json(&["migrate", "--status"]);
    assert_eq!(status["accounts"].as_array().unwrap().len(), 2, "{status}");

    // The server never needs the owner's login.
    let owner = place.set("DATABASE_ADMIN_URL", "").unwrap();
    let server = place.serve();
    place.set("DATABASE_ADMIN_URL", &owner);
    let http = http();
    let get = async |path: &str, token: &str| {
        let url = format!("{}{path}", server.public);
        let answer = Answer::of(http.get(url).bearer_auth(token)).await;
        if path != "/readyz" {
            assert_ne!(answer.status, 503, "{answer:?}\n{}", server.log());
        }
        answer
    };
    eventually(Duration::from_secs(5), "is ready", async || {
        get("/readyz", "").await.status == 200
    })
    .await;
    let ada = sandbox.user_token("user_ada").mint();
    let grace = sandbox.user_token("user_grace").mint();
    let robot = sandbox.client_token("sc_robot01").mint();
    let me = get("/v1/me", &ada).await.expect_ok().json();
    assert_eq!(me["account"]["id"], acme.as_str());
    let theirs = get("/v1/me", &grace).await.expect_ok().json();
    assert_eq!(theirs["account"]["id"], globex.as_str());
    get("/v1/me", &robot).await.expect_ok();
    eventually(Duration::from_secs(3), "sign-ins are noted", async || {
        let page = get("/v1/activity", &robot).await.expect_ok().json();
        page["items"].as_array().unwrap().len() == 2
    })
    .await;
    let page = get("/v1/activity", &grace).await.expect_ok().json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
    let users = place.json(&["user", "list", "--account", &acme]);
    assert_eq!(users["items"][0]["id"], me["user"]["id"], "{users}");
    assert_eq!(users["items"].as_array().unwrap().len(), 1, "{users}");

    let second = Duration::from_secs(1);
    place.json(&["account", "suspend", &acme]);
    eventually(second, "is refused", async || {
        get("/v1/me", &ada).await.code() == "account_suspended"
    })
    .await;
    place.json(&["account", "resume", &acme]);
    eventually(second, "is let in", async || {
        get("/v1/me", &ada).await.status == 200
    })
    .await;
    place.json(&["account", "delete", &acme, "--yes"]);
    eventually(second, "is unknown", async || {
        get("/v1/me", &ada).await.code() == "unknown_account"
    })
    .await;
    get("/v1/me", &grace).await.expect_ok();
    get("/v1/activity", &grace).await.expect_ok();
    let left: Value = place.json(&["account", "list"]);
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left}");
    // And may come again.
    let again = place.account("Acme", "tenant_acme");
    assert_ne!(again, acme);
    eventually(second, "is let in again", async || {
        get("/v1/me", &ada).await.status == 200
    })
    .await;
    place.json(&["account", "delete", &again, "--yes"]);
    place.json(&["account", "delete", &globex, "--yes"]);
    drop(server);
    database.drop().await;
}

/// An account may lie on another cluster, by name.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_on_another_cluster() {
    for tenancy in ["row", "schema", "database"] {
        let Site {
            database,
            sandbox,
            mut place,
        } = Site::new(tenancy, false).await;
        let other = Postgres::own().await;
        let eu = other.postgres().database().await;
        let named = |url: String| format!("eu={url}");
        place.set("VESTIBULE_CLUSTERS", &named(eu.application_url()));
        place.set("VESTIBULE_ADMIN_CLUSTERS", &named(eu.owner_url()));
        place.json(&["migrate"]);
        let create = |name: &'static str, tenant: &'static str| {
            ["account", "create", "--name", name, "--tenant", tenant]
        };
        let unknown = [&create("X", "tenant_x")[..], &["--cluster", "us"]].concat();
        let said = place.run(&unknown);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.stderr.contains("VESTIBULE_CLUSTERS"), "{said:?}");
        let acme = [&create("Acme", "tenant_acme")[..], &["--cluster", "eu"]].concat();
        let acme = place.json(&acme);
        assert_eq!(acme["cluster"], "eu");
        let globex = place.json(&create("Globex", "tenant_globex"));
        assert_eq!(globex["cluster"], "main");
        let id = acme["id"].as_str().unwrap();
        assert_eq!(place.json(&["account", "show", id]), acme);
        let listed = place.json(&["account", "list"]);
        for account in [&acme, &globex] {
            let items = listed["items"].as_array().unwrap();
            assert!(items.contains(account), "{listed}");
        }
        let server = place.serve();
        let token = sandbox.user_token("user_ada").mint();
        let me = http().get(format!("{}/v1/activity", server.public));
        Answer::of(me.bearer_auth(token)).await.expect_ok();
        let said = place.run(&["doctor", "--json"]);
        assert_eq!(said.code, 0, "{said:?}");
        place.json(&["account", "delete", id, "--yes"]);
        drop(server);
        drop(database);
    }
}
