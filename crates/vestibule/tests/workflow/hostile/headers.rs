//! The header: algorithm, key id, type, and what would bring keys or meanings of its own.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use vestibule::Reason;
use vestibule_sandbox::SigningKey;

use super::{Table, ada, header_with, parts, robot, text};
use crate::app::app;

#[tokio::test]
async fn one_algorithm_by_its_exact_name() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let others = [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!("eddsa"),
        json!("EDDSA"),
        json!("EdDSA "),
        json!("Ed25519"),
        json!("Ed448"),
        json!("ES256"),
        json!("RS256"),
        json!("RS512"),
        json!("PS256"),
        json!("HS256"),
        json!("HS512"),
        json!(["EdDSA"]),
        json!({ "alg": "EdDSA" }),
        json!(7),
        json!(true),
        Value::Null,
    ];
    for alg in others {
        for (whose, token) in [("user", ada(&app)), ("machine", robot(&app))] {
            let name = format!("{whose} with alg {alg}");
            let token = token.alg(alg.clone()).mint();
            table
                .refused(&name, token, Reason::UnsupportedAlgorithm)
                .await;
        }
    }
    let missing = ada(&app).without_header("alg").mint();
    table
        .refused("no alg", missing, Reason::UnsupportedAlgorithm)
        .await;
    table
        .refused(
            "unsigned",
            ada(&app).unsigned().mint(),
            Reason::UnsupportedAlgorithm,
        )
        .await;
    let empty = ada(&app).raw_signature([]).mint();
    table
        .refused("EdDSA, not signed", empty, Reason::BadSignature)
        .await;
    table.end().await;
}

/// RFC 8725 §2.1: the public key, taken for the secret of a symmetric algorithm.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let key = app.sandbox.account_key();
    let as_text = key.jwk()["x"].as_str().unwrap().as_bytes().to_vec();
    for secret in [key.public_key().to_vec(), as_text] {
        for alg in ["HS256", "EdDSA"] {
            let token = ada(&app).alg(alg);
            let [header, claims, _] = parts(&token.mint());
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
            mac.update(format!("{header}.{claims}").as_bytes());
            let digest = mac.finalize().into_bytes().to_vec();
            let reason = match alg {
                "EdDSA" => Reason::BadSignature,
                _ => Reason::UnsupportedAlgorithm,
            };
            table
                .refused(alg, token.raw_signature(digest).mint(), reason)
                .await;
        }
    }
    table.end().await;
}

#[tokio::test]
async fn a_token_brings_no_key() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let mine = SigningKey::stranger("k1");
    let set = format!(
        "{}/.well-known/openid-configuration/jwks",
        app.sandbox.url()
    );
    let members = [
        ("jwk", mine.jwk()),
        ("jwk", app.sandbox.account_key().jwk()),
        ("jwk", Value::Null),
        ("jku", json!(set)),
        ("jku", json!("https://elsewhere.example/jwks")),
        ("jku", json!("")),
        ("x5u", json!("https://elsewhere.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5c", json!([])),
    ];
    for (name, value) in members {
        let shown = format!("{name}: {value}");
        let honest = ada(&app).header(name, value.clone()).mint();
        table.refused(&shown, honest, Reason::EmbeddedKey).await;
        let forged = ada(&app).header(name, value.clone()).key(&mine).mint();
        table.refused(&shown, forged, Reason::EmbeddedKey).await;
        let machine = robot(&app).header(name, value).mint();
        table.refused(&shown, machine, Reason::EmbeddedKey).await;
    }
    table.end().await;
}

#[tokio::test]
async fn what_is_critical_is_not_understood() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!([]),
        json!("exp"),
        Value::Null,
    ] {
        let name = format!("crit: {crit}");
        let token = ada(&app).header("crit", crit).header("b64", false).mint();
        table.refused(&name, token, Reason::CriticalHeader).await;
    }
    table.end().await;
}

#[tokio::test]
async fn key_ids_have_one_form() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let own = app.sandbox.account_key().kid().to_owned();
    let odd = [
        json!(""),
        json!("a".repeat(65)),
        json!(format!("{own}\n")),
        json!(format!(" {own}")),
        json!(format!("{own}?x=1")),
        json!("../jwks"),
        json!("a/b"),
        json!("a%2fb"),
        json!("ключ"),
        json!("' OR 1=1 --"),
        json!(7),
        json!([own]),
        Value::Null,
    ];
    for kid in odd {
        let name = format!("kid: {kid}");
        table
            .refused(&name, ada(&app).kid(kid).mint(), Reason::BadKeyId)
            .await;
    }
    let missing = ada(&app).without_header("kid").mint();
    table.refused("no kid", missing, Reason::BadKeyId).await;
    let upper = ada(&app).kid(own.to_uppercase()).mint();
    table
        .refused("kid in capitals", upper, Reason::UnknownKey)
        .await;
    table.end().await;
}

#[tokio::test]
async fn the_type_is_that_of_an_access_token() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let wrong = [
        json!("JWT"),
        json!("jwt"),
        json!("id+jwt"),
        json!("oauth-authz-req+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!("text/at+jwt"),
        json!("at+jwt; charset=utf-8"),
        json!("application/application/at+jwt"),
        json!("at+jwt "),
        json!(""),
        json!(7),
        json!(["at+jwt"]),
        Value::Null,
    ];
    for typ in wrong {
        let name = format!("typ: {typ}");
        table
            .refused(&name, ada(&app).typ(typ.clone()).mint(), Reason::WrongType)
            .await;
        if !matches!(typ.as_str(), Some("JWT" | "jwt")) {
            table
                .refused(&name, robot(&app).typ(typ).mint(), Reason::WrongType)
                .await;
        }
    }
    for token in [ada(&app), robot(&app)] {
        let token = token.without_header("typ").mint();
        table.refused("no typ", token, Reason::WrongType).await;
    }
    // Authress' Python SDK writes JWT into machines' tokens.
    for typ in ["JWT", "at+jwt", "AT+JWT", "application/at+jwt"] {
        table.accepted(typ, robot(&app).typ(typ).mint()).await;
    }
    table
        .accepted(
            "with its prefix",
            ada(&app).typ("application/at+jwt").mint(),
        )
        .await;
    table.end().await;
}

#[tokio::test]
async fn no_member_occurs_twice() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    for (name, value) in [
        ("alg", json!("EdDSA")),
        ("alg", json!("none")),
        ("typ", json!("at+jwt")),
        ("kid", json!("k1")),
        ("kid", json!(app.sandbox.account_key().kid())),
    ] {
        let token = ada(&app).double_header(name, value).mint();
        table
            .refused(&format!("{name} twice"), token, Reason::DuplicateMember)
            .await;
    }
    let unknown = ada(&app)
        .header("zip", "DEF")
        .double_header("zip", "DEF")
        .mint();
    table
        .refused("an unknown member twice", unknown, Reason::DuplicateMember)
        .await;
    for member in [
        r#""al\u0067":"none""#,
        r#""x":{"a":1,"a":2}"#,
        r#""x":[{"a":1,"a":1}]"#,
    ] {
        let token = ada(&app);
        let token = token.raw_header(header_with(&ada(&app), member)).mint();
        table.refused(member, token, Reason::DuplicateMember).await;
    }
    table.end().await;
}

#[tokio::test]
async fn a_header_is_one_json_object() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let [header, _, _] = parts(&ada(&app).mint());
    let header = text(&header);
    let deep = header_with(
        &ada(&app),
        &format!(r#""x":{}{}"#, "[".repeat(2000), "]".repeat(2000)),
    );
    for raw in [
        "",
        "null",
        "[]",
        "\"EdDSA\"",
        "{",
        &format!("{header}{header}"),
        &format!("[{header}]"),
        &format!("{header}x"),
        &format!("\u{feff}{header}"),
        &deep,
    ] {
        let token = ada(&app).raw_header(raw).mint();
        let name = raw.chars().take(60).collect::<String>();
        table.refused(&name, token, Reason::BadJson).await;
    }
    table.end().await;
}

/// Contract §2.2: what a standard says to ignore is ignored.
#[tokio::test]
async fn members_without_meaning_for_security_are_ignored() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    for (name, value) in [
        ("cty", json!("JWT")),
        ("x5t", json!("abc")),
        ("x5t#S256", json!("abc")),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("iss", json!("https://elsewhere.example")),
        ("url", json!("https://elsewhere.example")),
        ("x", json!({ "y": [null, 1.5, "z"] })),
    ] {
        table
            .accepted(name, ada(&app).header(name, value).mint())
            .await;
    }
    table.end().await;
}
