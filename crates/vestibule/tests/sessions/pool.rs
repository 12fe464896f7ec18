//! Connections: taken late, given back always, and waited for within bounds.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{Barrier, Notify};
use vestibule::{Principal, Problem, Repository, Service, TenantSession, Vestibule};

use crate::{
    wire::{Answer, Wire},
    world::{Marking, Marks, Metrics, World, ask, soon},
};

/// A handler that holds the account's session until it is let go.
#[derive(Clone, Default)]
struct Hold {
    held: Arc<Notify>,
    release: Arc<Notify>,
}

impl Hold {
    fn routes(&self) -> Router {
        async fn hold(
            State(hold): State<Hold>,
            Repository(marks): Repository<Marks>,
        ) -> Result<StatusCode, Problem> {
            marks.labels().await?;
            hold.held.notify_one();
            hold.release.notified().await;
            Ok(StatusCode::OK)
        }
        Router::new()
            .route("/hold", get(hold))
            .with_state(self.clone())
    }
}

#[tokio::test]
async fn a_handler_that_reads_nothing_takes_no_connection() {
    async fn idle(
        State(vestibule): State<Vestibule>,
        principal: Principal,
        _: Repository<Marks>,
        _: Service<Marking>,
        session: TenantSession,
    ) -> Result<StatusCode, Problem> {
        let _: Marks = vestibule.get_repository(&principal)?;
        // A statement that is not run is none.
        let _ = session.query("SELECT 1");
        Ok(StatusCode::NO_CONTENT)
    }

    let (metrics, _guard) = Metrics::here();
    let world = World::with(|database| {
        database.pool_size = 1;
        database.timeout = Duration::from_millis(300);
    })
    .await;
    let hold = Hold::default();
    let routes = Router::new()
        .route("/idle", get(idle))
        .with_state(world.vestibule.clone());
    let site = world.serve(routes.merge(hold.routes())).await;
    ask(site, "GET", "/idle", &world.grace()).await.expect(204);
    assert_eq!(metrics.opened(), 0);

    let mut holder = Wire::connect(site).await;
    holder.send("GET", "/hold", Some(&world.ada())).await;
    soon(hold.held.notified()).await;
    let opened = metrics.opened();
    assert_eq!((opened, metrics.open()), (1, 1.0));
    for token in [world.ada(), world.grace()] {
        ask(site, "GET", "/idle", &token).await.expect(204);
    }
    assert_eq!(metrics.opened(), opened);
    hold.release.notify_one();
    holder.answer().await.expect(200);
    assert_eq!(metrics.open(), 0.0);
}

#[tokio::test]
async fn who_waits_too_long_is_told_to_come_again() {
    let world = World::with(|database| {
        database.pool_size = 1;
        database.timeout = Duration::from_millis(300);
    })
    .await;
    let hold = Hold::default();
    let site = world.serve(hold.routes()).await;
    let mut holder = Wire::connect(site).await;
    holder.send("GET", "/hold", Some(&world.ada())).await;
    soon(hold.held.notified()).await;
    // The other account wants a connection, the same one its turn.
    for token in [world.grace(), world.ada()] {
        let begun = Instant::now();
        let answer = ask(site, "GET", "/marks", &token).await;
        answer.expect_problem(503, "storage_unavailable");
        let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!(seconds > 0);
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_millis(300), "{waited:?}");
        assert!(waited < Duration::from_secs(3), "{waited:?}");
    }
    hold.release.notify_one();
    holder.answer().await.expect(200);
    for token in [world.grace(), world.ada()] {
        ask(site, "GET", "/marks", &token).await.expect(200);
    }
}

#[tokio::test]
async fn who_waits_gets_the_next_turn() {
    let world = World::with(|database| database.pool_size = 1).await;
    let hold = Hold::default();
    let site = world.serve(hold.routes()).await;
    let mut holder = Wire::connect(site).await;
    holder.send("GET", "/hold", Some(&world.ada())).await;
    soon(hold.held.notified()).await;
    let waiting = [world.ada(), world.grace(), world.ada()];
    let answers = waiting
        .iter()
        .enumerate()
        .map(|(number, token)| async move {
            ask(site, "POST", &format!("/marks/{number}"), token).await
        });
    let release = async {
        tokio::task::yield_now().await;
        hold.release.notify_one();
        holder.answer().await.expect(200);
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(answers), release);
    assert!(
        answers.iter().all(|answer| answer.status == 201),
        "{answers:?}"
    );
}

/// What one of many requests wants to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    Refused,
    Panicked,
    Lost,
    /// The client goes while the handler works.
    Left,
    /// The client goes at once.
    Never,
}

const FATES: [Fate; 6] = [
    Fate::Committed,
    Fate::Refused,
    Fate::Panicked,
    Fate::Lost,
    Fate::Left,
    Fate::Never,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_is_full_again_after_many_bad_requests() {
    async fn refuse(Repository(marks): Repository<Marks>, Path(label): Path<String>) -> StatusCode {
        marks.add(&label).await.unwrap();
        StatusCode::CONFLICT
    }
    async fn panics(Repository(marks): Repository<Marks>, Path(label): Path<String>) -> StatusCode {
        marks.add(&label).await.unwrap();
        panic!("as it was asked to")
    }
    async fn lose(Repository(marks): Repository<Marks>, Path(label): Path<String>) -> StatusCode {
        marks.add_lost(&label).await.unwrap();
        StatusCode::CREATED
    }
    async fn work(
        State(finished): State<Finished>,
        Repository(marks): Repository<Marks>,
        Path(label): Path<String>,
    ) -> StatusCode {
        marks.add(&label).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
        marks.labels().await.unwrap();
        finished.lock().unwrap().insert(label);
        StatusCode::CREATED
    }
    async fn meet(
        State(barrier): State<Arc<Barrier>>,
        Repository(marks): Repository<Marks>,
    ) -> Result<StatusCode, Problem> {
        marks.labels().await?;
        barrier.wait().await;
        Ok(StatusCode::OK)
    }
    type Finished = Arc<Mutex<BTreeSet<String>>>;

    let world = World::with(|database| {
        database.pool_size = 2;
        database.timeout = Duration::from_secs(15);
    })
    .await;
    let finished = Finished::default();
    let barrier = Arc::new(Barrier::new(2));
    let routes = Router::new()
        .route("/refuse/{label}", post(refuse))
        .route("/panic/{label}", post(panics))
        .route("/lose/{label}", post(lose))
        .route("/busy/{label}", post(work))
        .with_state(Arc::clone(&finished))
        .route("/meet", get(meet))
        .with_state(barrier);
    let site = world.serve(routes).await;
    let tokens = [world.ada(), world.grace()];

    let send = |number: usize| {
        let token = &tokens[number % 2];
        let fate = FATES[number / 2 % FATES.len()];
        async move {
            let path = match fate {
                Fate::Committed | Fate::Never => "marks",
                Fate::Refused => "refuse",
                Fate::Panicked => "panic",
                Fate::Lost => "lose",
                Fate::Left => "busy",
            };
            let mut wire = Wire::connect(site).await;
            wire.send("POST", &format!("/{path}/{number:03}"), Some(token))
                .await;
            let answer: Option<Answer> = match fate {
                Fate::Never => None,
                // Every other one stays to the end.
                Fate::Left if (number / 12).is_multiple_of(2) => {
                    let patience = Duration::from_millis(number as u64 / 12);
                    let answer = tokio::time::timeout(patience, wire.answer()).await;
                    answer.ok()
                }
                _ => Some(wire.answer().await),
            };
            (number, fate, answer.map(|answer| answer.status))
        }
    };
    let outcomes: Vec<_> = stream::iter(0..500)
        .map(send)
        .buffer_unordered(32)
        .collect()
        .await;

    // Every connection serves again: both accounts hold theirs at the same time.
    for _ in 0..3 {
        let meetings = tokens.iter().map(|token| ask(site, "GET", "/meet", token));
        for answer in futures_util::future::join_all(meetings).await {
            answer.expect(200);
        }
    }
    let committed: BTreeSet<String> = {
        let (mut acme, globex) = (
            world.committed(world.acme).await,
            world.committed(world.globex).await,
        );
        acme.extend(globex);
        acme.into_iter().collect()
    };
    let finished = finished.lock().unwrap().clone();
    let mut left = [0; 2];
    for (number, fate, status) in outcomes {
        let label = format!("{number:03}");
        let there = committed.contains(&label);
        let (expected, wanted) = match fate {
            Fate::Committed => (Some(201), true),
            Fate::Refused => (Some(409), false),
            Fate::Panicked | Fate::Lost => (Some(500), false),
            // Answered or not: it is there if its handler came to its end.
            Fate::Left => {
                let done = finished.contains(&label);
                left[usize::from(done)] += 1;
                (status, done)
            }
            Fate::Never => (None, there),
        };
        assert_eq!((status, there), (expected, wanted), "{number} {fate:?}");
    }
    assert!(left[0] > 0 && left[1] > 0, "{left:?}");
}
