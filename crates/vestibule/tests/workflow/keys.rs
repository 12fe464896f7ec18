//! Keys come and go: new ones are good at once, withdrawn ones not much longer, and inventing
//! them costs the provider next to nothing (contract §2, Keys).

use std::time::Instant;

use tokio::task::JoinSet;
use vestibule::Reason;
use vestibule_sandbox::{Endpoint, Fault, SigningKey};

use crate::app::{app, subject};

/// Twice `JWKS_REFRESH`: from here on a request waits for the fresh set.
const OVERDUE: u64 = 600;

#[tokio::test]
async fn a_new_key_is_good_at_once() {
    let app = app().await;
    let old = app.user("user_ada");
    old.me().await.ok();
    let before = app.sandbox.calls(Endpoint::Jwks);
    app.sandbox.rotate_account_key();
    app.user("user_ada").me().await.ok();
    assert_eq!(app.sandbox.calls(Endpoint::Jwks), before + 1);
    app.user("user_alan").me().await.ok();
    old.me().await.ok();
    assert_eq!(app.sandbox.calls(Endpoint::Jwks), before + 1);
}

#[tokio::test]
async fn a_clients_new_key_is_good_at_once() {
    let app = app().await;
    let old = app.client("sc_robot01");
    old.me().await.ok();
    app.sandbox.rotate_client_key("sc_robot01").unwrap();
    app.client("sc_robot01").me().await.ok();
    assert_eq!(app.sandbox.calls(Endpoint::ClientJwks), 2);
    old.me().await.ok();
    // The other client's set has not been looked at.
    let of_other = "/v1/clients/sc_robot02/.well-known/openid-configuration/jwks";
    assert_eq!(app.sandbox.calls_for(of_other), 0);
}

/// Whoever brings the new key or the old one comes in, and all of them cost one look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_with_two_hundred_in_flight() {
    let app = app().await;
    app.user("user_ada").me().await.ok();
    let before = app.sandbox.calls(Endpoint::Jwks);
    let mut actors: Vec<_> = (0..100).map(|_| app.user("user_ada")).collect();
    app.sandbox.rotate_account_key();
    actors.extend((0..100).map(|_| app.user("user_ada")));
    let mut requests = JoinSet::new();
    for actor in actors {
        requests.spawn(async move {
            actor.me().await.ok();
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
    assert_eq!(app.sandbox.calls(Endpoint::Jwks), before + 1);
}

#[tokio::test]
async fn a_key_among_unusable_ones() {
    let app = app().await;
    for jwk in [
        serde_json::json!({ "kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB" }),
        serde_json::json!(7),
        serde_json::json!({}),
    ] {
        app.sandbox.add_unusable_key(jwk.clone());
        app.sandbox
            .add_unusable_client_key("sc_robot01", jwk)
            .unwrap();
    }
    app.sandbox.rotate_account_key();
    app.user("user_ada").me().await.ok();
    app.client("sc_robot01").me().await.ok();
}

#[tokio::test]
async fn invented_keys_cost_one_call_a_second() {
    let app = app().await;
    let (ada, robot) = (app.user("user_ada"), app.client("sc_robot01"));
    ada.me().await.ok();
    robot.me().await.ok();
    let before = app.calls(&[Endpoint::Jwks, Endpoint::ClientJwks]);
    let begun = Instant::now();
    for number in 0..150 {
        let key = SigningKey::stranger(format!("invented{number}"));
        let user = app.sandbox.user_token("user_ada").key(&key);
        app.with(user).me().await.refused(Reason::UnknownKey);
        let machine = app.sandbox.client_token("sc_robot01").key(&key);
        app.with(machine).me().await.refused(Reason::UnknownKey);
    }
    // Two sets, and one look at each for every second begun.
    let allowed = 2 * (begun.elapsed().as_secs() + 1);
    let calls = app.calls(&[Endpoint::Jwks, Endpoint::ClientJwks]) - before;
    assert!((1..=allowed).contains(&calls), "{calls} of {allowed}");
    ada.me().await.ok();
    robot.me().await.ok();
    assert_eq!(subject(&app.user("user_alan").me().await.ok()), "user_alan");
}

#[tokio::test]
async fn withdrawn_keys_of_a_client() {
    for gone in [false, true] {
        let app = app().await;
        let robot = app.client("sc_robot01");
        robot.me().await.ok();
        match gone {
            false => app.sandbox.remove_client_keys("sc_robot01").unwrap(),
            true => app.sandbox.remove_client("sc_robot01").unwrap(),
        }
        app.advance(OVERDUE);
        robot.me().await.refused(Reason::UnknownKey);
        app.client("sc_robot01")
            .me()
            .await
            .refused(Reason::UnknownKey);
        app.client("sc_robot02").me().await.ok();
    }
}

#[tokio::test]
async fn one_withdrawn_key_of_several() {
    let app = app().await;
    let old = app.sandbox.client_key("sc_robot01");
    app.client("sc_robot01").me().await.ok();
    app.sandbox.rotate_client_key("sc_robot01").unwrap();
    app.sandbox
        .remove_client_key("sc_robot01", old.kid())
        .unwrap();
    // Whoever brings the new key brings the end of the old one.
    app.client("sc_robot01").me().await.ok();
    let late = app.sandbox.client_token("sc_robot01").key(&old);
    app.with(late).me().await.refused(Reason::UnknownKey);
}

/// Only an answer withdraws keys; a failure, or a set of the account's without any, does not.
#[tokio::test]
async fn an_outage_withdraws_nothing() {
    for fault in [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(401),
        Fault::Html,
        Fault::Oversized,
        Fault::Reset,
    ] {
        let app = app().await;
        app.client("sc_robot01").me().await.ok();
        app.user("user_ada").me().await.ok();
        app.sandbox.fail(Endpoint::ClientJwks, fault.clone());
        app.sandbox.fail(Endpoint::Jwks, fault);
        app.advance(OVERDUE);
        app.client("sc_robot01").me().await.ok();
        app.user("user_ada").me().await.ok();
    }
    let app = app().await;
    app.user("user_ada").me().await.ok();
    app.sandbox.fail(Endpoint::Jwks, Fault::EmptyKeys);
    app.advance(OVERDUE);
    app.user("user_ada").me().await.ok();
}
