//! The verifier with a memory: what every request goes through.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use metrics::Counter;
use zeroize::Zeroizing;

use super::{
    TokenDigest, VerifiedToken, Verifier, YoungKey, cache::TokenCache, refused::RefusedTokens,
};
use crate::{
    admission::{Admission, Source},
    bearer::BearerToken,
    clock::{SharedClock, Timestamp},
    error::Reason,
    flights::Flights,
    principal::{Identified, Principal},
    revocation::Revocations,
    settings::AdmissionSettings,
};

/// Verifies tokens, and remembers what it found. Cheap to clone; clones share the memory.
///
/// - What is remembered are facts, not verdicts: which key made the signature, and what was
///   signed. Every use asks again whether the key counts and whether it is time.
/// - What was cut off is refused, remembered or not.
/// - A token is verified again at the latest after the time to live, and an entry is never used
///   past the token's `exp`.
/// - Requests that bring the same token at the same time share one verification.
/// - Refusals that nothing can turn are remembered for a while, apart from what was accepted.
/// - Neither tokens nor parts of them are kept, only their SHA-256.
///
/// The handles of its metrics are taken when it is made: install the recorder before.
#[derive(Clone, Debug)]
pub struct CachedVerifier(Arc<Inner>);

/// An accepted token, and how it came to be.
#[derive(Clone, Debug)]
pub struct Verification {
    /// What was proven.
    pub token: VerifiedToken,
    /// Stands for the token, for instance as the identity of a sign-in.
    pub digest: TokenDigest,
    /// Whether it was remembered.
    pub outcome: CacheOutcome,
}

/// Whether an answer was remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheOutcome {
    /// It was.
    Hit,
    /// The token was verified for this request, or for one that came at the same time.
    Miss,
}

impl CacheOutcome {
    /// As metrics and spans say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }
}

#[derive(Debug)]
struct Inner {
    verifier: Arc<Verifier>,
    /// None: nothing is remembered, and every request's token is verified.
    memory: Option<Arc<Memory>>,
    flights: Flights<TokenDigest, Result<VerifiedToken, Reason>>,
    admission: Arc<Admission>,
    revocations: Arc<Revocations>,
    clock: SharedClock,
    counters: Counters,
}

/// Two, so that what is refused pushes out nothing that is accepted.
#[derive(Debug)]
struct Memory {
    accepted: TokenCache,
    refused: RefusedTokens,
}

struct Counters {
    hits: Counter,
    misses: Counter,
}

impl CachedVerifier {
    /// Remembers at most `size` tokens (`TOKEN_CACHE_SIZE`) for at most `ttl` each
    /// (`TOKEN_CACHE_TTL`); where either is zero, none.
    pub fn new(verifier: Verifier, size: usize, ttl: Duration, clock: SharedClock) -> Self {
        let unlimited = Arc::new(Admission::new(&AdmissionSettings::default()));
        Self::behind(unlimited, Arc::default(), verifier, size, ttl, clock)
    }

    /// [`CachedVerifier::new`], where `admission` decides which new tokens are looked at, and
    /// `revocations` which good ones do not count.
    pub(crate) fn behind(
        admission: Arc<Admission>,
        revocations: Arc<Revocations>,
        verifier: Verifier,
        size: usize,
        ttl: Duration,
        clock: SharedClock,
    ) -> Self {
        let memory = TokenCache::new(size, ttl).map(|accepted| Memory {
            accepted,
            refused: RefusedTokens::new(),
        });
        Self(Arc::new(Inner {
            verifier: Arc::new(verifier),
            memory: memory.map(Arc::new),
            flights: Flights::new(|| Err(Reason::Internal)),
            admission,
            revocations,
            clock,
            counters: Counters {
                hits: metrics::counter!("vestibule_token_cache_hits_total"),
                misses: metrics::counter!("vestibule_token_cache_misses_total"),
            },
        }))
    }

    /// The verifier behind the memory.
    pub fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    /// How many tokens are remembered; never more than the size.
    pub fn len(&self) -> usize {
        self.0.memory.as_ref().map_or(0, |it| it.accepted.len())
    }

    /// Whether no token is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets `vestibule_token_cache_entries` to what is true now.
    pub(crate) fn refresh_gauges(&self) {
        if let Some(memory) = &self.0.memory {
            memory.accepted.refresh_gauge();
        }
    }

    /// How many refusals are remembered.
    #[cfg(test)]
    pub(super) fn refused(&self) -> usize {
        self.0.memory.as_ref().map_or(0, |it| it.refused.len())
    }

    /// How many verifications are under way.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.0.flights.len()
    }

    /// Verifies a token, through the memory.
    ///
    /// A caller that goes away while it waits harms nobody else who waits for the same token.
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify`]; also [`Reason::Internal`] where a verification panicked, and
    /// [`Reason::VerifierBusy`] where too many wait.
    pub async fn cached_verify_token(
        &self,
        token: &BearerToken<'_>,
    ) -> Result<Verification, Reason> {
        self.verify_from(token, TokenDigest::of(token), None).await
    }

    /// What a use of a token has found out, where the token is remembered: facts, of which
    /// [`Resolver::recall`](crate::principal::Resolver) says whether they count.
    pub(crate) fn settled(&self, digest: &TokenDigest, now: Timestamp) -> Option<Arc<Identified>> {
        let inner = &*self.0;
        inner.memory.as_ref()?.accepted.settled(digest, now)
    }

    /// Keeps what a use of a token has found out, where it may be kept.
    pub(crate) fn settle(&self, principal: &Principal) {
        if let Some(memory) = &self.0.memory
            && let Some((token, settled)) = principal.settled()
        {
            memory.accepted.settle(token, settled);
        }
    }

    /// The key that proved a token, where it counts for certain.
    pub(crate) fn young_key(&self, token: &VerifiedToken) -> Option<YoungKey> {
        token.proof().young(self.0.verifier.keys())
    }

    /// Counts a token that [`CachedVerifier::settled`] has answered for.
    pub(crate) fn count_hit(&self) {
        self.0.counters.hits.increment(1);
    }

    /// [`CachedVerifier::cached_verify_token`] for a token that came from `source`.
    pub(crate) async fn verify_from(
        &self,
        token: &BearerToken<'_>,
        digest: TokenDigest,
        source: Option<Source>,
    ) -> Result<Verification, Reason> {
        let inner = &*self.0;
        if let Some(token) = self.remembered(&digest).await? {
            inner.revocations.check_token(&token)?;
            inner.counters.hits.increment(1);
            return Ok(Verification {
                token,
                digest,
                outcome: CacheOutcome::Hit,
            });
        }
        if let Some(reason) = self.remembered_refusal(&digest) {
            return Err(reason);
        }
        inner.admission.check(source)?;
        inner.counters.misses.increment(1);
        let flight = inner
            .flights
            .join(digest, || self.verification(digest, token, source).boxed());
        let token = flight
            .await
            .inspect_err(|reason| inner.admission.note_refused(source, *reason))?;
        // It may have taken as long as a call to the provider.
        let policy = inner.verifier.policy();
        policy.require_unexpired(token.expires_at(), inner.clock.now())?;
        inner.revocations.check_token(&token)?;
        Ok(Verification {
            token,
            digest,
            outcome: CacheOutcome::Miss,
        })
    }

    /// Refuses a token that was cut off, or whose key or issuer was.
    pub(crate) fn require_uncut(&self, token: &VerifiedToken) -> Result<(), Reason> {
        self.0.revocations.check_token(token)
    }

    /// Whether the key that proved a token counts now, as every use of a remembered one asks.
    ///
    /// # Errors
    ///
    /// [`Reason::UnknownKey`], also where another key has the name; [`Reason::ProviderUnavailable`].
    pub(crate) async fn require_key(&self, token: &VerifiedToken) -> Result<(), Reason> {
        match token.proof().stands(self.0.verifier.keys()).await? {
            true => Ok(()),
            false => Err(Reason::UnknownKey),
        }
    }

    /// What is remembered of a token are facts: this key signed these claims. Whether it may come
    /// in is asked anew: whether it is time, and whether the key is still in its set.
    async fn remembered(&self, digest: &TokenDigest) -> Result<Option<VerifiedToken>, Reason> {
        let inner = &*self.0;
        let Some(memory) = &inner.memory else {
            return Ok(None);
        };
        let now = inner.clock.now();
        let Some(token) = memory.accepted.get(digest, now) else {
            return Ok(None);
        };
        match token.proof().stands(inner.verifier.keys()).await {
            Ok(true) => {}
            // Another key has the name now; it may have signed this token too, or not.
            Ok(false) => {
                memory.accepted.forget(digest);
                return Ok(None);
            }
            Err(reason) => {
                if reason == Reason::UnknownKey {
                    memory.accepted.forget(digest);
                }
                return Err(reason);
            }
        }
        let policy = inner.verifier.policy();
        policy.require_begun(token.valid_from(), now)?;
        Ok(Some(token))
    }

    fn remembered_refusal(&self, digest: &TokenDigest) -> Option<Reason> {
        let inner = &*self.0;
        let (keys, policy) = (inner.verifier.keys(), inner.verifier.policy());
        let refused = &inner.memory.as_ref()?.refused;
        refused.get(digest, keys, policy, inner.clock.now())
    }

    /// One verification, on behalf of all who wait for it. It outlives the request that started
    /// it, so it has a copy of the token, wiped at its end.
    pub(super) fn verification(
        &self,
        digest: TokenDigest,
        token: &BearerToken<'_>,
        source: Option<Source>,
    ) -> impl Future<Output = Result<VerifiedToken, Reason>> + Send + 'static {
        let verifier = Arc::clone(&self.0.verifier);
        let admission = Arc::clone(&self.0.admission);
        let memory = self.0.memory.clone();
        let now = self.0.clock.now();
        let copy = Zeroizing::new(token.as_str().to_owned());
        async move {
            // Somebody's verification may have ended after this request had looked.
            let memory = memory.as_deref();
            if let Some(token) = memory.and_then(|memory| memory.accepted.get(&digest, now))
                && token.proof().stands_surely(verifier.keys())
            {
                return Ok(token);
            }
            let token = BearerToken::parse(&copy)?;
            let verified = match verifier.candidate(&token, digest).await {
                Ok(candidate) => {
                    // Not before there is a key: nobody waits for the network and holds a turn.
                    let turn = admission.turn(source).await?;
                    let verified = verifier.prove(candidate, now);
                    drop(turn);
                    verified
                }
                Err(refused) => Err(refused),
            };
            match verified {
                Ok(token) => {
                    if let Some(memory) = memory {
                        memory.accepted.insert(digest, token.clone(), now);
                    }
                    Ok(token)
                }
                Err(refused) => {
                    let reason = refused.reason;
                    if let Some(memory) = memory {
                        memory.refused.insert(digest, refused, now);
                    }
                    Err(reason)
                }
            }
        }
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}
