//! `[[rules]]` of the settings file: whom `/v1/authorize` lets do what, over HTTP and gRPC.

use std::{fs, time::Duration};

use reqwest::Method;
use serde_json::json;

use crate::{
    grpc,
    support::Running,
    world::{Answer, World, eventually, raw},
};

const RULES: &str = r#"
[[rules]]
path = "/public"
callers = "public"
[[rules]]
path = "/profile"
callers = "user"
[[rules]]
path = "/jobs"
callers = "machine"
scopes = ["jobs:run"]
[[rules]]
path = "/admin"
callers = "either"
roles = ["owner", "admin"]
[[rules]]
path = "/orders"
methods = ["POST"]
callers = "user"
scopes = ["openid", "email"]
preflight = true
[[rules]]
path = "/files"
callers = "either"
permission = "files:read"
resource = "{tenant_id}{path}"
"#;

struct Ruled {
    world: World,
    server: Running,
}

impl Ruled {
    async fn new() -> Self {
        let world = World::new(&[grpc::LISTEN]).await;
        let file = world.place.path().join("settings.toml");
        fs::write(&file, RULES).unwrap();
        let server = world
            .place
            .serve_with(&["--config", file.to_str().unwrap()]);
        Self { world, server }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        preflight: bool,
    ) -> Answer {
        let url = format!("{}/v1/authorize{path}", self.server.public);
        let mut request = self.world.http.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if preflight {
            request = request
                .header("origin", "https://app.acme.example")
                .header("access-control-request-method", "POST");
        }
        Answer::of(request).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask(Method::GET, path, Some(token), false).await
    }
}

fn is_nobody(answer: &Answer) {
    for header in [
        "kind",
        "user-id",
        "authress-user-id",
        "email",
        "role",
        "account-id",
        "tenant-id",
        "scopes",
    ] {
        assert_eq!(
            answer.header(&format!("x-vestibule-{header}")),
            Some(""),
            "{header}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_demand_is_made() {
    let ruled = Ruled::new().await;
    let world = &ruled.world;
    let (ada, robot) = (world.user("user_ada"), world.robot("sc_robot01"));
    for (path, token, status, code) in [
        ("/profile", &ada, 200, ""),
        ("/profile/", &ada, 200, ""),
        ("/profile", &robot, 403, "insufficient_role"),
        ("/profiles", &ada, 403, "insufficient_scope"),
        ("/jobs", &ada, 403, "insufficient_role"),
        ("/jobs", &robot, 403, "insufficient_scope"),
        ("/admin", &ada, 403, "insufficient_role"),
        ("/admin", &robot, 403, "insufficient_role"),
        ("", &ada, 403, "insufficient_scope"),
        ("/", &ada, 403, "insufficient_scope"),
        ("/orders", &ada, 403, "insufficient_scope"),
        ("/files/a", &ada, 403, "insufficient_scope"),
        ("/profile%2Fx", &ada, 400, "invalid_request"),
        ("/profile//x", &ada, 400, "invalid_request"),
        ("/profile;x", &ada, 400, "invalid_request"),
    ] {
        ruled.get(path, token).await.expect(status, code);
    }
    // A client library would have resolved this one.
    let dots =
        "GET /v1/authorize/public/%2e%2e/admin HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(raw(ruled.server.address(), dots.as_bytes()).starts_with("HTTP/1.1 400"));

    let users = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    let id = users["items"][0]["id"].as_str().unwrap();
    world.place.json(&["user", "set-role", id, "admin"]);
    eventually(Duration::from_secs(1), "has his role", async || {
        ruled.get("/admin/users", &ada).await.status == 200
    })
    .await;

    let post = async |token: &str| {
        ruled
            .ask(Method::POST, "/orders/1", Some(token), false)
            .await
    };
    post(&ada).await.expect_ok();
    let few = world
        .sandbox
        .user_token("user_ada")
        .claim("scope", "openid")
        .mint();
    post(&few).await.expect(403, "insufficient_scope");
    post(&robot).await.expect(403, "insufficient_role");
}

/// Nobody is named in `VESTIBULE_TRUSTED_PROXIES` here.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_says_of_a_request_changes_nothing() {
    const SAID: [(&str, &str); 6] = [
        ("x-forwarded-uri", "/public"),
        ("x-original-uri", "/public"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-original-method", "OPTIONS"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    let ruled = Ruled::new().await;
    let ada = ruled.world.user("user_ada");
    let channel = grpc::channel(&ruled.server).await;
    // Who is remembered is answered another way than who is not.
    for _ in 0..3 {
        for (path, status) in [("/admin", 403), ("/jobs", 403), ("/profile", 200)] {
            let url = format!("{}/v1/authorize{path}", ruled.server.public);
            let mut request = ruled.world.http.get(url).bearer_auth(&ada);
            for (name, value) in SAID {
                request = request.header(name, value);
            }
            let answer = Answer::of(request).await;
            assert_eq!(answer.status, status, "{path}");
            if status == 200 {
                assert_eq!(
                    answer.header("x-vestibule-authress-user-id"),
                    Some("user_ada")
                );
            }
            let bearer = format!("Bearer {ada}");
            let headers: Vec<_> = SAID
                .into_iter()
                .chain([("authorization", &*bearer)])
                .collect();
            let mut described = grpc::described(&headers);
            described.path = path.to_owned();
            let checked = grpc::check(&channel, described).await.unwrap();
            let allowed = checked.status.unwrap().code == 0;
            assert_eq!(allowed, status == 200, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn public_paths_and_preflights_name_nobody() {
    let ruled = Ruled::new().await;
    let ada = ruled.world.user("user_ada");
    for token in [None, Some(&*ada), Some("nonsense")] {
        let answer = ruled
            .ask(Method::GET, "/public/a?b=c", token, false)
            .await
            .expect_ok();
        is_nobody(&answer);
        let answer = ruled
            .ask(Method::OPTIONS, "/orders", token, true)
            .await
            .expect_ok();
        is_nobody(&answer);
    }
    // Not one: nothing says what a browser would ask for, or the rule does not let it pass.
    let answer = ruled.ask(Method::OPTIONS, "/orders", None, false).await;
    answer.expect(401, "missing_token");
    let answer = ruled.ask(Method::OPTIONS, "/profile", None, true).await;
    answer.expect(401, "missing_token");
    // A stranger first hears that he is one.
    let answer = ruled.ask(Method::GET, "/nowhere", None, false).await;
    answer.expect(401, "missing_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn authress_is_asked_for_permissions() {
    let ruled = Ruled::new().await;
    let sandbox = &ruled.world.sandbox;
    let (ada, robot) = (
        ruled.world.user("user_ada"),
        ruled.world.robot("sc_robot01"),
    );
    sandbox.allow("user_ada", "tenant_acme/files/a", "files:read");
    sandbox.allow("sc_robot01", "tenant_acme/files/a", "files:read");
    let calls = || sandbox.calls(vestibule_sandbox::Endpoint::Permission);
    let before = calls();
    for _ in 0..5 {
        ruled.get("/files/a", &ada).await.expect_ok();
        ruled.get("/files/a?version=2", &robot).await.expect_ok();
        ruled
            .get("/files/b", &ada)
            .await
            .expect(403, "insufficient_scope");
    }
    assert_eq!(calls() - before, 3, "asked once for each");
    sandbox.fail(
        vestibule_sandbox::Target::All,
        vestibule_sandbox::Fault::Status(500),
    );
    ruled.get("/files/a", &ada).await.expect_ok();
    ruled
        .get("/files/c", &ada)
        .await
        .expect(401, "provider_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_check_explains() {
    let world = World::new(&[]).await;
    let file = world.place.path().join("settings.toml");
    fs::write(&file, RULES).unwrap();
    let file = file.to_str().unwrap();
    let check = |method: &str, url: &str| {
        world
            .place
            .json(&["--config", file, "config", "check", method, url])
    };
    let met = check("POST", "https://api.acme.example/orders/1?a=b");
    assert_eq!(
        met["rule"],
        json!({
            "for": "POST */orders",
            "callers": "user",
            "roles": [],
            "scopes": ["openid", "email"],
            "permission": null,
            "audience": null,
            "preflight": true,
        })
    );
    for (url, says) in [
        ("https://api.acme.example/nowhere", "meets no rule"),
        ("https://api.acme.example", "meets no rule"),
        ("https://api.acme.example/orders/../admin", "segment"),
        ("https://api.acme.example/public//a", "differently"),
    ] {
        let met = check("GET", url);
        assert!(
            met["meaning"].as_str().unwrap().contains(says),
            "{url}: {met}"
        );
        assert_eq!(met["rule"], json!(null));
    }
    let said = world
        .place
        .run(&["--config", file, "config", "check", "GET", "/orders"]);
    assert_eq!(said.code, 2, "{said:?}");

    fs::write(
        file,
        format!("{RULES}\n[[rules]]\npath = \"/a/../b\"\ncallers = \"public\""),
    )
    .unwrap();
    let said = world.place.run(&["--config", file, "config", "check"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("rule 7"), "{said:?}");
}
