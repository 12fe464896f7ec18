//! `vestibule revoke`, and suspending: no success later than a second after it, on any server; kept over
//! a restart; what is issued afterwards works.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    support::Running,
    world::{Answer, World, eventually},
};

const BOUND: Duration = Duration::from_secs(1);
/// Callers in a loop for each server.
const CALLERS: usize = 4;

/// Somebody who never stops asking, and when he was last let in.
struct Loop {
    stop: Arc<AtomicBool>,
    begun: Instant,
    /// Milliseconds since `begun` at which the last request that was let in was sent.
    last: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Loop {
    fn start(world: &World, servers: &[Running], token: &str) -> Self {
        let new = Self {
            stop: Arc::default(),
            begun: Instant::now(),
            last: Arc::default(),
            asked: Arc::default(),
            callers: Vec::new(),
        };
        let callers = servers.iter().flat_map(|server| [server; CALLERS]);
        let callers = callers.map(|server| {
            let request = world
                .http
                .get(format!("{}/v1/me", server.public))
                .bearer_auth(token);
            let (stop, last, asked) = (new.stop.clone(), new.last.clone(), new.asked.clone());
            let begun = new.begun;
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let sent = u64::try_from(begun.elapsed().as_millis()).unwrap();
                    if Answer::of(request.try_clone().unwrap()).await.status == 200 {
                        last.fetch_max(sent, Ordering::Relaxed);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let callers = callers.collect();
        Self { callers, ..new }
    }

    /// How long after `moment` the last request was sent that was let in, and how many there were in a
    /// second. `REVOCATION_RATE` says how many it takes at least.
    async fn end(self, moment: Instant) -> (Duration, f64) {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let asked = self.asked.load(Ordering::Relaxed);
        let rate = asked as f64 / self.begun.elapsed().as_secs_f64();
        let wanted = std::env::var("REVOCATION_RATE").map_or(25.0, |rate| rate.parse().unwrap());
        assert!(rate >= wanted, "{rate:.0}/s");
        let last = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed));
        assert!(last > self.begun, "nobody was ever let in");
        let late = last.saturating_duration_since(moment);
        (late, rate)
    }
}

async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_a_second_later() {
    let world = World::new(&[]).await;
    let servers = [world.place.serve(), world.place.serve()];
    let token = world.user("user_ada");
    let me = world.me(&servers[0], &token).await.expect_ok().json();
    let ada = me["user"]["id"].as_str().unwrap();
    world.me(&servers[1], &token).await.expect_ok();

    let asking = Loop::start(&world, &servers, &token);
    next_second().await;
    let cut = world.place.json(&["revoke", "--user", ada]);
    let done = Instant::now();
    assert_eq!(cut["kind"], "user");
    tokio::time::sleep(2 * BOUND).await;
    let (late, rate) = asking.end(done).await;
    println!("revocation: {rate:.0}/s; the last success {late:?} after the command had ended");
    assert!(late < BOUND, "let in {late:?} after the command ended");

    let other = world.user("user_alan");
    for server in &servers {
        world.me(server, &token).await.expect(401, "invalid_token");
        world.me(server, &other).await.expect_ok();
    }
    // Signed in again.
    let again = world.user("user_ada");
    world.me(&servers[0], &again).await.expect_ok();
    drop(servers);
    let server = world.place.serve();
    world.me(&server, &token).await.expect(401, "invalid_token");
    world.me(&server, &again).await.expect_ok();
}

/// Made on either server: whoever asks the other one is out just as soon.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_was_suspended_is_let_in_a_second_later() {
    let admin_token = ("VESTIBULE_ADMIN_TOKEN", "admin-token-for-the-tests");
    let world = World::new(&[admin_token]).await;
    let servers = [world.place.serve(), world.place.serve()];
    let token = world.user("user_ada");
    let me = world.me(&servers[0], &token).await.expect_ok().json();
    world.me(&servers[1], &token).await.expect_ok();
    for (what, server) in [("user", &servers[0]), ("account", &servers[1])] {
        let id = me[what]["id"].as_str().unwrap();
        let command = |deed| ["--server", &server.admin, what, deed, id];

        let asking = Loop::start(&world, &servers, &token);
        next_second().await;
        world.place.json(&command("suspend"));
        let done = Instant::now();
        tokio::time::sleep(2 * BOUND).await;
        let (late, rate) = asking.end(done).await;
        println!("revocation: {rate:.0}/s; the last success {late:?} after the command had ended");
        assert!(late < BOUND, "let in {late:?} after the command ended");

        let code = format!("{what}_suspended");
        for server in &servers {
            world.me(server, &token).await.expect(403, &code);
        }
        world.place.json(&command("resume"));
        for server in &servers {
            eventually(BOUND, "is let in again", async || {
                world.me(server, &token).await.status == 200
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_keys() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let stolen = world.sandbox.user_token("user_ada").claim("jti", 1).mint();
    let (other, robot) = (world.user("user_ada"), world.robot("sc_robot01"));
    for token in [&stolen, &other, &robot] {
        world.me(&server, token).await.expect_ok();
    }
    let is_cut_off = async |token: &str| {
        eventually(BOUND, "is cut off", async || {
            world.me(&server, token).await.code() == "invalid_token"
        })
        .await;
    };

    let said = world
        .place
        .run_with(&["revoke", "--token"], &format!("Bearer {stolen}\n"));
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.stdout.contains(&stolen), "{said:?}");
    is_cut_off(&stolen).await;
    world.me(&server, &other).await.expect_ok();

    let key = world.sandbox.client_key("sc_robot01");
    let revoke = ["revoke", "--client", "sc_robot01", "--kid", key.kid()];
    world.place.json(&revoke);
    is_cut_off(&robot).await;
    next_second().await;
    let fresh = world.robot("sc_robot01");
    world.me(&server, &fresh).await.expect(401, "invalid_token");
    world.sandbox.rotate_client_key("sc_robot01").unwrap();
    world
        .is_let_in(&server, &world.robot("sc_robot01"), 2 * BOUND)
        .await;

    let list = world.place.json(&["revoke", "--list"]);
    let kinds: Vec<_> = list["items"].as_array().unwrap().iter().collect();
    assert_eq!(kinds.len(), 2, "{list}");
    assert!(kinds.iter().any(|item| item["kind"] == "token"));
    let named = format!("sc_robot01 {}", key.kid());
    assert!(kinds.iter().any(|item| item["which"] == named.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_cut_off() {
    let world = World::new(&[]).await;
    let nobody = "0190a8f2-0000-7000-8000-000000000001";
    for (line, input, code) in [
        (&["revoke", "--user", nobody][..], "", 1),
        (&["revoke", "--account", nobody], "", 1),
        (&["revoke", "--client", "sc_nobody", "--kid", "k"], "", 1),
        (&["revoke", "--issuer", "a b"], "", 2),
        (&["revoke", "--token"], "", 2),
        (&["revoke", "--token"], "abc", 2),
        (
            &[
                "revoke",
                "--account",
                &world.acme,
                "--before",
                "2999-01-01T00:00:00Z",
            ],
            "",
            2,
        ),
        (
            &["revoke", "--account", &world.acme, "--before", "yesterday"],
            "",
            2,
        ),
    ] {
        let said = world.place.run_with(line, input);
        assert_eq!(said.code, code, "{line:?}: {said:?}");
        assert!(said.stdout.is_empty(), "{said:?}");
    }
    let list = world.place.json(&["revoke", "--list"]);
    assert_eq!(list["items"], serde_json::json!([]));
    let before = [
        "revoke",
        "--account",
        &world.acme,
        "--before",
        "2020-01-01T00:00:00Z",
    ];
    let cut = world.place.json(&before);
    assert_eq!(cut["issued_before"], "2020-01-01T00:00:00Z");
    let server = world.place.serve();
    world.me(&server, &world.user("user_ada")).await.expect_ok();
}

/// Kibibytes that a process keeps in memory.
fn resident(server: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_take_little_memory() {
    const MOST: u64 = 32 * 1024;
    let world = World::new(&[]).await;
    let token = world.user("user_ada");
    let server = world.place.serve();
    world.me(&server, &token).await.expect_ok();
    let before = resident(&server);
    drop(server);

    let file = SqliteConnectOptions::new().filename(world.place.database());
    let mut database = SqliteConnection::connect_with(&file).await.unwrap();
    let inserted = sqlx::raw_sql(
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 99999)
         INSERT INTO cut_offs (kind, key, issued_before, ends_at)
         SELECT 'token', printf('%032x', n * 7919), 0, 9999999999999 FROM n",
    )
    .execute(&mut database)
    .await
    .unwrap();
    assert_eq!(inserted.rows_affected(), 100_000);
    database.close().await.unwrap();

    let server = world.place.serve();
    world.me(&server, &token).await.expect_ok();
    let took = resident(&server).saturating_sub(before);
    println!("100,000 cut-offs: {took} KiB");
    assert!(took < MOST, "{took} KiB");
    assert!(took > 1024, "they are not there: {took} KiB");
}
