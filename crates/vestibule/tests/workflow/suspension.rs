//! Suspension takes effect on tokens that are remembered, and ends as it began.

use vestibule::Reason;
use vestibule_sandbox::User;

use crate::{
    app::{App, app, eventually},
    entrance::Actor,
};

/// Asks until the change of another process has arrived: refused for this reason, or let in.
async fn becomes(actor: &Actor, reason: Option<Reason>) {
    let answer = eventually(
        async || actor.me().await,
        |answer| answer.seen.reason == reason,
    )
    .await;
    match reason {
        Some(reason) => answer.refused(reason),
        None => drop(answer.ok()),
    }
}

async fn all_in(app: &App) -> [Actor; 3] {
    let actors = [
        app.user("user_ada"),
        app.user("user_alan"),
        app.client("sc_robot01"),
    ];
    for actor in &actors {
        actor.me().await.ok();
    }
    actors
}

#[tokio::test]
async fn of_a_user() {
    let app = app().await;
    let [ada, alan, robot] = all_in(&app).await;
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.suspend_user(id).await.unwrap();
    becomes(&ada, Some(Reason::UserSuspended)).await;
    app.user("user_ada")
        .me()
        .await
        .refused(Reason::UserSuspended);
    alan.me().await.ok();
    robot.me().await.ok();
    app.directory.resume_user(id).await.unwrap();
    becomes(&ada, None).await;
}

#[tokio::test]
async fn of_a_client() {
    let app = app().await;
    let [ada, _, robot] = all_in(&app).await;
    app.directory.suspend_client("sc_robot01").await.unwrap();
    becomes(&robot, Some(Reason::ClientSuspended)).await;
    app.client("sc_robot01")
        .me()
        .await
        .refused(Reason::ClientSuspended);
    ada.me().await.ok();
    app.directory.resume_client("sc_robot01").await.unwrap();
    becomes(&robot, None).await;
}

#[tokio::test]
async fn of_an_account() {
    let app = app().await;
    let actors = all_in(&app).await;
    let grace = app.user("user_grace");
    grace.me().await.ok();
    app.sandbox
        .add_user(User::new("user_new").tenant("tenant_acme"));
    app.directory.suspend_account(app.acme.id).await.unwrap();
    for actor in &actors {
        becomes(actor, Some(Reason::AccountSuspended)).await;
    }
    grace.me().await.ok();
    // Nobody new comes in, nor into the directory.
    app.user("user_new")
        .me()
        .await
        .refused(Reason::AccountSuspended);
    assert!(app.row("user_new").await.is_none());
    app.directory.resume_account(app.acme.id).await.unwrap();
    for actor in &actors {
        becomes(actor, None).await;
    }
    app.user("user_new").me().await.ok();
}

/// The account's state says more than the caller's.
#[tokio::test]
async fn of_both() {
    let app = app().await;
    let [ada, _, robot] = all_in(&app).await;
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.suspend_user(id).await.unwrap();
    app.directory.suspend_client("sc_robot01").await.unwrap();
    app.directory.suspend_account(app.acme.id).await.unwrap();
    becomes(&ada, Some(Reason::AccountSuspended)).await;
    becomes(&robot, Some(Reason::AccountSuspended)).await;
    app.directory.resume_account(app.acme.id).await.unwrap();
    becomes(&ada, Some(Reason::UserSuspended)).await;
    becomes(&robot, Some(Reason::ClientSuspended)).await;
}

/// A token must be for the tenant before anything is told about its user.
#[tokio::test]
async fn is_told_to_nobody_elses_tenant() {
    let app = app().await;
    let [ada, ..] = all_in(&app).await;
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.suspend_user(id).await.unwrap();
    becomes(&ada, Some(Reason::UserSuspended)).await;
    let abroad = app.sandbox.user_token("user_ada").tenant("tenant_globex");
    app.with(abroad).me().await.refused(Reason::TenantMismatch);
}

#[tokio::test]
async fn of_a_deleted_account() {
    let app = app().await;
    let [ada, _, robot] = all_in(&app).await;
    app.spaces.delete_account(app.acme.id).await.unwrap();
    becomes(&ada, Some(Reason::UnknownAccount)).await;
    becomes(&robot, Some(Reason::UnknownClient)).await;
    app.user("user_grace").me().await.ok();
}
