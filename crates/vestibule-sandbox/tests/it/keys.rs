//! Key sets, rotation and withdrawal.

use serde_json::{Value, json};
use vestibule_sandbox::{Client, Sandbox, SigningKey};

use crate::ask::{acme, ask_as, verifies};
use reqwest::{Method, StatusCode};

const ACCOUNT: &str = "/.well-known/openid-configuration/jwks";
const ROBOT: &str = "/v1/clients/sc_robot01/.well-known/openid-configuration/jwks";

async fn set(sandbox: &Sandbox, path: &str) -> (StatusCode, Vec<Value>) {
    // Without a token: key sets are public.
    let (status, body) = ask_as(sandbox, None, Method::GET, path, None).await;
    let keys = body["keys"].as_array().cloned().unwrap_or_default();
    (status, keys)
}

#[tokio::test]
async fn account_keys_rotate_and_go() {
    let sandbox = acme().await;
    let old = sandbox.account_key();
    let before = sandbox.user_token("user_ada").mint();
    let kid = sandbox.rotate_account_key();
    let after = sandbox.user_token("user_ada").mint();
    let (_, keys) = set(&sandbox, ACCOUNT).await;
    assert_eq!(keys, [old.jwk(), sandbox.account_key().jwk()]);
    assert_eq!(sandbox.account_key().kid(), kid);
    assert!(verifies(&before).await && verifies(&after).await);
    sandbox.remove_account_key(old.kid()).unwrap();
    assert!(!verifies(&before).await && verifies(&after).await);
    assert!(sandbox.remove_account_key(old.kid()).is_err());
    sandbox.add_account_key(&old);
    assert!(verifies(&before).await);
}

#[tokio::test]
async fn unusable_keys_stand_before_the_good_ones() {
    let sandbox = acme().await;
    sandbox.add_unusable_key(json!({ "kty": "RSA", "kid": "r1" }));
    sandbox.add_unusable_key(json!(7));
    let (_, keys) = set(&sandbox, ACCOUNT).await;
    assert_eq!(keys[0]["kty"], "RSA");
    assert_eq!(keys[1], 7);
    assert_eq!(keys[2], sandbox.account_key().jwk());
}

#[tokio::test]
async fn a_clients_keys_are_its_own() {
    let sandbox = acme().await;
    assert_eq!(set(&sandbox, ROBOT).await.0, StatusCode::NOT_FOUND);
    sandbox.add_client(Client::new("sc_robot01"));
    let old = sandbox.client_key("sc_robot01");
    assert_eq!(set(&sandbox, ROBOT).await.1, [old.jwk()]);
    let before = sandbox.client_token("sc_robot01").mint();
    sandbox.rotate_client_key("sc_robot01").unwrap();
    assert_eq!(set(&sandbox, ROBOT).await.1.len(), 2);
    // A change of the client leaves its keys alone.
    sandbox.add_client(Client::new("sc_robot01").name("Robot"));
    assert_eq!(set(&sandbox, ROBOT).await.1.len(), 2);
    sandbox.remove_client_key("sc_robot01", old.kid()).unwrap();
    assert!(!verifies(&before).await);
    let third = SigningKey::stranger("third");
    sandbox.add_client_key("sc_robot01", &third).unwrap();
    let by_third = sandbox.client_token("sc_robot01").key(&third).mint();
    assert!(verifies(&by_third).await);
    sandbox.remove_client_keys("sc_robot01").unwrap();
    assert_eq!(set(&sandbox, ROBOT).await, (StatusCode::OK, vec![]));
    sandbox.remove_client("sc_robot01").unwrap();
    assert_eq!(set(&sandbox, ROBOT).await.0, StatusCode::NOT_FOUND);
    assert!(sandbox.rotate_client_key("sc_robot01").is_err());
}

#[tokio::test]
async fn a_seed_outlives_a_restart_and_only_a_seed_does() {
    let tokens = |sandbox: &Sandbox| {
        sandbox.set_now(1_000_000);
        sandbox.add_demo_world();
        let ada = sandbox.user_token("user_ada").issuer("x").mint();
        let robot = sandbox.client_token("sc_robot01").issuer("x").mint();
        (ada, robot, sandbox.access_key())
    };
    let start = async |seed: Option<[u8; 32]>| {
        let builder = Sandbox::builder();
        let builder = match seed {
            Some(seed) => builder.seed(seed),
            None => builder,
        };
        tokens(&builder.start().await.unwrap())
    };
    assert_eq!(start(Some([7; 32])).await, start(Some([7; 32])).await);
    let (one, other) = (start(None).await, start(None).await);
    assert!(one.0 != other.0 && one.1 != other.1 && one.2 != other.2);

    let place = tempfile::tempdir().unwrap();
    let kept = async || {
        let builder = Sandbox::builder().keep_in(place.path());
        tokens(&builder.start().await.unwrap())
    };
    assert_eq!(kept().await, kept().await);
}
