//! The signature: by the key that `kid` names in the issuer's own set, and strictly encoded.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use vestibule::Reason;
use vestibule_sandbox::{Sandbox, SigningKey};

use super::{Table, ada, parts, robot};
use crate::app::{app, with};

/// The order of the group, least significant byte first (RFC 8032 §5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn signature(token: &str) -> Vec<u8> {
    let [_, _, signature] = parts(token);
    URL_SAFE_NO_PAD.decode(signature).unwrap()
}

#[tokio::test]
async fn other_signatures() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    for (whose, token) in [("user", ada(&app)), ("machine", robot(&app))] {
        let of = |name: &str| format!("{whose}: {name}");
        let good = signature(&token.mint());
        let tampered = token.clone().tamper_signature().mint();
        table
            .refused(&of("one bit"), tampered, Reason::BadSignature)
            .await;
        for (name, bytes) in [
            ("none", vec![]),
            ("zeros", vec![0; 64]),
            ("a byte too few", good[..63].to_vec()),
            ("a byte too many", [&good[..], &[0]].concat()),
            ("twice", [&good[..], &good[..]].concat()),
            ("halves exchanged", [&good[32..], &good[..32]].concat()),
            (
                "another token's",
                signature(&token.clone().claim("x", 1).mint()),
            ),
        ] {
            let token = token.clone().raw_signature(bytes).mint();
            table.refused(&of(name), token, Reason::BadSignature).await;
        }
        // S + L satisfies the equation too: RFC 8032 §5.1.7 wants the smaller one.
        let mut malleated = good.clone();
        let mut carry = 0;
        for (byte, add) in malleated[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        let malleated = token.clone().raw_signature(malleated).mint();
        table
            .refused(&of("S + L"), malleated, Reason::BadSignature)
            .await;
    }
    table.end().await;
}

/// What was signed is what was sent, not what it means.
#[tokio::test]
async fn other_texts_under_the_same_signature() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let [header, claims, signature] = parts(&ada(&app).mint());
    let [other_header, other_claims, _] = parts(&ada(&app).sub("user_grace").typ("AT+JWT").mint());
    for (name, token) in [
        (
            "claims exchanged",
            format!("{header}.{other_claims}.{signature}"),
        ),
        (
            "header exchanged",
            format!("{other_header}.{claims}.{signature}"),
        ),
    ] {
        table.refused(name, token, Reason::BadSignature).await;
    }
    let spaced = format!(" {}", super::text(&claims));
    let spaced = URL_SAFE_NO_PAD.encode(spaced);
    table
        .refused(
            "white space",
            format!("{header}.{spaced}.{signature}"),
            Reason::BadSignature,
        )
        .await;
    table.end().await;
}

#[tokio::test]
async fn keys_of_strangers_under_a_known_name() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let account = app.sandbox.account_key();
    let first = app.sandbox.client_key("sc_robot01");
    let second = app.sandbox.client_key("sc_robot02");
    let stranger = SigningKey::stranger("k1");
    for (name, token, key) in [
        ("a stranger for the account", ada(&app), &stranger),
        ("a stranger for a client", robot(&app), &stranger),
        ("a client for the account", ada(&app), &first),
        ("the account for a client", robot(&app), &account),
        ("a client for another", robot(&app), &second),
    ] {
        // Under the key id that the issuer's own set has …
        let known = token.clone().sign_with(key).mint();
        table.refused(name, known, Reason::BadSignature).await;
        // … and under the one that the key has at home.
        table
            .refused(name, token.key(key).mint(), Reason::UnknownKey)
            .await;
    }
    table.end().await;
}

/// Both issuers are accepted, and both have a key of this name.
#[tokio::test]
async fn keys_of_another_accepted_issuer() {
    let other = Sandbox::builder().start().await.unwrap();
    let twin = other.url().to_owned();
    let issuers = format!("{{url}},{twin}");
    let app = with("AUTHRESS_ISSUERS", issuers).start().await;
    let mut table = Table::new(&app).await;
    let (ours, theirs) = (app.sandbox.account_key(), other.account_key());
    other.add_account_key(&theirs.with_kid(ours.kid()));

    let named = ada(&app).sign_with(&theirs).mint();
    table
        .refused("theirs under our kid", named, Reason::BadSignature)
        .await;
    let foreign = ada(&app).key(&theirs).mint();
    table
        .refused("theirs under its own kid", foreign, Reason::UnknownKey)
        .await;
    let ours_there = ada(&app).issuer(&*twin).mint();
    // The other set has had that name for another key since a moment ago.
    let answer = app.bearer(&ours_there).me().await;
    answer.refused(Reason::BadSignature);
    // What it signs in its own name is a name of the same provider (contract §1).
    let there = ada(&app).issuer(&*twin).key(&theirs).mint();
    table.accepted("theirs for themselves", there).await;
    table.end().await;
}

#[tokio::test]
async fn keys_that_cannot_verify_such_tokens() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    let identity = {
        let mut point = [0_u8; 32];
        point[0] = 1;
        point
    };
    let jwk = |members: serde_json::Value| {
        let mut jwk = SigningKey::stranger("k1").jwk();
        for (name, value) in members.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    };
    let rows = [
        json!({ "kid": "a1", "use": "enc" }),
        json!({ "kid": "a2", "key_ops": ["sign"] }),
        json!({ "kid": "a3", "alg": "ES256" }),
        json!({ "kid": "a4", "crv": "X25519" }),
        json!({ "kid": "a5", "kty": "EC" }),
        json!({ "kid": "a6", "x": URL_SAFE_NO_PAD.encode([7; 31]) }),
        json!({ "kid": "a7", "d": "AAAA" }),
        json!({ "kid": "a8", "x": URL_SAFE_NO_PAD.encode(identity) }),
    ];
    for row in &rows {
        app.sandbox.add_unusable_key(jwk(row.clone()));
    }
    let stranger = SigningKey::stranger("k1");
    for row in &rows {
        let kid = row["kid"].as_str().unwrap();
        let token = ada(&app).key(&stranger.with_kid(kid)).mint();
        table
            .refused(&row.to_string(), token, Reason::UnknownKey)
            .await;
    }
    // A key of small order would be satisfied with this one.
    let [header, claims, _] = parts(&ada(&app).kid("a8").mint());
    let nothing = URL_SAFE_NO_PAD.encode([&identity[..], &[0; 32]].concat());
    table
        .refused(
            "small order",
            format!("{header}.{claims}.{nothing}"),
            Reason::UnknownKey,
        )
        .await;
    table.end().await;
}

/// Nothing that a forged token says is believed, so none of it is answered.
#[tokio::test]
async fn a_forgery_learns_nothing() {
    let app = app().await;
    let mut table = Table::new(&app).await;
    for (name, token) in [
        ("expired", ada(&app).expires_in(-60)),
        ("not yet valid", ada(&app).not_before_in(600)),
        ("another tenant", ada(&app).tenant("tenant_globex")),
        ("no tenant", ada(&app).without_claim("aud")),
        ("unknown user", app.sandbox.user_token("user_nobody")),
        (
            "no claims but iss",
            ada(&app).raw_claims(format!(r#"{{"iss":"{}"}}"#, app.sandbox.url())),
        ),
        ("an expired machine", robot(&app).expires_in(-60)),
        ("another audience", robot(&app).audience("tenant_acme")),
        ("another subject", robot(&app).sub("user_ada")),
    ] {
        table
            .refused(name, token.tamper_signature().mint(), Reason::BadSignature)
            .await;
    }
    table.end().await;
}
