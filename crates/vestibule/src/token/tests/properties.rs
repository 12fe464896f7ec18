//! What holds for every token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::world::{AUDIENCE, ISSUER, Mint, NOW_SECS, ORIGIN, ROBOT, World};
use crate::{
    error::{Code, Reason},
    token::TokenClass,
};

/// What may come out about a token that nobody entitled has signed.
fn is_told_to_strangers(reason: Reason) -> bool {
    matches!(
        reason.code(),
        Code::InvalidToken | Code::ProviderUnavailable | Code::StorageUnavailable
    ) || reason == Reason::MalformedAuthorization
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-100_000_i64..100_000).prop_map(|seconds| json!(NOW_SECS + seconds)),
        any::<String>().prop_map(Value::from),
        prop_oneof![
            Just(ISSUER),
            Just(ROBOT),
            Just(AUDIENCE),
            Just("EdDSA"),
            Just("at+jwt"),
            Just("JWT"),
            Just("account1"),
            Just("tenant_acme"),
        ]
        .prop_map(Value::from),
        Just(json!(format!("{ORIGIN}/v1/clients/{ROBOT}"))),
    ];
    leaf.prop_recursive(3, 20, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{0,4}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let name = proptest::sample::select(names).prop_map(str::to_owned);
    proptest::collection::btree_map(name, json_value(), 0..names.len())
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

const HEADER: &[&str] = &["alg", "kid", "typ", "crit", "jwk", "x5t", "b64"];
const CLAIMS: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "client_id",
    "azp",
    "scope",
];

fn changed(base: &str, change: Value) -> String {
    let mut members: Map<String, Value> = serde_json::from_str(base).unwrap();
    let Value::Object(change) = change else {
        unreachable!("objects only")
    };
    members.extend(change);
    Value::Object(members).to_string()
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![
        any::<String>(),
        "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){0,4}",
    ]) {
        let reason = World::new().verify_text(&text).unwrap_err();
        prop_assert!(is_told_to_strangers(reason), "{reason}");
    }

    #[test]
    fn no_three_byte_strings_make_it_panic(
        parts in proptest::array::uniform3(proptest::collection::vec(any::<u8>(), 0..80)),
    ) {
        let text = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let reason = World::new().verify_text(&text).unwrap_err();
        prop_assert!(is_told_to_strangers(reason), "{reason}");
    }

    #[test]
    fn no_unsigned_object_gets_further_than_the_signature(
        header in object(HEADER),
        claims in object(CLAIMS),
        signature in proptest::collection::vec(any::<u8>(), 64),
    ) {
        let mut token = Mint::user();
        token.header = changed(&token.header, header);
        token.claims = changed(&token.claims, claims);
        let reason = World::new().verify_text(&token.with_signature(&signature)).unwrap_err();
        prop_assert!(is_told_to_strangers(reason), "{reason}");
    }

    /// Also with a true signature, whatever is accepted has the form that the next stage builds on.
    #[test]
    fn what_is_accepted_is_well_formed(claims in object(CLAIMS), user in any::<bool>()) {
        let mut token = if user { Mint::user() } else { Mint::machine() };
        token.claims = changed(&token.claims, claims);
        let Ok(token) = World::new().verify_text(&token.mint()) else { return Ok(()) };
        prop_assert!((1..=128).contains(&token.subject().len()));
        prop_assert!(!token.subject().contains(char::is_control));
        prop_assert!(token.issued_at() <= token.expires_at());
        for tenant in token.tenant_candidates() {
            prop_assert!((1..=128).contains(&tenant.len()));
            prop_assert!(!tenant.contains(char::is_control) && !tenant.contains("://"));
        }
        match token.class() {
            TokenClass::User => {
                prop_assert_eq!(&**token.issuer(), ISSUER);
                prop_assert_ne!(token.subject(), &**token.client_id());
            }
            TokenClass::Machine => {
                prop_assert_eq!(token.subject(), ROBOT);
                prop_assert_eq!(&**token.client_id(), ROBOT);
                prop_assert!(token.tenant_candidates().is_empty() && token.scopes().is_empty());
            }
        }
    }

    #[test]
    fn any_other_character_anywhere_breaks_it(
        user in any::<bool>(),
        place in any::<proptest::sample::Index>(),
        byte in proptest::sample::select(
            &b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/= "[..],
        ),
    ) {
        let token = if user { Mint::user() } else { Mint::machine() }.mint();
        let mut bytes = token.clone().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        let world = World::new();
        prop_assert!(world.verify_text(&token).is_ok());
        if changed != token {
            let reason = world.verify_text(&changed).unwrap_err();
            prop_assert!(is_told_to_strangers(reason), "{reason}");
        }
    }

    #[test]
    fn any_other_byte_in_the_signature_breaks_it(place in 0_usize..64, change in 1_u8..=255) {
        let token = Mint::user();
        let mut signature = token.signature();
        signature[place] ^= change;
        let reason = World::new().verify_text(&token.with_signature(&signature)).unwrap_err();
        prop_assert_eq!(reason, Reason::BadSignature);
    }
}

/// Every place of a token, with a neighbour of what is there.
#[test]
fn every_place_counts() {
    let world = World::new();
    for token in [Mint::user().mint(), Mint::machine().mint()] {
        for place in 0..token.len() {
            for other in ["A", "B", "_", "."] {
                let changed = format!("{}{other}{}", &token[..place], &token[place + 1..]);
                if changed != token {
                    assert!(world.verify_text(&changed).is_err(), "{place}");
                }
            }
            let shorter = format!("{}{}", &token[..place], &token[place + 1..]);
            assert!(world.verify_text(&shorter).is_err(), "{place}");
        }
    }
}
