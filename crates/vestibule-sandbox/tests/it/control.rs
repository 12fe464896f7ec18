//! The sandbox driven over HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vestibule_sandbox::{Endpoint, Sandbox};

use crate::ask::{acme, ask_as, get, http, open, verifies};

async fn control(
    sandbox: &Sandbox,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let path = format!("/_sandbox{path}");
    let (status, body) = ask_as(sandbox, None, method, &path, body).await;
    (status.as_u16(), body)
}

async fn mint(sandbox: &Sandbox, recipe: Value) -> String {
    let (status, body) = control(sandbox, Method::POST, "/tokens", Some(recipe)).await;
    assert_eq!(status, 200, "{body}");
    body["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_plain_token_is_one_word() {
    let sandbox = acme().await;
    sandbox.add_demo_world();
    for (id, sub) in [("user_ada", "user_ada"), ("sc_robot01", "sc_robot01")] {
        let url = format!("{}/_sandbox/tokens/{id}", sandbox.url());
        let token = http().get(url).send().await.unwrap().text().await.unwrap();
        assert_eq!(open(&token).1["sub"], sub);
        assert!(verifies(&token).await);
    }
    let unknown = control(&sandbox, Method::GET, "/tokens/user_eve", None).await;
    assert_eq!(unknown.0, 404);
}

#[tokio::test]
async fn tokens_are_made_to_measure() {
    let sandbox = acme().await;
    sandbox.add_demo_world();
    let token = mint(
        &sandbox,
        json!({ "user": "user_ada", "tenant": "tenant_globex", "at": 1000, "expiresIn": 5,
            "header": { "typ": null, "x": 1 }, "claims": { "scope": null, "y": [2] } }),
    )
    .await;
    let (header, claims) = open(&token);
    assert_eq!((header.get("typ"), &header["x"]), (None, &json!(1)));
    assert_eq!((claims.get("scope"), &claims["y"]), (None, &json!([2])));
    assert_eq!(claims["aud"], json!(["tenant_globex"]));
    assert_eq!(claims["azp"], "con_globex");
    assert_eq!(
        (&claims["iat"], &claims["exp"]),
        (&json!(1000), &json!(1005))
    );
    assert!(verifies(&token).await);

    for bad in [
        json!({ "user": "user_ada", "tamperSignature": true }),
        json!({ "user": "user_ada", "signWith": "stranger" }),
        json!({ "user": "user_ada", "signWith": "sc_robot01" }),
    ] {
        assert!(!verifies(&mint(&sandbox, bad.clone()).await).await, "{bad}");
    }
    let unsigned = mint(&sandbox, json!({ "user": "user_ada", "unsigned": true })).await;
    assert!(unsigned.ends_with('.') && open(&unsigned).0["alg"] == "none");
    let kinds = [
        (json!({ "client": "sc_robot01" }), "at+jwt"),
        (json!({ "client": "sc_robot01", "kind": "oauth" }), "at+jwt"),
        (json!({ "user": "user_ada", "kind": "id_token" }), "JWT"),
        (
            json!({ "user": "user_ada", "client": "sc_robot01", "kind": "login_code" }),
            "oauth-authz-req+jwt",
        ),
    ];
    for (recipe, typ) in kinds {
        let token = mint(&sandbox, recipe).await;
        assert_eq!(open(&token).0["typ"], typ);
        assert!(verifies(&token).await);
    }
    for nonsense in [
        json!({}),
        json!({ "user": "a", "client": "b" }),
        json!({ "usr": "a" }),
    ] {
        let (status, body) = control(&sandbox, Method::POST, "/tokens", Some(nonsense)).await;
        assert_eq!(
            (status, &body["errorCode"]),
            (400, &json!("InvalidRequest"))
        );
    }
}

#[tokio::test]
async fn people_come_and_go() {
    let sandbox = acme().await;
    let post = |path: &'static str, body| control(&sandbox, Method::POST, path, Some(body));
    let eve = json!({ "userId": "user_eve", "name": "Eve", "tenantId": "tenant_x",
        "members": { "email": 7 } });
    assert_eq!(post("/users", eve).await.0, 204);
    let tenant = json!({ "tenantId": "tenant_x", "name": "X", "connectionId": "con_x" });
    assert_eq!(post("/tenants", tenant).await.0, 204);
    let client = json!({ "clientId": "sc_x00001", "grantTokenGeneration": true });
    assert_eq!(post("/clients", client).await.0, 204);
    let permission = json!({ "userId": "user_eve", "resourceUri": "r", "permission": "p" });
    assert_eq!(post("/permissions", permission.clone()).await.0, 204);

    assert_eq!(get(&sandbox, "/v1/users/user_eve").await.1["email"], 7);
    assert_eq!(
        open(&sandbox.user_token("user_eve").mint()).1["azp"],
        "con_x"
    );
    let (_, client) = get(&sandbox, "/v1/clients/sc_x00001").await;
    assert_eq!(client["options"]["grantTokenGeneration"], true);
    let check = "/v1/users/user_eve/resources/r/permissions/p";
    assert_eq!(get(&sandbox, check).await.0, StatusCode::OK);

    let gone = control(&sandbox, Method::DELETE, "/permissions", Some(permission)).await;
    assert_eq!(gone.0, 204);
    assert_eq!(get(&sandbox, check).await.0, StatusCode::NOT_FOUND);
    for path in ["/users/user_eve", "/tenants/tenant_x", "/clients/sc_x00001"] {
        assert_eq!(
            control(&sandbox, Method::DELETE, path, None).await.0,
            204,
            "{path}"
        );
        assert_eq!(
            control(&sandbox, Method::DELETE, path, None).await.0,
            404,
            "{path}"
        );
        assert_eq!(
            get(&sandbox, &format!("/v1{path}")).await.0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn keys_turn_and_go() {
    let sandbox = acme().await;
    sandbox.add_demo_world();
    let rotate = |body| control(&sandbox, Method::POST, "/keys/rotate", body);
    let first = sandbox.account_key().kid().to_owned();
    let (_, turned) = rotate(None).await;
    assert_eq!(turned["kid"], sandbox.account_key().kid());
    let (set, path) = (
        sandbox.user_token("user_ada").mint(),
        format!("/keys/{first}"),
    );
    assert!(verifies(&set).await);
    assert_eq!(control(&sandbox, Method::DELETE, &path, None).await.0, 204);
    assert_eq!(control(&sandbox, Method::DELETE, &path, None).await.0, 404);

    let before = sandbox.client_token("sc_robot01").mint();
    let order = json!({ "clientId": "sc_robot01", "dropOld": true });
    let (_, turned) = rotate(Some(order)).await;
    assert!(!verifies(&before).await);
    let after = sandbox.client_token("sc_robot01").mint();
    assert!(verifies(&after).await);
    let kid = turned["kid"].as_str().unwrap();
    let path = format!("/keys/{kid}?clientId=sc_robot01");
    assert_eq!(control(&sandbox, Method::DELETE, &path, None).await.0, 204);
    assert!(!verifies(&after).await);
    assert_eq!(rotate(Some(json!({ "clientId": "sc_none" }))).await.0, 404);
}

#[tokio::test]
async fn faults_calls_and_time() {
    let sandbox = acme().await;
    let post = |path: &'static str, body| control(&sandbox, Method::POST, path, Some(body));
    let order = json!({ "endpoint": "user", "fault": { "status": 503 }, "times": 1 });
    assert_eq!(post("/faults", order).await.0, 204);
    assert_eq!(get(&sandbox, "/v1/users/user_ada").await.0.as_u16(), 503);
    assert_eq!(get(&sandbox, "/v1/users/user_ada").await.0.as_u16(), 200);
    let order = json!({ "path": "/v1/users/user_ada", "fault": "not_json" });
    assert_eq!(post("/faults", order).await.0, 204);
    assert_eq!(
        post("/faults", json!({ "fault": { "status": 500 } }))
            .await
            .0,
        204
    );
    assert_eq!(
        get(&sandbox, "/v1/tenants/tenant_acme").await.0.as_u16(),
        500
    );
    // Faults do not reach the controls.
    assert_eq!(
        control(&sandbox, Method::DELETE, "/faults", None).await.0,
        204
    );
    assert_eq!(get(&sandbox, "/v1/users/user_ada").await.0.as_u16(), 200);
    let both = json!({ "endpoint": "user", "path": "/", "fault": "hang" });
    assert_eq!(post("/faults", both).await.0, 400);

    let (_, calls) = control(&sandbox, Method::GET, "/calls", None).await;
    assert_eq!(calls["total"], 4);
    assert_eq!(calls["endpoints"]["user"], 3);
    assert_eq!(calls["endpoints"]["client_jwks"], 0);
    assert_eq!(calls["log"][0]["path"], "/v1/users/user_ada");
    assert_eq!(
        control(&sandbox, Method::DELETE, "/calls", None).await.0,
        204
    );
    assert_eq!(sandbox.calls(Endpoint::User), 0);

    assert_eq!(post("/now", json!({ "seconds": 77 })).await.0, 204);
    let (_, now) = control(&sandbox, Method::GET, "/now", None).await;
    assert_eq!((now["seconds"].as_i64(), sandbox.now()), (Some(77), 77));
    assert_eq!(control(&sandbox, Method::DELETE, "/now", None).await.0, 204);
    assert_ne!(sandbox.now(), 77);
}

#[tokio::test]
async fn the_environment_and_the_list_of_controls() {
    let sandbox = acme().await;
    let (_, variables) = control(&sandbox, Method::GET, "/environment", None).await;
    for (name, value) in sandbox.environment() {
        assert_eq!(variables[name], value);
    }
    let url = format!("{}/_sandbox", sandbox.url());
    let help = http().get(url).send().await.unwrap().text().await.unwrap();
    assert!(help.contains("/_sandbox/tokens"), "{help}");
    assert_eq!(
        control(&sandbox, Method::GET, "/nothing", None).await.0,
        404
    );
}

#[tokio::test]
async fn web_pages_cannot_control_it() {
    let sandbox = acme().await;
    let url = format!("{}/_sandbox/environment", sandbox.url());
    let ask = async |name: &str, value: &str| {
        let request = http().get(&url).header(name, value);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("origin", "https://evil.example").await, 403);
    assert_eq!(ask("origin", "null").await, 403);
    assert_eq!(ask("host", "evil.example").await, 403);
    assert_eq!(ask("host", "localhost.evil.example:80").await, 403);
    assert_eq!(ask("host", "127.0.0.1.evil.example").await, 403);
    assert_eq!(ask("host", "localhost:1234").await, 200);
    assert_eq!(ask("host", "127.0.0.1").await, 200);
    assert_eq!(ask("host", "[::1]:5").await, 200);
}
