//! What only a file has: modes, locks, being something else.

use std::os::unix::fs::PermissionsExt;

use sqlx::ConnectOptions;

use super::*;
use crate::store::sqlite;

async fn run(database: &Database, sql: &'static str) {
    let options = sqlite::options(
        &database.settings().sqlite().unwrap().file,
        Duration::from_secs(5),
    );
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
}

async fn refusal(database: &Database) -> String {
    let clock = Arc::new(database.clock.clone());
    match Directory::open(&database.settings(), clock).await {
        Err(StoreError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let database = Database::new();
    let directory = database.open().await;
    account(&directory, "tenant_acme").await;
    let mut files = 0;
    for entry in std::fs::read_dir(database.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        files += 1;
    }
    assert_eq!(files, 3);
}

#[tokio::test]
async fn a_newer_version_is_refused() {
    let database = Database::new();
    database.open().await.close().await;
    run(&database, "INSERT INTO vestibule_directory VALUES (999, 0)").await;
    assert!(refusal(&database).await.contains("newer version"));
}

#[tokio::test]
async fn something_else_is_refused_and_stays_as_it_is() {
    let database = Database::new();
    sqlite::ensure_private(&database.settings().sqlite().unwrap().file).unwrap();
    run(&database, "CREATE TABLE theirs (id INTEGER)").await;
    assert!(refusal(&database).await.contains("something else"));
    std::fs::write(
        &database.settings().sqlite().unwrap().file,
        "not a database at all".repeat(500),
    )
    .unwrap();
    assert!(refusal(&database).await.contains("not a SQLite database"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_missed_changes_forgets_everything() {
    let database = Database::new();
    let directory = database.open().await;
    account(&directory, "tenant_acme").await;
    let heard = Heard::default();
    let _watch = directory.watch(heard.listener()).await.unwrap();
    // As if this process had slept while others changed and pruned.
    run(
        &database,
        "INSERT INTO changes (at, kind, key) VALUES (0, 'client', 'a'), (0, 'client', 'b');
         DELETE FROM changes WHERE key <> 'b'",
    )
    .await;
    heard.hears(&Change::Everything).await;
    // And from here it goes on.
    run(
        &database,
        "INSERT INTO changes (at, kind, key) VALUES (0, 'client', 'c')",
    )
    .await;
    heard.hears(&Change::Client("c".to_owned())).await;
    run(
        &database,
        "INSERT INTO changes (at, kind, key) VALUES (0, 'novelty', 'd')",
    )
    .await;
    heard.0.lock().unwrap().clear();
    heard.hears(&Change::Everything).await;
}

#[tokio::test]
async fn old_changes_are_removed_but_the_newest() {
    let database = Database::new();
    let directory = database.open().await;
    for tenant in ["t1", "t2", "t3"] {
        account(&directory, tenant).await;
    }
    database.clock.advance(Duration::from_secs(3_700));
    directory.prune_changes().await.unwrap();
    let left: Vec<(i64,)> = directory
        .fetch_all(crate::store::Query::new("SELECT seq FROM changes"))
        .await
        .unwrap();
    assert_eq!(left, [(3,)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_locked_for_long_is_unavailable() {
    let database = Database::new();
    database.open().await.close().await;
    let mut settings = database.settings();
    settings.timeout = Duration::from_millis(300);
    let directory = Directory::open(&settings, Arc::new(database.clock.clone()))
        .await
        .unwrap();
    let options = sqlite::options(&settings.sqlite().unwrap().file, Duration::ZERO);
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let start = Instant::now();
    let refused = directory.bind_provider("https://one.example", false).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    // Readers do not wait for a writer.
    directory.ping().await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    directory
        .bind_provider("https://one.example", false)
        .await
        .unwrap();
}
