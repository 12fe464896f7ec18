//! What the database keeps of the provider's answers, and who may have written it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sqlx::Connection as _;
use vestibule_sandbox::{Fault, Sandbox, SigningKey, Target};

use crate::{
    support::Running,
    world::{Answer, World, eventually, open},
};

const SEED: [u8; 32] = [7; 32];

/// Waits until the keys of issuer and client, and the user, are kept.
async fn wait_for_three(database: &Path) {
    let mut directory = open(database).await;
    eventually(Duration::from_secs(3), "three facts are kept", async || {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM kept_facts");
        let count: i64 = count.fetch_one(&mut directory).await.unwrap();
        count == 3
    })
    .await;
}

async fn is_ready(world: &World, server: &Running) -> bool {
    let ready = world.http.get(format!("{}/readyz", server.public));
    Answer::of(ready).await.status == 200
}

/// The provider is gone, as a machine that was switched off, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_during_an_outage() {
    let sandbox = Sandbox::builder().seed(SEED).start().await.unwrap();
    let world = World::beside(sandbox, &[]);
    let server = world.place.serve();
    let (ada, robot) = (world.user("user_ada"), world.robot("sc_robot01"));
    let (alan, robot02) = (world.user("user_alan"), world.robot("sc_robot02"));
    world.me(&server, &ada).await.expect_ok();
    world.me(&server, &robot).await.expect_ok();
    wait_for_three(&world.place.database()).await;
    let port = world.sandbox.port();
    world.sandbox.stop();

    let bridged = async |server: &Running| {
        assert!(is_ready(&world, server).await);
        world.me(server, &ada).await.expect_ok();
        world.me(server, &robot).await.expect_ok();
        // A key that was kept verifies new tokens too.
        let another = world.sandbox.user_token("user_ada").claim("jti", 2).mint();
        world.me(server, &another).await.expect_ok();
        for unknown in [&alan, &robot02] {
            world.me(server, unknown).await.expect_undecided();
        }
    };
    bridged(&server).await;
    server.kill();
    let mut server = world.place.serve();
    bridged(&server).await;
    assert_eq!(server.stop("-TERM").0, Some(0));
    let server = world.place.serve();
    bridged(&server).await;

    let begun = Instant::now();
    let back = loop {
        match Sandbox::builder().seed(SEED).port(port).start().await {
            Ok(sandbox) => break sandbox,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(5), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    back.add_demo_world();
    world
        .is_let_in(&server, &alan, Duration::from_secs(5))
        .await;
    world
        .is_let_in(&server, &robot02, Duration::from_secs(5))
        .await;
}

/// Whoever can write the database can make the server forget, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_by_others_is_not_believed() {
    let world = World::new(&[]).await;
    let sandbox = &world.sandbox;
    let mut server = world.place.serve();
    let (ada, robot) = (world.user("user_ada"), world.robot("sc_robot01"));
    world.me(&server, &ada).await.expect_ok();
    world.me(&server, &robot).await.expect_ok();
    wait_for_three(&world.place.database()).await;
    server.stop("-TERM");
    sandbox.fail(Target::All, Fault::Reset);

    let planted = SigningKey::stranger("k-planted");
    let planted_set = serde_json::json!({ "keys": [planted.jwk()] }).to_string();
    let issuer_row = format!("kind = 'issuer_keys' AND key = '{}'", sandbox.issuer());
    let client_row = "kind = 'client_keys' AND key = 'sc_robot01'";
    let in_place = |row: &str| {
        format!("UPDATE kept_facts SET body = CAST('{planted_set}' AS BLOB) WHERE {row}")
    };
    let copied = |columns: &str, row: &str| {
        format!(
            "INSERT OR REPLACE INTO kept_facts (kind, key, body, fetched_at, proof)
             SELECT {columns}, body, fetched_at, proof FROM kept_facts WHERE {row}"
        )
    };
    let younger =
        |row: &str| format!("UPDATE kept_facts SET fetched_at = fetched_at + 1 WHERE {row}");
    let by = |token: vestibule_sandbox::TokenBuilder, key: &SigningKey| token.key(key).mint();
    let robots_key = sandbox.client_key("sc_robot01");
    let as_ada = by(sandbox.user_token("user_ada"), &planted);
    let as_robot = by(sandbox.client_token("sc_robot01"), &planted);
    let by_robot = by(sandbox.user_token("user_ada"), &robots_key);
    let as_robot02 = by(sandbox.client_token("sc_robot02"), &robots_key);
    let alan = world.user("user_alan");
    let issuer_keys = format!("'issuer_keys', '{}'", sandbox.issuer());
    let attacks = [
        ("nothing", "SELECT 1".to_owned(), None),
        ("a set for users", in_place(&issuer_row), Some(&as_ada)),
        ("a set of a client", in_place(client_row), Some(&as_robot)),
        (
            "a client's set for users",
            copied(&issuer_keys, client_row),
            Some(&by_robot),
        ),
        (
            "a client's set for another client",
            copied("'client_keys', 'sc_robot02'", client_row),
            Some(&as_robot02),
        ),
        (
            "a user for another user",
            copied("'user', 'user_alan'", "kind = 'user'"),
            Some(&alan),
        ),
        ("younger keys", younger(&issuer_row), Some(&ada)),
        (
            "younger keys of a client",
            younger(client_row),
            Some(&robot),
        ),
        ("a younger user", younger("kind = 'user'"), Some(&ada)),
    ];
    let database = world.place.database();
    let kept = std::fs::read(&database).unwrap();
    for (what, attack, refused) in attacks {
        let mut directory = open(&database).await;
        let done = sqlx::query(sqlx::AssertSqlSafe(attack)).execute(&mut directory);
        let rows = done.await.unwrap().rows_affected();
        directory.close().await.unwrap();
        let mut server = world.place.serve();
        match refused {
            None => {
                // The kept answers would have let everybody in, had they not been touched.
                world.me(&server, &ada).await.expect_ok();
                world.me(&server, &robot).await.expect_ok();
                assert_eq!(server.stop("-TERM").0, Some(0));
            }
            Some(token) => {
                assert_eq!(rows, 1, "{what}");
                let answer = world.me(&server, token).await;
                assert_eq!(answer.status, 401, "{what}: {answer:?}");
                let log = server.whole_log();
                assert!(log.contains("does not carry our proof"), "{what}: {log}");
            }
        }
        // The server has closed the file in good order: nothing of it lies beside it.
        assert!(!database.with_extension("db-wal").exists());
        std::fs::write(&database, &kept).unwrap();
    }
}
