//! Strict Ed25519, and nothing that can be taken for it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Verifier as _, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use super::world::{Mint, PROVIDER_KEY, STRANGERS_KEY, World, signing_key};
use crate::error::Reason;

#[test]
fn a_strangers_signature() {
    let world = World::new();
    world.refuses(&Mint::user().signed_by(STRANGERS_KEY), Reason::BadSignature);
    world.refuses(
        &Mint::machine().signed_by(STRANGERS_KEY),
        Reason::BadSignature,
    );
}

#[test]
fn another_tokens_signature() {
    let world = World::new();
    let other = Mint::user().claim("sub", json!("user_bob")).signature();
    let found = world.verify_text(&Mint::user().with_signature(&other));
    assert_eq!(found.unwrap_err(), Reason::BadSignature);
}

#[test]
fn a_signature_has_64_bytes() {
    let world = World::new();
    let token = Mint::user();
    let signature = token.signature();
    let longer = [&signature[..], &[0]].concat();
    for bytes in [&[][..], &[0], &signature[..63], &longer] {
        let found = world.verify_text(&token.with_signature(bytes));
        assert_eq!(found.unwrap_err(), Reason::BadSignature);
    }
    assert_eq!(world.keys.asked(), 0);
}

#[test]
fn the_public_key_is_no_shared_secret() {
    let world = World::new();
    let public = signing_key(PROVIDER_KEY).verifying_key();
    let texts = [
        public.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.encode(public.as_bytes()).into_bytes(),
    ];
    for secret in texts {
        let token = Mint::user().header("alg", json!("HS256"));
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        mac.update(token.signing_input().as_bytes());
        let tag = mac.finalize().into_bytes();
        let found = world.verify_text(&token.with_signature(&tag));
        assert_eq!(found.unwrap_err(), Reason::UnsupportedAlgorithm);
        // The same, and the header says what we want to hear.
        let padded = [&tag[..], &tag[..]].concat();
        let found = world.verify_text(&Mint::user().with_signature(&padded));
        assert_eq!(found.unwrap_err(), Reason::BadSignature);
    }
}

#[test]
fn no_signature_at_all() {
    let world = World::new();
    let token = Mint::user().header("alg", json!("none"));
    let found = world.verify_text(&token.with_signature(&[]));
    assert_eq!(found.unwrap_err(), Reason::UnsupportedAlgorithm);
}

#[test]
fn one_signature_has_one_encoding() {
    let world = World::new();
    let token = Mint::user();
    let mut signature = token.signature();
    assert!(world.verify_text(&token.with_signature(&signature)).is_ok());
    // s + L stands for the same scalar (RFC 8032 §5.1.7: refuse s >= L).
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0_u16;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    let found = world.verify_text(&token.with_signature(&signature));
    assert_eq!(found.unwrap_err(), Reason::BadSignature);
}

#[test]
fn signatures_that_fit_every_message_fit_none_here() {
    // With a key of small order, R = identity and s = 0 verify under the lenient rules.
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = VerifyingKey::from_bytes(&identity).unwrap();
    let mut signature = [0; 64];
    signature[0] = 1;
    let as_signature = ed25519_dalek::Signature::from_bytes(&signature);
    assert!(weak.verify(b"anything", &as_signature).is_ok());
    assert!(weak.verify_strict(b"anything", &as_signature).is_err());
    let world = World::new();
    let found = world.verify_text(&Mint::user().with_signature(&signature));
    assert_eq!(found.unwrap_err(), Reason::BadSignature);
}
