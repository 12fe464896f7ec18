//! A client that goes away: before the handler's end nothing stays, after it everything does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    routing::post,
};
use futures_util::stream;
use sqlx::Connection as _;
use tokio::sync::{Notify, oneshot};
use vestibule::{Repository, SessionError};

use crate::{
    wire::Wire,
    world::{Marks, Metrics, World, ask, marks, soon, until},
};

#[tokio::test]
async fn in_the_middle_of_a_handler() {
    let (metrics, _guard) = Metrics::here();
    let world = World::start().await;
    let written = Arc::new(Notify::new());
    let write = {
        let written = Arc::clone(&written);
        move |Repository(marks): Repository<Marks>| async move {
            marks.add("torn").await.unwrap();
            written.notify_one();
            std::future::pending::<StatusCode>().await
        }
    };
    let site = world
        .serve(Router::new().route("/write", post(write)))
        .await;
    for _ in 0..5 {
        let mut wire = Wire::connect(site).await;
        wire.send("POST", "/write", Some(&world.ada())).await;
        soon(written.notified()).await;
        assert!(metrics.open() > 0.0);
        drop(wire);
        until(|| metrics.open() == 0.0).await;
        assert!(world.committed(world.acme).await.is_empty());
    }
    ask(site, "POST", "/marks/next", &world.ada())
        .await
        .expect(201);
}

/// The client is gone while the session's first statement waits for `BEGIN`.
#[tokio::test]
async fn during_begin() {
    let (metrics, _guard) = Metrics::here();
    let world = World::with(|database| database.pool_size = 2).await;
    let begun = Arc::new(Notify::new());
    let gone = Arc::new(Notify::new());
    let write = {
        let (begun, gone) = (Arc::clone(&begun), Arc::clone(&gone));
        move |Repository(marks): Repository<Marks>| async move {
            let _told = Told(gone);
            let statement = marks.add("unborn");
            tokio::pin!(statement);
            // Asked for, and not answered.
            assert!(futures_util::poll!(&mut statement).is_pending());
            begun.notify_one();
            drop(statement.await);
            StatusCode::CREATED
        }
    };
    let site = world
        .serve(Router::new().route("/write", post(write)))
        .await;
    for round in 0..20 {
        let held = world.lock(world.acme).await;
        let mut wire = Wire::connect(site).await;
        wire.send("POST", "/write", Some(&world.ada())).await;
        soon(begun.notified()).await;
        // Somewhere between asking for a connection and the tenth try to begin.
        tokio::time::sleep(Duration::from_millis(round * 4)).await;
        drop(wire);
        soon(gone.notified()).await;
        held.close().await.unwrap();
        assert!(marks(site, &world.ada()).await.is_empty());
    }
    until(|| metrics.open() == 0.0).await;
    ask(site, "POST", "/marks/next", &world.ada())
        .await
        .expect(201);
    assert_eq!(world.committed(world.acme).await, ["next"]);
}

/// Whenever it is that the client goes: the data is there exactly if the handler came to its end.
#[tokio::test]
async fn around_the_end_of_the_handler() {
    let (metrics, _guard) = Metrics::here();
    let world = World::start().await;
    let written = Arc::new(Notify::new());
    let ended = Arc::new(AtomicBool::new(false));
    let write = {
        let (written, ended) = (Arc::clone(&written), Arc::clone(&ended));
        move |Repository(marks): Repository<Marks>| async move {
            marks.add_heavy("heavy").await.unwrap();
            written.notify_one();
            tokio::time::sleep(Duration::from_millis(5)).await;
            ended.store(true, Ordering::SeqCst);
            StatusCode::CREATED
        }
    };
    let clear = post(|Repository(marks): Repository<Marks>| async move {
        marks.0.query("DELETE FROM marks").execute().await.unwrap();
    });
    let routes = Router::new()
        .route("/write", post(write))
        .route("/clear", clear);
    let site = world.serve(routes).await;
    let mut outcomes = [0; 2];
    for round in 0..40 {
        ended.store(false, Ordering::SeqCst);
        let mut wire = Wire::connect(site).await;
        wire.send("POST", "/write", Some(&world.ada())).await;
        soon(written.notified()).await;
        tokio::time::sleep(Duration::from_micros(round * 250)).await;
        drop(wire);
        until(|| metrics.open() == 0.0).await;
        let ended = ended.load(Ordering::SeqCst);
        outcomes[usize::from(ended)] += 1;
        let there = world.committed(world.acme).await;
        assert_eq!(!there.is_empty(), ended, "round {round}");
        ask(site, "POST", "/clear", &world.ada()).await.expect(200);
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

#[tokio::test]
async fn the_commit_ends_before_the_first_byte() {
    let world = World::start().await;
    let write = post(|Repository(marks): Repository<Marks>| async move {
        marks.add_heavy("heavy").await.unwrap();
        StatusCode::CREATED
    });
    let site = world.serve(Router::new().route("/write", write)).await;
    let mut wire = Wire::connect(site).await;
    wire.send("POST", "/write", Some(&world.ada())).await;
    wire.first_byte().await;
    assert_eq!(world.committed(world.acme).await, ["heavy"]);
    assert_eq!(marks(site, &world.ada()).await, ["heavy"]);
    wire.answer().await.expect(201);
}

/// A body that is still being written finds the session closed, its data committed and its
/// connection gone back.
#[tokio::test]
async fn a_streaming_body_comes_too_late_for_the_session() {
    let (metrics, _guard) = Metrics::here();
    let world = World::with(|database| database.pool_size = 1).await;
    let (go_on, wait) = oneshot::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(Some(wait)));
    let stream = post(move |Repository(marks): Repository<Marks>| async move {
        marks.add("streamed").await.unwrap();
        let wait = wait.lock().unwrap().take().unwrap();
        let first = stream::once(async { Ok::<_, std::io::Error>(Bytes::from("first,")) });
        let second = stream::once(async move {
            wait.await.unwrap();
            let closed = matches!(marks.add("late").await, Err(SessionError::SessionClosed));
            let closed = closed && matches!(marks.labels().await, Err(SessionError::SessionClosed));
            Ok(Bytes::from(if closed { "closed" } else { "open" }))
        });
        Body::from_stream(stream::StreamExt::chain(first, second))
    });
    let site = world.serve(Router::new().route("/stream", stream)).await;
    let mut wire = Wire::connect(site).await;
    wire.send("POST", "/stream", Some(&world.ada())).await;
    wire.first_byte().await;
    assert_eq!(metrics.open(), 0.0);
    assert_eq!(marks(site, &world.ada()).await, ["streamed"]);
    // The only connection is free, for the other account too.
    ask(site, "POST", "/marks/hers", &world.grace())
        .await
        .expect(201);
    go_on.send(()).unwrap();
    assert_eq!(wire.answer().await.expect(200).body, "first,closed");
    assert_eq!(world.committed(world.acme).await, ["streamed"]);
}

/// Tells when it is dropped.
struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
