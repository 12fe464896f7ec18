//! An account's end: nothing of it stays, nothing of another goes, and until then it can be undone.

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;
use vestibule_sandbox::Sandbox;

use crate::{
    postgres::Site,
    support::{Place, Running},
    world::{Answer, World, eventually, http},
};

async fn me(server: &Running, token: &str) -> Answer {
    let url = format!("{}/v1/me", server.public);
    Answer::of(http().get(url).bearer_auth(token)).await
}

/// The database as text, without the list of what changed, from which old entries go by themselves.
fn dump_of_file(file: &Path) -> String {
    let said = Command::new("sqlite3").arg(file).arg(".dump").output();
    let text = String::from_utf8(said.unwrap().stdout).unwrap();
    assert!(text.contains("CREATE TABLE"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with("INSERT INTO changes "))
        .collect::<Vec<_>>()
        .join("\n")
}

fn dump_of_server(url: &str) -> String {
    let said = Command::new("pg_dump").arg(url).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(
        text.contains("CREATE TABLE"),
        "{said:?}",
        said = said.stderr
    );
    let mut kept = Vec::new();
    let mut changes = false;
    for line in text.lines() {
        changes = line.starts_with("COPY vestibule.changes ") || changes && line != "\\.";
        if !changes {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// Ends Acme, whose people and robot were there, and looks for what is left.
async fn ends_wholly(place: &Place, sandbox: &Sandbox, dump: impl Fn() -> String) {
    let acme = place.account("Acme", "tenant_acme");
    let globex = place.account("Globex", "tenant_globex");
    for (client, account) in [("sc_robot01", &acme), ("sc_robot02", &globex)] {
        let add = ["client", "add", "--client-id", client, "--account", account];
        place.json(&[&add[..], &["--name", "Robot"]].concat());
    }
    let server = place.serve();
    let (ada, grace) = (
        sandbox.user_token("user_ada").mint(),
        sandbox.user_token("user_grace").mint(),
    );
    let robot = sandbox.client_token("sc_robot01").mint();
    eventually(Duration::from_secs(10), "all come in", async || {
        let answers = [&ada, &grace, &robot].map(|token| me(&server, token));
        let mut all = true;
        for answer in answers {
            all &= answer.await.status == 200;
        }
        all
    })
    .await;
    let person = me(&server, &ada).await.json()["user"].clone();
    let id = person["id"].as_str().unwrap();
    place.json(&["revoke", "--user", id, "--before", "2026-01-01T00:00:00Z"]);
    place.json(&[
        "revoke",
        "--account",
        &acme,
        "--before",
        "2026-01-01T00:00:00Z",
    ]);
    let theirs = || place.json(&["account", "export", &globex]);
    let (others_before, others_users) = (
        theirs()["users"].clone(),
        place.json(&["user", "list", "--account", &globex]),
    );
    // What the provider said of her is kept a moment later.
    let email = person["email"].as_str().unwrap();
    eventually(Duration::from_secs(5), "all is written", async || {
        let text = dump();
        text.contains(id) || text.to_lowercase().contains(&id.replace('-', ""))
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let traces = [
        acme.clone(),
        acme.replace('-', ""),
        id.to_owned(),
        id.replace('-', ""),
        "user_ada".to_owned(),
        "tenant_acme".to_owned(),
        "sc_robot01".to_owned(),
        email.to_owned(),
    ];
    let found = |text: &str| {
        let text = text.to_lowercase();
        let found = traces.iter().filter(|trace| text.contains(*trace));
        found.cloned().collect::<Vec<_>>()
    };
    assert!(found(&dump()).len() >= 5, "{:?}", found(&dump()));

    let said = place.run(&["account", "delete", &acme, "--yes", "--json"]);
    assert_eq!((said.code, &*said.stderr), (0, ""), "{said:?}");
    assert_eq!(said.json()["deleted"], true);
    eventually(Duration::from_secs(1), "nobody comes in", async || {
        me(&server, &ada).await.code() == "unknown_account"
            && me(&server, &robot).await.status == 401
    })
    .await;
    drop(server);
    assert_eq!(found(&dump()), Vec::<String>::new());

    assert_eq!(theirs()["users"], others_before);
    let users = place.json(&["user", "list", "--account", &globex]);
    assert_eq!(users, others_users);
    let server = place.serve();
    assert_eq!(me(&server, &grace).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_it_stays_in_files() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    let place = Place::new().with_sandbox(&sandbox);
    ends_wholly(&place, &sandbox, || dump_of_file(&place.database())).await;
    // Globex' alone is left.
    let left = std::fs::read_dir(place.path().join("tenants")).unwrap();
    let left: Vec<_> = left
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".db"))
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

async fn nothing_of_it_stays_on_a_server(tenancy: &str) {
    let site = Site::new(tenancy, false).await;
    site.place.json(&["migrate"]);
    let url = site.database.superuser_url();
    ends_wholly(&site.place, &site.sandbox, || {
        let mut text = dump_of_server(&url);
        // Databases are not in a dump of one.
        let names = Command::new("psql")
            .args(["-AtX", &url, "-c", "SELECT datname FROM pg_database"])
            .output();
        text.push_str(&String::from_utf8(names.unwrap().stdout).unwrap());
        text
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_it_stays_in_rows() {
    nothing_of_it_stays_on_a_server("row").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_it_stays_in_schemas() {
    nothing_of_it_stays_on_a_server("schema").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_it_stays_in_databases() {
    nothing_of_it_stays_on_a_server("database").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_planned_can_be_undone() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    let planned = ["account", "delete", &world.acme, "--grace-days", "1"];
    let planned = world.place.json(&planned);
    assert_eq!(planned["status"], "suspended");
    let ends_at: jiff::Timestamp = planned["ends_at"].as_str().unwrap().parse().unwrap();
    let hours = ends_at.duration_since(jiff::Timestamp::now()).as_hours();
    assert!((23..=24).contains(&hours), "{planned}");
    eventually(Duration::from_secs(1), "she is refused", async || {
        world.me(&server, &ada).await.code() == "account_suspended"
    })
    .await;
    let due = ["account", "delete", "--due", "--yes"];
    assert_eq!(world.place.json(&due)["items"], Value::Array(Vec::new()));
    let shown = world.place.json(&["account", "show", &world.acme]);
    assert_eq!(shown["ends_at"], planned["ends_at"]);
    let undone = world
        .place
        .json(&["account", "delete", &world.acme, "--undo"]);
    assert_eq!(
        (&undone["status"], &undone["ends_at"]),
        (&planned["status"], &Value::Null)
    );
    let again = world
        .place
        .run(&["account", "delete", &world.acme, "--undo"]);
    assert_eq!(again.code, 1, "{again:?}");

    // Who lets them in again takes it back too.
    world
        .place
        .json(&["account", "delete", &world.acme, "--grace-days", "0"]);
    world.place.json(&["account", "resume", &world.acme]);
    assert_eq!(world.place.json(&due)["items"], Value::Array(Vec::new()));
    world.is_let_in(&server, &ada, Duration::from_secs(1)).await;

    world
        .place
        .json(&["account", "delete", &world.acme, "--grace-days", "0"]);
    let ended = world.place.json(&due);
    assert_eq!(ended["items"][0]["id"], world.acme.as_str());
    assert_eq!(world.place.run(&["account", "show", &world.acme]).code, 1);
    for wrong in [
        &["account", "delete", &world.globex][..],
        &["account", "delete"],
        &["account", "delete", "--due"],
        &["account", "delete", &world.globex, "--yes", "--undo"],
        &["account", "delete", &world.globex, "--grace-days", "4000"],
    ] {
        assert_eq!(world.place.run(wrong).code, 2, "{wrong:?}");
    }
}
