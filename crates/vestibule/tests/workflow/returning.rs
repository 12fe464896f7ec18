//! Role and status are ours: neither a new token, nor the provider, nor a removal and a return
//! changes them (security rule 7).

use serde_json::json;
use vestibule::Reason;
use vestibule_sandbox::User;

use crate::app::{App, app, eventually, found};

async fn make_admin(app: &App) {
    app.user("user_ada").me().await.ok();
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.set_user_role(id, "admin").await.unwrap();
    let seen = eventually(
        async || app.user("user_ada").get("/role/admin").await,
        |answer| answer.is_ok(),
    );
    seen.await.ok();
}

/// Comes again until the directory has heard of it.
async fn return_of_ada(app: &App) -> vestibule::store::User {
    found(async || {
        app.user("user_ada").me().await;
        app.row("user_ada").await
    })
    .await
}

#[tokio::test]
async fn the_provider_decides_nothing_about_roles() {
    let app = app().await;
    make_admin(&app).await;
    let changed = User::new("user_ada").name("Ada L.").tenant("tenant_acme");
    app.sandbox.add_user(
        changed
            .member("role", "owner")
            .member("status", "suspended"),
    );
    app.advance(120);
    let token = app
        .sandbox
        .user_token("user_ada")
        .claim("role", "owner")
        .claim("roles", json!(["owner"]));
    let me = app.with(token).me().await.ok();
    assert_eq!(me["user"]["name"], "Ada L.");
    assert_eq!(
        (&me["user"]["role"], &me["user"]["status"]),
        (&json!("admin"), &json!("active"))
    );
}

#[tokio::test]
async fn after_a_removal_here() {
    let app = app().await;
    make_admin(&app).await;
    let before = app.row("user_ada").await.unwrap();
    app.directory.remove_user(before.id).await.unwrap();
    assert!(app.row("user_ada").await.is_none());
    assert_eq!(return_of_ada(&app).await, before);
    app.user("user_ada").get("/role/admin").await.ok();
}

#[tokio::test]
async fn a_suspension_is_not_left_behind() {
    let app = app().await;
    app.user("user_ada").me().await.ok();
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.suspend_user(id).await.unwrap();
    app.directory.remove_user(id).await.unwrap();
    return_of_ada(&app).await;
    app.user("user_ada")
        .me()
        .await
        .refused(Reason::UserSuspended);
}

#[tokio::test]
async fn in_another_account_he_begins_anew() {
    let app = app().await;
    make_admin(&app).await;
    let before = app.row("user_ada").await.unwrap();
    app.sandbox
        .add_user(User::new("user_ada").name("Ada").tenant("tenant_globex"));
    app.user("user_ada")
        .me()
        .await
        .refused(Reason::TenantMismatch);
    app.directory.remove_user(before.id).await.unwrap();
    let after = return_of_ada(&app).await;
    assert_ne!(after.id, before.id);
    assert_eq!(
        (after.account_id, after.role.as_str()),
        (app.globex.id, "member")
    );
    assert_eq!(app.users(&app.acme).await, 0);
}

/// Contract §2: only 404 means gone.
#[tokio::test]
async fn after_a_removal_at_the_provider() {
    let app = app().await;
    make_admin(&app).await;
    let before = app.row("user_ada").await.unwrap();
    let ada = app.user("user_ada");
    ada.me().await.ok();
    app.sandbox.remove_user("user_ada").unwrap();
    // One who keeps coming is refused at most one USER_CACHE_TTL later.
    app.advance(60);
    let answer = eventually(async || ada.me().await, |answer| !answer.is_ok()).await;
    answer.refused(Reason::UnknownUser);
    // His row stays, and so does what it says when he is made again.
    assert_eq!(app.row("user_ada").await, Some(before.clone()));
    app.sandbox.add_user(
        User::new("user_ada")
            .name("Ada")
            .email("ada@acme.example")
            .tenant("tenant_acme"),
    );
    app.advance(11);
    let me = ada.me().await.ok();
    assert_eq!(
        (&me["user"]["role"], &me["user"]["id"]),
        (&json!("admin"), &json!(before.id))
    );
}

#[tokio::test]
async fn one_who_seldom_comes_is_asked_about_first() {
    let app = app().await;
    let ada = app.user("user_ada");
    ada.me().await.ok();
    app.sandbox.remove_user("user_ada").unwrap();
    app.advance(120);
    ada.me().await.refused(Reason::UnknownUser);
}
