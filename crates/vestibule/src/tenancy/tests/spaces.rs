//! Where an account's data lies, and who gets a connection to it.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::{
    store::{Change, StoreError},
    tenancy::{SessionError, attach_is_impossible},
};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_files_in(dir: &std::path::Path) -> usize {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.starts_with(dir))
        .count()
}

#[tokio::test]
async fn files_are_named_by_the_account_and_for_their_owner_only() {
    let world = World::new().await;
    let session = world.detached();
    add(&session, "a").await.unwrap();
    let dir = world.tenant_dir();
    assert_eq!(mode(&dir), 0o700);
    let mut names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.file_name());
            entry.file_name().into_string().unwrap()
        })
        .collect();
    names.sort();
    let file = format!("{}.db", world.acme.id);
    assert_eq!(
        names,
        [file.clone(), format!("{file}-shm"), format!("{file}-wal")]
    );
}

#[tokio::test]
async fn another_accounts_file_is_refused() {
    let world = World::new().await;
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    std::fs::copy(world.file_of(bolt.id), world.file_of(world.acme.id)).unwrap();
    let refused = add(&world.detached(), "a").await;
    let Err(SessionError::Refused(text)) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains(&world.acme.id.to_string()) && !text.contains(&bolt.id.to_string()));
    world.at_rest().await;
}

#[tokio::test]
async fn files_that_are_not_ours_are_refused() {
    let world = World::new().await;
    std::fs::write(world.file_of(world.acme.id), "").unwrap();
    let refused = add(&world.detached(), "a").await;
    assert!(
        matches!(refused, Err(SessionError::Refused(_))),
        "{refused:?}"
    );
    std::fs::write(world.file_of(world.acme.id), "no database".repeat(1_000)).unwrap();
    let refused = add(&world.detached(), "a").await;
    assert!(
        matches!(refused, Err(SessionError::Refused(_))),
        "{refused:?}"
    );
    world.at_rest().await;
}

#[tokio::test]
async fn a_missing_file_is_never_made() {
    let world = World::new().await;
    let file = world.file_of(world.acme.id);
    std::fs::remove_file(&file).unwrap();
    let refused = add(&world.detached(), "a").await;
    assert!(
        matches!(refused, Err(SessionError::Refused(_))),
        "{refused:?}"
    );
    assert!(!file.exists());
    let nobody = world.spaces.detached_session(Uuid::from_u128(7)).unwrap();
    assert!(matches!(
        add(&nobody, "a").await,
        Err(SessionError::Refused(_))
    ));
    assert!(!world.file_of(Uuid::from_u128(7)).exists());
    world.at_rest().await;
}

#[tokio::test]
async fn an_account_comes_whole_or_not_at_all() {
    let world = World::new().await;
    let again = world.spaces.create_account("Acme", "tenant_acme").await;
    assert!(
        matches!(again, Err(StoreError::AlreadyExists(_))),
        "{again:?}"
    );
    let bad = world.spaces.create_account("", "tenant_bolt").await;
    assert!(matches!(bad, Err(StoreError::Invalid(_))), "{bad:?}");
    // A directory in which no file can be made.
    let dir = world.tenant_dir();
    std::fs::rename(&dir, dir.with_extension("away")).unwrap();
    let failed = world.spaces.create_account("Bolt", "tenant_bolt").await;
    assert!(failed.is_err());
    let found = world.directory.find_account_by_tenant("tenant_bolt").await;
    assert_eq!(found.unwrap(), None);
    std::fs::rename(dir.with_extension("away"), &dir).unwrap();
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    let session = world.spaces.detached_session(bolt.id).unwrap();
    add(&session, "a").await.unwrap();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2 + 2);
}

#[tokio::test]
async fn a_deleted_account_leaves_no_file() {
    let world = World::new().await;
    let session = world.detached();
    add(&session, "a").await.unwrap();
    session.commit().await.unwrap();
    world.spaces.delete_account(world.acme.id).await.unwrap();
    let dir = world.tenant_dir();
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0);
    assert!(add(&world.detached(), "b").await.is_err());
    let again = world.spaces.delete_account(world.acme.id).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    // The tenant may come back, to an account of its own.
    let anew = world
        .spaces
        .create_account("Acme", "tenant_acme")
        .await
        .unwrap();
    assert_ne!(anew.id, world.acme.id);
}

#[tokio::test]
async fn a_change_of_an_account_lets_go_of_its_file() {
    let world = World::new().await;
    world.texts().await;
    let session = world.detached();
    add(&session, "a").await.unwrap();
    session.commit().await.unwrap();
    assert_eq!(world.spaces.counts(), (0, 1));
    world.spaces.on_change(&Change::Account(Uuid::from_u128(7)));
    assert_eq!(world.spaces.counts(), (0, 1));
    world.spaces.on_change(&Change::Account(world.acme.id));
    assert_eq!(world.spaces.counts(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_over_all_accounts() {
    let world = World::with(|settings| settings.pool_size = 3).await;
    let dir = world.tenant_dir();
    let mut accounts = Vec::new();
    for n in 0..8 {
        let tenant = format!("tenant_{n}");
        accounts.push(
            world
                .spaces
                .create_account("More", &tenant)
                .await
                .unwrap()
                .id,
        );
    }
    let mut work = tokio::task::JoinSet::new();
    for n in 0..80 {
        let session = world.spaces.detached_session(accounts[n % 8]).unwrap();
        work.spawn(async move {
            add(&session, &format!("{n}")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            session.commit().await.unwrap();
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    assert_eq!(world.spaces.most_open(), 3);
    assert_eq!(world.spaces.counts(), (0, 3));
    assert!(open_files_in(&dir) >= 3);
    world.spaces.close().await;
    assert_eq!(open_files_in(&dir), 0);
}

#[tokio::test]
async fn a_file_that_nobody_uses_is_closed() {
    const SHORT: Duration = Duration::from_millis(200);
    let world = World::new().await;
    let clock = Arc::new(world.database.clock.clone());
    let settings = world.database.settings();
    let spaces = TenantSpaces::open_with(&settings, &world.directory, clock, SHORT).unwrap();
    world.spaces.close().await;
    let use_it = async || {
        let session = spaces.detached_session(world.acme.id).unwrap();
        add(&session, "a").await.unwrap();
        session.rollback().await.unwrap();
    };
    // As long as it is used now and then, it stays open.
    for _ in 0..6 {
        use_it().await;
        tokio::time::sleep(SHORT / 2).await;
        assert_eq!(spaces.counts(), (0, 1));
    }
    let since = Instant::now();
    while open_files_in(&world.tenant_dir()) > 0 {
        assert!(since.elapsed() < 10 * SHORT, "{:?}", spaces.counts());
        tokio::time::sleep(SHORT / 10).await;
    }
    assert_eq!(spaces.counts(), (0, 0));
    use_it().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_account_does_not_take_the_others_connections() {
    let world = World::with(|settings| settings.pool_size = 2).await;
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    let holder = world.detached();
    add(&holder, "a").await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..20 {
        let session = world.detached();
        waiting.spawn(async move {
            add(&session, &format!("{n}")).await.unwrap();
            session.commit().await.unwrap();
        });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    let other = world.spaces.detached_session(bolt.id).unwrap();
    add(&other, "b").await.unwrap();
    other.commit().await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(500));
    holder.commit().await.unwrap();
    while let Some(done) = waiting.join_next().await {
        done.unwrap();
    }
    assert_eq!(world.texts().await.len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_free_connection_is_unavailable_in_time() {
    let world = World::with(|settings| {
        settings.pool_size = 1;
        settings.timeout = Duration::from_millis(300);
    })
    .await;
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    let holder = world.detached();
    add(&holder, "a").await.unwrap();
    let start = Instant::now();
    let refused = add(&world.spaces.detached_session(bolt.id).unwrap(), "b").await;
    assert!(
        matches!(refused, Err(SessionError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    holder.rollback().await.unwrap();
    add(&world.spaces.detached_session(bolt.id).unwrap(), "b")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_take_turns() {
    let world = World::new().await;
    let processes = [world.spaces.clone(), world.other_process()];
    let mut work = tokio::task::JoinSet::new();
    for n in 0..60 {
        let session = processes[n % 2].detached_session(world.acme.id).unwrap();
        work.spawn(async move {
            // Reads first, writes then: what fails at once without an immediate BEGIN.
            session
                .query("SELECT COUNT(*) FROM notes")
                .fetch_scalar::<i64>()
                .await
                .unwrap();
            add(&session, &format!("{n}")).await.unwrap();
            session.commit().await.unwrap();
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    assert_eq!(world.texts().await.len(), 60);
}

#[tokio::test]
async fn the_build_reaches_no_second_file() {
    assert!(attach_is_impossible().await);
    let world = World::new().await;
    let elsewhere = world.database.dir.path().join("elsewhere.db");
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    let options = crate::store::sqlite::options(&world.file_of(world.acme.id), Duration::ZERO);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    for sql in [
        format!("VACUUM INTO '{}'", elsewhere.display()),
        format!("ATTACH '{}' AS other", world.file_of(bolt.id).display()),
    ] {
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await;
        assert!(refused.is_err());
    }
    assert!(!elsewhere.exists());
}
