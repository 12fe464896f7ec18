//! Starts, ends, and what lies on the disk meanwhile.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use vestibule_sandbox::{Endpoint, Fault, Sandbox, Target};

use crate::{
    support::Place,
    world::{Answer, World, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_flight() {
    finishes_what_is_in_flight("-TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_finishes_what_is_in_flight() {
    finishes_what_is_in_flight("-INT").await;
}

async fn finishes_what_is_in_flight(signal: &str) {
    let world = World::new(&[]).await;
    let mut server = world.place.serve();
    let address = server.address().to_owned();
    let mut idle = TcpStream::connect(&address).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    let silent = TcpStream::connect(&address).unwrap();

    let ask = |user: &str| {
        let request = world.http.get(format!("{}/v1/me", server.public));
        tokio::spawn(request.bearer_auth(world.user(user)).send())
    };
    let slow = Fault::Delay(Duration::from_millis(400));
    world.sandbox.fail(Target::path("/v1/users/user_ada"), slow);
    world
        .sandbox
        .fail(Target::path("/v1/users/user_alan"), Fault::Hang);
    let slow = ask("user_ada");
    let hanging = ask("user_alan");
    assert!(world.sandbox.wait_for_calls(Endpoint::User, 2).await);

    let signal = signal.to_owned();
    let stopped = tokio::task::spawn_blocking(move || (server.stop(&signal), server));
    let me = slow.await.unwrap().unwrap();
    assert_eq!(me.status(), 200);
    let me: serde_json::Value = me.json().await.unwrap();
    let ((code, took), server) = stopped.await.unwrap();
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(took < Duration::from_secs(2), "{took:?}");
    // What hangs at the provider is not waited for; nobody is told that it went well.
    let hung = hanging.await.unwrap();
    assert!(hung.map_or(true, |answer| answer.status() != 200));
    drop((idle, silent));

    // The next start finds what this one made, also what was written at the last moment.
    world.sandbox.heal();
    let server = world.place.serve();
    let ada = world.user("user_ada");
    let again = world.me(&server, &ada).await;
    assert_eq!(again.expect_ok().json()["user"]["id"], me["user"]["id"]);
    let activity = world.get(&server, "/v1/activity", &ada).await.expect_ok();
    let activity = activity.json();
    assert_eq!(activity["items"][0]["kind"], "sign_in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_admin_address_is_named() {
    let world = World::new(&[("VESTIBULE_LISTEN", "127.0.0.1:0")]).await;
    let mut place = world.place;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.set("VESTIBULE_ADMIN_LISTEN", &address);
    let said = place.run(&["serve"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{said:?}");
    for hint in [&address, "VESTIBULE_ADMIN_LISTEN", "taken"] {
        assert!(said.stderr.contains(hint), "{hint}: {said:?}");
    }
}

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
    let http = crate::world::http();
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
    let http = crate::world::http();
    let token = sandbox.user_token("user_ada").mint();
    let activity = http.get(format!("{}/v1/activity", server.public));
    Answer::of(activity.bearer_auth(token)).await.expect_ok();
}

async fn integrity(file: &Path) -> String {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
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
