//! Tokens of another kind: not forged, and not meant for us.

use serde_json::json;
use vestibule::Reason;

use super::{Table, ada, robot};
use crate::app::{app, with};

#[tokio::test]
async fn login_codes_are_no_access_tokens() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let code = || app.sandbox.login_code("sc_robot01", "user_ada");
    table
        .refused("a login code", code().mint(), Reason::WrongType)
        .await;
    // Nor would they be if they said so: the client's key speaks for the client alone.
    for typ in ["at+jwt", "JWT"] {
        table
            .refused(typ, code().typ(typ).mint(), Reason::SubjectMismatch)
            .await;
    }
    let for_people = code().typ("at+jwt").issuer(app.sandbox.issuer()).mint();
    table
        .refused("in the issuer's name", for_people, Reason::UnknownKey)
        .await;
    table.end().await;
}

#[tokio::test]
async fn id_tokens_are_no_access_tokens() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let id = || app.sandbox.id_token("user_ada");
    table
        .refused("an id token", id().mint(), Reason::WrongType)
        .await;
    table
        .refused("retyped", id().typ("at+jwt").mint(), Reason::MissingClaim)
        .await;
    let complete = id().typ("at+jwt").client_id("app_web").mint();
    // `aud` is the application, and no tenant of hers.
    table
        .refused("completed", complete, Reason::TenantMismatch)
        .await;
    table.end().await;
}

#[tokio::test]
async fn what_the_account_signs_for_a_client_is_nobody() {
    for allowed in ["false", "true"] {
        let app = with("AUTHRESS_ALLOW_CLIENT_ISSUED_USERS", allowed)
            .start()
            .await;
        let mut table = Table::new(&app).await;
        let oauth = || app.sandbox.oauth_token("sc_robot01");
        table
            .refused("as it comes", oauth().mint(), Reason::SubjectMismatch)
            .await;
        for client in ["app_web", "sc_robot02"] {
            let token = oauth().client_id(client).mint();
            table.refused(client, token, Reason::SubjectMismatch).await;
        }
        let tenant = oauth().audience(json!(["tenant_acme"])).mint();
        table
            .refused("with a tenant", tenant, Reason::SubjectMismatch)
            .await;
        let as_machine = oauth()
            .issuer(app.sandbox.client_issuer("sc_robot01"))
            .mint();
        table
            .refused("in the client's name", as_machine, Reason::UnknownKey)
            .await;
        table.end().await;
    }
}

/// Each issuer's keys speak for that issuer, whatever the claims say.
#[tokio::test]
async fn nobody_becomes_another() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let user_issuer = app.sandbox.issuer();
    let client_issuer = app.sandbox.client_issuer("sc_robot01");
    let as_person = robot(&app)
        .issuer(user_issuer)
        .sub("user_ada")
        .client_id("app_web")
        .mint();
    table
        .refused("a client as a person", as_person, Reason::UnknownKey)
        .await;
    let as_machine = ada(&app)
        .issuer(&*client_issuer)
        .sub("sc_robot01")
        .client_id("sc_robot01")
        .audience(app.sandbox.machine_audience())
        .mint();
    table
        .refused("a person as a client", as_machine, Reason::UnknownKey)
        .await;
    let on_behalf = robot(&app).sub("user_ada").mint();
    table
        .refused(
            "a client on a person's behalf",
            on_behalf,
            Reason::SubjectMismatch,
        )
        .await;
    let whole = ada(&app)
        .issuer(&*client_issuer)
        .key(&app.sandbox.client_key("sc_robot01"))
        .mint();
    table
        .refused(
            "a person's claims in a client's name",
            whole,
            Reason::SubjectMismatch,
        )
        .await;
    table.end().await;
}
