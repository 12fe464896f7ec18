//! Signatures: Ed25519 (RFC 8032), in the strict reading, and nothing else.

use super::VerifyingKey;
use crate::error::Reason;

/// What stands behind the last dot of a token.
pub(crate) struct Signature(ed25519_dalek::Signature);

impl Signature {
    /// RFC 8037 §3.1: 64 bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Reason> {
        ed25519_dalek::Signature::from_slice(bytes)
            .map(Self)
            .map_err(|_| Reason::BadSignature)
    }

    /// Whether `key` made it for `message`. Strict: no key or commitment of small order, one
    /// encoding per signature, so that nobody can make a second token out of an accepted one.
    pub(crate) fn proves(&self, key: &VerifyingKey, message: &[u8]) -> Result<(), Reason> {
        key.verify_strict(message, &self.0)
            .map_err(|_| Reason::BadSignature)
    }
}
