//! `X-Vestibule-Assertion`: what it says, who can check it, and who does not take it.

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    routing::get,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use http::{Method, Request, header::AUTHORIZATION};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use vestibule::{Principal, Problem, Settings, TenantSession, Vestibule, settings::SettingsReader};

use crate::{
    support::Running,
    world::{World, eventually},
};

const ON: (&str, &str) = ("VESTIBULE_ASSERTION_AUDIENCES", "orders,billing");

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn keys(world: &World, server: &Running) -> Value {
    let url = format!("{}/.well-known/jwks.json", server.public);
    let answer = world.http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "public, max-age=3600");
    answer.json().await.unwrap()
}

/// Header and claims, if one of the keys signed them.
fn checked(assertion: &str, keys: &Value) -> Option<(Value, Value)> {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let header = decoded(header);
    let key = keys["keys"].as_array().unwrap().iter();
    let key = key.clone().find(|key| key["kid"] == header["kid"])?;
    let point = BASE64_URL_SAFE_NO_PAD
        .decode(key["x"].as_str().unwrap())
        .unwrap();
    let key = VerifyingKey::from_bytes(&point.try_into().unwrap()).unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let signature = Signature::from_slice(&signature).unwrap();
    key.verify_strict(signed.as_bytes(), &signature).ok()?;
    Some((header, decoded(claims)))
}

async fn assertion(world: &World, server: &Running, token: &str) -> String {
    let answer = world.get(server, "/v1/authorize", token).await.expect_ok();
    answer.header("x-vestibule-assertion").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_calls_and_for_how_long() {
    let world = World::new(&[ON]).await;
    let server = world.place.serve();
    let keys = keys(&world, &server).await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
    for key in keys["keys"].as_array().unwrap() {
        assert!(key.get("d").is_none());
    }
    let ada = world.user("user_ada");
    let (header, claims) = checked(&assertion(&world, &server, &ada).await, &keys).unwrap();
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("EdDSA"), &json!("vestibule-assertion+jwt"))
    );
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((1..=60).contains(&lifetime), "{lifetime}");
    let me = world.me(&server, &ada).await.expect_ok().json();
    for (claim, value) in [
        ("iss", json!("vestibule")),
        ("aud", json!("orders")),
        ("sub", me["user"]["id"].clone()),
        ("kind", json!("user")),
        ("role", json!("member")),
        ("email", json!("ada@acme.example")),
        ("name", json!("Ada")),
        ("authress_user_id", json!("user_ada")),
        ("account_id", json!(world.acme)),
        ("tenant_id", json!("tenant_acme")),
        ("client_id", json!("app_web")),
        ("scope", json!("openid profile email")),
        ("token_exp", json!(ends(&me))),
    ] {
        assert_eq!(claims[claim], value, "{claim}");
    }

    let robot = assertion(&world, &server, &world.robot("sc_robot01")).await;
    let (_, claims) = checked(&robot, &keys).unwrap();
    assert_eq!(claims["kind"], "machine");
    assert!(claims.get("email").is_none());

    // Not past the end of the token.
    let brief = world.sandbox.user_token("user_ada").expires_in(20).mint();
    let (_, claims) = checked(&assertion(&world, &server, &brief).await, &keys).unwrap();
    let me = world.me(&server, &brief).await.expect_ok().json();
    assert_eq!(claims["exp"], ends(&me));
    assert_eq!(claims["token_exp"], ends(&me));
}

/// `exp` of the token.
fn ends(me: &Value) -> i64 {
    let ends = me["token"]["expires_at"].as_str().unwrap();
    ends.parse::<jiff::Timestamp>().unwrap().as_second()
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_once_for_the_same_facts_and_never_for_others() {
    let world = World::new(&[ON]).await;
    let server = world.place.serve();
    let keys = keys(&world, &server).await;
    let ada = world.user("user_ada");
    let first = assertion(&world, &server, &ada).await;
    for _ in 0..20 {
        assert_eq!(assertion(&world, &server, &ada).await, first);
    }
    let users = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    let id = users["items"][0]["id"].as_str().unwrap();
    world.place.json(&["user", "set-role", id, "owner"]);
    eventually(
        std::time::Duration::from_secs(1),
        "has his role",
        async || {
            let (_, claims) = checked(&assertion(&world, &server, &ada).await, &keys).unwrap();
            claims["role"] == "owner"
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_signs_with_the_same_keys() {
    let world = World::new(&[ON]).await;
    let (one, other) = (world.place.serve(), world.place.serve());
    assert_eq!(keys(&world, &one).await, keys(&world, &other).await);
    let ada = world.user("user_ada");
    let made = assertion(&world, &one, &ada).await;
    assert!(checked(&made, &keys(&world, &other).await).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_is_taken_for_the_other() {
    let world = World::new(&[ON]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    let made = assertion(&world, &server, &ada).await;
    world.me(&server, &made).await.expect(401, "invalid_token");
    let url = format!("{}/v1/me", server.public);
    let alone = world.http.get(url).header("x-vestibule-assertion", made);
    crate::world::Answer::of(alone)
        .await
        .expect(401, "missing_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn off_unless_an_application_is_named() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let answer = world
        .get(&server, "/v1/authorize", &world.user("user_ada"))
        .await
        .expect_ok();
    assert_eq!(answer.header("x-vestibule-assertion"), None);
    world
        .get(&server, "/.well-known/jwks.json", "")
        .await
        .expect(404, "not_found");
    let same = World::new(&[("VESTIBULE_ASSERTION_AUDIENCES", "vestibule")]).await;
    let said = same.place.run(&["config", "check"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.stderr.contains("VESTIBULE_ASSERTION_AUDIENCES"),
        "{said:?}"
    );
}

/// An application with the library, in a process of its own as far as the server can tell.
struct Application(Router);

impl Application {
    /// With the settings of the server, and the name that it is listed under.
    async fn open(world: &World, audience: &str) -> Self {
        let mut settings = world.place.environment().to_vec();
        settings.push((
            "VESTIBULE_ACCEPT_ASSERTIONS".to_owned(),
            audience.to_owned(),
        ));
        let settings = Settings::read(SettingsReader::from_pairs(settings)).unwrap();
        let vestibule = Vestibule::builder(settings).build().await.unwrap();
        let migrations = sqlx::migrate!("../../examples/notes/migrations");
        vestibule.migrate_tenants(migrations).await.unwrap();
        let router = Router::new().route("/notes", get(notes).post(note));
        Self(router.layer(vestibule.layer()))
    }

    /// Status, code and body.
    async fn ask(&self, method: Method, headers: &[(&str, &str)]) -> (u16, String, Value) {
        let mut request = Request::builder().method(method).uri("/notes");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = self.0.clone().oneshot(request).await.unwrap();
        let code = answer.headers().get("x-vestibule-code");
        let code = code.map_or("", |code| code.to_str().unwrap()).to_owned();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (
            status,
            code,
            serde_json::from_slice(&body).unwrap_or_default(),
        )
    }

    async fn read(&self, assertion: &str) -> (u16, String, Value) {
        self.ask(Method::GET, &[("x-vestibule-assertion", assertion)])
            .await
    }
}

async fn notes(session: TenantSession) -> Result<Json<Vec<String>>, Problem> {
    let notes: Vec<(String,)> = session.query("SELECT text FROM notes").fetch_all().await?;
    Ok(Json(notes.into_iter().map(|(text,)| text).collect()))
}

async fn note(principal: Principal, session: TenantSession) -> Result<(), Problem> {
    let note = session.query("INSERT INTO notes (id, text, created_by) VALUES ($1, $2, $3)");
    let (id, author) = (uuid::Uuid::now_v7(), principal.user().id);
    note.bind(id).bind("a note").bind(author).execute().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_with_the_library_takes_it_for_a_credential() {
    let world = World::new(&[ON]).await;
    let server = world.place.serve();
    let orders = Application::open(&world, "orders").await;
    let (ada, grace) = (world.user("user_ada"), world.user("user_grace"));
    let of_ada = assertion(&world, &server, &ada).await;
    let of_grace = assertion(&world, &server, &grace).await;
    let header = [("x-vestibule-assertion", &*of_ada)];
    assert_eq!(orders.ask(Method::POST, &header).await.0, 200);
    assert_eq!(
        orders.read(&of_ada).await,
        (200, String::new(), json!(["a note"]))
    );
    assert_eq!(
        orders.read(&of_grace).await,
        (200, String::new(), json!([]))
    );

    let bearer = format!("Bearer {ada}");
    let both = [
        (AUTHORIZATION.as_str(), &*bearer),
        ("x-vestibule-assertion", &*of_ada),
    ];
    let refused = |answer: (u16, String, Value)| (answer.0, answer.1);
    assert_eq!(
        refused(orders.ask(Method::GET, &both).await),
        (401, "malformed_authorization".to_owned())
    );
    let as_bearer = format!("Bearer {of_ada}");
    let invalid = (401, "invalid_token".to_owned());
    let as_bearer = [(AUTHORIZATION.as_str(), &*as_bearer)];
    assert_eq!(refused(orders.ask(Method::GET, &as_bearer).await), invalid);
    assert_eq!(refused(orders.read(&ada).await), invalid);
    let billing = Application::open(&world, "billing").await;
    assert_eq!(refused(billing.read(&of_ada).await), invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_after_signing_counts_in_the_application() {
    let world = World::new(&[ON]).await;
    let server = world.place.serve();
    let orders = Application::open(&world, "orders").await;
    let signed = assertion(&world, &server, &world.user("user_ada")).await;
    assert_eq!(orders.read(&signed).await.0, 200);
    let users = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    let id = users["items"][0]["id"].as_str().unwrap();
    world.place.json(&["user", "suspend", id]);
    eventually(
        std::time::Duration::from_secs(1),
        "is refused",
        async || {
            let (status, code, _) = orders.read(&signed).await;
            (status, &*code) == (403, "user_suspended")
        },
    )
    .await;
}

/// A browser asks without credentials, and a public path is anybody's: whatever comes with it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asserted_where_nobody_was_asked() {
    let world = World::new(&[ON]).await;
    let file = world.place.path().join("settings.toml");
    let rules = "[[rules]]\npath = \"/public\"\ncallers = \"public\"\n\
                 [[rules]]\npath = \"/orders\"\ncallers = \"user\"\npreflight = true\n";
    std::fs::write(&file, rules).unwrap();
    let server = world
        .place
        .serve_with(&["--config", file.to_str().unwrap()]);
    let ada = world.user("user_ada");
    let url = |path: &str| format!("{}/v1/authorize{path}", server.public);
    let preflight = world.http.request(Method::OPTIONS, url("/orders"));
    let preflight = preflight
        .header("origin", "https://app.acme.example")
        .header("access-control-request-method", "POST");
    for request in [preflight, world.http.get(url("/public"))] {
        let answer = crate::world::Answer::of(request.bearer_auth(&ada)).await;
        let answer = answer.expect_ok();
        assert_eq!(answer.header("x-vestibule-assertion"), Some(""));
        assert_eq!(answer.header("x-vestibule-user-id"), Some(""));
    }
    // What the browser sends then is another matter.
    let asked = world.http.get(url("/orders")).bearer_auth(&ada);
    let answer = crate::world::Answer::of(asked).await.expect_ok();
    assert!(answer.header("x-vestibule-assertion").unwrap().len() > 100);
}

/// Also where server and application share one file of settings.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_itself_takes_none() {
    let world = World::new(&[ON, ("VESTIBULE_ACCEPT_ASSERTIONS", "orders")]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    let signed = assertion(&world, &server, &ada).await;
    for path in ["/v1/me", "/v1/authorize"] {
        let url = format!("{}{path}", server.public);
        let alone = world
            .http
            .get(&url)
            .header("x-vestibule-assertion", &signed);
        crate::world::Answer::of(alone)
            .await
            .expect(401, "missing_token");
        let both = world.http.get(&url).bearer_auth(&ada);
        let both = both.header("x-vestibule-assertion", &signed);
        crate::world::Answer::of(both).await.expect_ok();
    }
}
