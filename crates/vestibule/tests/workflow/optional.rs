//! `Option<Principal>`: nobody is let in as nobody, but only who shows nothing at all.

use serde_json::json;
use vestibule::Reason;
use vestibule_sandbox::{Endpoint, Fault};

use crate::app::{app, eventually, subject};

#[tokio::test]
async fn no_credentials_are_nobody_and_good_ones_somebody() {
    let app = app().await;
    let answer = app.anonymous().get("/maybe").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (200, json!("anonymous"))
    );
    let answer = app.user("user_ada").get("/maybe").await;
    assert_eq!(subject(&answer.ok()), "user_ada");
    let answer = app.client("sc_robot01").get("/maybe").await;
    assert_eq!(subject(&answer.ok()), "sc_robot01");
}

#[tokio::test]
async fn bad_credentials_are_never_nobody() {
    let app = app().await;
    let maybe = async |actor: crate::entrance::Actor| actor.get("/maybe").await;
    for value in ["", "Bearer", "Basic dXNlcjpwYXNz", "bearer  "] {
        let actor = app.anonymous().authorization(value);
        maybe(actor).await.refused(Reason::MalformedAuthorization);
    }
    maybe(app.bearer("abc"))
        .await
        .refused(Reason::NotThreeParts);
    let expired = app.sandbox.user_token("user_ada").expires_in(-30).mint();
    maybe(app.bearer(expired)).await.refused(Reason::Expired);
    let stranger = app.sandbox.user_token("user_nobody").mint();
    maybe(app.bearer(stranger))
        .await
        .refused(Reason::UnknownUser);
    app.sandbox.fail(Endpoint::User, Fault::Status(500));
    maybe(app.user("user_grace"))
        .await
        .refused(Reason::ProviderUnavailable);
    app.sandbox.heal();

    let ada = app.user("user_ada");
    ada.me().await.ok();
    let row = app.row("user_ada").await.unwrap();
    app.directory.suspend_user(row.id).await.unwrap();
    let answer = eventually(async || ada.get("/maybe").await, |answer| !answer.is_ok()).await;
    answer.refused(Reason::UserSuspended);
}
