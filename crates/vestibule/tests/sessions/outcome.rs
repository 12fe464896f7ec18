//! How a request's session ends: by the status of its answer, all of it or nothing.

use axum::{
    Router,
    extract::{Path, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use sqlx::Connection as _;
use vestibule::{Code, Principal, Problem, Repository, Service, TenantSession, Vestibule};

use crate::{
    wire::Wire,
    world::{Marking, Marks, World, ask, marks},
};

#[tokio::test]
async fn all_extractors_of_a_request_share_one_transaction() {
    async fn share(
        State(vestibule): State<Vestibule>,
        principal: Principal,
        Repository(repository): Repository<Marks>,
        Service(service): Service<Marking>,
        session: TenantSession,
    ) -> Result<String, Problem> {
        let asked: Marks = vestibule.get_repository(&principal)?;
        let served: Marking = vestibule.get_service(&principal)?;
        let opened = vestibule.get_tenant_session(&principal)?;
        let ways = [
            repository,
            service.0,
            Marks(session),
            asked,
            served.0,
            Marks(opened),
        ];
        for (number, way) in ways.iter().enumerate() {
            way.add(&number.to_string()).await?;
        }
        for way in &ways {
            assert_eq!(way.labels().await?, ["0", "1", "2", "3", "4", "5"]);
            assert_eq!(way.0.account_id(), principal.account().id);
        }
        Ok("shared".to_owned())
    }

    let world = World::start().await;
    let routes = Router::new()
        .route("/share", post(share))
        .with_state(world.vestibule.clone());
    let site = world.serve(routes).await;
    ask(site, "POST", "/share", &world.ada()).await.expect(200);
    assert_eq!(world.committed(world.acme).await.len(), 6);
    assert!(world.committed(world.globex).await.is_empty());
    assert!(marks(site, &world.grace()).await.is_empty());
}

#[tokio::test]
async fn the_status_decides() {
    async fn answer(Repository(marks): Repository<Marks>, Path(status): Path<u16>) -> Response {
        marks.add(&status.to_string()).await.unwrap();
        StatusCode::from_u16(status).unwrap().into_response()
    }

    let world = World::start().await;
    let site = world
        .serve(Router::new().route("/answer/{status}", post(answer)))
        .await;
    let token = world.ada();
    let mut kept = Vec::new();
    for status in [
        200, 201, 202, 204, 299, 301, 303, 304, 307, 399, 400, 401, 403, 404, 409, 422, 429, 499,
        500, 503, 599,
    ] {
        let path = format!("/answer/{status}");
        ask(site, "POST", &path, &token).await.expect(status);
        if status < 400 {
            kept.push(status.to_string());
        }
        assert_eq!(world.committed(world.acme).await, kept, "after {status}");
    }
}

#[tokio::test]
async fn what_is_not_a_plain_status_ends_as_its_status_says() {
    async fn redirect(Repository(marks): Repository<Marks>) -> Redirect {
        marks.add("redirect").await.unwrap();
        Redirect::to("/marks")
    }
    async fn problem(Repository(marks): Repository<Marks>) -> Result<StatusCode, Problem> {
        marks.add("problem").await?;
        Err(Code::InvalidRequest.into())
    }
    async fn twice(Repository(marks): Repository<Marks>) -> Result<StatusCode, Problem> {
        marks.add("once").await?;
        marks.add("once").await?;
        Ok(StatusCode::CREATED)
    }

    let world = World::start().await;
    let routes = Router::new()
        .route("/redirect", post(redirect))
        .route("/problem", post(problem))
        .route("/twice", post(twice));
    let site = world.serve(routes).await;
    let token = world.ada();
    ask(site, "POST", "/redirect", &token).await.expect(303);
    let answer = ask(site, "POST", "/problem", &token).await;
    answer.expect_problem(400, "invalid_request");
    let answer = ask(site, "POST", "/twice", &token).await;
    answer.expect_problem(500, "internal_error");
    assert!(!answer.body.contains("UNIQUE"), "{answer:?}");
    assert_eq!(world.committed(world.acme).await, ["redirect"]);
}

#[tokio::test]
async fn a_middleware_inside_the_layer_shares_the_fate() {
    async fn note(marks: Repository<Marks>, request: Request, next: Next) -> Response {
        marks.0.add("by the middleware").await.unwrap();
        next.run(request).await
    }
    async fn spoil(request: Request, next: Next) -> Response {
        let spoilt = request.headers().contains_key("content-length");
        let answer = next.run(request).await;
        if spoilt {
            StatusCode::BAD_GATEWAY.into_response()
        } else {
            answer
        }
    }

    let world = World::start().await;
    let noted = Router::new()
        .route("/noted", post(StatusCode::NOT_FOUND))
        .layer(from_fn(note));
    let spoilt = Router::new()
        .route(
            "/spoilt",
            post(|marks: Repository<Marks>| async move {
                marks.0.add("by the handler").await.unwrap();
            }),
        )
        .layer(from_fn(spoil));
    let site = world.serve(noted.merge(spoilt)).await;
    ask(site, "POST", "/noted", &world.ada()).await.expect(404);
    ask(site, "POST", "/spoilt", &world.ada()).await.expect(502);
    assert!(world.committed(world.acme).await.is_empty());
}

#[tokio::test]
async fn a_panic_is_the_end_of_its_request_alone() {
    async fn early() -> StatusCode {
        panic!("before anything");
    }
    async fn late(Repository(marks): Repository<Marks>) -> StatusCode {
        marks.add("panic").await.unwrap();
        panic!("after a write");
    }
    async fn during(Repository(marks): Repository<Marks>) -> StatusCode {
        // The panic drops a statement that runs.
        let statement = marks.add("during");
        let (_, _) = tokio::join!(statement, async { panic!("during a write") });
        StatusCode::CREATED
    }

    let world = World::start().await;
    let routes = Router::new()
        .route("/early", post(early))
        .route("/late", post(late))
        .route("/during", post(during));
    let site = world.serve(routes).await;
    let token = world.ada();
    let mut wire = Wire::connect(site).await;
    for path in ["/early", "/late", "/during"] {
        wire.send("POST", path, Some(&token)).await;
        let answer = wire.answer().await;
        answer.expect_problem(500, "internal_error");
        assert!(!answer.body.contains("write"), "{answer:?}");
        // The same connection serves on, and so does the account.
        wire.send("GET", "/marks", Some(&token)).await;
        assert_eq!(wire.answer().await.expect(200).body, "[]", "after {path}");
    }
    assert!(world.committed(world.acme).await.is_empty());
}

#[tokio::test]
async fn a_commit_that_fails_replaces_the_answer() {
    async fn lose(Repository(marks): Repository<Marks>) -> Result<Response, Problem> {
        marks.add("beside it").await?;
        marks.add_lost("lost").await?;
        Ok((StatusCode::CREATED, [("location", "/marks/lost")], "made").into_response())
    }

    let world = World::start().await;
    let site = world.serve(Router::new().route("/lose", post(lose))).await;
    let token = world.ada();
    let answer = ask(site, "POST", "/lose", &token).await;
    answer.expect_problem(500, "internal_error");
    assert_eq!(answer.header("location"), None);
    assert!(world.committed(world.acme).await.is_empty());
    // Nothing of it is left on the connection.
    ask(site, "POST", "/marks/next", &token).await.expect(201);
    assert_eq!(world.committed(world.acme).await, ["next"]);
}

#[tokio::test]
async fn nobody_sees_what_is_not_committed() {
    let world = World::start().await;
    let file = world.file(world.acme).await;
    let file = std::sync::Arc::new(tokio::sync::Mutex::new(file));
    let look = get(move |Repository(marks): Repository<Marks>| async move {
        marks.add("now").await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM marks")
            .fetch_one(&mut *file.lock().await)
            .await
            .unwrap();
        count.to_string()
    });
    let site = world.serve(Router::new().route("/look", look)).await;
    let answer = ask(site, "GET", "/look", &world.ada()).await;
    assert_eq!(answer.expect(200).body, "0");
    assert_eq!(world.committed(world.acme).await, ["now"]);
}

#[tokio::test]
async fn an_account_whose_file_is_held_elsewhere_is_unavailable() {
    let world = World::with(|database| database.timeout = std::time::Duration::from_secs(1)).await;
    let site = world.serve(Router::new()).await;
    let held = world.lock(world.acme).await;
    let answer = ask(site, "GET", "/marks", &world.ada()).await;
    answer.expect_problem(503, "storage_unavailable");
    assert!(answer.header("retry-after").is_some());
    // The other account has nothing to do with it.
    assert!(marks(site, &world.grace()).await.is_empty());
    held.close().await.unwrap();
    assert!(marks(site, &world.ada()).await.is_empty());
}
