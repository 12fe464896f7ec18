//! From a header to a [`VerifiedAssertion`], step by step.
//!
//! What is remembered are facts, as for tokens: that this key signed this. Whether it is time,
//! and whether the key still counts, is asked at every use.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{
    AssertionToken, VerifiedAssertion,
    claims::Policy,
    keys::{DayVerifyingKey, Ring, Root},
    unverified::UnverifiedAssertion,
};
use crate::{
    admission::{Admission, Source},
    clock::{SharedClock, Timestamp},
    error::Reason,
    settings::{AcceptedAssertions, ProviderSettings},
    token::{CacheOutcome, TokenDigest},
};

/// Assertions remembered at most. Each lives for a minute, and a caller has one or two at a time.
const REMEMBERED: usize = 10_000;

/// Verifies assertions. Asks nobody: the keys come from the access key.
#[derive(Debug)]
pub(crate) struct AssertionVerifier {
    policy: Policy,
    keys: Ring,
    admission: Arc<Admission>,
    /// None where `TOKEN_CACHE_SIZE` says that nothing is to be remembered.
    accepted: Option<Cache<TokenDigest, Remembered>>,
    clock: SharedClock,
}

#[derive(Clone, Debug)]
struct Remembered {
    kid: Arc<str>,
    assertion: VerifiedAssertion,
}

/// An assertion whose signature can be checked: there is a key for it. Nothing is proven.
struct Candidate<'t> {
    unverified: UnverifiedAssertion<'t>,
    key: DayVerifyingKey,
}

impl AssertionVerifier {
    pub(crate) fn new(
        accepted: AcceptedAssertions,
        settings: &ProviderSettings,
        admission: Arc<Admission>,
        clock: SharedClock,
    ) -> Self {
        let size = settings.token_cache_size.min(REMEMBERED);
        Self {
            policy: Policy {
                accepted,
                leeway: settings.token_leeway,
            },
            keys: Ring::new(Root::of(&settings.access_key), clock.now()),
            admission,
            accepted: (size > 0).then(|| Cache::new(size)),
            clock,
        }
    }

    /// Verifies an assertion that came from `source`, or finds that it was.
    ///
    /// # Errors
    ///
    /// The first [`Reason`] that applies; [`Reason::SourceOverLimit`] and
    /// [`Reason::VerifierBusy`] where it was not looked at.
    pub(crate) async fn verify_from(
        &self,
        token: AssertionToken<'_>,
        source: Option<Source>,
    ) -> Result<(VerifiedAssertion, CacheOutcome), Reason> {
        let digest = TokenDigest::of_text(token.as_str());
        let now = self.clock.now();
        if let Some(assertion) = self.remembered(&digest, now) {
            return Ok((assertion, CacheOutcome::Hit));
        }
        self.admission.check(source)?;
        let verified = match self.candidate(token, now) {
            Ok(candidate) => {
                let kid: Arc<str> = candidate.unverified.kid().into();
                let turn = self.admission.turn(source).await?;
                let verified = self.prove(candidate, now);
                drop(turn);
                verified.inspect(|assertion| self.remember(digest, kid, assertion))
            }
            Err(reason) => Err(reason),
        };
        verified
            .inspect_err(|reason| self.admission.note_refused(source, *reason))
            .map(|assertion| (assertion, CacheOutcome::Miss))
    }

    /// Form, type and key: costs next to nothing.
    fn candidate<'t>(
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
    fn prove(&self, candidate: Candidate<'_>, now: Timestamp) -> Result<VerifiedAssertion, Reason> {
        let Candidate { unverified, key } = candidate;
        let signed = unverified.proven_by(key.key())?;
        let facts = self.policy.accept(&signed, now)?;
        // Every signer goes by its own clock for both.
        if !key.signs_at(facts.issued_at) {
            return Err(Reason::BadClaim);
        }
        Ok(VerifiedAssertion::new(facts))
    }

    /// None where it is not remembered, or not good any more: then the whole way says why.
    fn remembered(&self, digest: &TokenDigest, now: Timestamp) -> Option<VerifiedAssertion> {
        let accepted = self.accepted.as_ref()?;
        let Remembered { kid, assertion } = accepted.get(digest)?;
        let stands = self.policy.require_time(assertion.facts(), now).is_ok()
            && self.keys.find(&kid, now).is_some();
        if !stands {
            accepted.remove(digest);
        }
        stands.then_some(assertion)
    }

    fn remember(&self, digest: TokenDigest, kid: Arc<str>, assertion: &VerifiedAssertion) {
        if let Some(accepted) = &self.accepted {
            let assertion = assertion.clone();
            accepted.insert(digest, Remembered { kid, assertion });
        }
    }
}
