//! The verifier with a memory: what every request with an assertion goes through.
//!
//! What is remembered are facts, as for tokens: that this key signed this. Whether it is time,
//! and whether the key still counts, is asked at every use.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{AssertionToken, AssertionVerifier, VerifiedAssertion};
use crate::{
    admission::{Admission, Source},
    clock::{SharedClock, Timestamp},
    error::Reason,
    token::{CacheOutcome, TokenDigest},
};

/// Assertions remembered at most. Each lives for a minute, and a caller has one or two at a time.
const REMEMBERED: usize = 10_000;

/// Verifies assertions, and remembers what it found.
#[derive(Debug)]
pub(crate) struct CachedAssertions {
    verifier: AssertionVerifier,
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

impl CachedAssertions {
    /// Remembers at most `size`, and no more than [`REMEMBERED`].
    pub(crate) fn new(
        verifier: AssertionVerifier,
        size: usize,
        admission: Arc<Admission>,
        clock: SharedClock,
    ) -> Self {
        let size = size.min(REMEMBERED);
        Self {
            verifier,
            admission,
            accepted: (size > 0).then(|| Cache::new(size)),
            clock,
        }
    }

    /// Verifies an assertion that came from `source`, or finds that it was.
    ///
    /// # Errors
    ///
    /// As [`AssertionVerifier::verify`]; [`Reason::SourceOverLimit`] and [`Reason::VerifierBusy`]
    /// where it was not looked at.
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
        let verified = match self.verifier.candidate(token, now) {
            Ok(candidate) => {
                let kid: Arc<str> = candidate.unverified.kid().into();
                let turn = self.admission.turn(source).await?;
                let verified = self.verifier.prove(candidate, now);
                drop(turn);
                verified.inspect(|assertion| self.remember(digest, kid, assertion))
            }
            Err(reason) => Err(reason),
        };
        verified
            .inspect_err(|reason| self.admission.note_refused(source, *reason))
            .map(|assertion| (assertion, CacheOutcome::Miss))
    }

    /// None where it is not remembered, or not good any more: then the whole way says why.
    fn remembered(&self, digest: &TokenDigest, now: Timestamp) -> Option<VerifiedAssertion> {
        let accepted = self.accepted.as_ref()?;
        let Remembered { kid, assertion } = accepted.get(digest)?;
        let AssertionVerifier { policy, keys } = &self.verifier;
        let stands =
            policy.require_time(assertion.facts(), now).is_ok() && keys.find(&kid, now).is_some();
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
