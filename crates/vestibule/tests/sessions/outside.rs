//! Sessions without a request: those of a principal that was authenticated by hand, and those of
//! jobs.

use std::time::Duration;

use sqlx::Connection as _;
use uuid::Uuid;
use vestibule::{
    Principal, SessionError, TenantRepository as _, TenantSession,
    store::Page,
    tenancy::activity::{self, ActivityEntry},
};

use crate::world::{Marks, World, soon};

async fn caller(world: &World, token: &str) -> Principal {
    let mut headers = axum::http::HeaderMap::new();
    let bearer = format!("Bearer {token}").parse().unwrap();
    headers.insert("authorization", bearer);
    let authenticator = world.vestibule.authenticator();
    authenticator.validate_token(&headers).await.unwrap()
}

async fn activity(session: TenantSession) -> Vec<ActivityEntry> {
    let page = activity::page(
        &session,
        &Page {
            limit: 200,
            cursor: None,
        },
    );
    let entries = page.await.unwrap().items;
    session.rollback().await.unwrap();
    entries
}

#[tokio::test]
async fn a_session_by_hand_is_committed_by_hand() {
    let world = World::start().await;
    let ada = caller(&world, &world.ada()).await;
    let get = || world.vestibule.get_repository::<Marks>(&ada).unwrap();

    let dropped = get();
    dropped.add("dropped").await.unwrap();
    drop(dropped);
    let rolled_back = get();
    rolled_back.add("rolled back").await.unwrap();
    rolled_back.0.rollback().await.unwrap();
    let kept = get();
    kept.add("kept").await.unwrap();
    assert!(world.committed(world.acme).await.is_empty());
    let other = kept.clone();
    kept.0.commit().await.unwrap();
    assert_eq!(world.committed(world.acme).await, ["kept"]);

    // All handles of it are closed, and it ends once.
    let late = other.add("late").await;
    assert!(matches!(late, Err(SessionError::SessionClosed)), "{late:?}");
    let again = other.0.commit().await;
    assert!(
        matches!(again, Err(SessionError::SessionClosed)),
        "{again:?}"
    );
    // One that did nothing ends well too.
    get().0.commit().await.unwrap();
    assert_eq!(world.committed(world.acme).await, ["kept"]);
}

#[tokio::test]
async fn a_commit_by_hand_that_fails_keeps_nothing() {
    let world = World::start().await;
    let ada = caller(&world, &world.ada()).await;
    let lost: Marks = world.vestibule.get_repository(&ada).unwrap();
    lost.add("beside it").await.unwrap();
    lost.add_lost("lost").await.unwrap();
    let committed = lost.0.commit().await.unwrap_err();
    assert!(committed.is_foreign_key_violation(), "{committed:?}");
    assert!(world.committed(world.acme).await.is_empty());
    let next: Marks = world.vestibule.get_repository(&ada).unwrap();
    assert!(next.labels().await.unwrap().is_empty());
}

#[tokio::test]
async fn sessions_by_hand_are_apart() {
    let world = World::with(|database| database.timeout = Duration::from_secs(1)).await;
    let ada = caller(&world, &world.ada()).await;
    let grace = caller(&world, &world.grace()).await;
    let first: Marks = world.vestibule.get_repository(&ada).unwrap();
    first.add("first").await.unwrap();
    let hers: Marks = world.vestibule.get_repository(&grace).unwrap();
    assert!(hers.labels().await.unwrap().is_empty());
    // On SQLite an account's sessions follow each other.
    let second: Marks = world.vestibule.get_repository(&ada).unwrap();
    let waited = second.labels().await;
    assert!(
        matches!(waited, Err(SessionError::Unavailable(_))),
        "{waited:?}"
    );
    first.0.commit().await.unwrap();
    // Nothing was done by the second yet, so it may try again.
    assert_eq!(second.labels().await.unwrap(), ["first"]);
}

#[tokio::test]
async fn a_system_session_is_written_down_with_its_reason() {
    let world = World::start().await;
    let (vestibule, access) = (&world.vestibule, &world.access);
    let job = vestibule.system_session(access, world.globex, "nightly count");
    let job = Marks::new(job.await.unwrap());
    assert_eq!(job.0.account_id(), world.globex);
    job.add("by the job").await.unwrap();
    // It is written down, whatever becomes of the session.
    drop(job);
    assert!(world.committed(world.globex).await.is_empty());

    let job = vestibule.system_session(access, world.globex, "nightly repair");
    let job = Marks::new(job.await.unwrap());
    job.add("by the job").await.unwrap();
    job.0.commit().await.unwrap();
    assert_eq!(world.committed(world.globex).await, ["by the job"]);
    assert!(world.committed(world.acme).await.is_empty());

    let look = vestibule.system_session(access, world.globex, "look").await;
    let entries = activity(look.unwrap()).await;
    let said: Vec<_> = entries
        .iter()
        .map(|entry| (entry.kind.as_str(), entry.reason.as_deref().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("system_session", "look"),
            ("system_session", "nightly repair"),
            ("system_session", "nightly count"),
        ]
    );
    assert!(entries.iter().all(|entry| entry.user_id.is_none()));
}

#[tokio::test]
async fn a_system_session_needs_a_reason_and_an_account() {
    let world = World::start().await;
    let (vestibule, access) = (&world.vestibule, &world.access);
    let long = "x".repeat(257);
    for reason in ["", " ", "a\nb", long.as_str()] {
        let refused = vestibule.system_session(access, world.acme, reason).await;
        assert!(
            matches!(refused, Err(SessionError::Refused(_))),
            "{reason:?}: {refused:?}"
        );
    }
    let nobody = vestibule
        .system_session(access, Uuid::now_v7(), "look")
        .await;
    assert!(
        matches!(nobody, Err(SessionError::Refused(_))),
        "{nobody:?}"
    );
    let look = vestibule.system_session(access, world.acme, "look").await;
    assert_eq!(activity(look.unwrap()).await.len(), 1);
}

/// Where it cannot be written down, there is no session.
#[tokio::test]
async fn a_system_session_that_cannot_be_written_down() {
    let world = World::with(|database| database.timeout = Duration::from_secs(1)).await;
    let held = world.lock(world.acme).await;
    let job = world
        .vestibule
        .system_session(&world.access, world.acme, "look");
    let job = soon(job).await;
    assert!(matches!(job, Err(SessionError::Unavailable(_))), "{job:?}");
    held.close().await.unwrap();
}

/// A file under the account's name that is another account's does not open.
#[tokio::test]
async fn a_file_opens_for_its_own_account_alone() {
    let world = World::start().await;
    std::fs::copy(world.path(world.globex), world.path(world.acme)).unwrap();
    let ada = caller(&world, &world.ada()).await;
    let marks: Marks = world.vestibule.get_repository(&ada).unwrap();
    let refused = marks.labels().await;
    assert!(
        matches!(refused, Err(SessionError::Refused(_))),
        "{refused:?}"
    );
}
