//! Who calls: as JSON, and as headers for a proxy.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use reqwest::Method;
use serde_json::json;
use vestibule::{Clock as _, Timestamp, clock::SystemClock};
use vestibule_sandbox::User;

use crate::world::{Answer, World, raw};

/// All identity headers; the contract has no others.
const HEADERS: [&str; 8] = [
    "x-vestibule-kind",
    "x-vestibule-user-id",
    "x-vestibule-authress-user-id",
    "x-vestibule-email",
    "x-vestibule-role",
    "x-vestibule-account-id",
    "x-vestibule-tenant-id",
    "x-vestibule-scopes",
];

/// In ten minutes, and how that is written.
fn end() -> (i64, String) {
    let now = SystemClock.now().as_secs();
    (now + 600, Timestamp::from_secs(now + 600).to_rfc3339())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_as_json() {
    let world = World::new(&[]).await;
    let (exp, expires_at) = end();
    let server = world.place.serve();
    world
        .sandbox
        .update_user("user_ada", |ada| ada.picture("https://acme.example/ada"))
        .unwrap();
    let token = world.sandbox.user_token("user_ada").claim("exp", exp);
    let answer = world.me(&server, &token.mint()).await.expect_ok();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let me = answer.json();
    let users = world
        .place
        .json(&["user", "list", "--account", &world.acme]);
    let id = users["items"][0]["id"].as_str().unwrap();
    assert_eq!(id.as_bytes()[14], b'7', "UUIDv7: {id}");
    let expected = json!({
        "kind": "user",
        "user": {
            "id": id,
            "authress_user_id": "user_ada",
            "email": "ada@acme.example",
            "name": "Ada",
            "picture": "https://acme.example/ada",
            "role": "member",
            "status": "active",
        },
        "account": {
            "id": world.acme,
            "name": "Acme",
            "authress_tenant_id": "tenant_acme",
            "status": "active",
        },
        "token": {
            "issuer": world.sandbox.issuer(),
            "client_id": "app_web",
            "scopes": ["openid", "profile", "email"],
            "expires_at": expires_at,
        },
    });
    assert_eq!(me, expected);

    let head = world.http.head(format!("{}/v1/me", server.public));
    let head = Answer::of(head.bearer_auth(token.mint())).await.expect_ok();
    assert_eq!(head.text, "");
    assert_eq!(
        head.header("content-length"),
        answer.header("content-length")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_as_json() {
    let world = World::new(&[]).await;
    let (exp, expires_at) = end();
    let server = world.place.serve();
    // What it says of its own rights, its holder has written.
    let token = world.sandbox.client_token("sc_robot01").scope("admin");
    let token = token.claim("scopes", "root").claim("exp", exp).mint();
    let me = world.me(&server, &token).await.expect_ok().json();
    let clients = world.place.json(&["client", "list"]);
    let client = clients["items"].as_array().unwrap().iter();
    let mut client = client.filter(|client| client["client_id"] == "sc_robot01");
    let expected = json!({
        "kind": "machine",
        "user": {
            "id": client.next().unwrap()["id"],
            "authress_user_id": "sc_robot01",
            "email": null,
            "name": "Robot",
            "picture": null,
            "role": "service_client",
            "status": "active",
        },
        "account": {
            "id": world.acme,
            "name": "Acme",
            "authress_tenant_id": "tenant_acme",
            "status": "active",
        },
        "token": {
            "issuer": world.sandbox.client_issuer("sc_robot01"),
            "client_id": "sc_robot01",
            "scopes": [],
            "expires_at": expires_at,
        },
    });
    assert_eq!(me, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_as_headers() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    let me = world.me(&server, &ada).await.expect_ok().json();
    let robot = world.robot("sc_robot01");
    let machine = world.me(&server, &robot).await.expect_ok().json();
    let ada_as = [
        "user",
        me["user"]["id"].as_str().unwrap(),
        "user_ada",
        "ada@acme.example",
        "member",
        &world.acme,
        "tenant_acme",
        "openid,profile,email",
    ];
    let robot_as = [
        "machine",
        machine["user"]["id"].as_str().unwrap(),
        "sc_robot01",
        "",
        "service_client",
        &world.acme,
        "tenant_acme",
        "",
    ];
    for (token, expected) in [(&ada, ada_as), (&robot, robot_as)] {
        let expected: BTreeMap<_, _> = HEADERS.into_iter().zip(expected).collect();
        for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
            for path in ["", "/", "/a/b", "/..%2f?q=1", "/v1/me"] {
                let url = format!("{}/v1/authorize{path}", server.public);
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let request = world.http.request(method, url).bearer_auth(token);
                // The client's own copies change nothing.
                let request = request.header("x-vestibule-role", "owner");
                let answer = Answer::of(request).await.expect_ok();
                let sent = identity(&answer);
                let sent: BTreeMap<_, _> =
                    sent.iter().map(|(name, value)| (*name, &**value)).collect();
                assert_eq!(sent, expected);
                assert_eq!(answer.text, "");
                assert_eq!(answer.header("cache-control"), Some("no-store"));
            }
        }
    }
    // A refusal is the refusal, and says nothing of anybody.
    let nobody = world.get(&server, "/v1/authorize/x", "a.b.c").await;
    let nobody = nobody.expect(401, "invalid_token");
    assert_eq!(
        nobody.header("content-type"),
        Some("application/problem+json")
    );
    assert!(identity(&nobody).is_empty());
}

/// Each identity header and its one value; `X-Vestibule-Code` is none.
fn identity(answer: &Answer) -> Vec<(&str, String)> {
    let mut sent: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap().to_owned()))
        .filter(|(name, _)| name.starts_with("x-vestibule-") && *name != "x-vestibule-code")
        .collect();
    sent.sort();
    let number = sent.len();
    sent.dedup_by_key(|(name, _)| *name);
    assert_eq!(sent.len(), number, "a header twice");
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_stay_in_their_headers() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let subject = "user ada|x/~y@z+:.";
    let email = "\"a%41 b\"@acmé.example";
    world.sandbox.add_user(
        User::new(subject)
            .name("Ada\r\nX-Vestibule-Role: owner")
            .email(email)
            .tenant("tenant_acme"),
    );
    let token = world.sandbox.user_token(subject).scope("a,b c%2Cd !#[]~ %");
    let answer = world.get(&server, "/v1/authorize", &token.mint()).await;
    let answer = answer.expect_ok();
    let value = |name| answer.header(name).unwrap();
    assert_eq!(
        value("x-vestibule-authress-user-id"),
        "user%20ada|x/~y@z+:."
    );
    assert_eq!(
        value("x-vestibule-email"),
        "\"a%2541%20b\"@acm%C3%A9.example"
    );
    assert_eq!(value("x-vestibule-role"), "member");
    let scopes: Vec<_> = value("x-vestibule-scopes")
        .split(',')
        .map(|scope| percent_decode_str(scope).decode_utf8().unwrap())
        .collect();
    assert_eq!(scopes, ["a,b", "c%2Cd", "!#[]~", "%"]);
    // The name is in no header, and a control character keeps it out of everything.
    let me = world.me(&server, &token.mint()).await.expect_ok().json();
    assert_eq!(me["user"]["name"], serde_json::Value::Null);
    assert_eq!(me["user"]["email"], email);
}

/// On the wire, names and line ends included, whatever the token and the provider hold.
#[tokio::test(flavor = "multi_thread")]
async fn all_headers_together_stay_below_6_kib() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let subject = " ".repeat(63) + "u" + &" ".repeat(63) + "u";
    let email = format!("{}@acme.example", "\u{10ffff}".repeat(76));
    world
        .sandbox
        .add_user(User::new(&*subject).email(&*email).tenant("tenant_acme"));
    let scopes: Vec<_> = (0..600).map(|number| format!("s%{number}")).collect();
    let token = world
        .sandbox
        .user_token(&subject)
        .scope(scopes.join(" "))
        .mint();
    assert!(token.len() < 8_192);
    let request = format!(
        "GET /v1/authorize HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    let answer = raw(server.address(), request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "");
    let lines = head.lines().map(str::to_ascii_lowercase);
    let lines: Vec<_> = lines
        .filter(|line| line.starts_with("x-vestibule-"))
        .collect();
    for name in HEADERS {
        let with_name = |line: &&String| line.starts_with(&format!("{name}:"));
        assert_eq!(lines.iter().filter(with_name).count(), 1, "{name}: {head}");
    }
    let bytes: usize = lines.iter().map(|line| line.len() + 2).sum();
    assert!(bytes < 6 * 1024, "{bytes}");
    assert!(head.contains(&"%20".repeat(63)), "{head}");
    // Scopes give way whole, from the end.
    let scopes_sent = lines
        .iter()
        .find_map(|line| line.strip_prefix("x-vestibule-scopes: "));
    let scopes_sent: Vec<_> = scopes_sent.unwrap().split(',').collect();
    assert!(scopes_sent.len() > 100 && scopes_sent.len() < 600);
    for (sent, scope) in scopes_sent.iter().zip(&scopes) {
        assert_eq!(*sent, scope.replace('%', "%25"));
    }
}
