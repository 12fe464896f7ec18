//! The one look into a token before its signature is checked. It gives away what is needed to
//! find the key, `iss` and `kid`, and nothing else: the claims come out only where a key proves
//! them.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{VerifyingKey, claims::Claims, header::Header, signature::Signature};
use crate::{bearer::BearerToken, error::Reason, provider::access_key::is_access_key_shaped};

/// A token of the right form, about which nothing is proven.
pub(super) struct UnverifiedToken<'t> {
    header: Header,
    claims: Claims,
    /// Header and claims as they were sent: what the signature is about (RFC 7515 §5.2, step 8).
    signing_input: &'t str,
    signature: Signature,
}

/// Claims that a key has proven. Only [`UnverifiedToken::proven_by`] makes them.
pub(super) struct SignedClaims(Claims);

impl<'t> UnverifiedToken<'t> {
    /// Takes a token apart. `tenant_claim` is the claim that names the tenant.
    pub(super) fn read(token: &BearerToken<'t>, tenant_claim: &Arc<str>) -> Result<Self, Reason> {
        let token = token.as_str();
        let Some((signing_input, header, claims, signature)) = three_parts(token) else {
            return Err(if is_access_key_shaped(token) {
                Reason::AccessKeyShaped
            } else {
                Reason::NotThreeParts
            });
        };
        let header = Header::read(&decoded_text(header)?)?;
        let claims = Claims::read(&decoded_text(claims)?, tenant_claim)?;
        let signature = Signature::read(&decoded(signature)?)?;
        Ok(Self {
            header,
            claims,
            signing_input,
            signature,
        })
    }

    /// The header: which key, and what type.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Who is said to have issued it.
    pub(super) fn unverified_issuer(&self) -> Result<&str, Reason> {
        self.claims.issuer()
    }

    /// The claims, if `key` signed them.
    pub(super) fn proven_by(self, key: &VerifyingKey) -> Result<SignedClaims, Reason> {
        self.signature.proves(key, self.signing_input.as_bytes())?;
        Ok(SignedClaims(self.claims))
    }
}

impl SignedClaims {
    /// What was signed.
    pub(super) fn claims(&self) -> &Claims {
        &self.0
    }
}

/// Signing input, header, claims and signature.
pub(crate) fn three_parts(token: &str) -> Option<(&str, &str, &str, &str)> {
    let (signing_input, signature) = token.rsplit_once('.')?;
    let (header, claims) = signing_input.split_once('.')?;
    (!claims.contains('.')).then_some((signing_input, header, claims, signature))
}

/// RFC 7515 §2: base64url without padding; also the unused bits of the last character must be
/// zero, or one token could be written in several ways.
pub(crate) fn decoded(part: &str) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::BadBase64)
}

pub(crate) fn decoded_text(part: &str) -> Result<String, Reason> {
    String::from_utf8(decoded(part)?).map_err(|_| Reason::BadJson)
}
