//! Handles that outlive their request: they hold nothing, hold nobody up, and say so.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use sqlx::Connection as _;
use tokio::sync::{Notify, oneshot};
use vestibule::{Principal, Repository, SessionError, TenantSession, Vestibule};

use crate::{
    wire::Wire,
    world::{Marks, Metrics, World, ask, marks, soon},
};

/// A statement that never ends by itself.
const FOREVER: &str =
    "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

type Kept<T> = Arc<Mutex<Option<T>>>;

#[tokio::test]
async fn a_handle_that_was_kept_is_closed_and_holds_nothing() {
    let (metrics, _guard) = Metrics::here();
    let world = World::with(|database| database.pool_size = 1).await;
    let kept: Kept<(Principal, Marks)> = Kept::default();
    let keep = {
        let kept = Arc::clone(&kept);
        move |principal: Principal, Repository(marks): Repository<Marks>| async move {
            marks.add("kept").await.unwrap();
            *kept.lock().unwrap() = Some((principal, marks));
            StatusCode::CREATED
        }
    };
    let site = world.serve(Router::new().route("/keep", post(keep))).await;
    ask(site, "POST", "/keep", &world.ada()).await.expect(201);
    assert_eq!(metrics.open(), 0.0);

    let (principal, handle) = kept.lock().unwrap().take().unwrap();
    let closed = |outcome: Result<(), SessionError>| {
        assert!(
            matches!(outcome, Err(SessionError::SessionClosed)),
            "{outcome:?}"
        );
    };
    closed(handle.add("late").await);
    closed(handle.labels().await.map(drop));
    closed(world.vestibule.get_tenant_session(&principal).map(drop));
    closed(
        world
            .vestibule
            .get_repository::<Marks>(&principal)
            .map(drop),
    );
    // The connection is free for others, the handle being alive.
    ask(site, "POST", "/marks/hers", &world.grace())
        .await
        .expect(201);
    assert_eq!(marks(site, &world.ada()).await, ["kept"]);
    closed(handle.add("later").await);
    assert_eq!(world.committed(world.acme).await, ["kept"]);
}

#[tokio::test]
async fn a_request_cannot_end_its_session_itself() {
    async fn end(session: TenantSession, Repository(marks): Repository<Marks>) -> StatusCode {
        marks.add("mine").await.unwrap();
        let committed = session.clone().commit().await;
        assert!(matches!(committed, Err(SessionError::NotOwned)));
        let rolled_back = session.rollback().await;
        assert!(matches!(rolled_back, Err(SessionError::NotOwned)));
        marks.add("still").await.unwrap();
        StatusCode::CONFLICT
    }

    let world = World::start().await;
    let site = world.serve(Router::new().route("/end", post(end))).await;
    ask(site, "POST", "/end", &world.ada()).await.expect(409);
    assert!(world.committed(world.acme).await.is_empty());
}

/// A task that waits for `BEGIN` does not hold the answer up.
#[tokio::test]
async fn a_kept_handle_that_waits_to_begin() {
    let world = World::start().await;
    let heard: Kept<oneshot::Receiver<Result<(), SessionError>>> = Kept::default();
    let spawn = {
        let heard = Arc::clone(&heard);
        move |Repository(marks): Repository<Marks>| async move {
            let begun = Arc::new(Notify::new());
            let told = Arc::clone(&begun);
            let (say, hear) = oneshot::channel();
            *heard.lock().unwrap() = Some(hear);
            tokio::spawn(async move {
                let statement = marks.add("never");
                tokio::pin!(statement);
                assert!(futures_util::poll!(&mut statement).is_pending());
                told.notify_one();
                drop(say.send(statement.await));
            });
            begun.notified().await;
            StatusCode::ACCEPTED
        }
    };
    let site = world
        .serve(Router::new().route("/spawn", post(spawn)))
        .await;
    let held = world.lock(world.acme).await;
    let begun = Instant::now();
    ask(site, "POST", "/spawn", &world.ada()).await.expect(202);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let heard = heard.lock().unwrap().take().unwrap();
    let outcome = soon(heard).await.unwrap();
    assert!(
        matches!(outcome, Err(SessionError::SessionClosed)),
        "{outcome:?}"
    );
    held.close().await.unwrap();
    assert!(marks(site, &world.ada()).await.is_empty());
}

/// A task in the middle of a long statement: the answer comes soon, and nothing half is kept.
#[tokio::test]
async fn a_kept_handle_in_the_middle_of_a_statement() {
    async fn spawn(status: StatusCode, marks: Marks) -> StatusCode {
        marks.add("before").await.unwrap();
        tokio::spawn(async move {
            let endless = marks.0.query(FOREVER).execute();
            drop(endless.await);
        });
        // The task has asked for its statement when this one runs again.
        tokio::task::yield_now().await;
        status
    }

    let world = World::start().await;
    let good = |Repository(marks): Repository<Marks>| spawn(StatusCode::OK, marks);
    let bad = |Repository(marks): Repository<Marks>| spawn(StatusCode::CONFLICT, marks);
    let routes = Router::new()
        .route("/good", post(good))
        .route("/bad", post(bad));
    let site = world.serve(routes).await;
    for (path, status) in [("/good", 500), ("/bad", 409)] {
        let begun = Instant::now();
        ask(site, "POST", path, &world.ada()).await.expect(status);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        assert!(marks(site, &world.ada()).await.is_empty());
    }
}

/// The same within the handler: a statement that is dropped before its end breaks the session.
#[tokio::test]
async fn a_statement_that_is_dropped_is_not_committed() {
    /// What the handler says where it does not find what it should: a panic would be the
    /// expected 500.
    const WRONG: StatusCode = StatusCode::IM_A_TEAPOT;

    async fn endless(Repository(marks): Repository<Marks>) -> Result<StatusCode, StatusCode> {
        marks.add("before").await.map_err(|_| WRONG)?;
        let endless = marks.0.query(FOREVER).execute();
        let in_time = tokio::time::timeout(Duration::from_millis(30), endless).await;
        in_time.err().ok_or(WRONG)?;
        match marks.add("after").await {
            Err(SessionError::Aborted) => Ok(StatusCode::CREATED),
            _ => Err(WRONG),
        }
    }
    /// This one comes to its end, but nobody has seen it.
    async fn unseen(Repository(marks): Repository<Marks>) -> Result<StatusCode, StatusCode> {
        marks.add("before").await.map_err(|_| WRONG)?;
        {
            let unseen = marks.add("unseen");
            tokio::pin!(unseen);
            if futures_util::poll!(&mut unseen).is_ready() {
                return Err(WRONG);
            }
        }
        Ok(StatusCode::CREATED)
    }

    let world = World::start().await;
    let routes = Router::new()
        .route("/endless", post(endless))
        .route("/unseen", post(unseen));
    let site = world.serve(routes).await;
    for path in ["/endless", "/unseen"] {
        let begun = Instant::now();
        let answer = ask(site, "POST", path, &world.ada()).await;
        answer.expect_problem(500, "internal_error");
        assert!(marks(site, &world.ada()).await.is_empty());
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "{path}: {took:?}");
    }
}

/// The task of a request whose client has gone: its statement is stopped.
#[tokio::test]
async fn a_kept_handle_whose_client_is_gone() {
    let world = World::start().await;
    let begun = Arc::new(Notify::new());
    let spawn = {
        let begun = Arc::clone(&begun);
        move |Repository(marks): Repository<Marks>| async move {
            marks.add("before").await.unwrap();
            tokio::spawn(async move {
                let endless = marks.0.query(FOREVER).execute();
                tokio::pin!(endless);
                assert!(futures_util::poll!(&mut endless).is_pending());
                begun.notify_one();
                drop(endless.await);
            });
            std::future::pending::<StatusCode>().await
        }
    };
    let site = world
        .serve(Router::new().route("/spawn", post(spawn)))
        .await;
    let mut wire = Wire::connect(site).await;
    wire.send("POST", "/spawn", Some(&world.ada())).await;
    soon(begun.notified()).await;
    let left = Instant::now();
    drop(wire);
    assert!(marks(site, &world.ada()).await.is_empty());
    assert!(
        left.elapsed() < Duration::from_secs(2),
        "{:?}",
        left.elapsed()
    );
}

/// Statements of one session at the same time follow each other.
#[tokio::test]
async fn statements_at_the_same_time() {
    async fn many(State(vestibule): State<Vestibule>, principal: Principal) -> StatusCode {
        let adds = (0..20).map(|number| {
            let marks: Marks = vestibule.get_repository(&principal).unwrap();
            async move { marks.add(&format!("{number:02}")).await }
        });
        let outcomes = futures_util::future::join_all(adds).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        StatusCode::CREATED
    }

    let world = World::start().await;
    let routes = Router::new()
        .route("/many", post(many))
        .with_state(world.vestibule.clone());
    let site = world.serve(routes).await;
    ask(site, "POST", "/many", &world.ada()).await.expect(201);
    assert_eq!(world.committed(world.acme).await.len(), 20);
}
