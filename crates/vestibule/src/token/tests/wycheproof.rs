//! The signatures that broke other implementations: Wycheproof's vectors for Ed25519, through our
//! way of reading keys and our way of checking signatures; and that our way says what the curve
//! library's `verify_strict` says.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use curve25519_dalek::{EdwardsPoint, Scalar, constants::EIGHT_TORSION};
use ed25519_dalek::Verifier as _;
use proptest::prelude::*;
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
    let lenient_key = own.verifying_key();
    let key = published(lenient_key.as_bytes()).unwrap();
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
        lenient += usize::from(lenient_key.verify(b"message", &as_signature).is_ok());
        assert_eq!(
            check(&key, b"message", &signature),
            Err(Reason::BadSignature)
        );
    }
    assert_eq!(lenient, 1, "the rule would have nothing to do");
}

/// A key that is `scalar` times the base point, and `torsion` beside it: what nobody makes by
/// mistake, and what tells apart those who check signatures in different ways.
fn odd_key(scalar: &Scalar, torsion: EdwardsPoint) -> [u8; 32] {
    (EdwardsPoint::mul_base(scalar) + torsion)
        .compress()
        .to_bytes()
}

/// What fits key and commitment, as far as a scalar can.
fn odd_signature(secret: &Scalar, key: &[u8], nonce: &Scalar, torsion: EdwardsPoint) -> [u8; 64] {
    let commitment = odd_key(nonce, torsion);
    let hash = Sha512::new()
        .chain_update(commitment)
        .chain_update(key)
        .chain_update(MESSAGE)
        .finalize();
    let hash = Scalar::from_bytes_mod_order_wide(&hash.into());
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&commitment);
    signature[32..].copy_from_slice((nonce + hash * secret).as_bytes());
    signature
}

const MESSAGE: &[u8] = b"message";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Keys and commitments with and without a part of small order, or of small order as a whole;
    /// whole signatures and ones with a changed byte.
    #[test]
    fn our_way_says_what_verify_strict_says(
        secret in any::<[u8; 32]>(),
        nonce in prop_oneof![1 => Just([0; 32]), 4 => any::<[u8; 32]>()],
        torsions in prop_oneof![1 => Just([0, 0]), 3 => [0..8_usize, 0..8]],
        change in prop::option::of((0..64_usize, 1..=u8::MAX)),
    ) {
        let [secret, nonce] = [secret, nonce].map(Scalar::from_bytes_mod_order);
        let [of_key, of_commitment] = torsions.map(|index| EIGHT_TORSION[index]);
        let key = odd_key(&secret, of_key);
        let mut signature = odd_signature(&secret, &key, &nonce, of_commitment);
        if let Some((place, bits)) = change {
            signature[place] ^= bits;
        }
        let theirs = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
        let strict = theirs.verify_strict(MESSAGE, &ed25519_dalek::Signature::from_bytes(&signature));
        let ours = VerifyingKey::from_bytes(&key).map(|key| check(&key, MESSAGE, &signature));
        prop_assert_eq!(strict.is_ok(), ours == Some(Ok(())));
        if torsions == [0, 0] && change.is_none() && nonce != Scalar::ZERO {
            prop_assert!(strict.is_ok(), "an ordinary signature");
        }
    }
}

#[test]
fn points_of_small_order_are_no_keys() {
    for point in EIGHT_TORSION {
        assert!(published(point.compress().as_bytes()).is_none());
    }
}
