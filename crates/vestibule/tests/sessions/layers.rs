//! Where the layer stands, and what it adds to answers.

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use vestibule::{Principal, Repository, store::Page, tenancy::activity};

use crate::{
    wire::Wire,
    world::{Marks, World, ask, marks},
};

/// A part of the application brings the layer along, and the whole has it too: there is one
/// request, one session, and the outermost layer ends it.
#[tokio::test]
async fn nested_layers_are_one() {
    async fn note(Repository(marks): Repository<Marks>, request: Request, next: Next) -> Response {
        marks.add("outer").await.unwrap();
        let bad = request.uri().path() == "/part/bad";
        let answer = next.run(request).await;
        if bad {
            StatusCode::CONFLICT.into_response()
        } else {
            answer
        }
    }
    let write = || {
        post(|Repository(marks): Repository<Marks>| async move {
            assert_eq!(marks.labels().await.unwrap(), ["outer"]);
            marks.add("inner").await.unwrap();
        })
    };

    let world = World::start().await;
    let part = Router::new()
        .route("/good", write())
        .route("/bad", write())
        .route(
            "/panic",
            post(|Repository(marks): Repository<Marks>| async move {
                marks.add("inner").await.unwrap();
                if true {
                    panic!("inside of two layers");
                }
            }),
        )
        .layer(world.vestibule.layer());
    let site = world
        .serve(Router::new().nest("/part", part).layer(from_fn(note)))
        .await;
    let token = world.ada();
    ask(site, "POST", "/part/bad", &token).await.expect(409);
    assert!(world.committed(world.acme).await.is_empty());
    let answer = ask(site, "POST", "/part/panic", &token).await;
    answer.expect_problem(500, "internal_error");
    assert!(world.committed(world.acme).await.is_empty());
    ask(site, "POST", "/part/good", &token).await.expect(200);
    assert_eq!(world.committed(world.acme).await, ["inner", "outer"]);

    // One sign-in, and one name for one request.
    let mut wire = Wire::connect(site).await;
    wire.send("POST", "/part/good", None).await;
    wire.answer().await.expect_problem(401, "missing_token");
    world.vestibule.shutdown().await;
    let job = world
        .vestibule
        .system_session(&world.access, world.acme, "look");
    let session = job.await.unwrap();
    let page = Page {
        limit: 200,
        cursor: None,
    };
    let entries = activity::page(&session, &page).await.unwrap().items;
    let sign_ins = entries.iter().filter(|entry| entry.kind == "sign_in");
    assert_eq!(sign_ins.count(), 1);
}

#[tokio::test]
async fn answers_about_a_caller_are_not_stored() {
    let world = World::start().await;
    let own = |_: Principal| async { [("cache-control", "private, max-age=5")] };
    let maybe = |caller: Option<Principal>| async move { caller.is_some().to_string() };
    let routes = Router::new()
        .route("/plain", get(|_: Principal| async {}))
        .route("/own", get(own))
        .route("/maybe", get(maybe))
        .route("/open", get(|| async { "open" }));
    let site = world.serve(routes).await;
    let token = world.ada();
    for (path, stored) in [
        ("/plain", Some("no-store")),
        ("/own", Some("private, max-age=5")),
        ("/maybe", Some("no-store")),
        ("/open", None),
    ] {
        let answer = ask(site, "GET", path, &token).await;
        assert_eq!(answer.expect(200).header("cache-control"), stored, "{path}");
    }
    // That nobody called is an answer about a caller too.
    let mut wire = Wire::connect(site).await;
    wire.send("GET", "/maybe", None).await;
    let answer = wire.answer().await;
    assert_eq!(answer.expect(200).body, "false");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn without_the_layer_there_is_no_caller() {
    let world = World::start().await;
    let bare = Router::new().route("/marks", get(|_: Repository<Marks>| async {}));
    let site = world.serve_bare(bare).await;
    ask(site, "GET", "/marks", &world.ada())
        .await
        .expect_problem(500, "internal_error");
}

/// A request cannot bring the session of another one along: each has its own.
#[tokio::test]
async fn requests_on_one_connection_have_a_session_each() {
    let world = World::start().await;
    let site = world.serve(Router::new()).await;
    let mut wire = Wire::connect(site).await;
    for (token, label, status) in [
        (world.ada(), "one", 201),
        (world.grace(), "one", 201),
        (world.ada(), "one", 500),
        (world.ada(), "two", 201),
    ] {
        wire.send("POST", &format!("/marks/{label}"), Some(&token))
            .await;
        wire.answer().await.expect(status);
    }
    assert_eq!(marks(site, &world.ada()).await, ["one", "two"]);
    assert_eq!(marks(site, &world.grace()).await, ["one"]);
}
