//! What administrators do by the admin API, and by the command line through it.

use std::{
    io::{BufRead as _, BufReader},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    support::{NOBODY, Running},
    world::{Answer, World, eventually},
};

const TOKEN: &str = "admin-token-for-the-tests";
const ON_CALL: &str = "on-call-token-for-the-tests";

/// Asks the admin listener.
struct Admin<'a> {
    world: &'a World,
    server: &'a Running,
    token: &'a str,
}

impl<'a> Admin<'a> {
    const fn new(world: &'a World, server: &'a Running, token: &'a str) -> Self {
        Self {
            world,
            server,
            token,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let url = format!("{}/admin/v1/{path}", self.server.admin);
        let mut request = self.world.http.request(method, url).bearer_auth(self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }
}

async fn world() -> World {
    let world = World::new(&[("VESTIBULE_ADMIN_TOKEN", TOKEN)]).await;
    let digest: String = {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(ON_CALL.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let file = world.place.path().join("vestibule.toml");
    let text = format!(
        "[[admin_tokens]]\nname = \"on-call\"\nsha256 = \"{digest}\"\nscopes = [\"read\", \"stop\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    world
}

fn serve(world: &World) -> Running {
    let file = world.place.path().join("vestibule.toml");
    world
        .place
        .serve_with(&["--config", file.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_there_is_no_admin_api() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    for path in ["admin/v1/accounts", "console", "admin/v1/status", ""] {
        let url = format!("{}/{path}", server.admin);
        let answer = Answer::of(world.http.get(url).bearer_auth(TOKEN)).await;
        answer.expect(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_an_administrator() {
    let world = world().await;
    let server = serve(&world);
    let ada = world.user("user_ada");
    for token in ["", "x", &TOKEN[1..], &ada, &format!("{TOKEN}x")] {
        let admin = Admin {
            world: &world,
            server: &server,
            token,
        };
        let answer = admin.get("accounts").await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.header("www-authenticate").is_some());
    }
    let url = format!("{}/admin/v1/accounts", server.admin);
    let none = Answer::of(world.http.get(&url)).await;
    none.expect(401, "missing_token");
    // Metrics need none; the page has nothing to hide; the public listener knows nothing of it.
    let metrics = Answer::of(world.http.get(format!("{}/metrics", server.admin))).await;
    assert_eq!(metrics.status, 200);
    let page = Answer::of(world.http.get(format!("{}/console", server.admin))).await;
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("frame-ancestors 'none'")
    );
    let public = format!("{}/admin/v1/accounts", server.public);
    let public = Answer::of(world.http.get(public).bearer_auth(TOKEN)).await;
    public.expect(404, "not_found");
    // Who guesses is asked to wait; then the right token waits too, for seconds.
    let guess = Admin {
        world: &world,
        server: &server,
        token: "a-guess-of-some-length",
    };
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(guess.get("accounts").await.status);
    }
    assert_eq!(codes.last(), Some(&429), "{codes:?}");
    let admin = Admin::new(&world, &server, TOKEN);
    eventually(Duration::from_secs(5), "comes in again", async || {
        admin.get("accounts").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_decide() {
    let world = world().await;
    let server = serve(&world);
    let on_call = Admin::new(&world, &server, ON_CALL);
    let status = on_call.get("status").await.expect_ok().json();
    assert_eq!(
        status["token"],
        json!({ "name": "on-call", "scopes": ["read", "stop"] })
    );
    assert_eq!(status["ready"], json!({ "database": true, "keys": true }));
    assert_eq!(status["issuers"][0]["usable"], true);
    let acme = format!("accounts/{}", world.acme);
    on_call
        .post(&format!("{acme}/suspend"), json!({}))
        .await
        .expect_ok();
    for (method, path, body) in [
        (Method::POST, format!("{acme}/resume"), json!({})),
        (Method::PATCH, acme.clone(), json!({ "name": "Mine" })),
        (Method::DELETE, acme.clone(), json!({})),
        (
            Method::POST,
            "accounts".to_owned(),
            json!({ "name": "A", "tenant": "tenant_a" }),
        ),
        (Method::DELETE, "clients/sc_robot01".to_owned(), json!({})),
        (Method::GET, format!("{acme}/export"), Value::Null),
    ] {
        let answer = on_call.ask(method, &path, Some(body)).await;
        let answer = answer.expect(403, "insufficient_scope");
        let detail = answer.json()["detail"].to_string();
        assert!(
            detail.contains("on-call") && detail.contains("write"),
            "{detail}"
        );
    }
}

/// Everything once; what was done shows at once for callers, and in the activity.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_does() {
    let world = world().await;
    let server = serve(&world);
    let admin = Admin::new(&world, &server, TOKEN);
    let ada = world.user("user_ada");
    let me = world.me(&server, &ada).await.expect_ok().json();
    let id = me["user"]["id"].as_str().unwrap();

    let found = admin.get("users?search=ADA").await.expect_ok().json();
    assert_eq!(found["items"][0]["id"], id);
    assert_eq!(found["items"][0]["account_id"], world.acme.as_str());
    for search in ["%25", "_", "nobody", "'"] {
        let found = admin.get(&format!("users?search={search}")).await;
        assert_eq!(found.expect_ok().json()["items"], json!([]), "{search}");
    }
    let found = admin.get("accounts?search=LOB").await.expect_ok().json();
    assert_eq!(found["items"][0]["name"], "Globex");
    let found = admin.get("accounts?search=tenant_acme").await.expect_ok();
    assert_eq!(found.json()["items"][0]["id"], world.acme.as_str());

    let user = format!("users/{id}");
    let changed = admin
        .ask(Method::PATCH, &user, Some(json!({ "role": "owner" })))
        .await;
    assert_eq!(changed.expect_ok().json()["role"], "owner");
    let suspended = admin.post(&format!("{user}/suspend"), json!({})).await;
    assert_eq!(suspended.expect_ok().json()["status"], "suspended");
    eventually(Duration::from_secs(1), "Ada is refused", async || {
        world.me(&server, &ada).await.code() == "user_suspended"
    })
    .await;
    admin
        .post(&format!("{user}/resume"), json!({}))
        .await
        .expect_ok();
    eventually(Duration::from_secs(1), "Ada is let in", async || {
        world.me(&server, &ada).await.status == 200
    })
    .await;
    let cut = admin
        .post("revocations", json!({ "kind": "token", "token": ada }))
        .await;
    assert_eq!(cut.status, 201, "{cut:?}");
    eventually(Duration::from_secs(1), "the token is cut off", async || {
        world.me(&server, &ada).await.code() == "invalid_token"
    })
    .await;
    let listed = admin.get("revocations").await.expect_ok().json();
    assert_eq!(listed["items"][0]["kind"], "token");
    assert!(!listed.to_string().contains(&ada));

    let made = admin
        .post(
            "accounts",
            json!({ "name": "Initech", "tenant": "tenant_initech" }),
        )
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let initech = made.json()["id"].as_str().unwrap().to_owned();
    let again = admin
        .post(
            "accounts",
            json!({ "name": "Initech", "tenant": "tenant_initech" }),
        )
        .await;
    again.expect(409, "conflict");
    let wanted = json!({ "name": "Initech", "tenant": "tenant_initech", "if_missing": true });
    assert_eq!(
        admin.post("accounts", wanted).await.expect_ok().json()["id"],
        initech.as_str()
    );
    let client = json!({ "client_id": "sc_new", "account_id": initech, "name": "New" });
    assert_eq!(admin.post("clients", client).await.status, 201);
    let removed = admin.ask(Method::DELETE, "clients/sc_new", None).await;
    assert_eq!(removed.expect_ok().json()["removed"], true);
    let gone = admin
        .ask(Method::DELETE, &format!("accounts/{initech}"), None)
        .await;
    gone.expect_ok();
    for path in [
        format!("accounts/{initech}"),
        format!("users/{NOBODY}"),
        "clients/sc_new".into(),
    ] {
        let missing = admin.get(&path).await.expect(404, "not_found");
        assert!(missing.json()["detail"].is_string(), "{missing:?}");
    }

    let mut kinds = Vec::new();
    eventually(Duration::from_secs(3), "all is noted", async || {
        let path = format!("accounts/{}/activity?limit=200", world.acme);
        let page = admin.get(&path).await.expect_ok().json();
        kinds = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["kind"] == "admin_action" || entry["kind"] == "provisioning")
            .map(|entry| (entry["reason"].clone(), entry["user_id"].clone()))
            .rev()
            .collect();
        kinds.len() >= 6
    })
    .await;
    assert_eq!(
        kinds,
        [
            (json!("account.create by the command line"), Value::Null),
            (json!("client.add by the command line"), Value::Null),
            (Value::Null, json!(id)),
            (json!("user.set-role by admin"), json!(id)),
            (json!("user.suspend by admin"), json!(id)),
            (json!("user.resume by admin"), json!(id)),
        ]
    );
    // For the account itself too, where it asks for them.
    let alan = world.user("user_alan");
    let usual = world
        .get(&server, "/v1/activity?limit=200", &alan)
        .await
        .expect_ok();
    assert!(!usual.text.contains("admin_action"), "{usual:?}");
    let all = world
        .get(&server, "/v1/activity?limit=200&kind=all", &alan)
        .await;
    assert!(all.expect_ok().text.contains("user.suspend by admin"));
    let wrong = world.get(&server, "/v1/activity?kind=some", &alan).await;
    wrong.expect(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_said() {
    let world = world().await;
    let server = serve(&world);
    let admin = Admin::new(&world, &server, TOKEN);
    for (path, body) in [
        ("accounts", json!({})),
        ("accounts", json!({ "name": "", "tenant": "tenant_x" })),
        (
            "accounts",
            json!({ "name": "A", "tenant": "tenant_x", "other": 1 }),
        ),
        (
            "clients",
            json!({ "client_id": "a b", "account_id": world.acme, "name": "A" }),
        ),
        (
            "revocations",
            json!({ "kind": "user", "which": "somebody" }),
        ),
        ("revocations", json!({ "kind": "everything" })),
        (
            "revocations",
            json!({ "kind": "issuer", "which": "https://a.example", "issued_before": "9999-01-01T00:00:00Z" }),
        ),
        ("explain", json!({})),
        ("explain", json!({ "token": "a", "request_id": NOBODY })),
    ] {
        let answer = admin.post(path, body.clone()).await;
        let answer = answer.expect(400, "invalid_request");
        assert!(answer.json()["detail"].is_string(), "{body}: {answer:?}");
    }
    for path in [
        "accounts?limit=0",
        "users?search=%ff",
        "refusals?after=x",
        "accounts?cursor=x",
    ] {
        admin.get(path).await.expect(400, "invalid_request");
    }
    let robot = json!({ "client_id": "sc_robot01", "account_id": world.globex, "name": "A" });
    admin.post("clients", robot).await.expect(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_works_through_a_server() {
    let world = world().await;
    let server = serve(&world);
    let there = |arguments: &[&str]| {
        let mut all = vec!["--server", &server.admin];
        all.extend(arguments);
        world.place.run(&all)
    };
    let here = |arguments: &[&str]| world.place.run(arguments);
    for command in [
        &["account", "list", "--json"][..],
        &["account", "list"],
        &["account", "show", &world.acme],
        &["user", "list", "--account", &world.acme, "--json"],
        &["client", "list", "--json"],
        &["migrate", "--status", "--json"],
        &["revoke", "--list", "--json"],
        &["account", "export", &world.acme],
        &["account", "activity", &world.acme],
        &["account", "activity", &world.acme, "--json"],
        &["account", "activity", NOBODY],
        &["account", "show", NOBODY],
        &["client", "suspend", "sc_none"],
    ] {
        let (one, other) = (here(command), there(command));
        assert_eq!(
            (one.code, &one.stdout, &one.stderr),
            (other.code, &other.stdout, &other.stderr),
            "{command:?}"
        );
    }
    let made = there(&[
        "account", "create", "--name", "Initech", "--tenant", "tenant_i", "--json",
    ]);
    assert_eq!(made.code, 0, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(here(&["account", "show", &id]).code, 0);
    assert_eq!(there(&["account", "delete", &id]).code, 2);
    assert_eq!(there(&["account", "delete", &id, "--yes"]).code, 0);
    assert_eq!(here(&["account", "show", &id]).code, 1);
    for refused in [
        &["doctor"][..],
        &["migrate"],
        &["config", "check"],
        &["account", "move", &world.acme, "--cluster", "eu"],
    ] {
        let said = there(refused);
        assert_eq!(said.code, 2, "{refused:?}: {said:?}");
        assert!(said.stderr.contains("--server"), "{said:?}");
    }
    let public = world
        .place
        .run(&["--server", &server.public, "account", "list"]);
    assert_eq!(public.code, 1, "{public:?}");
    assert!(public.stderr.contains("no admin API"), "{public:?}");
    let nobody = world
        .place
        .run(&["--server", "http://127.0.0.1:1", "account", "list"]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    let clear = world
        .place
        .run(&["--server", "http://admin.example.com", "account", "list"]);
    assert_eq!(clear.code, 2, "{clear:?}");
    assert!(!format!("{public:?}{nobody:?}{clear:?}").contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_explained_by_its_id() {
    let world = world().await;
    let server = serve(&world);
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    let forged = world
        .sandbox
        .user_token("user_ada")
        .tamper_signature()
        .mint();
    let answer = world
        .me(&server, &forged)
        .await
        .expect(401, "invalid_token");
    let id = answer.json()["request_id"].as_str().unwrap().to_owned();
    let there = |arguments: &[&str]| {
        let mut all = vec!["--server", &server.admin];
        all.extend(arguments);
        world.place.run(&all)
    };
    let said = there(&["token", "explain", "--request", &id, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let explained = said.json();
    assert_eq!(explained["reason"], "bad_signature");
    assert_eq!(explained["request"]["request_id"], id.as_str());
    assert_eq!(explained["request"]["path"], "/v1/me");
    assert_eq!(explained["claims"]["sub"], "user_ada");
    let steps = explained["steps"].as_array().unwrap();
    let state = |name: &str| {
        let step = steps.iter().find(|step| step["step"] == name).unwrap();
        step["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        ["request", "key", "signature", "claims", "rights"].map(state),
        ["passed", "passed", "refused", "not reached", "not reached"]
    );
    assert!(
        explained["remedy"]
            .as_str()
            .unwrap()
            .contains("TOKEN_REFUSAL_LIMIT")
    );
    let people = there(&["token", "explain", "--request", &id]);
    assert!(people.stdout.contains("bad_signature") && people.stdout.contains("to change"));
    // Neither the token nor what it says of the person beside.
    let all = format!("{said:?}{people:?}");
    let parts: Vec<&str> = forged.split('.').collect();
    assert!(!all.contains(parts[1]) && !all.contains(parts[2]), "{all}");
    let none = there(&["token", "explain", "--request", NOBODY]);
    assert_eq!(none.code, 1, "{none:?}");
    let local = world.place.run(&["token", "explain", "--request", &id]);
    assert_eq!(local.code, 2, "{local:?}");
    // A request without anybody, and one that no handler knows.
    let url = format!("{}/v1/me", server.public);
    let missing = Answer::of(world.http.get(url)).await.json();
    let id = missing["request_id"].as_str().unwrap().to_owned();
    let said = there(&["token", "explain", "--request", &id, "--json"]).json();
    assert_eq!(said["reason"], "missing_token");
    let unknown = world.get(&server, "/nowhere", &ada).await.json();
    let id = unknown["request_id"].as_str().unwrap().to_owned();
    let said = there(&["token", "explain", "--request", &id, "--json"]).json();
    assert_eq!(said["reason"], Value::Null);
    assert_eq!(said["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_signed_in_to() {
    let world = world().await;
    let server = serve(&world);
    let session = format!("{}/console/session", server.admin);
    let accounts = format!("{}/admin/v1/accounts", server.admin);
    let sign_in = |origin: &str, token: &str| {
        let request = world.http.post(&session).header("origin", origin);
        request.json(&json!({ "token": token }))
    };
    let refused = Answer::of(sign_in(&server.admin, "a-wrong-token-of-some-length")).await;
    refused.expect(401, "invalid_token");
    let foreign = Answer::of(sign_in("http://evil.example", TOKEN)).await;
    foreign.expect(400, "invalid_request");
    let form = world
        .http
        .post(&session)
        .body(json!({ "token": TOKEN }).to_string());
    assert!(Answer::of(form).await.status >= 400);

    let signed_in = Answer::of(sign_in(&server.admin, TOKEN)).await.expect_ok();
    let set = signed_in.header("set-cookie").unwrap().to_owned();
    assert!(
        set.contains("HttpOnly") && set.contains("SameSite=Strict"),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap().to_owned();
    let csrf = signed_in.json()["csrf"].as_str().unwrap().to_owned();
    assert!(!signed_in.text.contains(TOKEN) && !set.contains(TOKEN));
    let ask = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .fold(world.http.get(&accounts), |request, (name, value)| {
                request.header(*name, *value)
            })
    };
    let both = [("cookie", &*cookie), ("x-vestibule-csrf", &*csrf)];
    Answer::of(ask(&both)).await.expect_ok();
    for wrong in [
        &both[..1],
        &both[1..],
        &[both[0], ("x-vestibule-csrf", "guess")],
        &[both[0], both[1], ("origin", "http://evil.example")],
        &[both[0], both[1], ("sec-fetch-site", "cross-site")],
    ] {
        assert_eq!(Answer::of(ask(wrong)).await.status, 401, "{wrong:?}");
    }
    let end = world.http.delete(&session).header("cookie", &cookie);
    let end = Answer::of(end.header("x-vestibule-csrf", &csrf)).await;
    assert_eq!(end.status, 204);
    assert_eq!(Answer::of(ask(&both)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_shown_as_they_happen() {
    let world = world().await;
    let server = serve(&world);
    world
        .me(&server, "before")
        .await
        .expect(401, "invalid_token");
    let explain = ["--server", &server.admin, "token", "explain", "--live"];
    let mut shown = world.place.spawn(&explain);
    let lines = BufReader::new(shown.stdout.take().unwrap()).lines();
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    let mut last = String::new();
    let refused = async {
        for number in 0.. {
            let answer = world.me(&server, &format!("a.b.{number}")).await;
            last = answer.json()["request_id"].as_str().unwrap().to_owned();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let first = tokio::task::spawn_blocking(move || lines.map_while(Result::ok).next());
    let line = tokio::select! {
        line = first => line.unwrap().unwrap(),
        () = refused => unreachable!(),
    };
    shown.kill().unwrap();
    shown.wait().unwrap();
    // Only those that came after it had begun to look, and no token.
    assert!(line.contains("401 bad_base64 GET /v1/me"), "{line}");
    assert!(!line.contains("a.b."), "{line}");
    assert!(!last.is_empty());
}

/// For a log system: all of it, or what came since, by whoever may read.
#[tokio::test(flavor = "multi_thread")]
async fn activity_is_handed_on_as_lines() {
    let world = world().await;
    let server = serve(&world);
    let ada = world.user("user_ada");
    world.me(&server, &ada).await.expect_ok();
    world.get(&server, "/v1/activity", &ada).await.expect_ok();
    let on_call = Admin::new(&world, &server, ON_CALL);
    let path = format!("accounts/{}/activity", world.acme);
    let page = on_call.get(&path).await.expect_ok().json();
    let mut all = page["items"].as_array().unwrap().clone();
    all.reverse();
    let lines = |text: &str| -> Vec<Value> {
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let export = format!("{path}/export");
    let answer = on_call.get(&export).await.expect_ok();
    assert_eq!(answer.headers["content-type"], "application/jsonl");
    assert_eq!(lines(&answer.text), all);
    let last = all.last().unwrap()["at"].as_str().unwrap();
    let since = on_call.get(&format!("{export}?since={last}")).await;
    assert_eq!(lines(&since.expect_ok().text).last(), all.last());
    let later = format!("{export}?since=2999-01-01T00:00:00Z");
    assert_eq!(on_call.get(&later).await.expect_ok().text, "");
    for wrong in ["yesterday", "", "2999-01-01T00:00:00Z&since=x"] {
        let answer = on_call.get(&format!("{export}?since={wrong}")).await;
        answer.expect(400, "invalid_request");
    }
    let nobody = format!("accounts/{NOBODY}/activity/export");
    on_call.get(&nobody).await.expect(404, "not_found");

    let activity = |more: &[&str]| {
        let command = [&["account", "activity", &world.acme], more].concat();
        world.place.run(&command)
    };
    assert_eq!(lines(&activity(&[]).stdout), all);
    assert_eq!(
        activity(&["--json"]).json()["items"],
        Value::Array(all.clone())
    );
    let later = ["--since", "2999-01-01T00:00:00Z"];
    let none = activity(&later);
    assert_eq!((none.code, &*none.stdout), (0, ""), "{none:?}");
    assert_eq!(activity(&["--since", "yesterday"]).code, 2);
}
