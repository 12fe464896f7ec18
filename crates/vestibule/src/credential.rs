//! The one credential of a request. Who brings two is refused: which of them an upstream proxy
//! judged cannot be known (RFC 6750 §2).

use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    assertion::{ASSERTION, AssertionToken},
    bearer::BearerToken,
    error::Reason,
};

/// What a request says that it is let in by. Nothing of it is proven.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Credential<'a> {
    /// `Authorization: Bearer …`.
    Bearer(BearerToken<'a>),
    /// `X-Vestibule-Assertion`.
    Assertion(AssertionToken<'a>),
}

impl<'a> Credential<'a> {
    /// Reads the request's credential. The assertion's header is not looked at unless
    /// `accepts_assertions`.
    ///
    /// # Errors
    ///
    /// [`Reason::MissingToken`] where there is none; [`Reason::TwoCredentials`] where there are
    /// both headers, whatever is in them; else as the one that is there says.
    pub(crate) fn from_headers(
        headers: &'a HeaderMap,
        accepts_assertions: bool,
    ) -> Result<Self, Reason> {
        if accepts_assertions && headers.contains_key(ASSERTION) {
            if headers.contains_key(AUTHORIZATION) {
                return Err(Reason::TwoCredentials);
            }
            let assertion = AssertionToken::from_headers(headers)?;
            return assertion.map(Self::Assertion).ok_or(Reason::MissingToken);
        }
        let bearer = BearerToken::from_headers(headers)?;
        bearer.map(Self::Bearer).ok_or(Reason::MissingToken)
    }
}
