//! Who answers and who asks: a server, its provider, and a hand that mints and sends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vestibule_sandbox::{Client, Sandbox, SigningKey};

use crate::{
    recipe::{Hand, Sent, sent},
    support::{Place, Running},
    vector::{Settings, Vector, unusable_keys},
};

/// After an outage of the provider everything works again within this time (contract §2).
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Accepted where a file says nothing else.
const APPLICATIONS: (&str, &str) = ("AUTHRESS_APPLICATIONS", "app_web,app_phone");

/// The provider, and a server's directory.
pub(crate) struct World {
    pub(crate) asker: Asker,
    pub(crate) place: Place,
}

/// Who mints vectors and sends them.
pub(crate) struct Asker {
    pub(crate) sandbox: Sandbox,
    pub(crate) http: reqwest::Client,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Sandbox::builder().start().await.unwrap()).await
    }

    pub(crate) async fn with(sandbox: Sandbox) -> Self {
        let asker = Asker::new(sandbox).await;
        let place = Place::new().with_sandbox(&asker.sandbox);
        let acme = place.account("Acme", "tenant_acme");
        place.account("Globex", "tenant_globex");
        let add = ["client", "add", "--client-id", "sc_robot01", "--account"];
        place.json(&[&add[..], &[&acme, "--name", "Robot"]].concat());
        Self { asker, place }
    }

    /// A server with these settings, on the same directory.
    pub(crate) fn serve(&mut self, settings: &Settings) -> Running {
        self.place.set(APPLICATIONS.0, APPLICATIONS.1);
        for (name, value) in settings {
            self.place.set(name, value);
        }
        let server = self.place.serve();
        for name in settings.keys() {
            self.place.unset(name);
        }
        server
    }
}

impl Asker {
    pub(crate) async fn new(sandbox: Sandbox) -> Self {
        sandbox.add_demo_world();
        sandbox.add_client(Client::new("sc_robot03").name("Not registered"));
        let http = http();
        publish_unusable_keys(&sandbox, &http).await;
        Self { sandbox, http }
    }

    pub(crate) async fn ask(&self, base: &str, vector: &Vector, hand: Hand) -> Answer {
        let Sent {
            headers,
            query,
            body,
        } = sent(&self.sandbox, vector, hand);
        let mut url = format!("{base}/v1/me");
        if let Some(query) = query {
            url = format!("{url}?{query}");
        }
        let mut request = self.http.get(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body);
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.json().await.unwrap_or_default(),
        }
    }

    /// From then on everybody and every key is known. A server that was there before its provider
    /// takes a moment to notice it.
    pub(crate) async fn introduce(&self, base: &str, vectors: &[Vector]) {
        for vector in vectors.iter().filter(|vector| vector.is_accepted()) {
            let begun = Instant::now();
            while self.ask(base, vector, Hand::AsWritten).await.status != vector.status
                && begun.elapsed() < PATIENCE
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Answer {
    pub(crate) fn request_id(&self) -> String {
        let id = self.body["request_id"].as_str();
        id.unwrap_or_default().to_owned()
    }
}

/// Keys beside the good one in the account's set, whose secrets an attacker may well have: each
/// would verify a token if it were taken for what it is not. That they are refused says something
/// only where they are there.
async fn publish_unusable_keys(sandbox: &Sandbox, http: &reqwest::Client) {
    let mut keys = Vec::new();
    let mut changed = |kid: &str, member: &str, value: Value| {
        let mut jwk = SigningKey::stranger(kid).jwk();
        jwk[member] = value;
        keys.push(jwk);
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
    keys.push(json!({"kty": "oct", "kid": "k_oct", "k": "c2VjcmV0"}));
    keys.push(json!({"kty": "RSA", "kid": "k_rsa", "n": "AQAB", "e": "AQAB"}));
    for key in &keys {
        sandbox.add_unusable_key(key.clone());
    }
    let url = format!("{}/.well-known/openid-configuration/jwks", sandbox.issuer());
    let published: Value = http.get(url).send().await.unwrap().json().await.unwrap();
    let published = published["keys"].as_array().unwrap();
    for key in &keys {
        assert!(published.contains(key), "{} is not published", key["kid"]);
    }
    let names: Vec<_> = keys
        .iter()
        .map(|key| key["kid"].as_str().unwrap())
        .collect();
    for name in unusable_keys() {
        assert!(names.contains(&name.as_str()), "{name} is no such key");
    }
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
