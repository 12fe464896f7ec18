//! Behind a proxy: a caller comes with what `vestibule` signed about him, and the directory of now
//! decides.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use vestibule::{
    Reason, Vestibule,
    assertion::{AssertionSigner, SigningSettings},
    settings::SettingsReader,
};
use vestibule_sandbox::{Endpoint, User};

use crate::{
    app::{App, ROBOT_SCOPE, eventually, with},
    entrance::Actor,
};

const ACCEPT: &str = "VESTIBULE_ACCEPT_ASSERTIONS";
const HEADER: &str = "x-vestibule-assertion";

/// An application that takes assertions for `orders`.
async fn behind_a_proxy() -> App {
    with(ACCEPT, "orders").start().await
}

/// What the server signs about whoever has this token.
pub async fn signed(app: &App, token: &str) -> String {
    let mut headers = HeaderMap::new();
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    headers.insert(AUTHORIZATION, bearer);
    let entrance: &Vestibule = &app.entrance.vestibule;
    let principal = entrance.authenticator().validate_token(&headers).await;
    signer(app)
        .about(&principal.unwrap(), None)
        .to_str()
        .unwrap()
        .to_owned()
}

fn signer(app: &App) -> AssertionSigner {
    let mut reader = SettingsReader::from_pairs([("VESTIBULE_ASSERTION_AUDIENCES", "orders")]);
    let key = &app.settings.provider.access_key;
    let settings = SigningSettings::read(&mut reader, Some(key));
    AssertionSigner::new(settings.unwrap().unwrap(), Arc::new(app.clock.clone()))
}

async fn asserted(app: &App, token: &str) -> Actor {
    let assertion = signed(app, token).await;
    app.anonymous().header(HEADER, assertion)
}

async fn becomes(actor: &Actor, reason: Reason) {
    let answer = eventually(
        async || actor.me().await,
        |answer| answer.seen.reason == Some(reason),
    );
    answer.await.refused(reason);
}

#[tokio::test]
async fn a_person_is_the_same_as_with_the_token() {
    let app = behind_a_proxy().await;
    let token = app.sandbox.user_token("user_ada").mint();
    let mut by_token = app.bearer(&token).me().await.ok();
    let ada = asserted(&app, &token).await;
    by_token["token"]["issuer"] = "vestibule".into();
    assert_eq!(ada.me().await.ok(), by_token);
    // Of his own account, and no other's.
    ada.post("/notes", &"by assertion".into()).await;
    assert_eq!(
        ada.get("/notes").await.ok(),
        serde_json::json!(["by assertion"])
    );
    let grace = app.sandbox.user_token("user_grace").mint();
    let grace = asserted(&app, &grace).await;
    assert_eq!(grace.get("/notes").await.ok(), serde_json::json!([]));
}

#[tokio::test]
async fn a_machine_has_the_scopes_registered_here() {
    let app = behind_a_proxy().await;
    let robot = app.sandbox.client_token("sc_robot01").mint();
    let robot = asserted(&app, &robot).await;
    let me = robot.get("/machine").await.ok();
    assert_eq!(me["user"]["authress_user_id"], "sc_robot01");
    assert_eq!(me["token"]["scopes"], serde_json::json!([ROBOT_SCOPE]));
}

/// The server has asked, at most a minute ago.
#[tokio::test]
async fn authress_is_not_asked() {
    // For a token Authress is asked about its user, each time.
    let app = with(ACCEPT, "orders")
        .with("USER_CACHE_TTL", "0")
        .start()
        .await;
    let token = app.sandbox.user_token("user_ada").mint();
    let assertion = signed(&app, &token).await;
    let asked = [Endpoint::User, Endpoint::Tenant];
    let before = app.calls(&asked);
    let ada = app.anonymous().header(HEADER, &assertion);
    for _ in 0..3 {
        ada.me().await.ok();
    }
    assert_eq!(app.calls(&asked), before);
    app.bearer(&token).me().await.ok();
    assert_eq!(app.calls(&asked), before + 1);
}

#[tokio::test]
async fn the_role_is_the_directorys() {
    let app = behind_a_proxy().await;
    let token = app.sandbox.user_token("user_ada").mint();
    let ada = asserted(&app, &token).await;
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.set_user_role(id, "owner").await.unwrap();
    let me = eventually(
        async || ada.me().await,
        |answer| answer.json()["user"]["role"] == "owner",
    );
    assert_eq!(me.await.ok()["user"]["role"], "owner");
}

#[tokio::test]
async fn suspension_after_signing_counts() {
    let app = behind_a_proxy().await;
    let token = |id: &str| app.sandbox.user_token(id).mint();
    let ada = asserted(&app, &token("user_ada")).await;
    let grace = asserted(&app, &token("user_grace")).await;
    let robot = asserted(&app, &app.sandbox.client_token("sc_robot01").mint()).await;
    for actor in [&ada, &grace, &robot] {
        actor.me().await.ok();
    }
    let id = app.row("user_ada").await.unwrap().id;
    app.directory.suspend_user(id).await.unwrap();
    becomes(&ada, Reason::UserSuspended).await;
    app.directory.suspend_client("sc_robot01").await.unwrap();
    becomes(&robot, Reason::ClientSuspended).await;
    app.directory.suspend_account(app.globex.id).await.unwrap();
    becomes(&grace, Reason::AccountSuspended).await;
    app.directory.resume_user(id).await.unwrap();
    let back = eventually(async || ada.me().await, |answer| answer.is_ok());
    back.await.ok();
}

/// Whoever has the name now is not who was meant, and nobody is made.
#[tokio::test]
async fn another_of_the_same_name_is_not_meant() {
    let app = behind_a_proxy().await;
    let ada = asserted(&app, &app.sandbox.user_token("user_ada").mint()).await;
    let robot = asserted(&app, &app.sandbox.client_token("sc_robot01").mint()).await;
    // In another account, and in the same one.
    for account in [app.globex.id, app.acme.id] {
        app.directory.remove_client("sc_robot01").await.unwrap();
        becomes(&robot, Reason::UnknownClient).await;
        let added = app.directory.add_client(account, "sc_robot01", "new", &[]);
        added.await.unwrap();
        let new = async || app.client("sc_robot01").me().await;
        eventually(new, |answer| answer.is_ok()).await.ok();
        robot.me().await.refused(Reason::UnknownClient);
    }

    let id = app.row("user_ada").await.unwrap().id;
    app.directory.remove_user(id).await.unwrap();
    becomes(&ada, Reason::UnknownUser).await;
    assert!(app.row("user_ada").await.is_none());
    // He comes back in another account, as somebody else.
    let moved = User::new("user_ada").name("Ada").tenant("tenant_globex");
    app.sandbox.add_user(moved);
    let token = || app.sandbox.user_token("user_ada").tenant("tenant_globex");
    let back = eventually(
        async || app.with(token()).me().await,
        |answer| answer.is_ok(),
    );
    back.await.ok();
    ada.me().await.refused(Reason::UnknownUser);
}

#[tokio::test]
async fn neither_is_taken_for_the_other_nor_both_together() {
    let app = behind_a_proxy().await;
    let token = app.sandbox.user_token("user_ada").mint();
    let assertion = signed(&app, &token).await;
    app.bearer(&assertion)
        .me()
        .await
        .refused(Reason::UnknownIssuer);
    let as_assertion = app.anonymous().header(HEADER, &token);
    as_assertion.me().await.refused(Reason::WrongType);
    let both = app.bearer(&token).header(HEADER, &assertion);
    both.me().await.refused(Reason::TwoCredentials);
    both.get("/maybe").await.refused(Reason::TwoCredentials);
    app.bearer(&token)
        .header(HEADER, "")
        .me()
        .await
        .refused(Reason::TwoCredentials);
    let twice = app
        .anonymous()
        .header(HEADER, &assertion)
        .header(HEADER, &assertion);
    twice.me().await.refused(Reason::MalformedAssertion);
    // Nobody was asked who he is.
    let nobody = app.anonymous().header(HEADER, "");
    nobody.me().await.refused(Reason::MissingToken);
    assert_eq!(nobody.get("/maybe").await.json(), "anonymous");
    // Direct, as ever.
    app.bearer(&token).me().await.ok();
}

#[tokio::test]
async fn it_ends_and_is_for_one_application() {
    let app = behind_a_proxy().await;
    let ada = asserted(&app, &app.sandbox.user_token("user_ada").mint()).await;
    ada.me().await.ok();
    app.advance(89);
    ada.me().await.ok();
    app.advance(1);
    ada.me().await.refused(Reason::Expired);

    let billing = with(ACCEPT, "billing").start().await;
    let token = billing.sandbox.user_token("user_ada").mint();
    let ada = asserted(&billing, &token).await;
    ada.me().await.refused(Reason::WrongAudience);
}

#[tokio::test]
async fn unless_it_is_accepted_it_is_not_looked_at() {
    let app = crate::app::app().await;
    let token = app.sandbox.user_token("user_ada").mint();
    let assertion = signed(&app, &token).await;
    app.anonymous()
        .header(HEADER, &assertion)
        .me()
        .await
        .refused(Reason::MissingToken);
    app.bearer(&token)
        .header(HEADER, &assertion)
        .header(HEADER, "x")
        .me()
        .await
        .ok();
}

#[tokio::test]
async fn a_builder_can_say_so_too() {
    let app = crate::app::app().await;
    let token = app.sandbox.user_token("user_ada").mint();
    let assertion = signed(&app, &token).await;
    let builder = || Vestibule::builder(app.settings.clone()).clock(Arc::new(app.clock.clone()));
    let vestibule = builder()
        .accept_assertions("orders", "vestibule")
        .build()
        .await;
    let entrance = crate::entrance::Entrance::new(vestibule.unwrap());
    entrance
        .anonymous()
        .header(HEADER, assertion)
        .me()
        .await
        .ok();
    for audience in ["", "vestibule", "orders,billing"] {
        let refused = builder()
            .accept_assertions(audience, "vestibule")
            .build()
            .await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(ACCEPT), "{said}");
    }
}

/// The server that signed has noted the sign-in; an assertion is none.
#[tokio::test]
async fn it_is_no_sign_in() {
    let app = behind_a_proxy().await;
    let ada = asserted(&app, &app.sandbox.user_token("user_ada").mint()).await;
    for _ in 0..3 {
        ada.me().await.ok();
    }
    app.entrance.vestibule.settle_activity().await;
    let page = ada.get("/activity").await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
}
