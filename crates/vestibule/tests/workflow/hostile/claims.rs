//! The claims of both kinds of token, one after the other.

use serde_json::{Value, json};
use vestibule::Reason;

use super::{Table, ada, claims_with, robot};
use crate::app::app;

const DAY: i64 = 86_400;

/// Values that are no text.
fn no_texts() -> [Value; 8] {
    [
        Value::Null,
        json!(7),
        json!(true),
        json!({}),
        json!([]),
        json!(["x"]),
        json!(""),
        json!("a\u{0}b"),
    ]
}

#[tokio::test]
async fn times() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let now = app.sandbox.now();
    for (whose, token) in [("user", ada(&app)), ("machine", robot(&app))] {
        let of = |name: &str| format!("{whose}: {name}");
        for claim in ["exp", "iat"] {
            let token = token.clone().without_claim(claim).mint();
            table
                .refused(&of(&format!("no {claim}")), token, Reason::MissingClaim)
                .await;
        }
        for claim in ["exp", "iat", "nbf"] {
            for value in [
                Value::Null,
                json!("1795428000"),
                json!(-1),
                json!([now]),
                json!(true),
                json!(253_402_300_800_i64),
                json!(1e300),
                json!(u64::MAX),
            ] {
                let name = of(&format!("{claim}: {value}"));
                let token = token.clone().claim(claim, value).mint();
                table.refused(&name, token, Reason::BadClaim).await;
            }
            // Out of reach for any number of ours.
            let token = token.clone().without_claim(claim);
            let raw = claims_with(&token, &format!(r#""{claim}":1e400"#));
            table
                .refused(&of("1e400"), token.raw_claims(raw).mint(), Reason::BadJson)
                .await;
        }
        // The leeway of 30 seconds, to both sides.
        for (seconds, reason) in [
            (0, None),
            (-29, None),
            (-30, Some(Reason::Expired)),
            (-60, Some(Reason::Expired)),
        ] {
            let name = of(&format!("expired {seconds}"));
            let token = token
                .clone()
                .issued_at(now - 600)
                .expires_in(seconds)
                .mint();
            match reason {
                Some(reason) => table.refused(&name, token, reason).await,
                None => table.accepted(&name, token).await,
            }
        }
        for claim in ["iat", "nbf"] {
            let early = token.clone().claim(claim, now + 30).mint();
            table
                .accepted(&of(&format!("{claim} at the leeway")), early)
                .await;
            let early = token.clone().claim(claim, now + 31).mint();
            let name = of(&format!("{claim} past the leeway"));
            table.refused(&name, early, Reason::NotYetValid).await;
        }
        let fraction = token.clone().claim("exp", now as f64 + 0.5).mint();
        table.accepted(&of("exp with a fraction"), fraction).await;
        let backwards = token.clone().issued_at(now + 20).expires_in(10).mint();
        table
            .refused(&of("exp before iat"), backwards, Reason::BadClaim)
            .await;
        let long = token
            .clone()
            .issued_at(now - 60)
            .expires_in(DAY - 30)
            .mint();
        table.accepted(&of("as long as allowed"), long).await;
        let long = token
            .clone()
            .issued_at(now - 60)
            .expires_in(DAY - 29)
            .mint();
        table
            .refused(&of("too long"), long, Reason::LifetimeTooLong)
            .await;
        let ever = token.clone().claim("exp", 253_402_300_799_i64).mint();
        table
            .refused(&of("for ever"), ever, Reason::LifetimeTooLong)
            .await;
        // Nobody lengthens a life by shortening another number.
        let old = token.clone().issued_at(0).mint();
        table
            .refused(&of("iat: 0"), old, Reason::LifetimeTooLong)
            .await;
    }
    table.end().await;
}

#[tokio::test]
async fn subjects_of_people() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let missing = ada(&app).without_claim("sub").mint();
    table.refused("no sub", missing, Reason::MissingClaim).await;
    for value in no_texts() {
        let name = format!("sub: {value}");
        table
            .refused(&name, ada(&app).sub(value).mint(), Reason::BadClaim)
            .await;
    }
    for odd in [
        "a".repeat(129),
        ".".to_owned(),
        "..".to_owned(),
        "user_ada\n".to_owned(),
        "user_ada\t".to_owned(),
        "user_ada?x".to_owned(),
        "user_ada#x".to_owned(),
        "user%5fada".to_owned(),
        "user\\ada".to_owned(),
        "üser".to_owned(),
        "user_ada\u{202e}".to_owned(),
    ] {
        let name = format!("sub: {odd:?}");
        table
            .refused(&name, ada(&app).sub(odd).mint(), Reason::BadClaim)
            .await;
    }
    // A program is never a person, whoever signed for it.
    for machine in [
        "sc_robot01",
        "sc_x",
        "ext_x",
        "scauth_x",
        "authress_x",
        "sc_../users/user_ada",
    ] {
        let name = format!("sub: {machine}");
        table
            .refused(
                &name,
                ada(&app).sub(machine).mint(),
                Reason::SubjectMismatch,
            )
            .await;
    }
    let itself = ada(&app).sub("app_web").mint();
    table
        .refused("sub is client_id", itself, Reason::SubjectMismatch)
        .await;
    let own = ada(&app).sub(app.sandbox.server_client_id()).mint();
    table
        .refused("our own client", own, Reason::SubjectMismatch)
        .await;
    table.end().await;
}

#[tokio::test]
async fn applications_of_people() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let missing = ada(&app).without_claim("client_id").mint();
    table
        .refused("no client_id", missing, Reason::MissingClaim)
        .await;
    for value in no_texts() {
        let name = format!("client_id: {value}");
        table
            .refused(&name, ada(&app).client_id(value).mint(), Reason::BadClaim)
            .await;
    }
    for odd in ["a".repeat(129), "app web".to_owned(), "äpp".to_owned()] {
        let name = format!("client_id: {odd}");
        table
            .refused(&name, ada(&app).client_id(odd).mint(), Reason::BadClaim)
            .await;
    }
    for client in ["sc_robot01", "sc_other", "ext_x", "scauth_x", "authress_x"] {
        let name = format!("client_id: {client}");
        table
            .refused(
                &name,
                ada(&app).client_id(client).mint(),
                Reason::ClientIssuedUser,
            )
            .await;
    }
    let own = ada(&app).client_id(app.sandbox.server_client_id()).mint();
    table
        .refused("our own client", own, Reason::OwnClient)
        .await;
    table.end().await;
}

#[tokio::test]
async fn other_claims_of_people() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let long = "a".repeat(513);
    for value in [
        Value::Null,
        json!(7),
        json!({}),
        json!([7]),
        json!([null]),
        json!(["tenant_acme", ""]),
        json!([["tenant_acme"]]),
        json!([long]),
        json!(""),
    ] {
        let name = format!("aud: {value}");
        table
            .refused(&name, ada(&app).audience(value).mint(), Reason::BadClaim)
            .await;
    }
    let many: Vec<String> = (0..65).map(|number| format!("tenant_{number}")).collect();
    table
        .refused(
            "65 values of aud",
            ada(&app).audience(many).mint(),
            Reason::BadClaim,
        )
        .await;
    table
        .refused(
            "a long tenant",
            ada(&app).audience("a".repeat(129)).mint(),
            Reason::BadClaim,
        )
        .await;
    for value in no_texts() {
        let name = format!("azp: {value}");
        table
            .refused(&name, ada(&app).azp(value).mint(), Reason::BadClaim)
            .await;
    }
    table
        .refused(
            "a long azp",
            ada(&app).azp("a".repeat(129)).mint(),
            Reason::BadClaim,
        )
        .await;
    for value in [
        Value::Null,
        json!(7),
        json!(["openid"]),
        json!("a\"b"),
        json!("a\\b"),
        json!("a\tb"),
        json!("ä"),
        json!("a".repeat(129)),
    ] {
        let name = format!("scope: {value}");
        table
            .refused(&name, ada(&app).scope(value).mint(), Reason::BadClaim)
            .await;
    }
    let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    table
        .refused(
            "65 scopes",
            ada(&app).scope(many.join(" ")).mint(),
            Reason::BadClaim,
        )
        .await;
    for scope in ["", "  openid   email "] {
        table.accepted(scope, ada(&app).scope(scope).mint()).await;
    }
    table
        .accepted("no scope", ada(&app).without_claim("scope").mint())
        .await;
    table
        .accepted("no azp, known user", ada(&app).without_claim("azp").mint())
        .await;
    table.end().await;
}

#[tokio::test]
async fn machines() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let missing = robot(&app).without_claim("sub").mint();
    table.refused("no sub", missing, Reason::MissingClaim).await;
    for other in [
        "sc_robot02",
        "user_ada",
        "SC_ROBOT01",
        "sc_robot01 ",
        "app_web",
    ] {
        let name = format!("sub: {other}");
        table
            .refused(
                &name,
                robot(&app).sub(other).mint(),
                Reason::SubjectMismatch,
            )
            .await;
    }
    for other in ["sc_robot02", "app_web", "user_ada", "sc_robot01 "] {
        let name = format!("client_id: {other}");
        table
            .refused(
                &name,
                robot(&app).client_id(other).mint(),
                Reason::ClientIdMismatch,
            )
            .await;
    }
    for value in no_texts() {
        let name = format!("client_id: {value}");
        table
            .refused(
                &name,
                robot(&app).client_id(value.clone()).mint(),
                Reason::BadClaim,
            )
            .await;
        let name = format!("sub: {value}");
        table
            .refused(&name, robot(&app).sub(value).mint(), Reason::BadClaim)
            .await;
    }
    let missing = robot(&app).without_claim("aud").mint();
    table.refused("no aud", missing, Reason::MissingClaim).await;
    let right = app.sandbox.machine_audience();
    for wrong in [
        json!([]),
        json!("tenant_acme"),
        json!("other.accounts.authress.io"),
        json!(format!("{right} ")),
        json!(right.to_uppercase()),
        json!(format!("https://{right}")),
        json!([right, "tenant_acme"]),
        json!([right, right]),
    ] {
        let name = format!("aud: {wrong}");
        table
            .refused(
                &name,
                robot(&app).audience(wrong).mint(),
                Reason::WrongAudience,
            )
            .await;
    }
    table
        .accepted(
            "a list of the one audience",
            robot(&app).audience(json!([right])).mint(),
        )
        .await;
    table
        .accepted(
            "no client_id",
            robot(&app).without_claim("client_id").mint(),
        )
        .await;
    table
        .accepted(
            "scopes as Python writes them",
            robot(&app)
                .without_claim("scope")
                .claim("scopes", "openId")
                .mint(),
        )
        .await;
    table.end().await;
}

#[tokio::test]
async fn no_claim_occurs_twice() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let now = app.sandbox.now();
    for (name, value) in [
        ("iss", json!(app.sandbox.issuer())),
        ("iss", json!(app.sandbox.client_issuer("sc_robot01"))),
        ("sub", json!("user_grace")),
        ("aud", json!(["tenant_globex"])),
        ("exp", json!(now + 60)),
        ("iat", json!(now)),
        ("client_id", json!("app_web")),
        ("azp", json!("con_globex")),
        ("scope", json!("admin")),
    ] {
        let token = ada(&app).double_claim(name, value.clone()).mint();
        table
            .refused(&format!("{name} twice"), token, Reason::DuplicateMember)
            .await;
        let token = robot(&app)
            .claim(name, value.clone())
            .double_claim(name, value)
            .mint();
        table
            .refused(&format!("{name} twice"), token, Reason::DuplicateMember)
            .await;
    }
    for member in [
        r#""s\u0075b":"user_grace""#,
        r#""x":1,"x":1"#,
        r#""x":{"a":1,"a":2}"#,
        r#""x":[[{"a":1,"a":1}]]"#,
    ] {
        let token = ada(&app).raw_claims(claims_with(&ada(&app), member)).mint();
        table.refused(member, token, Reason::DuplicateMember).await;
    }
    table.end().await;
}

#[tokio::test]
async fn claims_are_one_json_object() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let whole = claims_with(&ada(&app), r#""x":1"#);
    let deep = format!(r#""x":{}{}"#, "[".repeat(2000), "]".repeat(2000));
    for raw in [
        "",
        "null",
        "[]",
        "7",
        "{",
        &format!("[{whole}]"),
        &format!("{whole},"),
        &format!("{whole}{whole}"),
        &whole.replace('"', "'"),
        &claims_with(&ada(&app), &deep),
        &claims_with(&ada(&app), "\"x\":NaN"),
        &claims_with(&ada(&app), "\"x\":\"\\ud800\""),
        &claims_with(&ada(&app), "/* */ \"x\":1"),
    ] {
        let token = ada(&app).raw_claims(raw).mint();
        let name = raw.chars().take(60).collect::<String>();
        table.refused(&name, token, Reason::BadJson).await;
    }
    table
        .accepted(
            "white space and unknown claims",
            ada(&app).raw_claims(format!(" {whole}\n")).mint(),
        )
        .await;
    table.end().await;
}
