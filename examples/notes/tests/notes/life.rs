//! Bodies, restarts, migrations, and requests that are broken off.

use std::{process::Stdio, time::Duration};

use reqwest::Method;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::application::{Notes, Place};

#[tokio::test]
async fn bad_requests_are_told_so_and_change_nothing() {
    let (place, ..) = Place::with_accounts().await;
    let notes = place.start().await;
    let ada = place.user(&notes, "user_ada");
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(10_001));
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"text\"",
        "{}",
        r#"{"text":null}"#,
        r#"{"text":7}"#,
        r#"{"text":""}"#,
        r#"{"text":" \n\t"}"#,
        r#"{"text":"a","text":"b"}"#,
        r#"{"text":"a"} more"#,
        &long,
    ] {
        let answer = ada.ask(Method::POST, "/notes", Some(body)).await;
        answer.expect_problem(400, "invalid_request");
    }
    let huge = format!(r#"{{"text":"{}"}}"#, "x".repeat(3_000_000));
    let answer = ada.ask(Method::POST, "/notes", Some(&huge)).await;
    answer.expect_problem(413, "request_too_large");
    let untyped = ada.ask(Method::POST, "/notes", None).await;
    untyped.expect_problem(400, "invalid_request");
    for id in ["x", "0", "%00", "0190a8f2-0000-7000-8000-00000000000g"] {
        let path = format!("/notes/{id}");
        for method in [Method::GET, Method::DELETE] {
            let answer = ada.ask(method, &path, None).await;
            answer.expect_problem(404, "not_found");
        }
    }
    assert!(ada.texts().await.is_empty());
    let longest = "x".repeat(10_000);
    ada.write(&longest).await;
    ada.write("Grüße aus Zürich ☕ '; DROP TABLE notes; --")
        .await;
    assert_eq!(ada.texts().await.len(), 2);
}

#[tokio::test]
async fn notes_come_and_go() {
    let (place, ..) = Place::with_accounts().await;
    let notes = place.start().await;
    let ada = place.user(&notes, "user_ada");
    let id = ada.write("Buy milk").await;
    let path = format!("/notes/{id}");
    assert_eq!(ada.get(&path).await.body["text"], "Buy milk");
    let answer = ada.ask(Method::DELETE, &path, None).await;
    assert_eq!(answer.status, 204);
    let again = ada.ask(Method::DELETE, &path, None).await;
    again.expect_problem(404, "not_found");
    ada.get(&path).await.expect_problem(404, "not_found");
    assert!(ada.texts().await.is_empty());
}

#[tokio::test]
async fn what_was_answered_survives_every_end() {
    let (place, ..) = Place::with_accounts().await;
    let mut expected = Vec::new();
    for (round, end) in [Notes::interrupt, Notes::kill, Notes::kill]
        .iter()
        .enumerate()
    {
        let notes = place.start().await;
        let ada = place.user(&notes, "user_ada");
        assert_eq!(ada.texts().await, expected);
        for number in 0..5 {
            let text = format!("{round} {number}");
            ada.write(&text).await;
            expected.push(text);
        }
        end(notes);
    }
    let notes = place.start().await;
    assert_eq!(place.user(&notes, "user_ada").texts().await, expected);
}

/// Accounts that were there first, that come while the application runs, and that come when it
/// has ended: all have its tables.
#[tokio::test]
async fn every_account_has_the_tables() {
    let place = Place::new().await;
    place.add_account("Acme", "tenant_acme", "sc_robot01").await;
    let notes = place.start().await;
    place.user(&notes, "user_ada").write("before").await;
    // Grace is refused while her account is missing, and let in once it is there.
    let grace = place.user(&notes, "user_grace");
    grace
        .get("/notes")
        .await
        .expect_problem(401, "unknown_account");
    place
        .add_account("Globex", "tenant_globex", "sc_robot02")
        .await;
    let robot = place.machine(&notes, "sc_robot02");
    robot.write("while it runs").await;
    let waited = async {
        // A change takes effect within a second.
        while grace.get("/notes").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), waited)
        .await
        .unwrap();
    assert_eq!(grace.texts().await, ["while it runs"]);
    notes.interrupt();
    place
        .add_account("Initech", "tenant_initech", "sc_robot03")
        .await;
    let notes = place.start().await;
    assert_eq!(place.user(&notes, "user_ada").texts().await, ["before"]);
}

/// The client goes away while its note waits to be written: it is not.
#[tokio::test]
async fn a_request_that_is_broken_off_writes_nothing() {
    let (place, acme, _) = Place::with_accounts().await;
    let notes = place.start().await;
    let ada = place.user(&notes, "user_ada");
    ada.write("kept").await;
    let body = r#"{"text":"unwanted"}"#;
    let head = format!(
        "POST /notes HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        ada.token,
        body.len()
    );
    let address = notes.url.strip_prefix("http://").unwrap().to_owned();
    for round in 0..6 {
        // Another process holds the account's file, so the request waits.
        let options = SqliteConnectOptions::new().filename(place.file(acme));
        let mut held = options.connect().await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut held)
            .await
            .unwrap();
        let mut client = TcpStream::connect(&address).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        // Every other time the body stays behind too.
        let sent = if round % 2 == 0 { body } else { &body[..7] };
        client.write_all(sent.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(round * 15)).await;
        drop(client);
        // Time for the application to notice: nothing outside shows when it has.
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.close().await.unwrap();
        assert_eq!(ada.texts().await, ["kept"], "round {round}");
    }
}

#[tokio::test]
async fn without_settings_it_says_what_to_set() {
    let place = Place::new().await;
    let output = place
        .command()
        .env_clear()
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    for name in ["AUTHRESS_API_URL", "AUTHRESS_ACCESS_KEY"] {
        assert!(said.contains(&format!("\n  {name}: ")), "{said}");
    }
}
