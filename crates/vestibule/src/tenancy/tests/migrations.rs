//! The application's tables: kept, applied to all accounts, never changed behind anybody's back.

use super::*;
use crate::{
    store::StoreError,
    tenancy::{Migrated, TenantSpaces},
};

const TAGS: &str = "-- a table; and a trigger\nCREATE TABLE tags (name TEXT PRIMARY KEY);
    CREATE TRIGGER no_tag AFTER INSERT ON tags BEGIN UPDATE notes SET text = 'a;b' WHERE id = 0; END;
    INSERT INTO tags VALUES ('first; second');";

async fn tables(spaces: &TenantSpaces, account: Uuid) -> Vec<String> {
    let names = spaces
        .detached_session(account)
        .unwrap()
        .query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .fetch_all::<(String,)>()
        .await
        .unwrap();
    names
        .into_iter()
        .map(|(name,)| name)
        .filter(|name| !name.starts_with("vestibule"))
        .collect()
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(StoreError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_new_accounts_get_all_of_them() {
    let world = World::new().await;
    let two = migrator(&[(1, NOTES), (2, TAGS)]);
    let done = world.spaces.migrate_tenants(&two).await.unwrap();
    assert_eq!(
        done,
        Migrated {
            accounts: 1,
            changed: 1
        }
    );
    let done = world.spaces.migrate_tenants(&two).await.unwrap();
    assert_eq!(
        done,
        Migrated {
            accounts: 1,
            changed: 0
        }
    );
    // Another process, which knows nothing of the application, creates an account.
    let bolt = world
        .other_process()
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    for account in [world.acme.id, bolt.id] {
        assert_eq!(tables(&world.spaces, account).await, ["notes", "tags"]);
        assert_eq!(world.spaces.migrations_missing(account).await.unwrap(), 0);
    }
    let kept = world.spaces.tenant_migrations().await.unwrap();
    assert_eq!(
        kept.iter().map(|kept| kept.version).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test]
async fn drift_is_refused() {
    let world = World::new().await;
    let changed = migrator(&[(1, "CREATE TABLE notes (id INTEGER PRIMARY KEY)")]);
    let text = refused(world.spaces.migrate_tenants(&changed).await);
    assert!(
        text.contains("migration 1") && text.contains("was changed"),
        "{text}"
    );
    let missing = migrator(&[(2, TAGS.trim_start_matches("-- a table; and a trigger\n"))]);
    let text = refused(world.spaces.migrate_tenants(&missing).await);
    assert!(
        text.contains("no such table") || text.contains("is missing now"),
        "{text}"
    );
    let missing = migrator(&[(2, "CREATE TABLE tags (name TEXT)")]);
    let text = refused(world.spaces.migrate_tenants(&missing).await);
    assert!(
        text.contains("migration 1") && text.contains("is missing now"),
        "{text}"
    );
    assert_eq!(tables(&world.spaces, world.acme.id).await, ["notes"]);
    // Nothing of it was kept.
    let kept = world.spaces.tenant_migrations().await.unwrap();
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn what_no_account_has_may_change() {
    let database = Database::new();
    let directory = database.open().await;
    let clock = Arc::new(database.clock.clone());
    let spaces = TenantSpaces::open(&database.settings(), &directory, clock).unwrap();
    spaces
        .migrate_tenants(&migrator(&[(1, NOTES), (2, TAGS)]))
        .await
        .unwrap();
    let other = "CREATE TABLE notes (id INTEGER PRIMARY KEY)";
    spaces
        .migrate_tenants(&migrator(&[(1, other)]))
        .await
        .unwrap();
    let acme = spaces.create_account("Acme", "tenant_acme").await.unwrap();
    assert_eq!(tables(&spaces, acme.id).await, ["notes"]);
}

#[tokio::test]
async fn what_fails_on_an_empty_space_is_not_kept() {
    let world = World::new().await;
    let broken = migrator(&[
        (1, NOTES),
        (2, "CREATE TABLE a (id INTEGER); CREATE TABEL b (id)"),
    ]);
    let text = refused(world.spaces.migrate_tenants(&broken).await);
    assert!(
        text.contains("migration 2") && text.contains("TABEL"),
        "{text}"
    );
    assert_eq!(tables(&world.spaces, world.acme.id).await, ["notes"]);
    let dir = world.tenant_dir();
    let left = std::fs::read_dir(dir).unwrap();
    assert!(left.into_iter().all(|entry| {
        !entry
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .starts_with("trial")
    }));
    // Mended under the same version.
    let mended = migrator(&[(1, NOTES), (2, "CREATE TABLE a (id INTEGER)")]);
    world.spaces.migrate_tenants(&mended).await.unwrap();
    assert_eq!(tables(&world.spaces, world.acme.id).await, ["a", "notes"]);
}

#[tokio::test]
async fn an_account_that_fails_is_named_and_the_run_can_be_resumed() {
    let world = World::new().await;
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    let session = world.spaces.detached_session(bolt.id).unwrap();
    add(&session, "forbidden").await.unwrap();
    session.commit().await.unwrap();
    let strict = migrator(&[
        (1, NOTES),
        (
            2,
            "CREATE TABLE early (id INTEGER);
             CREATE TABLE strict (text TEXT CHECK (text <> 'forbidden'));
             INSERT INTO strict SELECT text FROM notes;",
        ),
    ]);
    let text = refused(world.spaces.migrate_tenants(&strict).await);
    assert!(
        text.contains(&bolt.id.to_string()) && text.contains("migration 2"),
        "{text}"
    );
    assert_eq!(
        tables(&world.spaces, world.acme.id).await,
        ["early", "notes", "strict"]
    );
    assert_eq!(tables(&world.spaces, bolt.id).await, ["notes"]);
    assert_eq!(world.spaces.migrations_missing(bolt.id).await.unwrap(), 1);
    let session = world.spaces.detached_session(bolt.id).unwrap();
    session.query("DELETE FROM notes").execute().await.unwrap();
    session.commit().await.unwrap();
    let mut seen = Vec::new();
    let done = world
        .spaces
        .bring_up_to_date(|done, account| seen.push((done, account)))
        .await;
    assert_eq!(
        done.unwrap(),
        Migrated {
            accounts: 2,
            changed: 1
        }
    );
    // Several are migrated at a time; who is done first is open.
    seen.sort_by_key(|(_, account)| *account);
    let mut expected = [world.acme.id, bolt.id];
    expected.sort();
    assert_eq!(
        seen.iter().map(|(_, account)| *account).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(
        tables(&world.spaces, bolt.id).await,
        ["early", "notes", "strict"]
    );
}

#[tokio::test]
async fn what_a_migration_may_not_do_is_refused() {
    let world = World::new().await;
    for sql in [
        "CREATE TABLE a (id INTEGER); COMMIT; CREATE TABLE b (id INTEGER)",
        "ROLLBACK",
        "CREATE TABLE vestibule_own (id INTEGER)",
        "DELETE FROM vestibule_account",
        "ATTACH 'x' AS y",
    ] {
        let text = refused(
            world
                .spaces
                .migrate_tenants(&migrator(&[(1, NOTES), (2, sql)]))
                .await,
        );
        assert!(text.contains("migration 2"), "{text}");
    }
    let twice = migrator(&[(1, NOTES), (1, NOTES)]);
    assert!(refused(world.spaces.migrate_tenants(&twice).await).contains("two migrations 1"));
    let no_tx = Migrator::with_migrations(vec![Migration::new(
        1,
        "a step".into(),
        MigrationType::Simple,
        NOTES.into_sql_str(),
        true,
    )]);
    assert!(refused(world.spaces.migrate_tenants(&no_tx).await).contains("no transaction"));
    assert_eq!(tables(&world.spaces, world.acme.id).await, ["notes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_runs_and_new_accounts_end_alike() {
    let world = World::new().await;
    let mut work = tokio::task::JoinSet::new();
    for n in 0..12 {
        let spaces = if n % 2 == 0 {
            world.spaces.clone()
        } else {
            world.other_process()
        };
        work.spawn(async move {
            if n < 4 {
                spaces
                    .migrate_tenants(&migrator(&[(1, NOTES), (2, TAGS)]))
                    .await
                    .map(drop)
            } else {
                spaces
                    .create_account("More", &format!("tenant_{n}"))
                    .await
                    .map(drop)
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap().unwrap();
    }
    world.spaces.bring_up_to_date(|_, _| {}).await.unwrap();
    let page = crate::store::Page {
        limit: 50,
        cursor: None,
    };
    let accounts = world.directory.accounts(&page).await.unwrap().items;
    assert_eq!(accounts.len(), 9);
    for account in accounts {
        assert_eq!(tables(&world.spaces, account.id).await, ["notes", "tags"]);
    }
}
