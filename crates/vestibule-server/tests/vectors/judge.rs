//! Sends every vector and judges the answers.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde_json::{Value, json};
use vestibule_sandbox::{Client, Fault, Sandbox, SigningKey, Target};

use crate::{
    recipe::{Hand, Sent, sent},
    support::{Place, Running},
    vector::{Vector, vectors},
};

const NO_TOKEN: [&str; 2] = ["missing_token", "malformed_authorization"];

struct World {
    sandbox: Sandbox,
    place: Place,
    http: reqwest::Client,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

/// What did not go as written, all of it at once.
#[derive(Default)]
struct Complaints(String);

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        sandbox.add_demo_world();
        sandbox.add_client(Client::new("sc_robot03").name("Not registered"));
        publish_unusable_keys(&sandbox);
        let mut place = Place::new().with_sandbox(&sandbox);
        let acme = place.account("Acme", "tenant_acme");
        place.account("Globex", "tenant_globex");
        let add = ["client", "add", "--client-id", "sc_robot01", "--account"];
        place.json(&[&add[..], &[&acme, "--name", "Robot"]].concat());
        place.set("AUTHRESS_APPLICATIONS", "app_web,app_phone");
        Self {
            sandbox,
            place,
            http: http(),
        }
    }

    async fn ask(&self, server: &Running, sent: &Sent) -> Answer {
        let mut url = format!("{}/v1/me", server.public);
        if let Some(query) = &sent.query {
            url = format!("{url}?{query}");
        }
        let mut request = self.http.get(url);
        for (name, value) in &sent.headers {
            request = request.header(name, value.as_slice());
        }
        if let Some(body) = &sent.body {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone());
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.json().await.unwrap(),
        }
    }

    async fn ask_as(&self, server: &Running, vector: &Vector, hand: Hand) -> Answer {
        self.ask(server, &sent(&self.sandbox, vector, hand)).await
    }
}

/// Every answer is what the vector says, on the wire and in the log, and costs no call to the
/// provider but where a key is not known.
#[tokio::test(flavor = "multi_thread")]
async fn every_vector_is_answered_as_written() {
    let world = World::new().await;
    let server = world.place.serve();
    // From now on everybody and every key is known.
    for token in [
        world.sandbox.user_token("user_ada").mint(),
        world.sandbox.client_token("sc_robot01").mint(),
    ] {
        let headers = vec![("authorization".into(), format!("Bearer {token}").into())];
        let known = Sent {
            headers,
            ..Sent::default()
        };
        assert_eq!(world.ask(&server, &known).await.status, 200);
    }
    let mut complaints = Complaints::default();
    let mut reasons = BTreeMap::new();
    for vector in vectors() {
        let before = world.sandbox.all_calls();
        let answer = world.ask_as(&server, &vector, Hand::AsWritten).await;
        complaints.wire(&vector, &answer, vector.status, &vector.code);
        let calls = world.sandbox.all_calls() - before;
        complaints.unless(
            calls == 0 || vector.reason == "unknown_key",
            &vector,
            || format!("{calls} calls to the provider"),
        );
        if !vector.is_accepted() {
            let id = answer.body["request_id"].as_str().unwrap_or_default();
            reasons.insert(id.to_owned(), vector);
        }
    }
    let lines = server.access_lines(reasons.len());
    for line in &lines {
        let id = line["request_id"].as_str().unwrap();
        if let Some(vector) = reasons.remove(id) {
            complaints.unless(line["reason"] == *vector.reason, &vector, || {
                format!("reason {} in place of {}", line["reason"], vector.reason)
            });
        }
    }
    for vector in reasons.values() {
        complaints.unless(false, vector, || "no line in the access log".to_owned());
    }
    complaints.end();
}

/// A stranger who writes the same tokens learns nothing: neither that a token has expired nor
/// whom anyone knows.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_nothing_is_learned() {
    let world = World::new().await;
    let server = world.place.serve();
    let mut complaints = Complaints::default();
    for vector in vectors() {
        let answer = world.ask_as(&server, &vector, Hand::Stranger).await;
        let code = match NO_TOKEN.contains(&vector.code.as_str()) {
            true => &vector.code,
            false => "invalid_token",
        };
        complaints.wire(&vector, &answer, 401, code);
    }
    complaints.end();
}

/// With no key to be had, what needs none is refused as ever, and all else alike.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_key_asks_for_none() {
    let world = World::new().await;
    world.sandbox.fail(Target::All, Fault::Status(503));
    let server = world.place.serve();
    let mut complaints = Complaints::default();
    let mut reasons = BTreeMap::new();
    for vector in vectors() {
        let answer = world.ask_as(&server, &vector, Hand::AsWritten).await;
        let (code, reason) = match vector.needs_no_key() {
            true => (vector.code.clone(), vector.reason.clone()),
            false => (
                "provider_unavailable".to_owned(),
                "provider_unavailable".to_owned(),
            ),
        };
        complaints.wire(&vector, &answer, 401, &code);
        let id = answer.body["request_id"].as_str().unwrap_or_default();
        reasons.insert(id.to_owned(), (vector, reason));
    }
    for line in server.access_lines(reasons.len()) {
        let id = line["request_id"].as_str().unwrap();
        if let Some((vector, reason)) = reasons.remove(id) {
            complaints.unless(line["reason"] == *reason, &vector, || {
                format!("without keys: {} in place of {reason}", line["reason"])
            });
        }
    }
    assert!(reasons.is_empty(), "without a line: {reasons:?}");
    complaints.end();
}

impl Complaints {
    fn unless(&mut self, fine: bool, vector: &Vector, what: impl FnOnce() -> String) {
        if !fine {
            let because = &vector.because;
            writeln!(self.0, "{}: {} ({because})", vector.name, what()).unwrap();
        }
    }

    /// What every client sees (contract §5).
    fn wire(&mut self, vector: &Vector, answer: &Answer, status: u16, code: &str) {
        let header = |name: &str| {
            let value = answer
                .headers
                .get(name)
                .map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let shown = |answer: &Answer| {
            let body = &answer.body;
            format!(
                "{} {} in place of {status} {code}",
                answer.status, body["code"]
            )
        };
        let right = answer.status == status && header("x-vestibule-code") == code;
        self.unless(right, vector, || shown(answer));
        if status == 200 {
            let id = match vector.base {
                crate::vector::Base::Machine => "sc_robot01",
                _ => "user_ada",
            };
            let said = answer.body.to_string();
            self.unless(said.contains(id), vector, || format!("not {id}: {said}"));
            return;
        }
        let challenge = match code {
            "missing_token" => r#"Bearer realm="vestibule""#,
            "malformed_authorization" => r#"Bearer realm="vestibule", error="invalid_request""#,
            _ => r#"Bearer realm="vestibule", error="invalid_token""#,
        };
        if status == 401 {
            let said = header("www-authenticate");
            self.unless(said == challenge, vector, || {
                format!("WWW-Authenticate: {said}")
            });
        }
        let said = header("content-type");
        self.unless(said == "application/problem+json", vector, || {
            format!("Content-Type: {said}")
        });
        let said = header("cache-control");
        self.unless(said == "no-store", vector, || {
            format!("Cache-Control: {said}")
        });
        let body = &answer.body;
        let fits =
            body["code"] == code && body["status"] == status && body["request_id"].is_string();
        self.unless(fits, vector, || format!("body: {body}"));
    }

    fn end(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}

/// Keys beside the good one in the account's set, whose secrets an attacker may well have: each
/// would verify a token if it were taken for what it is not.
fn publish_unusable_keys(sandbox: &Sandbox) {
    let changed = |kid: &str, member: &str, value: Value| {
        let mut jwk = SigningKey::stranger(kid).jwk();
        jwk[member] = value;
        sandbox.add_unusable_key(jwk);
    };
    changed("k_enc", "use", json!("enc"));
    changed("k_ops", "key_ops", json!(["encrypt"]));
    changed("k_alg", "alg", json!("ES256"));
    changed("k_hs", "alg", json!("HS256"));
    changed("k_kty", "kty", json!("EC"));
    changed("k_crv", "crv", json!("X25519"));
    changed("k_ed448", "crv", json!("Ed448"));
    changed(
        "k_open",
        "d",
        json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    );
    changed("k_null", "crv", Value::Null);
    // The neutral element: any R with S = 0 would verify under a careless library.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let x = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, neutral);
    changed("k_small", "x", json!(x));
    sandbox.add_unusable_key(json!({"kty": "oct", "kid": "k_oct", "k": "c2VjcmV0"}));
    sandbox.add_unusable_key(json!({"kty": "RSA", "kid": "k_rsa", "n": "AQAB", "e": "AQAB"}));
}

fn http() -> reqwest::Client {
    // An error says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}
