//! What was cut off counts no more, remembered or not, in every process; what is issued afterwards
//! does.

use vestibule::{
    BearerToken, Clock as _, Reason,
    store::{CutOff, CutOffTarget},
    token::TokenDigest,
};

use crate::{
    app::{App, app, eventually, found},
    entrance::Actor,
};

impl App {
    pub async fn cut_off(&self, target: CutOffTarget) {
        let cut_off = CutOff {
            target,
            issued_before: self.clock.now(),
            ends_at: None,
        };
        self.directory.cut_off(&cut_off).await.unwrap();
    }
}

async fn is_cut_off(actor: &Actor) {
    let reason = Some(Reason::Revoked);
    eventually(
        async || actor.me().await,
        |answer| answer.seen.reason == reason,
    )
    .await
    .refused(Reason::Revoked);
}

/// In a process that knows the token, in one that starts later, and in one that remembers nothing.
async fn everywhere(app: &App, token: &str) {
    is_cut_off(&app.bearer(token)).await;
    app.replica()
        .await
        .bearer(token)
        .me()
        .await
        .refused(Reason::Revoked);
    let forgetful = app.replica_without_memory().await;
    forgetful.bearer(token).me().await.refused(Reason::Revoked);
}

#[tokio::test]
async fn of_a_token() {
    let app = app().await;
    let mint = |number| {
        app.sandbox
            .user_token("user_ada")
            .claim("number", number)
            .mint()
    };
    let (stolen, other) = (mint(1), mint(2));
    for token in [&stolen, &other] {
        app.bearer(token).me().await.ok();
    }
    let digest = TokenDigest::of(&BearerToken::parse(&stolen).unwrap());
    app.cut_off(CutOffTarget::Token(digest.identity())).await;
    everywhere(&app, &stolen).await;
    app.bearer(&other).me().await.ok();
}

#[tokio::test]
async fn of_a_user() {
    let app = app().await;
    let (ada, alan) = (
        app.sandbox.user_token("user_ada").mint(),
        app.user("user_alan"),
    );
    app.bearer(&ada).me().await.ok();
    alan.me().await.ok();
    app.advance(5);
    let id = app.row("user_ada").await.unwrap().id;
    app.cut_off(CutOffTarget::User(id)).await;
    everywhere(&app, &ada).await;
    alan.me().await.ok();
    // Issued at that moment, it is not from before.
    app.user("user_ada").me().await.ok();
    app.advance(1);
    app.user("user_ada").me().await.ok();
    // And his account's activity says what happened.
    let reasons = found(async || {
        let page = alan.get("/activity").await.ok();
        let items = page["items"].as_array().unwrap().clone();
        let mut reasons = items.iter().map(|item| item["reason"].clone());
        reasons.find(|reason| *reason == "revoked")
    })
    .await;
    assert_eq!(reasons, "revoked");
}

#[tokio::test]
async fn of_an_account() {
    let app = app().await;
    let ada = app.sandbox.user_token("user_ada").mint();
    let (robot, grace) = (app.client("sc_robot01"), app.user("user_grace"));
    app.bearer(&ada).me().await.ok();
    robot.me().await.ok();
    grace.me().await.ok();
    app.advance(5);
    app.cut_off(CutOffTarget::Account(app.acme.id)).await;
    everywhere(&app, &ada).await;
    is_cut_off(&robot).await;
    grace.me().await.ok();
    app.user("user_ada").me().await.ok();
    app.client("sc_robot01").me().await.ok();
}

#[tokio::test]
async fn of_an_issuer() {
    let app = app().await;
    let ada = app.sandbox.user_token("user_ada").mint();
    let robot = app.client("sc_robot01");
    app.bearer(&ada).me().await.ok();
    robot.me().await.ok();
    app.advance(5);
    app.cut_off(CutOffTarget::Issuer(app.sandbox.url().to_owned()))
        .await;
    everywhere(&app, &ada).await;
    // Its own issuer signs its tokens.
    robot.me().await.ok();
    app.user("user_ada").me().await.ok();
}

/// The holder of a service client's key writes whatever time of issue he likes.
#[tokio::test]
async fn of_a_key() {
    let app = app().await;
    let old = app.sandbox.client_token("sc_robot01").mint();
    let other = app.client("sc_robot02");
    app.bearer(&old).me().await.ok();
    other.me().await.ok();
    let kid = app.sandbox.client_key("sc_robot01").kid().to_owned();
    app.cut_off(CutOffTarget::Key {
        client_id: "sc_robot01".to_owned(),
        kid,
    })
    .await;
    everywhere(&app, &old).await;
    app.advance(60);
    app.client("sc_robot01").me().await.refused(Reason::Revoked);
    other.me().await.ok();
    app.sandbox.rotate_client_key("sc_robot01").unwrap();
    app.client("sc_robot01").me().await.ok();
}
