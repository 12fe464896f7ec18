//! What stands for a token where the token itself must not be kept.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::bearer::BearerToken;

/// The SHA-256 of a whole token. Two tokens that differ anywhere have different ones, so it may
/// decide whether a token was seen before; the token cannot be had back from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of `token`.
    pub fn of(token: &BearerToken<'_>) -> Self {
        Self::of_text(token.as_str())
    }

    /// The digest of another credential than a bearer token.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// The first 16 bytes: the identity of the sign-in that the token stands for.
    pub fn identity(&self) -> [u8; 16] {
        let [
            identity @ ..,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
        ] = self.0;
        identity
    }

    /// A number that is spread evenly over all tokens. Taken from the end, apart from
    /// [`identity`](Self::identity).
    pub(super) fn spread(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}
