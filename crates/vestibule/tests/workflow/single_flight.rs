//! Many at once, for the first time: each thing is asked once, and all are let in.

use tokio::task::JoinSet;
use vestibule_sandbox::{Endpoint, Fault};

use crate::{
    app::{after, app, found, with},
    entrance::Actor,
};

const MANY: usize = 200;

/// Starts the actor's request so many times.
fn started(actor: &Actor, count: usize) -> JoinSet<()> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let actor = actor.clone();
        requests.spawn(async move {
            actor.me().await.ok();
        });
    }
    requests
}

async fn ended(mut requests: JoinSet<()>) {
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_first_token() {
    let app = after(|sandbox| sandbox.fail(Endpoint::Jwks, Fault::Hang))
        .start()
        .await;
    let requests = started(&app.user("user_ada"), MANY);
    assert!(app.sandbox.wait_for_calls(Endpoint::Jwks, 1).await);
    app.sandbox.fail(Endpoint::User, Fault::Hang);
    app.sandbox.fail(Endpoint::Tenant, Fault::Hang);
    app.sandbox.heal_only(Endpoint::Jwks);
    assert!(app.sandbox.wait_for_calls(Endpoint::User, 1).await);
    app.sandbox.heal_only(Endpoint::User);
    assert!(app.sandbox.wait_for_calls(Endpoint::Tenant, 1).await);
    app.sandbox.heal();
    ended(requests).await;
    for endpoint in [Endpoint::Jwks, Endpoint::User, Endpoint::Tenant] {
        assert_eq!(app.sandbox.calls(endpoint), 1, "{endpoint:?}");
    }
    assert_eq!(app.users(&app.acme).await, 1);
    let ada = app.user("user_alan");
    let entries = found(async || {
        let items = ada.get("/activity").await.ok()["items"].take();
        let items = items.as_array().unwrap().clone();
        (items.len() >= 2).then_some(items)
    })
    .await;
    // One sign-in of Ada's, and that of the one who looks.
    assert_eq!(entries.len(), 2, "{entries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machines_first_token() {
    let app = after(|sandbox| sandbox.fail(Endpoint::ClientJwks, Fault::Hang))
        .start()
        .await;
    let requests = started(&app.client("sc_robot01"), MANY);
    assert!(app.sandbox.wait_for_calls(Endpoint::ClientJwks, 1).await);
    app.sandbox.heal();
    ended(requests).await;
    assert_eq!(app.sandbox.calls(Endpoint::ClientJwks), 1);
    assert_eq!(
        app.calls(&[Endpoint::User, Endpoint::Tenant, Endpoint::Client]),
        0
    );
}

/// Not one token many times, but many tokens of one person.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_many_tokens() {
    let app = app().await;
    app.sandbox.fail(Endpoint::User, Fault::Hang);
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let actor = app.user("user_ada");
        requests.spawn(async move {
            actor.me().await.ok();
        });
    }
    assert!(app.sandbox.wait_for_calls(Endpoint::User, 1).await);
    app.sandbox.heal();
    ended(requests).await;
    assert_eq!(app.calls(&[Endpoint::User, Endpoint::Tenant]), 2);
    assert_eq!(app.users(&app.acme).await, 1);
}

/// Contract §2.3: from any number of processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_visit_to_three_processes() {
    let app = app().await;
    let processes = [
        app.entrance.clone(),
        app.replica().await,
        app.replica().await,
    ];
    // Held together twice, or one would find what another has kept, or even made.
    app.sandbox.fail(Endpoint::User, Fault::Hang);
    app.sandbox.fail(Endpoint::Tenant, Fault::Hang);
    let token = app.sandbox.user_token("user_ada").mint();
    let requests: Vec<_> = processes
        .iter()
        .map(|process| started(&process.bearer(&token), 30))
        .collect();
    assert!(app.sandbox.wait_for_calls(Endpoint::User, 3).await);
    app.sandbox.heal_only(Endpoint::User);
    assert!(app.sandbox.wait_for_calls(Endpoint::Tenant, 3).await);
    app.sandbox.heal();
    for requests in requests {
        ended(requests).await;
    }
    assert_eq!(app.users(&app.acme).await, 1);
    assert_eq!(app.sandbox.calls(Endpoint::User), 3);
    assert_eq!(app.sandbox.calls(Endpoint::Tenant), 3);
}

/// Nobody who goes away takes with him what others wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_to_come_goes_away() {
    let app = app().await;
    app.sandbox.fail(Endpoint::User, Fault::Hang);
    let mut first = started(&app.user("user_ada"), 1);
    assert!(app.sandbox.wait_for_calls(Endpoint::User, 1).await);
    let others = started(&app.user("user_ada"), 20);
    first.abort_all();
    while let Some(gone) = first.join_next().await {
        assert!(gone.unwrap_err().is_cancelled());
    }
    app.sandbox.heal();
    ended(others).await;
    assert_eq!(app.sandbox.calls(Endpoint::User), 1);
}

/// `USER_CACHE_TTL=0` asks on every request, but not once for each of those who ask together.
#[tokio::test]
async fn without_memory_each_request_asks() {
    let app = with("USER_CACHE_TTL", "0").start().await;
    let ada = app.user("user_ada");
    for number in 1..=3 {
        ada.me().await.ok();
        assert_eq!(app.sandbox.calls(Endpoint::User), number);
    }
    app.sandbox.remove_user("user_ada").unwrap();
    ada.me().await.refused(vestibule::Reason::UnknownUser);
}
