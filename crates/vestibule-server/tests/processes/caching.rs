//! `VESTIBULE_DECISION_MAX_AGE`: what a proxy may remember, and what it never may.

use std::fs;

use reqwest::{Method, RequestBuilder};

use crate::{
    support::Running,
    world::{Answer, World},
};

const FIVE: (&str, &str) = ("VESTIBULE_DECISION_MAX_AGE", "5");

const RULES: &str = r#"
[[rules]]
path = "/public"
callers = "public"
[[rules]]
path = "/orders"
callers = "user"
preflight = true
[[rules]]
path = "/jobs"
callers = "machine"
"#;

fn asked(world: &World, server: &Running, method: Method, path: &str) -> RequestBuilder {
    let url = format!("{}{path}", server.public);
    world.http.request(method, url)
}

#[track_caller]
fn is_kept_by_nobody(answer: &Answer) {
    assert_eq!(
        answer.header("cache-control"),
        Some("no-store"),
        "{answer:?}"
    );
    assert_eq!(answer.header("vary"), None, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn off_unless_it_is_set() {
    let world = World::new(&[]).await;
    let server = world.place.serve();
    let ada = world.user("user_ada");
    is_kept_by_nobody(&world.get(&server, "/v1/authorize", &ada).await.expect_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_request_may_be_remembered_for_a_moment() {
    let world = World::new(&[FIVE]).await;
    let server = world.place.serve();
    for token in [world.user("user_ada"), world.robot("sc_robot01")] {
        let answer = world
            .get(&server, "/v1/authorize", &token)
            .await
            .expect_ok();
        assert_eq!(answer.header("cache-control"), Some("private, max-age=5"));
        assert_eq!(answer.header("vary"), Some("authorization"));
        // Nothing else is.
        is_kept_by_nobody(&world.me(&server, &token).await.expect_ok());
    }
    // Not past the end of the token, and not in its leeway.
    let brief = world.sandbox.user_token("user_ada").expires_in(4).mint();
    let answer = world
        .get(&server, "/v1/authorize", &brief)
        .await
        .expect_ok();
    let said = answer.header("cache-control").unwrap();
    let left: u32 = said
        .strip_prefix("private, max-age=")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=4).contains(&left), "{left}");
    let over = world
        .sandbox
        .user_token("user_ada")
        .at(world.sandbox.now() - 10)
        .expires_in(8)
        .mint();
    is_kept_by_nobody(&world.get(&server, "/v1/authorize", &over).await.expect_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_never_remembered() {
    let world = World::new(&[FIVE]).await;
    let server = world.place.serve();
    let forged = world
        .sandbox
        .user_token("user_ada")
        .tamper_signature()
        .mint();
    is_kept_by_nobody(
        &world
            .get(&server, "/v1/authorize", &forged)
            .await
            .expect(401, "invalid_token"),
    );
    let nobody = asked(&world, &server, Method::GET, "/v1/authorize");
    is_kept_by_nobody(&Answer::of(nobody).await.expect(401, "missing_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_rules_everything_that_they_read_is_named() {
    let world = World::new(&[FIVE, ("VESTIBULE_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let file = world.place.path().join("settings.toml");
    fs::write(&file, RULES).unwrap();
    let server = world
        .place
        .serve_with(&["--config", file.to_str().unwrap()]);
    let ada = world.user("user_ada");
    let get = |path| asked(&world, &server, Method::GET, path);
    let allowed = Answer::of(get("/v1/authorize/orders").bearer_auth(&ada))
        .await
        .expect_ok();
    assert_eq!(allowed.header("cache-control"), Some("private, max-age=5"));
    let vary = allowed.header("vary").unwrap();
    for name in [
        "authorization",
        "host",
        "x-forwarded-host",
        "x-forwarded-method",
        "x-original-method",
        "x-forwarded-uri",
        "x-original-uri",
        "x-forwarded-for",
        "origin",
        "access-control-request-method",
    ] {
        assert!(vary.split(", ").any(|one| one == name), "{name}: {vary}");
    }
    // A rule refuses; a public route and a preflight are about nobody.
    let refused = Answer::of(get("/v1/authorize/jobs").bearer_auth(&ada)).await;
    is_kept_by_nobody(&refused.expect(403, "insufficient_role"));
    for token in [None, Some(&ada)] {
        let mut public = get("/v1/authorize/public");
        let mut preflight = asked(&world, &server, Method::OPTIONS, "/v1/authorize/orders")
            .header("origin", "https://app.acme.example")
            .header("access-control-request-method", "POST");
        if let Some(token) = token {
            (public, preflight) = (public.bearer_auth(token), preflight.bearer_auth(token));
        }
        is_kept_by_nobody(&Answer::of(public).await.expect_ok());
        is_kept_by_nobody(&Answer::of(preflight).await.expect_ok());
    }
}
