//! `iss` is compared byte for byte, and names the only keys that count.

use serde_json::{Value, json};
use vestibule::Reason;
use vestibule_sandbox::{Client, Endpoint};

use super::{Table, ada, robot};
use crate::app::app;

#[tokio::test]
async fn issuers_of_people_are_not_nearly_the_same() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let (url, port) = (app.sandbox.url(), app.sandbox.port());
    for issuer in [
        format!("{url}/"),
        format!("{url}//"),
        format!("{url}."),
        format!(" {url}"),
        format!("{url} "),
        format!("{url}?"),
        format!("{url}#"),
        format!("{url}/."),
        format!("{url}/%2e"),
        format!("{url}/v1/clients"),
        format!("{url}/v1/clients/"),
        format!("{url}\\"),
        format!("{url}@elsewhere.example"),
        url.to_uppercase(),
        format!("HTTP://127.0.0.1:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        format!("http://127.1:{port}"),
        format!("http://127.0.0.1:0{port}"),
        format!("http://127.0.0.1:{port}.elsewhere.example"),
        format!("http://x@127.0.0.1:{port}"),
        "http://127.0.0.1".to_owned(),
        format!("//127.0.0.1:{port}"),
        format!("127.0.0.1:{port}"),
        "https://elsewhere.example".to_owned(),
        "https://authress.io".to_owned(),
        "https://login.authress.io".to_owned(),
        "self".to_owned(),
    ] {
        table
            .refused(
                &issuer,
                ada(&app).issuer(&*issuer).mint(),
                Reason::UnknownIssuer,
            )
            .await;
    }
    table.end().await;
}

#[tokio::test]
async fn issuers_of_machines_are_not_nearly_the_same() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let url = app.sandbox.url();
    for path in [
        "/v1/clients/sc_robot01/",
        "/v1/clients/sc_robot01?x=1",
        "/v1/clients/sc_robot01#x",
        "/v1/clients/sc_robot01%20",
        "/v1/clients/%73c_robot01",
        "/v1/clients/sc%5Frobot01",
        "/v1/clients//sc_robot01",
        "/v1/clients/./sc_robot01",
        "/v1/clients/x/../sc_robot01",
        "/v1/clients/sc_robot01/../sc_robot01",
        "/v1/clients/sc_robot01/v1/clients/sc_robot01",
        "/v1/clients/sc_robot01\\",
        "/v1/clients/sc_robot01 ",
        "/v1/Clients/sc_robot01",
        "/V1/clients/sc_robot01",
        "/v2/clients/sc_robot01",
        "//v1/clients/sc_robot01",
        "/x/v1/clients/sc_robot01",
        "v1/clients/sc_robot01",
        "/v1/clients/SC_robot01",
        "/v1/clients/sc_r",
        "/v1/clients/sc_robot-1",
        "/v1/clients/robot01",
        "/v1/clients/app_robot01",
        "/v1/clients/sc_robot01sc_robot01sc_robot01sc_robot01",
    ] {
        let issuer = format!("{url}{path}");
        table
            .refused(
                path,
                robot(&app).issuer(issuer).mint(),
                Reason::UnknownIssuer,
            )
            .await;
    }
    for origin in [
        "https://elsewhere.example",
        "https://sandbox.api.authress.io",
        "http://localhost",
    ] {
        let issuer = format!("{origin}/v1/clients/sc_robot01");
        table
            .refused(
                &issuer,
                robot(&app).issuer(&*issuer).mint(),
                Reason::UnknownIssuer,
            )
            .await;
    }
    table.end().await;
}

#[tokio::test]
async fn an_issuer_is_a_text() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let missing = ada(&app).without_claim("iss").mint();
    table
        .refused("no iss", missing, Reason::MissingIssuer)
        .await;
    let url = app.sandbox.url();
    for value in [
        Value::Null,
        json!(7),
        json!([url]),
        json!({ "url": url }),
        json!(""),
        json!(format!("{url}\u{0}")),
        json!(format!("{url}\n")),
        json!(format!("{url}/{}", "a".repeat(600))),
    ] {
        let name = format!("iss: {value}");
        table
            .refused(&name, ada(&app).issuer(value).mint(), Reason::BadClaim)
            .await;
    }
    table.end().await;
}

/// Contract §2.4: before any call.
#[tokio::test]
async fn clients_that_are_not_registered_here() {
    let app = app().await;
    app.sandbox.add_client(Client::new("sc_other01"));
    let before = app.calls(&[Endpoint::ClientJwks, Endpoint::Client]);
    let other = app.client("sc_other01").me().await;
    other.refused(Reason::UnregisteredClient);
    for number in 0..50 {
        let invented = app.sandbox.client_token(&format!("sc_invented{number}"));
        app.with(invented)
            .me()
            .await
            .refused(Reason::UnregisteredClient);
    }
    assert_eq!(app.calls(&[Endpoint::ClientJwks, Endpoint::Client]), before);
    // And once it is, its very first token is good.
    let scopes = [];
    app.directory
        .add_client(app.acme.id, "sc_other01", "Other", &scopes)
        .await
        .unwrap();
    let answer = crate::app::eventually(
        async || app.client("sc_other01").me().await,
        |answer| answer.is_ok(),
    );
    answer.await.ok();
}

/// Security rule 3: whoever can make us send a token could call us with it.
#[tokio::test]
async fn the_client_of_our_own_access_key() {
    let app = app().await;
    let own = app.sandbox.server_client_id();
    let before = app.sandbox.calls(Endpoint::ClientJwks);
    app.client(own).me().await.refused(Reason::OwnClient);
    // Not even where somebody registered it.
    app.directory
        .add_client(app.acme.id, own, "Ourselves", &[])
        .await
        .unwrap();
    app.client(own).me().await.refused(Reason::OwnClient);
    assert_eq!(app.sandbox.calls(Endpoint::ClientJwks), before);
    // Nor in the disguise of a person.
    let person = ada(&app).client_id(own);
    app.with(person).me().await.refused(Reason::OwnClient);
    let oauth = app.sandbox.oauth_token(own);
    app.with(oauth).me().await.refused(Reason::SubjectMismatch);
}
