//! Routes, bodies and the document: what a stranger can find out.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use reqwest::Method;
use serde_json::Value;

use crate::{
    support::Running,
    world::{Answer, World, raw},
};

/// The contract's routes; a trailing `*` stands for any method.
const ROUTES: &[&str] = &[
    "/.well-known/jwks.json",
    "/healthz",
    "/openapi.json",
    "/readyz",
    "/v1/activity",
    "/v1/authorize*",
    "/v1/authorize/{path}*",
    "/v1/me",
    "/v1/users",
    "/v1/users/{id}",
];

const METHODS: [&str; 8] = [
    "get", "head", "post", "put", "patch", "delete", "options", "trace",
];

async fn document(world: &World, server: &Running) -> Value {
    let answer = Answer::of(world.http.get(format!("{}/openapi.json", server.public))).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.expect_ok().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_openapi_3_1() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let document = document(&world, &server).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string());
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let bearer = &document["components"]["securitySchemes"]["bearer"];
    assert_eq!(
        (&bearer["type"], &bearer["scheme"]),
        (&"http".into(), &"bearer".into())
    );

    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let named: BTreeSet<_> = path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap())
            .collect();
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(METHODS.contains(&method.as_str()), "{what}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{what}: {id} twice");
            let parameters = operation["parameters"].as_array();
            let parameters = parameters.map_or(&[][..], Vec::as_slice);
            let described: BTreeSet<_> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .inspect(|parameter| assert_eq!(parameter["required"], true, "{what}"))
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(described, named, "{what}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("200"), "{what}");
            for (status, response) in responses {
                assert!(response["description"].is_string(), "{what} {status}");
                let status: u16 = status.parse().unwrap();
                let problem = &response["content"]["application/problem+json"]["schema"];
                assert_eq!(
                    problem.is_object(),
                    status >= 400 && path != "/readyz",
                    "{what}"
                );
            }
            let protected = path.starts_with("/v1/");
            assert_eq!(operation["security"].is_array(), protected, "{what}");
            assert_eq!(responses.contains_key("401"), protected, "{what}");
        }
    }
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref") {
                found.insert(reference.as_str().unwrap().to_owned());
            }
            members
                .values()
                .for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

/// Contract, document and server have the same routes and methods.
#[tokio::test(flavor = "multi_thread")]
async fn routes_are_those_of_the_contract() {
    let world = World::new(&[("VESTIBULE_ASSERTION_AUDIENCES", "orders")]).await;
    let server = world.place.serve();
    let document = document(&world, &server).await;
    let listed: BTreeMap<&str, BTreeSet<&str>> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().map(String::as_str);
            (path.as_str(), methods.collect())
        })
        .collect();
    let any: BTreeSet<_> = METHODS.into();
    let contract: BTreeMap<_, _> = ROUTES
        .iter()
        .map(|route| match route.strip_suffix('*') {
            Some(path) => (path, any.clone()),
            None => (*route, BTreeSet::from(["get"])),
        })
        .collect();
    let without_head = |methods: &BTreeSet<&str>| {
        let mut methods: BTreeSet<_> = methods.iter().map(|&it| it.to_owned()).collect();
        methods.remove("head");
        methods
    };
    assert_eq!(
        listed
            .iter()
            .map(|(path, it)| (*path, without_head(it)))
            .collect::<Vec<_>>(),
        contract
            .iter()
            .map(|(path, it)| (*path, without_head(it)))
            .collect::<Vec<_>>(),
    );

    let token = world.user("user_ada");
    let me = world.me(&server, &token).await.expect_ok().json();
    for (path, methods) in contract {
        let path = path.replace("{id}", me["user"]["id"].as_str().unwrap());
        for method in METHODS {
            let verb = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
            let url = format!("{}{path}", server.public);
            for token in [Some(&token), None] {
                let mut request = world.http.request(verb.clone(), &url);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let answer = Answer::of(request).await;
                let what = format!("{method} {path}: {answer:?}");
                let known = methods.contains(method) || method == "head";
                match (known, token) {
                    (false, _) => {
                        assert_eq!(answer.status, 405, "{what}");
                        assert_eq!(answer.code(), "method_not_allowed", "{what}");
                        let allow = answer.header("allow").unwrap().replace(' ', "");
                        assert_eq!(allow, "GET,HEAD", "{what}");
                    }
                    (true, None) if path.starts_with("/v1/") => {
                        assert_eq!(answer.status, 401, "{what}");
                        assert_eq!(answer.code(), "missing_token", "{what}");
                        let challenge = answer.header("www-authenticate");
                        assert_eq!(challenge, Some(r#"Bearer realm="vestibule""#), "{what}");
                        assert_eq!(answer.header("cache-control"), Some("no-store"));
                    }
                    (true, _) => assert_eq!(answer.status, 200, "{what}"),
                }
            }
        }
    }
}

/// Whoever sends more than is taken is told so, whether he stops to listen or sends it all first.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_refused_with_words() {
    const LENGTH: usize = 3 * 1024 * 1024;
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let head = |more: &str| {
        format!("POST /v1/authorize HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n")
    };
    let announced = head(&format!("Content-Length: {LENGTH}\r\n"));
    let all = [announced.as_bytes(), &vec![b'x'; LENGTH]].concat();
    let expecting = head(&format!(
        "Content-Length: {LENGTH}\r\nExpect: 100-continue\r\n"
    ));
    for request in [announced.as_bytes(), &all, expecting.as_bytes()] {
        let answer = raw(server.address(), request);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("request_too_large"), "{answer}");
    }
    // One that is not too large is nobody's business: the refusal is about the caller.
    let small = head("Content-Length: 900000\r\n");
    let small = [small.as_bytes(), &vec![b'x'; 900_000]].concat();
    let mut chunked = head("Transfer-Encoding: chunked\r\n").into_bytes();
    for _ in 0..40 {
        chunked.extend_from_slice(b"ffff\r\n");
        chunked.extend(vec![b'x'; 0xffff]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for request in [small, chunked] {
        let answer = raw(server.address(), &request);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}

/// Heads that no program of good will sends.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_answered_or_cut_off_but_never_served() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let token = world.user("user_ada");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let long = format!("X: {}\r\n", "x".repeat(150_000));
    let many: String = (0..200).map(|n| format!("X-{n}: x\r\n")).collect();
    let head =
        |more: &str| format!("GET /v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
    for (what, request, status) in [
        ("sound", head(&bearer), "200"),
        ("two tokens", head(&format!("{bearer}{bearer}")), "401"),
        ("too long", head(&format!("{bearer}{long}")), "431"),
        ("too many", head(&format!("{bearer}{many}")), "431"),
        ("no HTTP", "hello\r\n\r\n".to_owned(), "400"),
        ("a bad name", head(&format!("{bearer}A b: c\r\n")), "400"),
        (
            "two lengths",
            head(&format!(
                "{bearer}Content-Length: 1\r\nContent-Length: 2\r\n"
            )),
            "400",
        ),
    ] {
        let answer = raw(server.address(), request.as_bytes());
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{what}: {answer}");
    }
    // Cookies, queries and bodies carry no token.
    let form = format!("access_token={token}");
    let elsewhere = [
        head(&format!("Cookie: {form}\r\n")),
        format!("GET /v1/me?{form} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        format!(
            "POST /v1/authorize HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ),
    ];
    for request in elsewhere {
        let answer = raw(server.address(), request.as_bytes());
        assert!(answer.contains("missing_token"), "{answer}");
    }
    // Two requests at once on one connection get two answers, in order.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let first = format!("GET /v1/me HTTP/1.1\r\nHost: x\r\n{bearer}\r\n");
    stream.write_all((first + &head("")).as_bytes()).unwrap();
    let mut both = String::new();
    stream.read_to_string(&mut both).unwrap();
    let statuses: Vec<_> = both.matches("HTTP/1.1 ").collect();
    assert_eq!(statuses.len(), 2, "{both}");
    assert!(
        both.starts_with("HTTP/1.1 200 ") && both.contains("HTTP/1.1 401 "),
        "{both}"
    );
}
