//! The one look into an assertion before its signature is checked. It gives away the `kid` and
//! nothing else: the claims are not even read before a key has proven them.

use super::{AssertionToken, TYPE};
use crate::{
    error::Reason,
    token::{
        VerifyingKey,
        header::Header,
        signature::Signature,
        unverified::{decoded, decoded_text, three_parts},
    },
};

/// An assertion of the right form and type, about which nothing is proven.
pub(super) struct UnverifiedAssertion<'t> {
    header: Header,
    claims: &'t str,
    /// Header and claims as they were sent: what the signature is about (RFC 7515 §5.2, step 8).
    signing_input: &'t str,
    signature: Signature,
}

/// The text of claims that a key has proven. Only [`UnverifiedAssertion::proven_by`] makes one.
pub(super) struct SignedText(String);

impl<'t> UnverifiedAssertion<'t> {
    /// Takes an assertion apart. The header is held to the same rules as a token's; its type is
    /// compared byte for byte, because only one program writes it.
    pub(super) fn read(token: AssertionToken<'t>) -> Result<Self, Reason> {
        let (signing_input, header, claims, signature) =
            three_parts(token.as_str()).ok_or(Reason::NotThreeParts)?;
        let header = Header::read(&decoded_text(header)?)?;
        if header.typ() != Some(TYPE) {
            return Err(Reason::WrongType);
        }
        let signature = Signature::read(&decoded(signature)?)?;
        Ok(Self {
            header,
            claims,
            signing_input,
            signature,
        })
    }

    pub(super) fn kid(&self) -> &str {
        self.header.kid()
    }

    /// The claims, if `key` signed them.
    pub(super) fn proven_by(self, key: &VerifyingKey) -> Result<SignedText, Reason> {
        self.signature.proves(key, self.signing_input.as_bytes())?;
        decoded_text(self.claims).map(SignedText)
    }
}

impl SignedText {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
