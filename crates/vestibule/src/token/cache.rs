//! Verified tokens, kept for a while.
//!
//! Digest and time bucket together are the key: an entry answers only in the bucket in which its
//! token was verified, so none is used longer than a bucket lasts without being verified again.
//! The map holds them under the digest alone, so that a token's next bucket takes the place of
//! its last one instead of standing beside it and counting twice.

use std::{fmt, sync::Arc, time::Duration};

use metrics::{Counter, Gauge};
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, UnitWeighter, sync::Cache};

use super::{TokenDigest, VerifiedToken};
use crate::{clock::Timestamp, principal::Identified};

/// Fewest entries of one shard: below that, chance would fill one shard while others are empty.
const MIN_SHARD_ENTRIES: usize = 64;
/// Most shards: enough that hits on different tokens rarely meet in one lock.
const MAX_SHARDS: usize = 64;

type Entries = Cache<TokenDigest, Entry, UnitWeighter, DefaultHashBuilder, HandOut>;

/// A bounded store of verified tokens. Holds no token, only digests and what they stated.
pub(super) struct TokenCache {
    entries: Entries,
    buckets: Buckets,
    evictions: Counter,
    size: Gauge,
}

#[derive(Clone)]
struct Entry {
    bucket: i64,
    kept: Kept,
}

#[derive(Clone)]
enum Kept {
    Verified(VerifiedToken),
    /// And whose it is, as a use has found out.
    Settled(Arc<Identified>),
}

/// Divides time, for each token at instants of its own: if all turned at once, all of a busy
/// hour's tokens would have to be verified in one moment.
#[derive(Clone, Copy, Debug)]
struct Buckets {
    millis: i64,
}

/// Hands out what an insertion pushed out, so that it is counted and freed outside the lock.
#[derive(Clone)]
struct HandOut;

impl TokenCache {
    /// A cache of at most `size` tokens, each for at most `ttl`; none where either is zero.
    pub(super) fn new(size: usize, ttl: Duration) -> Option<Self> {
        let buckets = Buckets::new(ttl)?;
        Some(Self {
            entries: bounded(size)?,
            buckets,
            evictions: metrics::counter!("vestibule_token_cache_evictions_total"),
            size: metrics::gauge!("vestibule_token_cache_entries"),
        })
    }

    /// The token with this digest, if it was verified in the bucket of `now` and has not expired:
    /// past `exp` an entry is not used, not even within the leeway. Does not allocate.
    pub(super) fn get(&self, digest: &TokenDigest, now: Timestamp) -> Option<VerifiedToken> {
        let token = match self.current(digest, now)? {
            Kept::Verified(token) => token,
            Kept::Settled(identified) => identified.verified_token()?.clone(),
        };
        (now < token.expires_at()).then_some(token)
    }

    /// What a use of the token has found out, if the token was verified in the bucket of `now`.
    /// Does not allocate.
    pub(super) fn settled(&self, digest: &TokenDigest, now: Timestamp) -> Option<Arc<Identified>> {
        match self.current(digest, now)? {
            Kept::Settled(identified) => Some(identified),
            Kept::Verified(_) => None,
        }
    }

    /// Keeps what a use of the token has found out in its place, for as long as the token would be.
    pub(super) fn settle(&self, token: &VerifiedToken, settled: &Arc<Identified>) {
        let digest = token.digest();
        let Some(Entry { bucket, .. }) = self.entries.get(digest) else {
            return;
        };
        let kept = Kept::Settled(Arc::clone(settled));
        self.put(*digest, Entry { bucket, kept });
    }

    fn current(&self, digest: &TokenDigest, now: Timestamp) -> Option<Kept> {
        let Entry { bucket, kept } = self.entries.get(digest)?;
        (bucket == self.buckets.at(digest, now)).then_some(kept)
    }

    /// Keeps a token that was verified at the moment `verified_at`.
    pub(super) fn insert(&self, digest: TokenDigest, token: VerifiedToken, verified_at: Timestamp) {
        if verified_at >= token.expires_at() {
            return;
        }
        let bucket = self.buckets.at(&digest, verified_at);
        let kept = Kept::Verified(token);
        self.put(digest, Entry { bucket, kept });
    }

    fn put(&self, digest: TokenDigest, entry: Entry) {
        let mut pushed_out = Vec::new();
        self.entries
            .insert_with_lifecycle(digest, entry, &mut pushed_out);
        // The token's own entry made place for this one: nobody lost anything.
        let evicted = pushed_out.iter().filter(|(other, _)| *other != digest);
        self.evictions.increment(evicted.count() as u64);
    }

    /// Forgets a token.
    pub(super) fn forget(&self, digest: &TokenDigest) {
        self.entries.remove(digest);
    }

    /// Shows how many tokens are kept. All shards are asked, so not at each insertion.
    pub(super) fn refresh_gauge(&self) {
        self.size.set(self.len() as f64);
    }

    /// How many tokens are kept; never more than the size.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("entries", &self.entries.len())
            .field("buckets", &self.buckets)
            .finish_non_exhaustive()
    }
}

impl Buckets {
    fn new(ttl: Duration) -> Option<Self> {
        let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        (millis > 0).then_some(Self { millis })
    }

    /// The number of the token's bucket at the moment `now`.
    fn at(self, digest: &TokenDigest, now: Timestamp) -> i64 {
        let offset = digest.spread() % self.millis.unsigned_abs();
        now.as_millis()
            .saturating_add_unsigned(offset)
            .div_euclid(self.millis)
    }
}

impl Lifecycle<TokenDigest, Entry> for HandOut {
    type RequestState = Vec<(TokenDigest, Entry)>;

    fn on_evict(&self, pushed_out: &mut Self::RequestState, digest: TokenDigest, entry: Entry) {
        pushed_out.push((digest, entry));
    }
}

/// The library rounds each shard's part of the capacity up. Here it is rounded down, so that the
/// sum of all shards is never more than `size`.
fn bounded(size: usize) -> Option<Entries> {
    if size == 0 {
        return None;
    }
    let most = (size / MIN_SHARD_ENTRIES).clamp(1, MAX_SHARDS);
    // The library wants a power of two.
    let shards = 1_usize << most.ilog2();
    let capacity = size - size % shards;
    let options = OptionsBuilder::new()
        .shards(shards)
        .estimated_items_capacity(capacity)
        .weight_capacity(capacity as u64)
        .build()
        .ok()?;
    Some(Cache::with_options(
        options,
        UnitWeighter,
        DefaultHashBuilder::default(),
        HandOut,
    ))
}
