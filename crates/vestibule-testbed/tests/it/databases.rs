//! Fresh databases, their logins and their end.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use vestibule_testbed::Postgres;

use crate::ask::connect;

async fn who(url: &str) -> (String, String) {
    let mut connection = connect(url).await.unwrap();
    let row = sqlx::raw_sql("SELECT current_user::text, current_database()::text")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

/// What is refused with `insufficient_privilege`, or worse, is not.
async fn refused(connection: &mut PgConnection, statement: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await;
    let error = done.expect_err(&statement);
    let code = error.as_database_error().unwrap().code().unwrap();
    assert_eq!(code, "42501", "{statement}: {error}");
}

#[tokio::test]
async fn both_logins_reach_a_fresh_database() {
    let database = Postgres::shared().database().await;
    let name = database.name().to_owned();
    let owner = (database.owner(), name.clone());
    let application = (database.application(), name);
    assert_eq!(who(&database.owner_url()).await, owner);
    assert_eq!(who(&database.application_url()).await, application);

    let pooled = database.through_pgbouncer();
    assert_eq!(who(&pooled.owner_url()).await, owner);
    assert_eq!(who(&pooled.application_url()).await, application);
}

#[tokio::test]
async fn pgbouncer_pools_transactions() {
    let database = Postgres::shared().database().await;
    let url = database.through_pgbouncer().application_url();
    let mut one = connect(&url).await.unwrap();
    let mut other = connect(&url).await.unwrap();
    // Both have the one backend in turn, as long as neither has a transaction.
    let shared = backend(&mut one).await;
    assert_eq!(backend(&mut other).await, shared);
    sqlx::raw_sql("BEGIN").execute(&mut one).await.unwrap();
    assert_eq!(backend(&mut one).await, shared);
    assert_ne!(backend(&mut other).await, shared);
}

async fn backend(connection: &mut PgConnection) -> i32 {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()")
        .fetch_one(connection)
        .await
        .unwrap();
    row.get(0)
}

#[tokio::test]
async fn the_application_login_may_nothing() {
    let database = Postgres::shared().database().await;
    let mut owner = connect(&database.owner_url()).await.unwrap();
    sqlx::raw_sql("CREATE SCHEMA ours; CREATE TABLE ours.rows (id int)")
        .execute(&mut owner)
        .await
        .unwrap();

    let mut application = connect(&database.application_url()).await.unwrap();
    for statement in [
        "SELECT * FROM ours.rows".to_owned(),
        "CREATE SCHEMA theirs".to_owned(),
        "CREATE TABLE ours.theirs (id int)".to_owned(),
        "CREATE DATABASE theirs".to_owned(),
        "CREATE ROLE theirs".to_owned(),
        format!("SET ROLE {}", database.owner()),
        format!("ALTER DATABASE {} SET work_mem = '1MB'", database.name()),
        "SELECT * FROM pg_authid".to_owned(),
    ] {
        refused(&mut application, statement).await;
    }
}

#[tokio::test]
async fn the_end_takes_everything_along() {
    let postgres = Postgres::shared();
    let database = postgres.database().await;
    let (owner, further) = (database.owner(), format!("further_{}", database.name()));
    let mut connection = connect(&database.owner_url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {further}")))
        .execute(&mut connection)
        .await
        .unwrap();
    refused(&mut connection, "CREATE ROLE more".to_owned()).await;

    let mut superuser = postgres.superuser().await;
    assert_eq!(left(&mut superuser, &owner).await, (2, 2));
    // In scope no more, with a connection still open.
    drop(database);
    assert_eq!(left(&mut superuser, &owner).await, (0, 0));
    assert!(connection.ping().await.is_err());
}

#[tokio::test]
async fn the_end_can_be_awaited() {
    let postgres = Postgres::shared();
    let database = postgres.database().await;
    let owner = database.owner();
    database.drop().await;
    assert_eq!(left(&mut postgres.superuser().await, &owner).await, (0, 0));
}

/// How many databases the owner has, and how many of both logins there are.
async fn left(superuser: &mut PgConnection, owner: &str) -> (i64, i64) {
    let test = owner.trim_end_matches("_owner");
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba
                 WHERE rolname = $1),
                (SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $2))",
    )
    .bind(owner)
    .bind(test)
    .fetch_one(superuser)
    .await
    .unwrap();
    (row.get(0), row.get(1))
}
