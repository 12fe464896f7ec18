//! A plain HTTP client and a token reader that share no code with the sandbox.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use vestibule_sandbox::{Sandbox, Tenant, User};

/// Acme with Ada in it.
pub(crate) async fn acme() -> Sandbox {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let acme = Tenant::new("tenant_acme").name("Acme");
    sandbox.add_tenant(acme.connection("con_acme"));
    let ada = User::new("user_ada").name("Ada");
    sandbox.add_user(ada.email("ada@acme.example").tenant("tenant_acme"));
    sandbox
}

pub(crate) fn http() -> reqwest::Client {
    builder().build().unwrap()
}

pub(crate) fn builder() -> reqwest::ClientBuilder {
    // A second installation is refused, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
}

/// One call as the server's own client; answers status and JSON (null for no body).
pub(crate) async fn ask(
    sandbox: &Sandbox,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let token = sandbox.client_token(sandbox.server_client_id()).mint();
    ask_as(sandbox, Some(&token), method, path, body).await
}

pub(crate) async fn ask_as(
    sandbox: &Sandbox,
    token: Option<&str>,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let mut request = http().request(method, format!("{}{path}", sandbox.url()));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.bytes().await.unwrap();
    let body = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body).unwrap(),
    };
    (status, body)
}

pub(crate) async fn get(sandbox: &Sandbox, path: &str) -> (StatusCode, Value) {
    ask(sandbox, Method::GET, path, None).await
}

/// A token's header and claims, unverified.
pub(crate) fn open(token: &str) -> (Value, Value) {
    let mut parts = token.split('.');
    let mut next = || {
        let part = URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap();
        serde_json::from_slice(&part).unwrap()
    };
    (next(), next())
}

/// Whether one key of the published set at the token's issuer verifies it.
pub(crate) async fn verifies(token: &str) -> bool {
    let (header, claims) = open(token);
    let issuer = claims["iss"].as_str().unwrap();
    let url = format!("{issuer}/.well-known/openid-configuration/jwks");
    let response = http().get(url).send().await.unwrap();
    if !response.status().is_success() {
        return false;
    }
    let set: Value = response.json().await.unwrap();
    let keys = set["keys"].as_array().unwrap();
    let Some(key) = keys.iter().find(|key| key["kid"] == header["kid"]) else {
        return false;
    };
    let x = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let key = VerifyingKey::from_bytes(&x.try_into().unwrap()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let Ok(signature) = Signature::from_slice(&signature) else {
        return false;
    };
    key.verify_strict(message.as_bytes(), &signature).is_ok()
}
