//! The document in which a provider publishes its keys.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::VerifyingKey;
use serde_json::json;
use vestibule::token::KeySet;

use crate::tree::Tree;

/// The most keys of one set.
const MOST: usize = 100;
/// The members that are looked at (RFC 7517 §4, RFC 8037 §2).
const MEMBERS: &[&str] = &["kty", "crv", "kid", "x", "alg", "use", "key_ops", "d"];

/// A document of any bytes.
///
/// It is read if it is an object with a list `keys`. The keys that can be used are those of whose
/// name the document has one key for signatures with Ed25519, without its private part, the point
/// written as RFC 8032 writes it and not of small order. A set written from them says the same.
pub fn key_set(bytes: &[u8]) {
    let found = KeySet::parse(bytes);
    let keys = Tree::read(bytes).and_then(|document| match &document {
        Tree::Object(members) => {
            let mut named = members.iter().filter(|(name, _)| name == "keys");
            match (named.next(), named.next()) {
                (Some((_, Tree::List(keys))), None) => Some(keys.clone()),
                _ => None,
            }
        }
        _ => None,
    });
    let (Ok(set), Some(keys)) = (&found, &keys) else {
        assert_eq!(found.is_ok(), keys.is_some(), "what is a set");
        return;
    };
    // None: several keys have the name.
    let mut expected: BTreeMap<&str, Option<[u8; 32]>> = BTreeMap::new();
    for (kid, point) in keys.iter().filter_map(usable) {
        let known = expected.entry(kid).or_insert(Some(point));
        *known = known.filter(|other| *other == point);
    }
    assert!(set.len() <= MOST);
    for (kid, point) in &expected {
        let found = set.get(kid).map(|key| *key.as_bytes());
        assert!(
            found == *point || (found.is_none() && expected.len() > MOST),
            "{kid}"
        );
    }
    if expected.len() <= MOST {
        assert_eq!(set.len(), expected.values().flatten().count());
    }

    let written: Vec<_> = expected
        .iter()
        .filter(|(kid, _)| set.get(kid).is_some())
        .filter_map(|(kid, point)| Some((kid, (*point)?)))
        .map(|(kid, point)| {
            json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": URL_SAFE_NO_PAD.encode(point)})
        })
        .collect();
    assert_eq!(written.len(), set.len());
    let again = json!({ "keys": written }).to_string();
    let again = KeySet::parse(again.as_bytes()).expect("a set");
    for kid in expected.keys() {
        assert_eq!(again.get(kid), set.get(kid), "{kid} is not read again");
    }
}

/// Name and point of a key for our purpose.
fn usable(key: &Tree) -> Option<(&str, [u8; 32])> {
    let Tree::Object(members) = key else {
        return None;
    };
    let occurs = |name: &str| members.iter().filter(|(known, _)| known == name).count();
    // `null` is as good as nothing where a member may be missing.
    let given = |name: &str| key.get(name).filter(|value| **value != Tree::Null);
    let optional =
        |name: &str, value: &str| given(name).is_none_or(|given| given.text() == Some(value));
    let operations = match given("key_ops") {
        None => true,
        Some(Tree::List(operations)) => {
            operations.iter().all(|one| one.text().is_some())
                && operations.iter().any(|one| one.text() == Some("verify"))
        }
        Some(_) => false,
    };
    let kid = key.get("kid")?.text()?;
    let named = (1..=64).contains(&kid.len())
        && kid
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let fits = MEMBERS.iter().all(|name| occurs(name) <= 1)
        && key.get("kty")?.text() == Some("OKP")
        && key.get("crv")?.text() == Some("Ed25519")
        && named
        && optional("alg", "EdDSA")
        && optional("use", "sig")
        && operations
        && given("d").is_none();
    let bytes = URL_SAFE_NO_PAD.decode(key.get("x")?.text()?).ok()?;
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    let point = VerifyingKey::from_bytes(&bytes).ok()?;
    let canonical = point.to_edwards().compress().to_bytes() == bytes;
    (fits && canonical && !point.is_weak()).then_some((kid, bytes))
}
