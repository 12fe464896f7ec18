//! What does not even look like a token, and tokens in places where none is looked for.

use axum::body::Body;
use http::Method;
use serde_json::json;
use vestibule::Reason;

use super::{Table, ada, parts};
use crate::app::app;

const LONGEST: usize = 8_192;

#[tokio::test]
async fn three_parts_of_canonical_base64url() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let token = ada(&app).mint();
    let [header, claims, signature] = parts(&token);
    for (name, token) in [
        ("one part", header.clone()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{token}.{signature}")),
        ("five parts, as encryption has", format!("{token}.a.b")),
        ("a dot before", format!(".{token}")),
        ("dots alone", "...".to_owned()),
    ] {
        table.refused(name, token, Reason::NotThreeParts).await;
    }
    let last = |part: &str| {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = alphabet
            .iter()
            .position(|byte| part.ends_with(*byte as char))
            .unwrap();
        // The lowest bit of the last character means nothing where the length leaves some over.
        format!("{}{}", &part[..part.len() - 1], alphabet[at ^ 1] as char)
    };
    for (name, token) in [
        ("padding", format!("{token}==")),
        ("a plus", format!("{header}.{claims}+.{signature}")),
        ("a slash", format!("{header}/.{claims}.{signature}")),
        ("a tilde", format!("{header}.{claims}.{signature}~")),
        (
            "another last character",
            format!("{header}.{claims}.{}", last(&signature)),
        ),
        (
            "a character too many",
            format!("{header}.{claims}.{signature}AAA"),
        ),
    ] {
        table.refused(name, token, Reason::BadBase64).await;
    }
    for (name, token, reason) in [
        (
            "no header",
            format!(".{claims}.{signature}"),
            Reason::BadJson,
        ),
        (
            "no claims",
            format!("{header}..{signature}"),
            Reason::BadJson,
        ),
        (
            "no signature",
            format!("{header}.{claims}."),
            Reason::BadSignature,
        ),
        ("nothing", "..".to_owned(), Reason::BadJson),
        (
            "bytes that are no text",
            format!("{header}.__8.{signature}"),
            Reason::BadJson,
        ),
    ] {
        table.refused(name, token, reason).await;
    }
    table.end().await;
}

#[tokio::test]
async fn a_raw_access_key_is_no_token() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    for key in [
        app.sandbox.access_key(),
        app.sandbox.client_access_key("sc_robot01"),
    ] {
        table
            .refused("an access key", key, Reason::AccessKeyShaped)
            .await;
    }
    table.end().await;
}

#[tokio::test]
async fn eight_kibibytes_are_judged_and_no_more() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let of_length = |wanted: usize| {
        (1..)
            .map(|filler| ada(&app).claim("x", "x".repeat(wanted / 2 + filler)).mint())
            .find(|token| token.len() >= wanted)
            .unwrap()
    };
    let longest = of_length(LONGEST);
    assert!(longest.len() <= LONGEST + 1, "{}", longest.len());
    let fitting = match longest.len() {
        LONGEST => longest,
        // The lengths of base64 skip one in four.
        _ => of_length(LONGEST - 1),
    };
    assert!((LONGEST - 1..=LONGEST).contains(&fitting.len()));
    table.accepted("the longest", &fitting).await;
    let longer = of_length(LONGEST + 1);
    table.refused("longer", longer, Reason::TokenTooLong).await;
    table
        .refused("a megabyte", "a".repeat(1 << 20), Reason::TokenTooLong)
        .await;
    table
        .refused(
            "a megabyte of dots",
            ".".repeat(1 << 20),
            Reason::TokenTooLong,
        )
        .await;
    table.end().await;
}

/// RFC 6750 §2.1, and no other way.
#[tokio::test]
async fn one_header_and_one_scheme() {
    let app = app().await;
    app.user("user_ada").me().await.ok();
    let token = ada(&app).mint();
    let other = app.sandbox.user_token("user_grace").mint();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let actor = app.anonymous().authorization(&format!("{scheme} {token}"));
        actor.me().await.ok();
    }
    for value in [
        format!("Basic {token}"),
        format!("DPoP {token}"),
        format!("Token {token}"),
        format!("Bearer{token}"),
        format!("Bearer:{token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token} "),
        format!("Bearer {token},"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer \"{token}\""),
        format!("Bearer token={token}"),
        token.clone(),
        "Bearer".to_owned(),
        String::new(),
    ] {
        let answer = app.anonymous().authorization(&value).me().await;
        answer.refused(Reason::MalformedAuthorization);
    }
    // Whichever of two a proxy has judged, it is not known here.
    for second in [
        format!("Bearer {token}"),
        format!("Bearer {other}"),
        "Basic eDp5".to_owned(),
        String::new(),
    ] {
        let answer = app.bearer(&token).authorization(&second).me().await;
        answer.refused(Reason::MalformedAuthorization);
    }
    let bytes = [b"Bearer ", token.as_bytes(), b"\xff"].concat();
    let answer = app.anonymous().header("authorization", bytes).me().await;
    answer.refused(Reason::MalformedAuthorization);
}

#[tokio::test]
async fn nowhere_else_is_looked() {
    let app = app().await;
    let token = ada(&app).mint();
    let anonymous = app.anonymous();
    for name in [
        "cookie",
        "x-authorization",
        "proxy-authorization",
        "x-access-token",
        "x-forwarded-authorization",
    ] {
        for value in [
            token.clone(),
            format!("Bearer {token}"),
            format!("authorization={token}; access_token={token}"),
        ] {
            let answer = anonymous.clone().header(name, value).me().await;
            answer.refused(Reason::MissingToken);
        }
    }
    for query in ["access_token", "token", "authorization", "bearer_token"] {
        let answer = anonymous.get(&format!("/me?{query}={token}")).await;
        answer.refused(Reason::MissingToken);
    }
    let form = anonymous
        .clone()
        .header("content-type", "application/x-www-form-urlencoded");
    let body = Body::from(format!("access_token={token}"));
    let answer = form.send(Method::POST, "/notes", body).await;
    answer.refused(Reason::MissingToken);
    let answer = anonymous
        .post("/notes", &json!({ "access_token": token }))
        .await;
    answer.refused(Reason::MissingToken);
    // And beside a good one they do no harm.
    let grace = app.sandbox.user_token("user_grace").mint();
    let answer = app
        .bearer(&token)
        .header("cookie", &grace)
        .get(&format!("/me?access_token={grace}"))
        .await;
    assert_eq!(crate::app::subject(&answer.ok()), "user_ada");
}

/// Nobody's first token costs a call, as long as it is not signed.
#[tokio::test]
async fn strangers_make_a_cold_application_call_nobody() {
    let app = app().await;
    assert!(
        app.sandbox
            .wait_for_calls(vestibule_sandbox::Endpoint::Jwks, 1)
            .await
    );
    let machine = || app.sandbox.client_token("sc_robot01");
    for (name, token, reason) in [
        (
            "algorithm",
            machine().alg("none"),
            Reason::UnsupportedAlgorithm,
        ),
        ("type", machine().typ("id+jwt"), Reason::WrongType),
        ("kid", machine().kid("../x"), Reason::BadKeyId),
        (
            "own key",
            machine().header("jwk", json!({})),
            Reason::EmbeddedKey,
        ),
        (
            "twice",
            machine().double_claim("sub", "x"),
            Reason::DuplicateMember,
        ),
        (
            "issuer",
            machine().issuer("https://elsewhere.example"),
            Reason::UnknownIssuer,
        ),
        (
            "length",
            machine().raw_signature([0; 63]),
            Reason::BadSignature,
        ),
        (
            "client",
            app.sandbox.client_token("sc_nobody01"),
            Reason::UnregisteredClient,
        ),
        ("forged", ada(&app).tamper_signature(), Reason::BadSignature),
    ] {
        let answer = app.bearer(token.mint()).me().await;
        if let Err(problem) = answer.try_refused(reason) {
            panic!("{name}: {problem}");
        }
    }
    assert_eq!(app.sandbox.all_calls(), 1, "{:?}", app.sandbox.call_log());
}

/// Whichever character of an accepted token is another one, it is not accepted.
#[tokio::test]
async fn any_one_character_changed() {
    let app = app().await;
    let (ada, robot) = (ada(&app).mint(), super::robot(&app).mint());
    for token in [ada, robot] {
        app.bearer(&token).me().await.ok();
        for at in 0..token.len() {
            let found = token.as_bytes()[at];
            let other = match found {
                b'.' => b'-',
                b'A' => b'B',
                // The character beside it is often one bit away.
                _ if (found ^ 1).is_ascii_alphanumeric() => found ^ 1,
                _ => b'A',
            };
            let mut changed = token.clone().into_bytes();
            changed[at] = other;
            let changed = String::from_utf8(changed).unwrap();
            let answer = app.bearer(&changed).me().await;
            let code = answer.header("x-vestibule-code");
            assert_eq!(code, Some("invalid_token"), "at {at}: {}", answer.shown());
        }
    }
}
