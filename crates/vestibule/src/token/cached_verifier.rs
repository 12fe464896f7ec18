//! The verifier with a memory: what every request goes through.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use metrics::Counter;
use zeroize::Zeroizing;

use super::{TokenDigest, VerifiedToken, Verifier, cache::TokenCache};
use crate::{bearer::BearerToken, clock::SharedClock, error::Reason, flights::Flights};

/// Verifies tokens, and remembers those that it accepted. Cheap to clone; clones share the memory.
///
/// - A token is verified again at the latest after the time to live, and an entry is never used
///   past the token's `exp`.
/// - Requests that bring the same token at the same time share one verification.
/// - Refusals are not remembered.
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

#[derive(Debug)]
struct Inner {
    verifier: Arc<Verifier>,
    /// None: nothing is remembered, and every request's token is verified.
    cache: Option<Arc<TokenCache>>,
    flights: Flights<TokenDigest, Result<VerifiedToken, Reason>>,
    clock: SharedClock,
    counters: Counters,
}

struct Counters {
    hits: Counter,
    misses: Counter,
}

impl CachedVerifier {
    /// Remembers at most `size` tokens (`TOKEN_CACHE_SIZE`) for at most `ttl` each
    /// (`TOKEN_CACHE_TTL`); where either is zero, none.
    pub fn new(verifier: Verifier, size: usize, ttl: Duration, clock: SharedClock) -> Self {
        Self(Arc::new(Inner {
            verifier: Arc::new(verifier),
            cache: TokenCache::new(size, ttl).map(Arc::new),
            flights: Flights::new(|| Err(Reason::Internal)),
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
        self.0.cache.as_ref().map_or(0, |cache| cache.len())
    }

    /// Whether no token is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets `vestibule_token_cache_entries` to what is true now.
    pub(crate) fn refresh_gauges(&self) {
        if let Some(cache) = &self.0.cache {
            cache.refresh_gauge();
        }
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
    /// As [`Verifier::verify`]; also [`Reason::Internal`] where a verification panicked.
    pub async fn cached_verify_token(
        &self,
        token: &BearerToken<'_>,
    ) -> Result<Verification, Reason> {
        let inner = &*self.0;
        let digest = TokenDigest::of(token);
        let remembered = inner
            .cache
            .as_ref()
            .and_then(|cache| cache.get(&digest, inner.clock.now()));
        if let Some(token) = remembered {
            inner.counters.hits.increment(1);
            return Ok(Verification {
                token,
                digest,
                outcome: CacheOutcome::Hit,
            });
        }
        inner.counters.misses.increment(1);
        let flight = inner
            .flights
            .join(digest, || self.verification(digest, token).boxed());
        let token = flight.await?;
        // It may have taken as long as a call to the provider.
        let policy = inner.verifier.policy();
        policy.require_unexpired(token.expires_at(), inner.clock.now())?;
        Ok(Verification {
            token,
            digest,
            outcome: CacheOutcome::Miss,
        })
    }

    /// One verification, on behalf of all who wait for it. It outlives the request that started
    /// it, so it has a copy of the token, wiped at its end.
    pub(super) fn verification(
        &self,
        digest: TokenDigest,
        token: &BearerToken<'_>,
    ) -> impl Future<Output = Result<VerifiedToken, Reason>> + Send + 'static {
        let verifier = Arc::clone(&self.0.verifier);
        let cache = self.0.cache.clone();
        let now = self.0.clock.now();
        let copy = Zeroizing::new(token.as_str().to_owned());
        async move {
            // Somebody's verification may have ended after this request had looked.
            if let Some(token) = cache.as_ref().and_then(|cache| cache.get(&digest, now)) {
                return Ok(token);
            }
            let token = verifier.verify(&BearerToken::parse(&copy)?, now).await?;
            if let Some(cache) = cache {
                cache.insert(digest, token.clone(), now);
            }
            Ok(token)
        }
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}
