//! What tokens carry, and each way to break one.

use serde_json::{Value, json};
use std::time::Duration;
use vestibule_sandbox::{Client, SigningKey, TokenBuilder};

use crate::ask::{acme, open, verifies};

#[tokio::test]
async fn a_users_token_has_the_providers_shape_and_verifies() {
    let sandbox = acme().await;
    sandbox.set_now(1_793_000_000);
    let token = sandbox.user_token("user_ada").mint();
    let (header, claims) = open(&token);
    let kid = sandbox.account_key().kid().to_owned();
    assert_eq!(
        header,
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid })
    );
    assert_eq!(
        claims,
        json!({
            "iss": sandbox.issuer(),
            "sub": "user_ada",
            "iat": 1_793_000_000,
            "exp": 1_793_086_400,
            "scope": "openid profile email",
            "azp": "con_acme",
            "client_id": "app_web",
            "aud": ["tenant_acme"],
        })
    );
    assert!(verifies(&token).await);
}

#[tokio::test]
async fn a_machines_token_has_the_providers_shape_and_verifies() {
    let sandbox = acme().await;
    sandbox.add_client(Client::new("sc_robot01"));
    sandbox.set_now(1_793_000_000);
    let token = sandbox.client_token("sc_robot01").mint();
    let (header, claims) = open(&token);
    let kid = sandbox.client_key("sc_robot01").kid().to_owned();
    assert_eq!(
        header,
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid })
    );
    assert_eq!(
        claims,
        json!({
            "iss": format!("{}/v1/clients/sc_robot01", sandbox.url()),
            "sub": "sc_robot01",
            "client_id": "sc_robot01",
            "aud": "sandbox.accounts.authress.io",
            "iat": 1_793_000_000,
            "exp": 1_793_086_400,
            "scope": "openid",
        })
    );
    assert!(verifies(&token).await);
}

#[tokio::test]
async fn login_codes_and_id_tokens_verify_but_are_of_another_kind() {
    let sandbox = acme().await;
    sandbox.add_client(Client::new("sc_robot01"));
    let code = sandbox.login_code("sc_robot01", "user_ada").mint();
    let (header, claims) = open(&code);
    assert_eq!(header["typ"], "oauth-authz-req+jwt");
    assert_eq!(claims["sub"], "user_ada");
    assert_eq!(claims["iss"], sandbox.client_issuer("sc_robot01"));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 60);
    assert!(verifies(&code).await);

    let id_token = sandbox.id_token("user_ada").mint();
    let (header, claims) = open(&id_token);
    assert_eq!(header["typ"], "JWT");
    assert_eq!(claims["aud"], "app_web");
    assert_eq!(claims["email"], "ada@acme.example");
    assert!(verifies(&id_token).await);
}

#[tokio::test]
async fn one_thing_breaks_and_nothing_else() {
    let sandbox = acme().await;
    sandbox.set_now(1_000_000);
    type Break = fn(TokenBuilder) -> TokenBuilder;
    let cases: [(Break, &str, Value); 14] = [
        (
            |t| t.issuer("https://elsewhere.example"),
            "iss",
            json!("https://elsewhere.example"),
        ),
        (|t| t.sub("user_eve"), "sub", json!("user_eve")),
        (
            |t| t.audience("tenant_globex"),
            "aud",
            json!("tenant_globex"),
        ),
        (|t| t.audience(json!(["a", "b"])), "aud", json!(["a", "b"])),
        (|t| t.tenant("tenant_new"), "aud", json!(["tenant_new"])),
        (
            |t| t.client_id("sc_robot01"),
            "client_id",
            json!("sc_robot01"),
        ),
        (|t| t.azp("con_other"), "azp", json!("con_other")),
        (|t| t.scope("openid"), "scope", json!("openid")),
        (|t| t.issued_at(5), "iat", json!(5)),
        (|t| t.expires_in(-1), "exp", json!(999_999)),
        (
            |t| t.lifetime(Duration::from_secs(9)),
            "exp",
            json!(1_000_009),
        ),
        (|t| t.not_before_in(30), "nbf", json!(1_000_030)),
        (|t| t.claim("sub", Value::Null), "sub", Value::Null),
        (|t| t.without_claim("exp"), "exp", Value::Null),
    ];
    let good = open(&sandbox.user_token("user_ada").mint());
    for (number, (break_it, name, value)) in cases.into_iter().enumerate() {
        let (header, mut claims) = open(&break_it(sandbox.user_token("user_ada")).mint());
        assert_eq!(header, good.0, "case {number}");
        assert_eq!(claims[name], value, "case {number}");
        assert_ne!(claims, good.1, "case {number} changes nothing");
        // With the one claim put right, everything is as before.
        match good.1.get(name) {
            Some(right) => claims[name] = right.clone(),
            None => drop(claims.as_object_mut().unwrap().remove(name)),
        }
        assert_eq!(claims, good.1, "case {number}");
    }
}

#[tokio::test]
async fn headers_break_too() {
    let sandbox = acme().await;
    let ada = || sandbox.user_token("user_ada");
    let header = |token: TokenBuilder| open(&token.mint()).0;
    assert_eq!(header(ada().alg("HS256"))["alg"], "HS256");
    assert_eq!(header(ada().typ("JWT"))["typ"], "JWT");
    assert_eq!(header(ada().kid("other"))["kid"], "other");
    assert_eq!(
        header(ada().header("crit", json!(["x"])))["crit"],
        json!(["x"])
    );
    assert_eq!(header(ada().without_header("typ")).get("typ"), None);
}

#[tokio::test]
async fn signatures_break() {
    let sandbox = acme().await;
    let ada = || sandbox.user_token("user_ada");
    assert!(verifies(&ada().mint()).await);
    assert!(!verifies(&ada().tamper_signature().mint()).await);
    assert!(!verifies(&ada().sign_with(&SigningKey::stranger("k1")).mint()).await);
    assert!(!verifies(&ada().key(&SigningKey::stranger("k1")).mint()).await);
    assert!(!verifies(&ada().raw_signature([0; 64]).mint()).await);
    let unsigned = ada().unsigned().mint();
    assert!(unsigned.ends_with('.'));
    assert_eq!(open(&unsigned).0["alg"], "none");
}

#[tokio::test]
async fn members_can_stand_twice_or_be_any_text() {
    let sandbox = acme().await;
    let text = |token: String, part: usize| {
        use base64::Engine as _;
        let part = token.split('.').nth(part).unwrap().to_owned();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part);
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    let ada = || sandbox.user_token("user_ada");
    let claims = text(ada().double_claim("sub", "user_eve").mint(), 1);
    assert!(claims.contains("\"sub\":\"user_ada\""), "{claims}");
    assert!(claims.ends_with("\"sub\":\"user_eve\"}"), "{claims}");
    let header = text(ada().double_header("alg", "none").mint(), 0);
    assert_eq!(header.matches("\"alg\"").count(), 2, "{header}");
    assert_eq!(text(ada().raw_claims("{]").mint(), 1), "{]");
    assert_eq!(text(ada().raw_header("[]").mint(), 0), "[]");
}

#[tokio::test]
async fn time_is_the_sandboxs_own() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    let time = Arc::new(AtomicI64::new(100));
    let source = Arc::clone(&time);
    let sandbox = vestibule_sandbox::Sandbox::builder()
        .clock(move || source.load(Ordering::Relaxed))
        .start()
        .await
        .unwrap();
    let issued = || open(&sandbox.user_token("user_ada").mint()).1["iat"].clone();
    assert_eq!(issued(), 100);
    time.store(200, Ordering::Relaxed);
    assert_eq!(issued(), 200);
    sandbox.set_now(5);
    assert_eq!(issued(), 5);
    sandbox.resume_clock();
    assert_eq!(issued(), 200);
    let elsewhen = open(&sandbox.user_token("user_ada").at(7).mint()).1;
    assert_eq!(
        (&elsewhen["iat"], &elsewhen["exp"]),
        (&json!(7), &json!(86_407))
    );
}
