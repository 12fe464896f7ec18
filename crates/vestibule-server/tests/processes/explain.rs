//! Every refusal code, and what is said of a request that met it.

use std::{collections::BTreeSet, time::Duration};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::Connection as _;
use vestibule::error::Code;
use vestibule_sandbox::{Endpoint, Fault};

use crate::{
    database::lock,
    support::Running,
    world::{Answer, World, eventually, open},
};

const TOKEN: &str = "admin-token-for-the-tests";

/// Codes that no request of these meets.
const ELSEWHERE: &[(Code, &str)] = &[
    (Code::Conflict, "the admin API alone has it"),
    (Code::InternalError, "nobody can be made to meet it"),
    (Code::TooManyRequests, "`a_source_over_its_limit`"),
];

struct Asker<'a> {
    world: &'a World,
    server: &'a Running,
    met: BTreeSet<&'static str>,
}

impl Asker<'_> {
    fn to(&self, path: &str, token: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.server.public);
        self.world.http.get(url).bearer_auth(token)
    }

    /// The request is refused with `code`; its explanation says so, for `reason`.
    async fn refused(&mut self, request: RequestBuilder, code: Code, reason: Option<&str>) {
        let answer = Answer::of(request).await;
        assert_eq!(answer.code(), code.as_str(), "{answer:?}");
        let id = answer.json()["request_id"].clone();
        let explained = self.explained(json!({ "request_id": id })).await;
        assert_eq!(explained["code"], code.as_str(), "{explained}");
        assert_eq!(explained["reason"], json!(reason), "{explained}");
        assert_eq!(explained["request"]["status"], answer.status, "{explained}");
        if reason.is_some() {
            assert!(explained["remedy"].is_string(), "{explained}");
            let steps = explained["steps"].as_array().unwrap();
            let refused = steps.iter().filter(|step| step["state"] == "refused");
            assert_eq!(refused.count(), 1, "{explained}");
        }
        self.met.insert(code.as_str());
    }

    async fn explained(&self, asked: Value) -> Value {
        let url = format!("{}/admin/v1/explain", self.server.admin);
        let request = self.world.http.post(url).bearer_auth(TOKEN).json(&asked);
        Answer::of(request).await.expect_ok().json()
    }

    /// The token alone is explained the same.
    async fn token(&self, token: &str, verdict: &str, reason: Option<&str>) {
        let explained = self.explained(json!({ "token": token })).await;
        assert_eq!(explained["verdict"], verdict, "{explained}");
        assert_eq!(explained["reason"], json!(reason), "{explained}");
        let text = explained.to_string();
        for part in token.split('.').skip(1).filter(|part| part.len() > 16) {
            assert!(!text.contains(part), "{explained}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_is_explained() {
    let world = World::new(&[("VESTIBULE_ADMIN_TOKEN", TOKEN), ("DATABASE_TIMEOUT", "1")]).await;
    let config = world.place.path().join("vestibule.toml");
    std::fs::write(
        &config,
        "[[rules]]\npath = \"/role\"\ncallers = \"user\"\nroles = [\"owner\"]\n\
         [[rules]]\npath = \"/scope\"\ncallers = \"user\"\nscopes = [\"orders:write\"]\n\
         [[rules]]\npath = \"/*\"\ncallers = \"either\"\n",
    )
    .unwrap();
    let place = world
        .place
        .serve_with(&["--config", config.to_str().unwrap()]);
    let sandbox = &world.sandbox;
    let (ada, alan, robot) = (
        world.user("user_ada"),
        world.user("user_alan"),
        world.robot("sc_robot01"),
    );
    let mut ask = Asker {
        world: &world,
        server: &place,
        met: BTreeSet::new(),
    };
    for token in [&ada, &alan, &robot] {
        world.me(&place, token).await.expect_ok();
    }
    let url = |path: &str| format!("{}{path}", ask.server.public);

    // What is no matter of who calls.
    let (nowhere, long, limit) = (url("/nowhere"), url("/v1/me"), url("/v1/users?limit=0"));
    let me = url("/v1/me");
    ask.refused(world.http.get(&nowhere), Code::NotFound, None)
        .await;
    let post = world.http.request(Method::POST, &me);
    ask.refused(post, Code::MethodNotAllowed, None).await;
    let large = world.http.post(&long).body(vec![b'x'; 2 << 20]);
    ask.refused(large, Code::RequestTooLarge, None).await;
    let limit = world.http.get(&limit).bearer_auth(&ada);
    ask.refused(limit, Code::InvalidRequest, None).await;

    // The request and the token.
    let none = world.http.get(&me);
    ask.refused(none, Code::MissingToken, Some("missing_token"))
        .await;
    let basic = world.http.get(&me).header("authorization", "Basic YTpi");
    ask.refused(
        basic,
        Code::MalformedAuthorization,
        Some("malformed_authorization"),
    )
    .await;
    for (token, code, reason) in [
        (
            sandbox.user_token("user_ada").tamper_signature(),
            Code::InvalidToken,
            "bad_signature",
        ),
        (
            sandbox
                .user_token("user_ada")
                .issuer("https://evil.example"),
            Code::InvalidToken,
            "unknown_issuer",
        ),
        (
            sandbox
                .user_token("user_ada")
                .at(sandbox.now() - 90_000)
                .expires_in(60),
            Code::TokenExpired,
            "expired",
        ),
        (
            sandbox.user_token("user_nobody").tenant("tenant_acme"),
            Code::UnknownUser,
            "unknown_user",
        ),
        (
            sandbox.user_token("user_ada").tenant("tenant_globex"),
            Code::TenantMismatch,
            "tenant_mismatch",
        ),
    ] {
        let token = token.mint();
        let request = ask.to("/v1/me", &token);
        ask.refused(request, code, Some(reason)).await;
        ask.token(&token, "refused", Some(reason)).await;
    }
    ask.token(&ada, "accepted", None).await;
    ask.token(&robot, "accepted", None).await;

    // Newcomers: what a first visit would meet, without one.
    sandbox.add_user(vestibule_sandbox::User::new("user_new"));
    sandbox.add_tenant(vestibule_sandbox::Tenant::new("tenant_new"));
    let newcomer = sandbox.user_token("user_new").tenant("tenant_acme").mint();
    ask.token(&newcomer, "newcomer", None).await;
    let users = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    assert_eq!(users["items"].as_array().unwrap().len(), 2, "{users}");
    for (tenant, code, reason) in [
        ("tenant_new", Code::UnknownAccount, "unknown_account"),
        ("tenant_gone", Code::UnknownTenant, "unknown_tenant"),
    ] {
        let token = sandbox.user_token("user_new").tenant(tenant).mint();
        ask.token(&token, "refused", Some(reason)).await;
        let request = ask.to("/v1/me", &token);
        ask.refused(request, code, Some(reason)).await;
    }

    // Rights.
    let role = ask.to("/v1/authorize/role", &ada);
    ask.refused(role, Code::InsufficientRole, Some("insufficient_role"))
        .await;
    let scope = ask.to("/v1/authorize/scope", &ada);
    ask.refused(scope, Code::InsufficientScope, Some("insufficient_scope"))
        .await;

    // The provider.
    sandbox.fail(Endpoint::Jwks, Fault::Status(503));
    let unknown = sandbox.user_token("user_ada").kid("never-seen").mint();
    let request = ask.to("/v1/me", &unknown);
    ask.refused(
        request,
        Code::ProviderUnavailable,
        Some("provider_unavailable"),
    )
    .await;
    sandbox.heal();

    // The database.
    let mut connection = open(&world.place.database()).await;
    lock(&mut connection).await;
    let request = ask.to("/v1/me", &newcomer);
    ask.refused(
        request,
        Code::StorageUnavailable,
        Some("storage_unavailable"),
    )
    .await;
    connection.close().await.unwrap();

    // Suspended, and gone.
    let alans = world.me(&place, &alan).await.json()["user"]["id"].clone();
    world
        .place
        .json(&["user", "suspend", alans.as_str().unwrap()]);
    world.place.json(&["client", "suspend", "sc_robot01"]);
    for (token, code, reason) in [
        (&alan, Code::UserSuspended, "user_suspended"),
        (&robot, Code::ClientSuspended, "client_suspended"),
    ] {
        eventually(Duration::from_secs(1), reason, async || {
            world.me(ask.server, token).await.code() == code.as_str()
        })
        .await;
        let request = ask.to("/v1/me", token);
        ask.refused(request, code, Some(reason)).await;
        ask.token(token, "refused", Some(reason)).await;
    }
    world.place.json(&["client", "remove", "sc_robot01"]);
    eventually(Duration::from_secs(1), "it is gone", async || {
        world.me(ask.server, &robot).await.code() == "unknown_client"
    })
    .await;
    let request = ask.to("/v1/me", &robot);
    ask.refused(request, Code::UnknownClient, Some("unknown_client"))
        .await;
    world.place.json(&["account", "suspend", &world.acme]);
    eventually(Duration::from_secs(1), "it is suspended", async || {
        world.me(ask.server, &ada).await.code() == "account_suspended"
    })
    .await;
    let request = ask.to("/v1/me", &ada);
    ask.refused(request, Code::AccountSuspended, Some("account_suspended"))
        .await;

    let met = ask.met;
    let elsewhere = ELSEWHERE.iter().map(|(code, _)| code.as_str());
    let known: BTreeSet<_> = met.iter().copied().chain(elsewhere).collect();
    let all: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(known, all, "each code is explained here or elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_over_its_limit() {
    let world = World::new(&[
        ("VESTIBULE_ADMIN_TOKEN", TOKEN),
        ("TOKEN_REFUSAL_LIMIT", "1"),
    ])
    .await;
    let server = world.place.serve();
    let mut ask = Asker {
        world: &world,
        server: &server,
        met: BTreeSet::new(),
    };
    for number in 0..200 {
        let token = world.sandbox.user_token("user_ada").claim("n", number);
        let token = token.tamper_signature().mint();
        if world.me(&server, &token).await.status == 429 {
            break;
        }
    }
    let token = world.sandbox.user_token("user_ada").claim("n", -1);
    let request = ask.to("/v1/me", &token.tamper_signature().mint());
    ask.refused(request, Code::TooManyRequests, Some("source_over_limit"))
        .await;
}
