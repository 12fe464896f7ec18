//! Servers of a test's own: their stops, starts and silences.

use vestibule_testbed::{Postgres, Stop};

use crate::ask::{ask, connect, is_silent};

#[tokio::test]
async fn a_server_stops_and_starts() {
    let server = Postgres::own().await;
    assert_ne!(server.address(), Postgres::shared().address());
    let database = server.database().await;
    let mut before = connect(&database.owner_url()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE kept (id int)")
        .execute(&mut before)
        .await
        .unwrap();

    for mode in [Stop::Fast, Stop::Immediate] {
        server.stop(mode).await;
        assert!(ask(&mut before).await.is_err(), "{mode:?}");
        assert!(connect(&database.owner_url()).await.is_err(), "{mode:?}");
        server.start().await;
        before = connect(&database.owner_url()).await.unwrap();
        sqlx::raw_sql("SELECT * FROM kept")
            .execute(&mut before)
            .await
            .unwrap();
    }
    // The last stop was a crash, and the server knows.
    assert!(
        server.log().contains("automatic recovery"),
        "{}",
        server.log()
    );
    server.restart().await;
    connect(&database.application_url()).await.unwrap();
}

#[tokio::test]
async fn a_smart_stop_waits_for_clients() {
    let server = Postgres::own().await;
    let mut client = connect(&server.postgres().superuser_url()).await.unwrap();
    assert!(is_silent(server.stop(Stop::Smart)).await);
    ask(&mut client).await.unwrap();
    drop(client);
    server.stop(Stop::Smart).await;
}

#[tokio::test]
async fn a_server_that_hangs_says_nothing() {
    let server = Postgres::own().await;
    let database = server.database().await;
    let mut connection = connect(&database.owner_url()).await.unwrap();

    server.hang().await;
    {
        let mut asking = std::pin::pin!(ask(&mut connection));
        assert!(is_silent(asking.as_mut()).await);
        assert!(is_silent(connect(&database.owner_url())).await);
        server.resume().await;
        asking.await.unwrap();
    }
    connect(&database.owner_url()).await.unwrap();
    // It ends even so.
    server.hang().await;
}

#[tokio::test]
async fn a_server_has_a_pgbouncer_of_its_own() {
    let server = Postgres::own_with_pgbouncer().await;
    let database = server.database().await;
    let pooled = database.through_pgbouncer();
    let mut connection = connect(&pooled.application_url()).await.unwrap();

    server.pgbouncer().hang().await;
    {
        let mut asking = std::pin::pin!(ask(&mut connection));
        assert!(is_silent(asking.as_mut()).await);
        server.pgbouncer().resume().await;
        asking.await.unwrap();
    }

    server.pgbouncer().stop().await;
    assert!(ask(&mut connection).await.is_err());
    assert!(connect(&pooled.application_url()).await.is_err());
    connect(&database.application_url()).await.unwrap();
    server.pgbouncer().start().await;
    connect(&pooled.application_url()).await.unwrap();
}
