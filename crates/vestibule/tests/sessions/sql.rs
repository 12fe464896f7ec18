//! SQL that would reach beyond its transaction or its account: refused, or gone with the request.

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::post,
};
use sqlx::AssertSqlSafe;
use vestibule::{Problem, SessionError, TenantSession};

use crate::world::{World, ask, marks};

/// What a hostile handler tries. `{other}` is the other account's file.
const HOSTILE: [&str; 40] = [
    // The transaction.
    "COMMIT",
    "END",
    "ROLLBACK",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "SAVEPOINT mine",
    "RELEASE mine",
    "ROLLBACK TO mine",
    "SELECT 1; COMMIT",
    "SELECT 1; ROLLBACK",
    "INSERT INTO marks (id, label) VALUES (x'00', 'x'); COMMIT; BEGIN",
    "/* a comment */ COMMIT",
    "-- a comment\nCOMMIT",
    ";COMMIT",
    // Other files.
    "ATTACH '{other}' AS other",
    "ATTACH 'file:{other}?mode=ro' AS other",
    "SELECT 1; ATTACH '{other}' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '{other}.copy'",
    "SELECT load_extension('{other}')",
    "SELECT readfile('{other}')",
    "SELECT writefile('{other}.copy', 'x')",
    "SELECT edit('x')",
    // The connection.
    "PRAGMA foreign_keys = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA trusted_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA query_only = ON",
    "PRAGMA temp_store_directory = '/'",
    "CREATE TEMP TABLE marks (id, label)",
    "CREATE TEMPORARY VIEW marks AS SELECT 1 AS id, 'x' AS label",
    "CREATE TEMP TRIGGER t AFTER INSERT ON marks BEGIN DELETE FROM marks; END",
    // The schema, and what is ours.
    "DROP TABLE marks",
    "CREATE TABLE more (id)",
    "ALTER TABLE marks RENAME TO others",
    "UPDATE sqlite_master SET sql = '' WHERE name = 'marks'",
    "SELECT * FROM vestibule_account",
    "UPDATE \"VESTIBULE_account\" SET account_id = x'00'",
    "DELETE FROM main.[vestibule_activity]",
];

/// Writes a mark, runs the text of the body whatever it says, and answers 200.
async fn run(session: TenantSession, sql: String) -> Result<Response, Problem> {
    session
        .query("INSERT INTO marks (id, label) VALUES (x'01', 'before')")
        .execute()
        .await?;
    let outcome = session.query(AssertSqlSafe(sql)).execute().await;
    Ok(match outcome {
        Ok(_) => (StatusCode::IM_A_TEAPOT, "it ran").into_response(),
        Err(SessionError::Refused(_)) => "refused".into_response(),
        Err(SessionError::Database(_)) => "failed".into_response(),
        Err(other) => (StatusCode::IM_A_TEAPOT, other.to_string()).into_response(),
    })
}

/// Everything of the connection and the schema that a request could have left behind.
async fn state(session: TenantSession) -> Result<Json<Vec<String>>, Problem> {
    let mut found = Vec::new();
    for sql in [
        "SELECT 'foreign_keys ' || foreign_keys FROM pragma_foreign_keys",
        "SELECT 'trusted_schema ' || trusted_schema FROM pragma_trusted_schema",
        "SELECT 'journal_mode ' || journal_mode FROM pragma_journal_mode",
        "SELECT 'query_only ' || query_only FROM pragma_query_only",
        "SELECT name || ' ' || file FROM pragma_database_list WHERE name <> 'temp'",
        "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_temp_schema",
        "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1",
    ] {
        let rows: Vec<(String,)> = session.query(sql).fetch_all().await?;
        found.extend(rows.into_iter().map(|(row,)| row));
    }
    Ok(Json(found))
}

#[tokio::test]
async fn nothing_reaches_beyond_the_request() {
    let world = World::start().await;
    let other = world.path(world.globex).display().to_string();
    let copy = format!("{other}.copy");
    let clear = post(|session: TenantSession| async move {
        session.query("DELETE FROM marks").execute().await.unwrap();
    });
    for sql in HOSTILE {
        let sql = sql.replace("{other}", &other);
        let asked = sql.clone();
        let routes = Router::new()
            .route(
                "/run",
                post(move |session: TenantSession| run(session, asked)),
            )
            .route("/state", axum::routing::get(state))
            .route("/clear", clear.clone());
        let site = world.serve(routes).await;
        let token = world.ada();
        let before = ask(site, "GET", "/state", &token).await;
        let answer = ask(site, "POST", "/run", &token).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
        let after = ask(site, "GET", "/state", &token).await;
        assert_eq!(before.expect(200).body, after.expect(200).body, "{sql}");
        // The statement failed, not the transaction: what stood before it is kept.
        assert_eq!(marks(site, &token).await, ["before"], "{sql}");
        assert!(marks(site, &world.grace()).await.is_empty(), "{sql}");
        assert!(!std::path::Path::new(&copy).exists(), "{sql}");
        ask(site, "POST", "/clear", &token).await.expect(200);
    }
}

/// Statements on rows that end the transaction all the same: nothing of the request stays, and
/// the answer does not say that it did.
#[tokio::test]
async fn a_transaction_that_a_statement_ended_is_not_answered_for() {
    let world = World::start().await;
    for sql in [
        "INSERT OR ROLLBACK INTO marks (id, label) VALUES (x'01', 'x')",
        "UPDATE OR ROLLBACK marks SET label = NULL",
    ] {
        // A panic would be the expected 500, so the handler says 418 where something is wrong.
        let handler = post(move |session: TenantSession| async move {
            let insert = "INSERT INTO marks (id, label) VALUES (x'01', 'before')";
            let before = session.query(insert).execute().await;
            let ended = session.query(sql).execute().await;
            let insert = "INSERT INTO marks (id, label) VALUES (x'02', 'after')";
            let after = session.query(insert).execute().await;
            match (before, ended, after) {
                (Ok(1), Err(_), Err(SessionError::Aborted)) => StatusCode::CREATED,
                _ => StatusCode::IM_A_TEAPOT,
            }
        });
        let site = world.serve(Router::new().route("/run", handler)).await;
        let answer = ask(site, "POST", "/run", &world.ada()).await;
        answer.expect_problem(500, "internal_error");
        assert!(marks(site, &world.ada()).await.is_empty());
    }
}

/// A statement without end is stopped at `DATABASE_TIMEOUT`.
#[tokio::test]
async fn a_statement_without_end() {
    async fn forever(session: TenantSession) -> Result<String, Problem> {
        let most: i64 = session
            .query(
                "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)
                 SELECT max(i) FROM n",
            )
            .fetch_scalar()
            .await?;
        Ok(most.to_string())
    }

    // Long enough to connect on a machine that others keep busy.
    let timeout = std::time::Duration::from_secs(1);
    let world = World::with(|database| database.timeout = timeout).await;
    let site = world
        .serve(Router::new().route("/forever", post(forever)))
        .await;
    let begun = std::time::Instant::now();
    let answer = ask(site, "POST", "/forever", &world.ada()).await;
    answer.expect_problem(503, "storage_unavailable");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    assert!(marks(site, &world.ada()).await.is_empty());
}
