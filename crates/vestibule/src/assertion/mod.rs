//! `X-Vestibule-Assertion`: who calls, signed by the server for an application behind a proxy.
//!
//! A JWT (RFC 7519) with a type and an issuer of its own, so that nobody takes it for an access
//! token or an access token for it (RFC 8725 §3.11, §3.12). It is good for a minute, for one
//! application, and not past the end of the token that it was made for.
//!
//! ```text
//! server:       Principal ─signer─▶ header
//! application:  header ─▶ AssertionToken ─verifier─▶ VerifiedAssertion ─principal─▶ Principal
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `keys.rs` | a key for each day, derived from the access key: no side asks the other for it |
//! | `signer.rs` | the signing half, which the server uses |
//! | `unverified.rs` | takes a header apart; gives the claims out only where a key proves them |
//! | `claims.rs` | what a signed assertion must say |
//! | `verifier.rs` | the verifying half, step by step |
//! | `cached.rs` | remembers what was proven |
//!
//! An application accepts assertions where `VESTIBULE_ACCEPT_ASSERTIONS` names the audience that
//! it is listed under. What an assertion says is believed for who calls and for his scopes; role
//! and status are the directory's of now.

mod cached;
mod claims;
mod keys;
mod signer;
#[cfg(test)]
mod tests;
mod unverified;
mod verifier;

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName};
use uuid::Uuid;

pub(crate) use self::{cached::CachedAssertions, claims::AssertedFacts};
pub use self::{
    signer::{AssertionSigner, PublishedKeys, SigningSettings},
    verifier::AssertionVerifier,
};
use crate::{bearer::MAX_TOKEN_BYTES, clock::Timestamp, error::Reason, principal::PrincipalKind};

/// The header.
pub const ASSERTION: HeaderName = HeaderName::from_static("x-vestibule-assertion");

/// `typ` of an assertion's header.
const TYPE: &str = "vestibule-assertion+jwt";

/// How long an assertion is good for, in seconds.
const LIFETIME: i64 = 60;

/// An assertion as the request carried it: of a possible form, and unproven.
///
/// `Debug` shows its length only.
#[derive(Clone, Copy)]
pub struct AssertionToken<'a>(&'a str);

/// Proof that an assertion was verified, with what it stated. Cheap to clone.
///
/// Only the verifier makes one.
#[derive(Clone, Debug)]
pub struct VerifiedAssertion(Arc<AssertedFacts>);

impl<'a> AssertionToken<'a> {
    /// Reads the request's assertion; none where there is no such header, or an empty one: that is
    /// how the server says that nobody was asked who he is.
    ///
    /// # Errors
    ///
    /// [`Reason::MalformedAssertion`] for several headers or bytes that no JWT has;
    /// [`Reason::TokenTooLong`] for more than [`MAX_TOKEN_BYTES`].
    pub fn from_headers(headers: &'a HeaderMap) -> Result<Option<Self>, Reason> {
        let mut values = headers.get_all(ASSERTION).into_iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        // Two headers: which one is the proxy's cannot be known.
        if values.next().is_some() {
            return Err(Reason::MalformedAssertion);
        }
        match value.as_bytes() {
            b"" => Ok(None),
            bytes if bytes.len() > MAX_TOKEN_BYTES => Err(Reason::TokenTooLong),
            bytes if !bytes.iter().copied().all(is_jwt_byte) => Err(Reason::MalformedAssertion),
            bytes => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(Self(text))),
                Err(_) => Err(Reason::MalformedAssertion),
            },
        }
    }

    pub(crate) const fn as_str(&self) -> &'a str {
        self.0
    }
}

impl VerifiedAssertion {
    /// Private to this module's children: the verifier is the only caller.
    fn new(facts: AssertedFacts) -> Self {
        Self(Arc::new(facts))
    }

    /// Whether it is about a person or a service client.
    pub fn kind(&self) -> PrincipalKind {
        self.0.kind
    }

    /// `sub`: the local id of the user or service client.
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// `account_id`.
    pub fn account_id(&self) -> Uuid {
        self.0.account_id
    }

    /// `authress_user_id`: the Authress user id, or the service client's `client_id`.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// `client_id`: the application or service client that held the token.
    pub fn client_id(&self) -> &Arc<str> {
        &self.0.client_id
    }

    /// `scope`: of a person. Those of a service client are looked up.
    pub fn scopes(&self) -> &Arc<[Arc<str>]> {
        &self.0.scopes
    }

    /// `token_exp`: the end of the token that the assertion was made for.
    pub fn token_expires_at(&self) -> Timestamp {
        self.0.token_ends
    }

    /// What was asserted.
    pub(crate) fn facts(&self) -> &AssertedFacts {
        &self.0
    }
}

impl fmt::Debug for AssertionToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssertionToken({} bytes)", self.0.len())
    }
}

/// base64url (RFC 4648 §5) without padding, and the dots between the parts.
const fn is_jwt_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
