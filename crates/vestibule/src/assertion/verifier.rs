//! From a header to a [`VerifiedAssertion`], step by step.

use super::{
    AssertionToken, VerifiedAssertion,
    claims::Policy,
    keys::{DayVerifyingKey, Ring, Root},
    unverified::UnverifiedAssertion,
};
use crate::{
    clock::Timestamp,
    error::Reason,
    settings::{AcceptedAssertions, ProviderSettings},
};

/// Verifies assertions: no memory, one answer per question. Asks nobody: the keys come from the
/// access key. An application's requests go through a memory of what was proven.
#[derive(Debug)]
pub struct AssertionVerifier {
    pub(super) policy: Policy,
    pub(super) keys: Ring,
}

/// An assertion whose signature can be checked: there is a key for it. Nothing is proven.
pub(super) struct Candidate<'t> {
    pub(super) unverified: UnverifiedAssertion<'t>,
    key: DayVerifyingKey,
}

impl AssertionVerifier {
    /// A verifier for one application; leeway and access key come from `settings`.
    pub fn new(accepted: AcceptedAssertions, settings: &ProviderSettings) -> Self {
        Self {
            policy: Policy {
                accepted,
                leeway: settings.token_leeway,
            },
            keys: Ring::new(Root::of(&settings.access_key)),
        }
    }

    /// Verifies one assertion at the moment `now`.
    ///
    /// # Errors
    ///
    /// The first [`Reason`] that applies. Before the signature is proven all are `invalid_token`
    /// on the wire.
    pub fn verify(
        &self,
        token: AssertionToken<'_>,
        now: Timestamp,
    ) -> Result<VerifiedAssertion, Reason> {
        let candidate = self.candidate(token, now)?;
        self.prove(candidate, now)
    }

    /// Form, type and key: costs next to nothing.
    pub(super) fn candidate<'t>(
        &self,
        token: AssertionToken<'t>,
        now: Timestamp,
    ) -> Result<Candidate<'t>, Reason> {
        let unverified = UnverifiedAssertion::read(token)?;
        let key = self.keys.find(unverified.kid(), now);
        let key = key.ok_or(Reason::UnknownKey)?;
        Ok(Candidate { unverified, key })
    }

    /// The signature, which is what costs, and the claims.
    pub(super) fn prove(
        &self,
        candidate: Candidate<'_>,
        now: Timestamp,
    ) -> Result<VerifiedAssertion, Reason> {
        let Candidate { unverified, key } = candidate;
        let signed = unverified.proven_by(key.key())?;
        let facts = self.policy.accept(&signed, now)?;
        // Every signer goes by its own clock for both.
        if !key.signs_at(facts.issued_at) {
            return Err(Reason::BadClaim);
        }
        Ok(VerifiedAssertion::new(facts))
    }
}
