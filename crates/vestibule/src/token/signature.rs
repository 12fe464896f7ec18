//! Signatures: Ed25519 (RFC 8032), in the strict reading, and nothing else.

use std::sync::{Arc, LazyLock};

use curve25519_dalek::constants::EIGHT_TORSION;
use ed25519_dalek::{SigningKey, Verifier as _};

use crate::error::Reason;

/// An Ed25519 public key that says something: in its one encoding, and of large order, so that there
/// is somebody who alone can sign under it. Cheap to clone, and to compare with itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey(Arc<ed25519_dalek::VerifyingKey>);

/// What stands behind the last dot of a token.
pub(crate) struct Signature(ed25519_dalek::Signature);

/// Points under which, as a commitment, a second signature could be made of the same message.
static SMALL_ORDER: LazyLock<[[u8; 32]; 8]> =
    LazyLock::new(|| EIGHT_TORSION.map(|point| point.compress().to_bytes()));

impl VerifyingKey {
    /// The key with these bytes (RFC 8037 §2: `x`); none where they are no point, not its encoding
    /// (RFC 8032 §5.1.3), or a point of small order, for which everybody can sign.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        if !is_canonical(bytes) {
            return None;
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()?;
        (!key.is_weak()).then(|| Self(Arc::new(key)))
    }

    /// The encoding of the point.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// A private key's scalar is a multiple of eight, and smaller than eight times the order (RFC 8032
/// §5.1.5), so its public key is of large order.
impl From<&SigningKey> for VerifyingKey {
    fn from(key: &SigningKey) -> Self {
        Self(Arc::new(key.verifying_key()))
    }
}

impl Signature {
    /// RFC 8037 §3.1: 64 bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Reason> {
        ed25519_dalek::Signature::from_slice(bytes)
            .map(Self)
            .map_err(|_| Reason::BadSignature)
    }

    /// Whether `key` made it for `message`. Strict: no key or commitment of small order, one
    /// encoding per signature, so that nobody can make a second token out of an accepted one.
    ///
    /// Says what `verify_strict` of the curve library says, and sooner: that unpacks the
    /// commitment to see its order. A commitment is good only if it is, byte by byte, the encoding of
    /// the point that the equation gives, so those of small order can be told by their bytes; the
    /// key was looked at when it was made.
    pub(crate) fn proves(&self, key: &VerifyingKey, message: &[u8]) -> Result<(), Reason> {
        if SMALL_ORDER.contains(self.0.r_bytes()) {
            return Err(Reason::BadSignature);
        }
        key.0
            .verify(message, &self.0)
            .map_err(|_| Reason::BadSignature)
    }
}

/// RFC 8032 §5.1.3, step 1: decoding fails where y is not below p = 2^255 - 19. The curve library
/// would reduce it.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = bytes;
    *lowest < 0xed || highest & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_points_are_keys() {
        // Of the 19 values of y from p on, those on the curve decode when reduced.
        let mut decodable = 0;
        for lowest in 0xed..=0xff_u8 {
            for highest in [0x7f, 0xff] {
                let mut point = [0xff; 32];
                point[0] = lowest;
                point[31] = highest;
                decodable += u8::from(ed25519_dalek::VerifyingKey::from_bytes(&point).is_ok());
                assert!(!is_canonical(&point));
                assert_eq!(VerifyingKey::from_bytes(&point), None);
            }
        }
        assert!(decodable > 4, "the rule would have nothing to do");
        // One less in any byte of p is below it.
        let mut p = [0xff; 32];
        (p[0], p[31]) = (0xed, 0x7f);
        for place in 0..32 {
            let mut below = p;
            below[place] -= 1;
            assert!(is_canonical(&below), "{place}");
        }
    }

    #[test]
    fn points_of_small_order_are_no_keys() {
        for point in *SMALL_ORDER {
            assert!(ed25519_dalek::VerifyingKey::from_bytes(&point).is_ok());
            assert_eq!(VerifyingKey::from_bytes(&point), None);
        }
    }

    #[test]
    fn a_private_keys_public_key_is_one() {
        for seed in 0..=u8::MAX {
            let key = VerifyingKey::from(&SigningKey::from_bytes(&[seed; 32]));
            assert_eq!(VerifyingKey::from_bytes(key.as_bytes()), Some(key));
        }
    }
}
