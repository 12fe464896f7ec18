//! The database's files: beginnings, kills, locks, and whose they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, SqliteConnection};
use vestibule_sandbox::{Sandbox, User};

use crate::{
    support::Place,
    world::{Answer, World, eventually, http, open},
};

#[tokio::test(flavor = "multi_thread")]
async fn many_servers_start_at_once_on_a_fresh_database() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    let place = Place::new().with_sandbox(&sandbox);
    let servers: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| place.serve())).collect();
        starts.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let addresses: BTreeSet<_> = servers
        .iter()
        .flat_map(|server| [&server.public, &server.admin])
        .collect();
    assert_eq!(addresses.len(), 8);
    assert!(addresses.iter().all(|address| !address.ends_with(":0")));
    let id = place.account("Acme", "tenant_acme");
    let http = http();
    for server in &servers {
        for path in ["/healthz", "/readyz"] {
            let url = format!("{}{path}", server.public);
            eventually(Duration::from_secs(5), path, async || {
                Answer::of(http.get(&url)).await.status == 200
            })
            .await;
        }
        let token = sandbox.user_token("user_ada").mint();
        let me = http.get(format!("{}/v1/me", server.public));
        let me = Answer::of(me.bearer_auth(token)).await.expect_ok();
        assert_eq!(me.json()["account"]["id"], id.as_str());
    }
}

/// Whenever the power goes: what is listed works, and what was cut off can be made again.
#[tokio::test(flavor = "multi_thread")]
async fn kills_while_accounts_are_made_leave_a_usable_database() {
    const KILLS: u64 = 16;
    let sandbox = Sandbox::builder().start().await.unwrap();
    sandbox.add_demo_world();
    let mut place = Place::new().with_sandbox(&sandbox);
    let key = place.set("AUTHRESS_ACCESS_KEY", "").unwrap();
    let create = |tenant: u64| {
        let name = format!("tenant_{tenant}");
        ["account", "create", "--name", "A", "--tenant", &name].map(str::to_owned)
    };
    for number in 0..KILLS {
        let arguments = create(number);
        let mut child = place.spawn(&arguments.each_ref().map(String::as_str));
        std::thread::sleep(Duration::from_millis(number * 4));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let survivors = place.json(&["account", "list"]);
    let survivors = survivors["items"].as_array().unwrap();
    for account in survivors {
        let id = account["id"].as_str().unwrap();
        assert!(place.path().join(format!("tenants/{id}.db")).exists());
        place.json(&["account", "export", id]);
    }
    for number in 0..KILLS {
        let arguments = create(number);
        let arguments = arguments.each_ref().map(String::as_str);
        place.json(&[&arguments[..], &["--if-missing"]].concat());
    }
    let accounts = place.json(&["account", "list"]);
    let accounts = accounts["items"].as_array().unwrap();
    assert_eq!(accounts.len() as u64, KILLS);
    assert!(survivors.iter().all(|account| accounts.contains(account)));
    let mut files = vec![place.database()];
    files.extend(accounts.iter().map(|account| {
        let id = account["id"].as_str().unwrap();
        place.path().join(format!("tenants/{id}.db"))
    }));
    for file in files {
        assert_eq!(integrity(&file).await, "ok", "{}", file.display());
    }

    place.set("AUTHRESS_ACCESS_KEY", &key);
    place.account("Acme", "tenant_acme");
    let server = place.serve();
    let http = http();
    let token = sandbox.user_token("user_ada").mint();
    let activity = http.get(format!("{}/v1/activity", server.public));
    Answer::of(activity.bearer_auth(token)).await.expect_ok();
}

async fn integrity(file: &Path) -> String {
    let mut connection = open(file).await;
    let check = sqlx::query_scalar("PRAGMA integrity_check");
    check.fetch_one(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_their_owners_alone_also_while_in_use() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    world.get(&server, "/v1/activity", &ada).await.expect_ok();
    let directory = world.place.path();
    let mut files = 0;
    for place in [directory.to_owned(), directory.join("tenants")] {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{}: {mode:o}", path.display());
            files += 1;
        }
    }
    // The directory with its log and its index, the folder, and at least a file per account.
    assert!(files >= 6, "{files}");
}

/// Whoever was let in before the power went is there afterwards, under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_amid_first_visits_loses_nobody_who_was_answered() {
    const USERS: usize = 40;
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let tokens: Vec<_> = (0..USERS)
        .map(|number| {
            let id = format!("user_{number}");
            world
                .sandbox
                .add_user(User::new(&*id).tenant("tenant_acme"));
            world.user(&id)
        })
        .collect();
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for (number, token) in tokens.iter().enumerate() {
        let request = world.http.get(format!("{}/v1/me", server.public));
        let (request, answered) = (request.bearer_auth(token).send(), answered.clone());
        tokio::spawn(async move {
            let Ok(response) = request.await else { return };
            let Ok(me) = response.json::<serde_json::Value>().await else {
                return;
            };
            answered.send((number, me["user"]["id"].clone())).ok();
        });
    }
    drop(answered);
    let mut known = BTreeMap::new();
    while let Some((number, id)) = answers.recv().await {
        known.insert(number, id);
        if known.len() == USERS / 4 {
            break;
        }
    }
    server.kill();
    while let Some((number, id)) = answers.recv().await {
        known.insert(number, id);
    }
    let server = world.place.serve();
    for (number, token) in tokens.iter().enumerate() {
        let me = world.me(&server, token).await.expect_ok().json();
        if let Some(id) = known.get(&number) {
            assert_eq!(me["user"]["id"], *id);
        }
    }
    let users = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    assert_eq!(users["items"].as_array().unwrap().len(), USERS);
}

/// A file that is somebody else's is neither used nor changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_program_is_left_alone() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let mut foreign = Vec::new();
    let scratch = tempfile::tempdir().unwrap();
    let other = scratch.path().join("other.db");
    fs::write(&other, "").unwrap();
    let mut connection = open(&other).await;
    for statement in [
        "CREATE TABLE accounts (id INTEGER, owner TEXT)",
        "INSERT INTO accounts VALUES (1, 'ada')",
    ] {
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
    foreign.push(fs::read(&other).unwrap());
    foreign.push(b"Dear diary, this is no database, though it is long enough for one.".repeat(99));
    for content in foreign {
        let place = Place::new().with_sandbox(&sandbox);
        fs::write(place.database(), &content).unwrap();
        for command in [
            &["serve"][..],
            &["account", "list"],
            &["migrate"],
            &["account", "create", "--name", "A", "--tenant", "tenant_a"],
        ] {
            let said = place.run(command);
            assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{said:?}");
            let file = place.database().display().to_string();
            assert!(said.stderr.contains(&file), "{said:?}");
        }
        assert!(fs::read(place.database()).unwrap() == content, "changed");
        assert!(!place.path().join("tenants").exists());
    }
}

/// A lock that another program holds costs those who must write, for as long as it is held.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_said_to_be_unavailable() {
    let world = World::new(&[("DATABASE_TIMEOUT", "0.6")]).await;
    let server = world.place.serve();
    let (ada, alan) = (world.user("user_ada"), world.user("user_alan"));
    world.me(&server, &ada).await.expect_ok();
    let account = world
        .place
        .path()
        .join(format!("tenants/{}.db", world.acme));
    let mut locks = Vec::new();
    for file in [world.place.database(), account] {
        let mut connection = open(&file).await;
        lock(&mut connection).await;
        locks.push(connection);
    }
    // Who is known needs no writing, and a sign-in is noted later.
    let another = world.sandbox.user_token("user_ada").claim("jti", 2).mint();
    let begun = Instant::now();
    world.me(&server, &ada).await.expect_ok();
    world.me(&server, &another).await.expect_ok();
    assert!(
        begun.elapsed() < Duration::from_millis(600),
        "{:?}",
        begun.elapsed()
    );
    for (path, token) in [("/v1/me", &alan), ("/v1/activity", &ada)] {
        let begun = Instant::now();
        let refused = world.get(&server, path, token).await;
        let refused = refused.expect(503, "storage_unavailable");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.header("www-authenticate"), None);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
    let said = world
        .place
        .run(&["account", "rename", &world.acme, "Other"]);
    assert_eq!(said.code, 1, "{said:?}");
    for connection in locks {
        connection.close().await.unwrap();
    }
    world
        .is_let_in(&server, &alan, Duration::from_secs(2))
        .await;
    world.get(&server, "/v1/activity", &ada).await.expect_ok();
}

pub(crate) async fn lock(connection: &mut SqliteConnection) {
    let patience = sqlx::query("PRAGMA busy_timeout = 5000");
    patience.execute(&mut *connection).await.unwrap();
    let lock = sqlx::query("BEGIN IMMEDIATE");
    lock.execute(&mut *connection).await.unwrap();
}
