//! Lines that go bad.

use std::time::{Duration, Instant};

use vestibule_testbed::{Link, Postgres};

use crate::ask::{ask, connect, is_silent};

#[tokio::test]
async fn a_line_counts_round_trips() {
    let database = Postgres::shared().database().await;
    let link = Link::to(database.server().address());
    let route = database.through(link.address());
    assert_eq!((link.connections(), link.round_trips()), (0, 0));
    let mut connection = connect(&route.owner_url()).await.unwrap();
    assert_eq!((link.connections(), link.open_connections()), (1, 1));

    let before = link.round_trips();
    assert!(before >= 3, "a greeting and a login, not {before}");
    // However much there is to it.
    sqlx::raw_sql("SELECT 1; BEGIN; SELECT repeat('x', 1000000); COMMIT")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(link.round_trips() - before, 1);
    for _ in 0..3 {
        ask(&mut connection).await.unwrap();
    }
    assert_eq!(link.round_trips() - before, 4);
}

#[tokio::test]
async fn a_cut_line_ends_connections_and_refuses() {
    let database = Postgres::shared().database().await;
    let link = Link::to(database.server().address());
    let route = database.through(link.address());
    let mut connection = connect(&route.owner_url()).await.unwrap();

    link.cut();
    assert_eq!(link.open_connections(), 0);
    assert!(ask(&mut connection).await.is_err());
    let refused = connect(&route.owner_url()).await.unwrap_err();
    assert!(
        matches!(&refused, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused),
        "{refused}"
    );
    assert_eq!(link.connections(), 1);

    link.resume();
    connect(&route.owner_url()).await.unwrap();
}

#[tokio::test]
async fn a_hanging_line_passes_nothing() {
    let database = Postgres::shared().database().await;
    let link = Link::to(database.server().address());
    let route = database.through(link.address());
    let mut connection = connect(&route.owner_url()).await.unwrap();

    link.hang();
    let mut asking = std::pin::pin!(ask(&mut connection));
    assert!(is_silent(asking.as_mut()).await);
    assert!(is_silent(connect(&route.owner_url())).await);
    link.resume();
    asking.await.unwrap();
}

#[tokio::test]
async fn a_slow_line_delays_both_directions() {
    const DELAY: Duration = Duration::from_millis(100);
    let database = Postgres::shared().database().await;
    let link = Link::to(database.server().address());
    let mut connection = connect(&database.through(link.address()).owner_url())
        .await
        .unwrap();

    link.slow(DELAY);
    let begin = Instant::now();
    ask(&mut connection).await.unwrap();
    assert!(begin.elapsed() >= 2 * DELAY, "{:?}", begin.elapsed());
    // Late, not narrow: a long answer takes no longer than a short one.
    let begin = Instant::now();
    sqlx::raw_sql("SELECT repeat('x', 2000000)")
        .execute(&mut connection)
        .await
        .unwrap();
    assert!(begin.elapsed() < 20 * DELAY, "{:?}", begin.elapsed());

    link.slow(Duration::ZERO);
    ask(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_line_works_while_the_test_blocks() {
    let database = Postgres::shared().database().await;
    let link = Link::to(database.server().address());
    let url = database.through(link.address()).owner_url();
    // The test's only thread waits here.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { connect(&url).await.map(drop) })
    })
    .join()
    .unwrap()
    .unwrap();
}

#[test]
#[should_panic(expected = "not on this machine")]
fn a_line_leads_to_this_machine_only() {
    drop(Link::to("192.0.2.1:5432"));
}
