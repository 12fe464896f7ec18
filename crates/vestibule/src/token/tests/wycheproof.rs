//! The signatures that broke other implementations: Wycheproof's vectors for Ed25519, through our
//! way of reading keys and our way of checking signatures.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use curve25519_dalek::{Scalar, constants::EIGHT_TORSION};
use ed25519_dalek::Verifier as _;
use serde_json::json;
use sha2::{Digest as _, Sha512};
use wycheproof::{TestResult, eddsa};

use super::world::{PROVIDER_KEY, signing_key};
use crate::{
    error::Reason,
    token::{KeySet, VerifyingKey, signature::Signature},
};

/// A key as a set brings it.
fn published(x: &[u8]) -> Option<VerifyingKey> {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": URL_SAFE_NO_PAD.encode(x)});
    let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes());
    set.unwrap().get("k1")
}

fn check(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), Reason> {
    Signature::read(signature)?.proves(key, message)
}

#[test]
fn every_vector() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut judged = BTreeMap::new();
    for group in set.test_groups {
        let key = published(&group.key.pk).expect("all keys of the file are ordinary ones");
        for test in group.tests {
            let found = check(&key, &test.msg, &test.sig);
            let expected = match test.result {
                TestResult::Valid => Ok(()),
                // None is `acceptable`; were there one, we would not accept it.
                TestResult::Invalid | TestResult::Acceptable => Err(Reason::BadSignature),
            };
            assert_eq!(found, expected, "{}: {}", test.tc_id, test.comment);
            *judged.entry(found.is_ok()).or_insert(0) += 1;
        }
    }
    assert_eq!(judged, BTreeMap::from([(true, 88), (false, 63)]));
}

/// With a commitment R of small order, S = h·a verifies under the lenient rules if R is the neutral
/// element: whoever holds the key could make a second token of it, and batch verification and
/// single verification would not agree about the others.
#[test]
fn commitments_of_small_order_under_an_ordinary_key() {
    let own = signing_key(PROVIDER_KEY);
    let key = published(own.verifying_key().as_bytes()).unwrap();
    let mut lenient = 0;
    for point in EIGHT_TORSION {
        let commitment = point.compress().to_bytes();
        let hash = Sha512::new()
            .chain_update(commitment)
            .chain_update(key.as_bytes())
            .chain_update(b"message")
            .finalize();
        let hash = Scalar::from_bytes_mod_order_wide(&hash.into());
        let scalar = hash * own.to_scalar();
        let signature = [commitment, scalar.to_bytes()].concat();
        let as_signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        lenient += usize::from(key.verify(b"message", &as_signature).is_ok());
        assert_eq!(
            check(&key, b"message", &signature),
            Err(Reason::BadSignature)
        );
    }
    assert_eq!(lenient, 1, "the rule would have nothing to do");
}

#[test]
fn points_of_small_order_are_no_keys() {
    for point in EIGHT_TORSION {
        assert!(published(point.compress().as_bytes()).is_none());
    }
}
