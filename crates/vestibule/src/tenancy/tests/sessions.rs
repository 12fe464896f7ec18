//! One transaction, one account: when it begins, what it sees, how it ends.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, timeout};

use super::*;
use crate::{clock::Timestamp, tenancy::SessionError};

/// Runs for a good while in SQLite's own thread, and gives one row.
const SLOW: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000)
                    SELECT COUNT(*) FROM n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_of_one_request_share_one_transaction() {
    let world = World::new().await;
    let (scope, one) = world.request();
    let other = scope.session(world.acme.id).unwrap();
    add(&one, "from one").await.unwrap();
    let seen: i64 = other
        .query("SELECT COUNT(*) FROM notes")
        .fetch_scalar()
        .await
        .unwrap();
    assert_eq!(seen, 1);
    add(&other, "from the other").await.unwrap();
    scope.commit().await.unwrap();
    assert_eq!(world.texts().await, ["from one", "from the other"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_keeps_nothing() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "gone").await.unwrap();
    scope.rollback().await.unwrap();
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_that_reads_nothing_takes_no_connection() {
    let world = World::new().await;
    world.spaces.close().await;
    let (scope, session) = world.request();
    let _query = session.query("SELECT 1");
    assert_eq!(world.spaces.counts(), (0, 0));
    scope.commit().await.unwrap();
    assert_eq!(world.spaces.counts(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_belongs_to_one_account() {
    let world = World::new().await;
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    let (scope, session) = world.request();
    let refused = scope.session(bolt.id);
    assert!(matches!(refused, Err(SessionError::Refused(_))));
    assert_eq!(session.account_id(), world.acme.id);
    // Also before anything was opened, and for as long as the scope lives.
    add(&session, "a").await.unwrap();
    assert!(matches!(
        scope.session(bolt.id),
        Err(SessionError::Refused(_))
    ));
    scope.commit().await.unwrap();
    let other = world.spaces.detached_session(bolt.id).unwrap();
    let seen: i64 = other
        .query("SELECT COUNT(*) FROM notes")
        .fetch_scalar()
        .await
        .unwrap();
    assert_eq!(seen, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_handle_is_closed_and_holds_nothing() {
    let world = World::new().await;
    let (scope, session) = world.request();
    let kept = session.clone();
    add(&session, "kept").await.unwrap();
    scope.commit().await.unwrap();
    for outcome in [
        add(&kept, "too late").await.err(),
        kept.query("SELECT 1").fetch_scalar::<i64>().await.err(),
        scope.commit().await.err(),
        scope.rollback().await.err(),
        scope.session(world.acme.id).err(),
    ] {
        assert!(
            matches!(outcome, Some(SessionError::SessionClosed)),
            "{outcome:?}"
        );
    }
    assert_eq!(world.spaces.counts().0, 0);
    assert_eq!(world.texts().await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_kept_handle_neither_delays_nor_spoils_the_commit() {
    let world = World::new().await;
    for round in 0..20 {
        let (scope, session) = world.request();
        add(&session, &format!("round {round}")).await.unwrap();
        let kept = session.clone();
        let busy = tokio::spawn(async move {
            loop {
                if let Err(error) = kept
                    .query("SELECT COUNT(*) FROM notes")
                    .fetch_scalar::<i64>()
                    .await
                {
                    return error;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(2)).await;
        let start = Instant::now();
        scope.commit().await.unwrap();
        assert!(start.elapsed() < Duration::from_millis(500));
        assert!(matches!(busy.await.unwrap(), SessionError::SessionClosed));
    }
    assert_eq!(world.texts().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_of_a_kept_handle_is_stopped_and_nothing_is_kept() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "half").await.unwrap();
    let kept = session.clone();
    let slow = tokio::spawn(async move { kept.query(SLOW).fetch_scalar::<i64>().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    let outcome = scope.commit().await;
    assert!(matches!(outcome, Err(SessionError::Aborted)), "{outcome:?}");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert!(matches!(
        slow.await.unwrap(),
        Err(SessionError::SessionClosed)
    ));
    world.at_rest().await;
    assert_eq!(world.texts().await, [""; 0]);
}

// One thread: what is spawned runs only when the test waits.
#[tokio::test]
async fn a_future_that_is_never_polled_again_does_not_hold_the_connection() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "kept").await.unwrap();
    let mut stuck = Box::pin(
        session
            .query("SELECT COUNT(*) FROM notes")
            .fetch_scalar::<i64>(),
    );
    let polled = futures_util::poll!(&mut stuck);
    assert!(polled.is_pending());
    scope.commit().await.unwrap();
    assert_eq!(world.spaces.counts().0, 0);
    assert_eq!(world.texts().await, ["kept"]);
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_all_handles_rolls_back() {
    let world = World::new().await;
    let session = world.detached();
    add(&session, "gone").await.unwrap();
    assert_eq!(world.spaces.counts().0, 1);
    drop(session);
    world.at_rest().await;
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_of_a_dropped_request_closes_kept_handles() {
    let world = World::new().await;
    let (scope, session) = world.request();
    let guard = scope.guard();
    add(&session, "gone").await.unwrap();
    drop(guard);
    let closed = add(&session, "too late").await;
    assert!(
        matches!(closed, Err(SessionError::SessionClosed)),
        "{closed:?}"
    );
    world.at_rest().await;
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_stops_a_running_statement() {
    let world = World::new().await;
    let (scope, session) = world.request();
    let guard = scope.guard();
    let slow = tokio::spawn(async move { session.query(SLOW).fetch_scalar::<i64>().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(guard);
    assert!(slow.await.unwrap().is_err());
    let start = Instant::now();
    world.at_rest().await;
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_does_nothing_to_a_session_that_ended() {
    let world = World::new().await;
    let (scope, session) = world.request();
    let guard = scope.guard();
    add(&session, "kept").await.unwrap();
    scope.commit().await.unwrap();
    drop(guard);
    assert_eq!(world.texts().await, ["kept"]);
}

// One thread: what is spawned runs only when the test waits.
#[tokio::test]
async fn a_disconnect_does_not_undo_a_commit_that_began() {
    let world = World::new().await;
    for round in 0..20 {
        let (scope, session) = world.request();
        add(&session, &format!("{round}")).await.unwrap();
        let guard = scope.guard();
        let mut commit = Box::pin(scope.commit());
        assert!(futures_util::poll!(&mut commit).is_pending());
        drop(commit);
        drop(guard);
        drop(scope);
        drop(session);
    }
    world.at_rest().await;
    assert_eq!(world.texts().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_dropped_midway_breaks_the_session() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "first half").await.unwrap();
    let slow = session.query(SLOW).fetch_scalar::<i64>();
    assert!(timeout(Duration::from_millis(50), slow).await.is_err());
    let after = add(&session, "second half").await;
    assert!(matches!(after, Err(SessionError::Aborted)), "{after:?}");
    let start = Instant::now();
    world.at_rest().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "the statement was not interrupted"
    );
    let outcome = scope.commit().await;
    assert!(matches!(outcome, Err(SessionError::Aborted)), "{outcome:?}");
    assert_eq!(world.texts().await, [""; 0]);
}

// One thread: what is spawned runs only when the test waits.
#[tokio::test]
async fn a_statement_that_ended_unseen_breaks_the_session() {
    let world = World::new().await;
    let (scope, session) = world.request();
    let mut quick = Box::pin(add(&session, "unseen"));
    assert!(futures_util::poll!(&mut quick).is_pending());
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(quick);
    world.at_rest().await;
    assert!(matches!(scope.commit().await, Err(SessionError::Aborted)));
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_dropped_midway_breaks_the_session() {
    let world = World::new().await;
    // Another process holds the lock, so that BEGIN waits.
    let other = world
        .other_process()
        .detached_session(world.acme.id)
        .unwrap();
    add(&other, "theirs").await.unwrap();
    let (scope, session) = world.request();
    let begun = timeout(Duration::from_millis(100), add(&session, "ours")).await;
    assert!(begun.is_err());
    assert!(matches!(scope.commit().await, Err(SessionError::Aborted)));
    world.at_rest().await;
    other.commit().await.unwrap();
    // What comes next on this account finds no open transaction.
    add(&world.detached(), "never committed").await.unwrap();
    world.at_rest().await;
    assert_eq!(world.texts().await, ["theirs"]);
}

// One thread: what is spawned runs only when the test waits.
#[tokio::test]
async fn a_handle_that_waits_does_not_break_the_session_when_it_is_dropped() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "kept").await.unwrap();
    let running = session.query(SLOW).fetch_scalar::<i64>();
    let mut running = Box::pin(running);
    assert!(futures_util::poll!(&mut running).is_pending());
    let mut waiting = Box::pin(add(&session, "never"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(waiting);
    assert!(!scope.is_broken());
    drop(running);
    assert!(scope.is_broken());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_keeps_nothing() {
    let world = World::new().await;
    let session = world.detached();
    let panicked = tokio::spawn(async move {
        add(&session, "gone").await.unwrap();
        panic!("in a handler");
    });
    assert!(panicked.await.is_err());
    world.at_rest().await;
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detached_sessions_end_by_their_holder_only() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "request").await.unwrap();
    let refused = session.clone().commit().await;
    assert!(matches!(refused, Err(SessionError::NotOwned)));
    let refused = session.clone().rollback().await;
    assert!(matches!(refused, Err(SessionError::NotOwned)));
    scope.commit().await.unwrap();
    let session = world.detached();
    let clone = session.clone();
    add(&session, "job").await.unwrap();
    session.commit().await.unwrap();
    assert!(matches!(
        add(&clone, "late").await,
        Err(SessionError::SessionClosed)
    ));
    let session = world.detached();
    add(&session, "gone").await.unwrap();
    session.rollback().await.unwrap();
    assert_eq!(world.texts().await, ["request", "job"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_one_statement_leaves_the_session_whole() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "a").await.unwrap();
    let error = add(&session, "a").await.unwrap_err();
    assert!(error.is_unique_violation(), "{error}");
    assert!(!error.is_foreign_key_violation());
    let error = session
        .query("SELECT nothing")
        .fetch_scalar::<i64>()
        .await
        .unwrap_err();
    assert!(matches!(error, SessionError::Database(_)));
    let error = session
        .query("INSERT INTO notes (text) VALUES ($1)")
        .bind(None::<String>)
        .execute()
        .await
        .unwrap_err();
    assert!(error.is_check_violation(), "{error}");
    add(&session, "b").await.unwrap();
    scope.commit().await.unwrap();
    assert_eq!(world.texts().await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_database_refuses_is_an_error_and_keeps_nothing() {
    let world = World::new().await;
    let (scope, session) = world.request();
    session
        .query("INSERT INTO notes (text, parent) VALUES ('orphan', 4711)")
        .execute()
        .await
        .unwrap();
    let error = scope.commit().await.unwrap_err();
    assert!(error.is_foreign_key_violation(), "{error}");
    world.at_rest().await;
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_sql_rolled_back_is_not_gone_unnoticed() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "a").await.unwrap();
    let error = session
        .query("INSERT OR ROLLBACK INTO notes (text) VALUES ('a')")
        .execute()
        .await
        .unwrap_err();
    assert!(error.is_unique_violation(), "{error}");
    // Would be committed by itself otherwise, whatever becomes of the request.
    let after = add(&session, "b").await;
    assert!(matches!(after, Err(SessionError::Aborted)), "{after:?}");
    assert!(matches!(scope.commit().await, Err(SessionError::Aborted)));
    world.at_rest().await;
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_neither_ends_the_transaction_nor_leaves_anything_behind() {
    let world = World::new().await;
    let (scope, session) = world.request();
    add(&session, "a").await.unwrap();
    for sql in [
        "COMMIT",
        "SELECT 1; COMMIT",
        "ROLLBACK",
        "BEGIN",
        "SAVEPOINT a",
        "PRAGMA foreign_keys = OFF",
        "CREATE TEMP TABLE notes (id)",
        "ATTACH DATABASE ':memory:' AS other",
        "VACUUM INTO '/tmp/elsewhere.db'",
        "DELETE FROM vestibule_activity",
        "UPDATE vestibule_account SET step = 2",
    ] {
        let refused = session.query(sql).execute().await;
        assert!(
            matches!(refused, Err(SessionError::Refused(_))),
            "{sql}: {refused:?}"
        );
    }
    scope.rollback().await.unwrap();
    assert_eq!(world.texts().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_all_types_come_back() {
    let world = World::new().await;
    #[derive(Debug, PartialEq, sqlx::FromRow)]
    struct All {
        a: bool,
        b: i32,
        c: i64,
        d: f64,
        e: String,
        f: Uuid,
        g: Vec<u8>,
        h: Timestamp,
        i: Option<Uuid>,
        j: Option<String>,
    }
    let id = Uuid::from_u128(42);
    let session = world.detached();
    let all: All = session
        .query(
            "SELECT $1 AS a, $2 AS b, $3 AS c, $4 AS d, $5 AS e, $6 AS f, $7 AS g, $8 AS h,
                    $9 AS i, $10 AS j",
        )
        .bind(true)
        .bind(7_i32)
        .bind(i64::MAX)
        .bind(1.5)
        .bind("text")
        .bind(id)
        .bind(&b"bytes"[..])
        .bind(Timestamp::from_millis(123))
        .bind(None::<Uuid>)
        .bind(Some("there"))
        .fetch_one()
        .await
        .unwrap();
    let expected = All {
        a: true,
        b: 7,
        c: i64::MAX,
        d: 1.5,
        e: "text".to_owned(),
        f: id,
        g: b"bytes".to_vec(),
        h: Timestamp::from_millis(123),
        i: None,
        j: Some("there".to_owned()),
    };
    assert_eq!(all, expected);
    let none = session.query("SELECT 1 WHERE 1 = 0");
    assert_eq!(none.fetch_optional::<(i64,)>().await.unwrap(), None);
    let none = session
        .query("SELECT 1 WHERE 1 = 0")
        .fetch_scalar::<i64>()
        .await;
    assert!(matches!(none, Err(SessionError::NotFound)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_has_no_more_time_than_the_settings_give() {
    let world = World::with(|settings| settings.timeout = Duration::from_millis(400)).await;
    let (scope, session) = world.request();
    let start = Instant::now();
    let slow = session.query(SLOW).fetch_scalar::<i64>().await;
    assert!(
        matches!(slow, Err(SessionError::Unavailable(_))),
        "{slow:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(scope.commit().await.is_err());
    world.at_rest().await;
    // An account that is held for long gives up in time too, and what waited can try again.
    let holder = world.detached();
    add(&holder, "a").await.unwrap();
    let (scope, session) = world.request();
    let waited = add(&session, "b").await;
    assert!(
        matches!(waited, Err(SessionError::Unavailable(_))),
        "{waited:?}"
    );
    holder.commit().await.unwrap();
    add(&session, "b").await.unwrap();
    scope.commit().await.unwrap();
    assert_eq!(world.texts().await, ["a", "b"]);
}

/// Whatever a storm of requests does and however it is cut short, what is kept is exactly what
/// was committed, and all connections come back.
#[test]
fn a_storm_leaves_no_trace() {
    #[derive(Clone, Debug)]
    enum End {
        Commit,
        Rollback,
        Drop,
        Cut(u64),
    }
    let end = prop_oneof![
        Just(End::Commit),
        Just(End::Rollback),
        Just(End::Drop),
        (0_u64..4_000).prop_map(End::Cut),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new());
    let others: Vec<_> = (0..5)
        .map(|n| {
            let tenant = format!("tenant_{n}");
            runtime
                .block_on(world.spaces.create_account("More", &tenant))
                .unwrap()
                .id
        })
        .collect();
    proptest!(ProptestConfig::with_cases(12), |(ends in proptest::collection::vec((0_usize..5, end), 1..60))| {
        runtime.block_on(async {
            let mut storm = tokio::task::JoinSet::new();
            for (account, end) in ends {
                let (spaces, account) = (world.spaces.clone(), others[account]);
                storm.spawn(async move {
                    let text = Uuid::new_v4().to_string();
                    let scope = SessionScope::new(&spaces);
                    let session = scope.session(account).unwrap();
                    let guard = scope.guard();
                    let work = async {
                        add(&session, &text).await.unwrap();
                        add(&session, &format!("{text} too")).await.unwrap();
                    };
                    match end {
                        End::Commit => {
                            work.await;
                            scope.commit().await.unwrap();
                            return Some((account, text));
                        }
                        End::Rollback => {
                            work.await;
                            scope.rollback().await.unwrap();
                        }
                        End::Drop => work.await,
                        End::Cut(micros) => {
                            let _ = timeout(Duration::from_micros(micros), work).await;
                        }
                    }
                    drop(guard);
                    None
                });
            }
            while let Some(next) = storm.join_next().await {
                if let Some((account, text)) = next.unwrap() {
                    let session = world.spaces.detached_session(account).unwrap();
                    let there: i64 = session
                        .query("SELECT COUNT(*) FROM notes WHERE text IN ($1, $2)")
                        .bind(&text)
                        .bind(format!("{text} too"))
                        .fetch_scalar()
                        .await
                        .unwrap();
                    assert_eq!(there, 2);
                    session
                        .query("DELETE FROM notes WHERE text IN ($1, $2)")
                        .bind(&text)
                        .bind(format!("{text} too"))
                        .execute()
                        .await
                        .unwrap();
                    session.commit().await.unwrap();
                }
            }
            world.at_rest().await;
            for account in &others {
                let session = world.spaces.detached_session(*account).unwrap();
                let left: i64 =
                    session.query("SELECT COUNT(*) FROM notes").fetch_scalar().await.unwrap();
                assert_eq!(left, 0);
            }
            world.at_rest().await;
        });
    });
    assert_eq!(world.spaces.most_open(), 4);
}
