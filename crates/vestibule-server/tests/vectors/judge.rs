//! Sends every vector and judges the answers.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use vestibule_sandbox::{Fault, Sandbox, Target};

use crate::{
    complaints::Complaints,
    recipe::Hand,
    vector::{Group, Settings, groups},
    world::{Asker, PATIENCE, World},
};

const NO_TOKEN: [&str; 2] = ["missing_token", "malformed_authorization"];

/// Every answer is what the vector says, on the wire and in the log, and costs no call to the
/// provider but where a key is not known.
#[tokio::test(flavor = "multi_thread")]
async fn every_vector_is_answered_as_written() {
    let mut world = World::new().await;
    let mut complaints = Complaints::default();
    for Group { settings, vectors } in groups() {
        let server = world.serve(&settings);
        world.asker.introduce(&server.public, &vectors).await;
        let mut reasons = BTreeMap::new();
        for vector in vectors {
            let sandbox = &world.asker.sandbox;
            let before = sandbox.all_calls();
            let answer = world
                .asker
                .ask(&server.public, &vector, Hand::AsWritten)
                .await;
            complaints.wire(&vector, &answer, vector.status, &vector.code);
            let calls = sandbox.all_calls() - before;
            complaints.unless(
                calls == 0 || vector.reason == "unknown_key",
                &vector,
                || format!("{calls} calls to the provider"),
            );
            if !vector.is_accepted() {
                let reason = vector.reason.clone();
                reasons.insert(answer.request_id(), (vector, reason));
            }
        }
        complaints.log(&server, reasons);
    }
    complaints.end();
}

/// A stranger who writes the same tokens learns nothing: neither that a token has expired nor
/// whom anyone knows.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_nothing_is_learned() {
    let mut world = World::new().await;
    let mut complaints = Complaints::default();
    for Group { settings, vectors } in groups() {
        let server = world.serve(&settings);
        for vector in vectors {
            let answer = world
                .asker
                .ask(&server.public, &vector, Hand::Stranger)
                .await;
            let code = match NO_TOKEN.contains(&vector.code.as_str()) {
                true => &vector.code,
                false => "invalid_token",
            };
            complaints.wire(&vector, &answer, 401, code);
        }
    }
    complaints.end();
}

/// With no key to be had, what needs none is refused as ever, and all else alike.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_key_asks_for_none() {
    let mut world = World::new().await;
    world.asker.sandbox.fail(Target::All, Fault::Status(503));
    let mut complaints = Complaints::default();
    for Group { settings, vectors } in groups() {
        let server = world.serve(&settings);
        let mut reasons = BTreeMap::new();
        for vector in vectors {
            let answer = world
                .asker
                .ask(&server.public, &vector, Hand::AsWritten)
                .await;
            let (code, reason) = match vector.needs_no_key() {
                true => (vector.code.clone(), vector.reason.clone()),
                false => (
                    "provider_unavailable".to_owned(),
                    "provider_unavailable".to_owned(),
                ),
            };
            complaints.wire(&vector, &answer, 401, &code);
            reasons.insert(answer.request_id(), (vector, reason));
        }
        complaints.log(&server, reasons);
    }
    complaints.end();
}

/// As `docs/vectors.md` says: a server that was set up with a sandbox of the same directory and
/// port, which has ended, so that ours can take its place.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs VECTORS_BASE_URL, VECTORS_SANDBOX_DIR and VECTORS_SANDBOX_PORT"]
async fn a_server_elsewhere_answers_as_written() {
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("set {name}"));
    let directory = given("VECTORS_SANDBOX_DIR");
    let port = given("VECTORS_SANDBOX_PORT").parse().unwrap();
    let settings: Settings = std::env::var("VECTORS_SETTINGS")
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|one| one.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    elsewhere(
        &given("VECTORS_BASE_URL"),
        Path::new(&directory),
        port,
        &settings,
    )
    .await;
}

/// That what it does is right: with a server that is not elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_can_be_elsewhere() {
    let keys = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::builder().keep_in(keys.path()).start().await;
    let mut world = World::with(sandbox.unwrap()).await;
    let port = world.asker.sandbox.port();
    world.asker.sandbox.stop();
    for group in groups() {
        let server = world.serve(&group.settings);
        elsewhere(&server.public, keys.path(), port, &group.settings).await;
    }
}

/// Takes the place of the sandbox that a server knows, and sends what its settings allow.
async fn elsewhere(base: &str, keys: &Path, port: u16, settings: &Settings) {
    let asker = Asker::new(sandbox_on(port, keys).await).await;
    let group = groups()
        .into_iter()
        .find(|group| group.settings == *settings);
    let vectors = group.unwrap().vectors;
    asker.introduce(base, &vectors).await;
    let mut complaints = Complaints::default();
    for vector in vectors {
        let answer = asker.ask(base, &vector, Hand::AsWritten).await;
        complaints.wire(&vector, &answer, vector.status, &vector.code);
    }
    asker.sandbox.stop();
    complaints.end();
}

/// The port was somebody's a moment ago, and may still be.
async fn sandbox_on(port: u16, keys: &Path) -> Sandbox {
    let begun = Instant::now();
    loop {
        match Sandbox::builder().keep_in(keys).port(port).start().await {
            Ok(sandbox) => return sandbox,
            Err(error) if begun.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
