//! What is written down about an account's callers.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::time::Instant;

use super::*;
use crate::{
    store::{Page, PageOf},
    tenancy::{
        SessionError, SystemAccess,
        activity::{self, ActivityEntry, ActivityEvent, ActivityKind, ActivityLog},
        retention::{self, Retention},
    },
};

impl World {
    async fn activity(&self, limit: u16, cursor: Option<String>) -> PageOf<ActivityEntry> {
        activity::page(&self.detached(), &Page { limit, cursor })
            .await
            .unwrap()
    }

    fn sign_in(&self, token: u8) -> ActivityEvent {
        ActivityEvent {
            client_id: Some("app_web".to_owned()),
            token_hash: Some(vec![token; 16]),
            ..ActivityEvent::new(self.acme.id, ActivityKind::SignIn)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_has_the_form_of_the_contract() {
    let world = World::new().await;
    let log = ActivityLog::start(world.spaces.clone());
    let user = Uuid::from_u128(42);
    log.record(ActivityEvent {
        user_id: Some(user),
        client_id: Some("app_web".to_owned()),
        reason: Some("user_suspended".to_owned()),
        request_id: Some("r1".to_owned()),
        ..ActivityEvent::new(world.acme.id, ActivityKind::Refusal)
    });
    log.flush().await;
    let page = world.activity(10, None).await;
    let id = page.items[0].id;
    assert_eq!(
        serde_json::to_string(&page).unwrap(),
        format!(
            r#"{{"items":[{{"id":"{id}","at":"2025-06-15T15:06:40Z","kind":"refusal","user_id":"{user}","client_id":"app_web","reason":"user_suspended","request_id":"r1"}}],"next_cursor":null}}"#
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_seen_soon_newest_first_in_pages() {
    let world = World::new().await;
    let log = ActivityLog::start(world.spaces.clone());
    for token in 1..=5 {
        log.record(world.sign_in(token));
        world.database.clock.advance(Duration::from_secs(1));
    }
    let start = Instant::now();
    while world.activity(10, None).await.items.len() < 5 {
        assert!(start.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = world.activity(2, cursor).await;
        seen.extend(
            page.items
                .iter()
                .map(|entry| entry.at.as_secs() - 1_750_000_000),
        );
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [4, 3, 2, 1, 0]);
    let session = world.detached();
    let page = Page {
        limit: 1,
        cursor: Some("?".to_owned()),
    };
    let refused = activity::page(&session, &page).await;
    assert!(matches!(refused, Err(SessionError::BadCursor)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tokens_sign_in_is_written_once() {
    let world = World::new().await;
    let log = ActivityLog::start(world.spaces.clone());
    for _ in 0..3 {
        log.record(world.sign_in(1));
        log.flush().await;
    }
    log.record(world.sign_in(2));
    for _ in 0..2 {
        log.record(ActivityEvent::new(world.acme.id, ActivityKind::Refusal));
    }
    log.flush().await;
    let kinds: Vec<_> = world
        .activity(10, None)
        .await
        .items
        .into_iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, ["refusal", "refusal", "sign_in", "sign_in"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_see_their_own_activity_only_and_do_not_wait_for_each_other() {
    let world = World::new().await;
    let bolt = world
        .spaces
        .create_account("Bolt", "tenant_bolt")
        .await
        .unwrap();
    let log = ActivityLog::start(world.spaces.clone());
    let holder = world.detached();
    add(&holder, "a").await.unwrap();
    log.record(world.sign_in(1));
    tokio::time::sleep(Duration::from_millis(150)).await;
    log.record(ActivityEvent::new(bolt.id, ActivityKind::Refusal));
    log.record(world.sign_in(2));
    // Nobody's account: lost, and nothing else with it.
    log.record(ActivityEvent::new(
        Uuid::from_u128(7),
        ActivityKind::Refusal,
    ));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let session = world.spaces.detached_session(bolt.id).unwrap();
    let page = Page {
        limit: 10,
        cursor: None,
    };
    let theirs = activity::page(&session, &page).await.unwrap();
    assert_eq!(theirs.items.len(), 1);
    assert_eq!(theirs.items[0].kind, "refusal");
    drop(session);
    holder.rollback().await.unwrap();
    log.flush().await;
    assert_eq!(world.activity(10, None).await.items.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recording_never_waits() {
    let world = World::with(|settings| settings.timeout = Duration::from_millis(500)).await;
    let log = ActivityLog::start(world.spaces.clone());
    let holder = world.detached();
    add(&holder, "a").await.unwrap();
    let start = Instant::now();
    for _ in 0..50_000 {
        log.record(ActivityEvent::new(world.acme.id, ActivityKind::Refusal));
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    holder.rollback().await.unwrap();
    log.flush().await;
    // Bounded: most of it was dropped.
    let session = world.detached();
    let page = Page {
        limit: 200,
        cursor: None,
    };
    assert_eq!(
        activity::page(&session, &page).await.unwrap().items.len(),
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_entries_stay() {
    let world = World::new().await;
    let mut newest = Uuid::nil();
    for _ in 0..12 {
        world.database.clock.advance(Duration::from_secs(1));
        let three = Retention::new(3, None);
        newest = activity::insert_for_test(&world.spaces, world.acme.id, three).await;
    }
    let page = world.activity(200, None).await;
    assert_eq!(page.items.len(), 3);
    assert_eq!(page.items[0].id, newest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_session_is_written_down_before_it_sees_anything() {
    let world = World::new().await;
    let access = SystemAccess::grant();
    for reason in ["", "  ", "a\nb", &"r".repeat(257)] {
        let refused = world
            .spaces
            .system_session(&access, world.acme.id, reason)
            .await;
        assert!(
            matches!(refused, Err(SessionError::Refused(_))),
            "{reason:?}"
        );
    }
    let nobody = world
        .spaces
        .system_session(&access, Uuid::from_u128(7), "nightly")
        .await;
    assert!(
        matches!(nobody, Err(SessionError::Refused(_))),
        "{nobody:?}"
    );
    assert!(world.activity(10, None).await.items.is_empty());
    let session = world
        .spaces
        .system_session(&access, world.acme.id, "nightly clean-up")
        .await;
    let session = session.unwrap();
    add(&session, "a").await.unwrap();
    session.rollback().await.unwrap();
    // Also where the job keeps nothing.
    let entries = world.activity(10, None).await.items;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].kind, "system_session");
    assert_eq!(entries[0].reason.as_deref(), Some("nightly clean-up"));
    let session = world
        .spaces
        .system_session(&access, world.acme.id, "more")
        .await
        .unwrap();
    add(&session, "b").await.unwrap();
    session.commit().await.unwrap();
    assert_eq!(world.texts().await, ["b"]);
}

/// Of what is too old nothing is shown, and nothing is left once somebody went round: also of an
/// account to which nothing is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_neither_shown_nor_kept() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let world = World::with(|settings| settings.activity_max_age = Some(HOUR)).await;
    let log = ActivityLog::start(world.spaces.clone());
    let wait = |by| world.database.clock.advance(by);
    log.record(world.sign_in(1));
    log.flush().await;
    wait(HOUR / 2);
    log.record(world.sign_in(2));
    log.flush().await;
    assert_eq!(world.activity(10, None).await.items.len(), 2);
    let file = world.other_process();
    let left = async || {
        let all = file.activity_since(world.acme.id, None);
        let all: Vec<Vec<ActivityEntry>> = all.try_collect().await.unwrap();
        all.concat().len()
    };
    assert_eq!(left().await, 2);
    wait(HOUR / 2 + Duration::from_millis(1));
    assert_eq!(world.activity(10, None).await.items.len(), 1);
    // `file` has no limit of its own, and sees what is there.
    assert_eq!(left().await, 2);
    assert_eq!(retention::round(&world.spaces).await.unwrap(), 1);
    assert_eq!(left().await, 1);
    // One replica goes round, once an hour.
    wait(HOUR / 2);
    assert_eq!(retention::round(&world.spaces).await.unwrap(), 0);
    assert_eq!(world.activity(10, None).await.items.len(), 0);
    assert_eq!(left().await, 1);
    wait(HOUR / 2 + Duration::from_millis(1));
    assert_eq!(retention::round(&world.spaces).await.unwrap(), 1);
    assert_eq!(left().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_handed_on_from_a_moment_the_oldest_first() {
    let world = World::new().await;
    let log = ActivityLog::start(world.spaces.clone());
    for _ in 0..1_203 {
        log.record(ActivityEvent::new(world.acme.id, ActivityKind::Refusal));
    }
    log.flush().await;
    world.database.clock.advance(Duration::from_secs(1));
    let since = world.spaces.now();
    log.record(world.sign_in(1));
    log.flush().await;
    let all: Vec<Vec<ActivityEntry>> = world
        .spaces
        .activity_since(world.acme.id, None)
        .try_collect()
        .await
        .unwrap();
    let sizes: Vec<_> = all.iter().map(Vec::len).collect();
    assert_eq!(sizes, [500, 500, 204]);
    let ids: Vec<_> = all.concat().iter().map(|entry| entry.id).collect();
    assert!(ids.is_sorted());
    let later = world.spaces.activity_since(world.acme.id, Some(since));
    let later: Vec<Vec<ActivityEntry>> = later.try_collect().await.unwrap();
    assert_eq!(later.concat().len(), 1);
    assert_eq!(later[0][0].kind, "sign_in");
}
