//! Every code that a caller can be refused with, through HTTP: status, code, challenge, and what
//! stands around them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers may stop it, as the test itself may"
)]

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    routing::get,
};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;
use uuid::Uuid;
use vestibule::{
    Code, Principal, Problem, Reason, Settings, TenantSession, User, Vestibule,
    clock::SystemClock,
    settings::SettingsReader,
    store::{Account, Directory},
    tenancy::TenantSpaces,
};
use vestibule_sandbox::{Endpoint, Fault, Sandbox, SigningKey, Tenant, User as Person};

const BARE: &str = r#"Bearer realm="vestibule""#;
const INVALID_TOKEN: &str = r#"Bearer realm="vestibule", error="invalid_token""#;
const INVALID_REQUEST: &str = r#"Bearer realm="vestibule", error="invalid_request""#;

/// Acme with Ada, Globex with Grace, a robot each, and an application that shows its caller.
struct World {
    sandbox: Sandbox,
    vestibule: Vestibule,
    directory: Directory,
    spaces: TenantSpaces,
    acme: Account,
    application: Router,
    reasons: Arc<Mutex<Vec<Option<Reason>>>>,
    place: TempDir,
}

/// An answer, taken apart.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    reason: Option<Reason>,
}

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&'static str, &str)]) -> Self {
        let sandbox = Sandbox::builder().start().await.unwrap();
        sandbox.add_demo_world();
        let place = tempfile::tempdir().unwrap();
        let mut pairs = sandbox.environment();
        let file = place.path().join("vestibule.db");
        pairs.push(("DATABASE_URL", format!("sqlite:{}", file.display())));
        pairs.push(("DATABASE_TIMEOUT", "0.3".to_owned()));
        pairs.extend(
            settings
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let settings = Settings::read(SettingsReader::from_pairs(pairs)).unwrap();
        let clock = Arc::new(SystemClock);
        let directory = Directory::open(&settings.database, clock.clone())
            .await
            .unwrap();
        let spaces = TenantSpaces::open(&settings.database, &directory, clock).unwrap();
        let acme = spaces.create_account("Acme", "tenant_acme").await.unwrap();
        let globex = spaces
            .create_account("Globex", "tenant_globex")
            .await
            .unwrap();
        directory
            .add_client(acme.id, "sc_robot01", "Robot", &[])
            .await
            .unwrap();
        directory
            .add_client(globex.id, "sc_robot02", "Robot", &[])
            .await
            .unwrap();
        let vestibule = Vestibule::builder(settings).build().await.unwrap();
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&reasons);
        let layer = vestibule
            .layer()
            .observe(move |facts, _| seen.lock().unwrap().push(facts.reason()));
        let application = Router::new()
            .route("/me", get(async |principal: Principal| Json(principal)))
            .route(
                "/open",
                get(async |principal: Option<Principal>| Json(principal.is_some())),
            )
            .route(
                "/people",
                get(async |User(principal): User| Json(principal)),
            )
            .route("/owners", get(owners))
            .route("/billing", get(billing))
            .route("/rows", get(rows))
            .route("/panic", get(panics))
            .route(
                "/nothing",
                get(async |_: Principal| Problem::new(Code::NotFound)),
            )
            .layer(layer);
        Self {
            sandbox,
            vestibule,
            directory,
            spaces,
            acme,
            application,
            reasons,
            place,
        }
    }

    fn ada(&self) -> String {
        self.sandbox.user_token("user_ada").mint()
    }

    fn robot(&self) -> String {
        self.sandbox.client_token("sc_robot01").mint()
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(path, &[&format!("Bearer {token}")]).await
    }

    async fn send(&self, path: &str, authorizations: &[&str]) -> Answer {
        let mut request = Request::get(path);
        for value in authorizations {
            request = request.header(header::AUTHORIZATION, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.application.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
            reason: self.reasons.lock().unwrap().pop().unwrap(),
        }
    }

    /// Until a change of the directory has been heard; contract §7 gives it a second.
    async fn soon(&self, path: &str, token: &str, code: &str) -> Answer {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
        loop {
            let answer = self.get(path, token).await;
            if answer.body["code"] == code || std::time::Instant::now() > until {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

impl Answer {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn accepted(&self) {
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(self.header(header::CACHE_CONTROL), Some("no-store"));
    }

    /// Refused with exactly this, and with all that every refusal has (contract §5).
    #[track_caller]
    fn refused(&self, reason: Reason, status: u16, code: Code, challenge: Option<&str>) {
        assert_eq!(self.reason, Some(reason), "{}", self.body);
        self.problem(status, code, challenge);
    }

    #[track_caller]
    fn problem(&self, status: u16, code: Code, challenge: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.body);
        let code = code.as_str();
        assert_eq!(self.body["code"], code);
        assert_eq!(self.body["status"], status);
        assert!(self.body["type"].is_string() && self.body["title"].is_string());
        assert_eq!(self.headers["x-vestibule-code"], code);
        assert_eq!(
            self.header(header::CONTENT_TYPE),
            Some("application/problem+json")
        );
        assert_eq!(self.header(header::CACHE_CONTROL), Some("no-store"));
        assert_eq!(self.header(header::WWW_AUTHENTICATE), challenge);
        let retry = matches!(status, 429 | 503);
        assert_eq!(self.headers.contains_key(header::RETRY_AFTER), retry);
        let id: Uuid = self.body["request_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 7);
    }
}

async fn owners(principal: Principal) -> Result<&'static str, Problem> {
    principal.require_role("owner")?;
    Ok("null")
}

async fn billing(principal: Principal) -> Result<&'static str, Problem> {
    principal.require_scope("billing:write")?;
    Ok("null")
}

async fn rows(session: TenantSession) -> Result<Json<i64>, Problem> {
    Ok(Json(session.query("SELECT 1").fetch_scalar().await?))
}

async fn panics(_: Principal) -> &'static str {
    panic!("as handlers do")
}

#[tokio::test]
async fn no_token() {
    let world = World::new().await;
    let answer = world.send("/me", &[]).await;
    answer.refused(Reason::MissingToken, 401, Code::MissingToken, Some(BARE));
    // Only no credentials at all may be anonymous.
    let answer = world.send("/open", &[]).await;
    assert_eq!(
        (answer.status, answer.body),
        (StatusCode::OK, Value::Bool(false))
    );
    let answer = world.get("/open", &world.ada()).await;
    assert_eq!(
        (answer.status, answer.body),
        (StatusCode::OK, Value::Bool(true))
    );
    let answer = world.get("/open", "a.b.c").await;
    answer.problem(401, Code::InvalidToken, Some(INVALID_TOKEN));
}

#[tokio::test]
async fn not_one_bearer_token() {
    let world = World::new().await;
    let ada = format!("Bearer {}", world.ada());
    for authorizations in [
        &["Basic dXNlcjpwYXNz"][..],
        &["Bearer"],
        &["Bearer a b"],
        &[&ada, &ada],
        &[&ada, "Basic dXNlcjpwYXNz"],
    ] {
        for path in ["/me", "/open"] {
            let answer = world.send(path, authorizations).await;
            let (reason, code) = (Reason::MalformedAuthorization, Code::MalformedAuthorization);
            answer.refused(reason, 401, code, Some(INVALID_REQUEST));
        }
    }
    assert_eq!(world.sandbox.calls(Endpoint::User), 0);
}

#[tokio::test]
async fn a_token_that_proves_nothing() {
    let world = World::new().await;
    let sandbox = &world.sandbox;
    let stranger = SigningKey::stranger("k1");
    for (token, reason) in [
        ("x".repeat(8_193), Reason::TokenTooLong),
        ("a.b".to_owned(), Reason::NotThreeParts),
        (
            sandbox.client_access_key("sc_robot01"),
            Reason::AccessKeyShaped,
        ),
        (
            sandbox.user_token("user_ada").unsigned().mint(),
            Reason::UnsupportedAlgorithm,
        ),
        (
            sandbox.user_token("user_ada").sign_with(&stranger).mint(),
            Reason::BadSignature,
        ),
        (
            sandbox.user_token("user_ada").key(&stranger).mint(),
            Reason::UnknownKey,
        ),
        (
            sandbox
                .user_token("user_ada")
                .issuer("https://evil.example")
                .mint(),
            Reason::UnknownIssuer,
        ),
        (sandbox.id_token("user_ada").mint(), Reason::WrongType),
        (
            sandbox.login_code("sc_robot01", "user_ada").mint(),
            Reason::WrongType,
        ),
        // A client that is not registered looks like any other bad token.
        (
            sandbox.client_token(sandbox.server_client_id()).mint(),
            Reason::OwnClient,
        ),
    ] {
        let answer = world.get("/me", &token).await;
        answer.refused(reason, 401, Code::InvalidToken, Some(INVALID_TOKEN));
    }
    world.get("/me", &world.ada()).await.accepted();
}

#[tokio::test]
async fn an_expired_token() {
    let world = World::new().await;
    let token = world
        .sandbox
        .user_token("user_ada")
        .issued_at(world.sandbox.now() - 7_200);
    let token = token.expires_in(-60).mint();
    let answer = world.get("/me", &token).await;
    answer.refused(
        Reason::Expired,
        401,
        Code::TokenExpired,
        Some(INVALID_TOKEN),
    );
}

#[tokio::test]
async fn an_unknown_user() {
    let world = World::with(&[("USER_PROVISIONING", "off")]).await;
    let answer = world.get("/me", &world.ada()).await;
    answer.refused(
        Reason::ProvisioningOff,
        401,
        Code::UnknownUser,
        Some(INVALID_TOKEN),
    );
    let token = world
        .sandbox
        .user_token("user_nobody")
        .tenant("tenant_acme")
        .mint();
    let answer = world.get("/me", &token).await;
    answer.refused(
        Reason::UnknownUser,
        401,
        Code::UnknownUser,
        Some(INVALID_TOKEN),
    );
}

#[tokio::test]
async fn an_unknown_tenant() {
    let world = World::new().await;
    let sandbox = &world.sandbox;
    let several = serde_json::json!(["tenant_acme", "tenant_globex"]);
    for (token, reason) in [
        (
            sandbox.user_token("user_ada").without_claim("aud"),
            Reason::NoTenant,
        ),
        (
            sandbox
                .user_token("user_ada")
                .claim("aud", "https://api.example"),
            Reason::NoTenant,
        ),
        (
            sandbox.user_token("user_ada").claim("aud", several),
            Reason::SeveralTenants,
        ),
        (
            sandbox.user_token("user_ada").tenant("tenant_nowhere"),
            Reason::UnknownTenant,
        ),
        (
            sandbox.user_token("user_ada").azp("con_globex"),
            Reason::ConnectionMismatch,
        ),
    ] {
        let answer = world.get("/me", &token.mint()).await;
        answer.refused(reason, 401, Code::UnknownTenant, Some(INVALID_TOKEN));
    }
}

#[tokio::test]
async fn an_unknown_account() {
    let world = World::new().await;
    world
        .sandbox
        .add_tenant(Tenant::new("tenant_initech").connection("con_initech"));
    world
        .sandbox
        .add_user(Person::new("user_milton").tenant("tenant_initech"));
    let token = world
        .sandbox
        .user_token("user_milton")
        .azp("con_initech")
        .mint();
    let answer = world.get("/me", &token).await;
    answer.refused(
        Reason::UnknownAccount,
        401,
        Code::UnknownAccount,
        Some(INVALID_TOKEN),
    );
    // Remembered until the directory changes, not longer.
    world
        .spaces
        .create_account("Initech", "tenant_initech")
        .await
        .unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
    while world.get("/me", &token).await.status != 200 {
        assert!(
            std::time::Instant::now() < until,
            "still refused a second later"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_unknown_client() {
    let world = World::new().await;
    let token = world.robot();
    world.get("/me", &token).await.accepted();
    world.directory.remove_client("sc_robot01").await.unwrap();
    // The token was verified, so its holder may know; a new one finds a stranger's answer.
    let answer = world.soon("/me", &token, "unknown_client").await;
    answer.refused(
        Reason::UnknownClient,
        401,
        Code::UnknownClient,
        Some(INVALID_TOKEN),
    );
    let another = world
        .sandbox
        .client_token("sc_robot01")
        .claim("jti", "2")
        .mint();
    let answer = world.get("/me", &another).await;
    answer.refused(
        Reason::UnregisteredClient,
        401,
        Code::InvalidToken,
        Some(INVALID_TOKEN),
    );
}

#[tokio::test]
async fn another_tenant() {
    let world = World::new().await;
    world.get("/me", &world.ada()).await.accepted();
    let token = world
        .sandbox
        .user_token("user_ada")
        .tenant("tenant_globex")
        .azp("con_globex");
    let answer = world.get("/me", &token.mint()).await;
    answer.refused(
        Reason::TenantMismatch,
        401,
        Code::TenantMismatch,
        Some(INVALID_TOKEN),
    );
}

#[tokio::test]
async fn an_outage() {
    for (setting, status, challenge) in [("401", 401, Some(INVALID_TOKEN)), ("503", 503, None)] {
        let world = World::with(&[("PROVIDER_OUTAGE_STATUS", setting)]).await;
        world.sandbox.fail(Endpoint::User, Fault::Status(500));
        let answer = world.get("/me", &world.ada()).await;
        let reason = Reason::ProviderUnavailable;
        answer.refused(reason, status, Code::ProviderUnavailable, challenge);
    }
}

#[tokio::test]
async fn somebody_suspended() {
    let world = World::new().await;
    let (ada, robot) = (world.ada(), world.robot());
    let me = world.get("/me", &ada).await;
    me.accepted();
    world.get("/me", &robot).await.accepted();
    let user = me.body["user"]["id"].as_str().unwrap().parse().unwrap();

    world.directory.suspend_user(user).await.unwrap();
    let answer = world.soon("/me", &ada, "user_suspended").await;
    answer.refused(Reason::UserSuspended, 403, Code::UserSuspended, None);
    world.directory.suspend_client("sc_robot01").await.unwrap();
    let answer = world.soon("/me", &robot, "client_suspended").await;
    answer.refused(Reason::ClientSuspended, 403, Code::ClientSuspended, None);
    world
        .directory
        .suspend_account(world.acme.id)
        .await
        .unwrap();
    for token in [ada, robot] {
        let answer = world.soon("/me", &token, "account_suspended").await;
        answer.refused(Reason::AccountSuspended, 403, Code::AccountSuspended, None);
    }
}

#[tokio::test]
async fn too_few_rights() {
    let world = World::new().await;
    let answer = world.get("/owners", &world.ada()).await;
    answer.refused(Reason::InsufficientRole, 403, Code::InsufficientRole, None);
    let answer = world.get("/people", &world.robot()).await;
    answer.refused(Reason::InsufficientRole, 403, Code::InsufficientRole, None);
    // What a machine writes into its own token grants nothing.
    let token = world
        .sandbox
        .client_token("sc_robot01")
        .scope("billing:write")
        .mint();
    let answer = world.get("/billing", &token).await;
    let challenge = r#"Bearer realm="vestibule", error="insufficient_scope""#;
    answer.refused(
        Reason::InsufficientScope,
        403,
        Code::InsufficientScope,
        Some(challenge),
    );
}

#[tokio::test]
async fn our_own_trouble() {
    let world = World::new().await;
    let answer = world.get("/panic", &world.ada()).await;
    answer.problem(500, Code::InternalError, None);
    let answer = world.get("/nothing", &world.ada()).await;
    answer.problem(404, Code::NotFound, None);

    // Somebody else holds the account's file for longer than DATABASE_TIMEOUT.
    let file = world
        .place
        .path()
        .join(format!("tenants/{}.db", world.acme.id));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut lock = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut lock)
        .await
        .unwrap();
    let answer = world.get("/rows", &world.ada()).await;
    answer.problem(503, Code::StorageUnavailable, None);
    // Who calls needs no account's file.
    world.get("/me", &world.ada()).await.accepted();
    world.vestibule.shutdown().await;
}

/// A new code without a test is noticed here.
#[test]
fn every_code_has_its_test() {
    const TESTS: &str = concat!(
        include_str!("refusals.rs"),
        include_str!("../../vestibule-server/tests/serve.rs")
    );
    // Nothing limits rates yet.
    let untested = ["too_many_requests"];
    for code in Code::ALL {
        let member = format!("Code::{code:?}");
        let here = TESTS
            .match_indices(&member)
            .any(|(at, _)| !TESTS[at + member.len()..].starts_with(char::is_alphanumeric));
        let server = TESTS.contains(&format!("_code(&response), \"{code}\""));
        assert_ne!(here || server, untested.contains(&code.as_str()), "{code}");
    }
}
