//! The memory: how long and how many.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::poll;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use proptest::prelude::*;
use serde_json::json;

use super::{
    memory::{Memory, TTL, digest, filler, numbered},
    world::{ISSUER, Mint, NOW, NOW_SECS, PROVIDER_KEY, STRANGERS_KEY},
};
use crate::{
    clock::Timestamp,
    error::Reason,
    token::{CacheOutcome, KeySetId, cache::TokenCache},
};

// --- remembering ---

#[test]
fn the_second_use_is_remembered() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    let first = memory.verify(&token).unwrap();
    assert_eq!(first.outcome, CacheOutcome::Miss);
    let second = memory.verify(&token).unwrap();
    assert_eq!(second.outcome, CacheOutcome::Hit);
    assert_eq!(second.token.subject(), "user_ada");
    assert_eq!(second.digest, first.digest);
    assert_eq!(first.digest, digest(&token));
    assert_eq!((memory.keys.asked(), memory.cached.len()), (1, 1));
}

#[test]
fn the_whole_token_decides() {
    let memory = Memory::new();
    let token = Mint::user();
    memory.verify(&token.mint()).unwrap();
    let forged = token.signed_by(STRANGERS_KEY).mint();
    assert_eq!(memory.verify(&forged).unwrap_err(), Reason::BadSignature);
    assert_eq!(memory.outcome(&numbered(1)), CacheOutcome::Miss);
    assert_ne!(digest("a.b.c").identity(), digest("a.b.d").identity());
}

#[test]
fn refusals_that_may_change_are_not_remembered() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    memory.keys.down.store(true, SeqCst);
    for asked in 1..=3 {
        assert_eq!(
            memory.verify(&token).unwrap_err(),
            Reason::ProviderUnavailable
        );
        assert_eq!(memory.keys.asked(), asked);
    }
    memory.keys.down.store(false, SeqCst);
    assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
    let early = Mint::user().claim("nbf", json!(NOW_SECS + 100)).mint();
    let unknown = Mint::user().header("kid", json!("account2")).mint();
    for _ in 0..2 {
        assert_eq!(memory.verify(&early).unwrap_err(), Reason::NotYetValid);
        assert_eq!(memory.verify(&unknown).unwrap_err(), Reason::UnknownKey);
    }
    assert_eq!((memory.cached.len(), memory.cached.refused()), (1, 0));
    let issuer = KeySetId::Issuer(ISSUER.into());
    memory.keys.set(&issuer, "account2", Some(PROVIDER_KEY));
    memory.clock.advance(Duration::from_secs(100));
    assert!(memory.verify(&early).is_ok() && memory.verify(&unknown).is_ok());
}

#[test]
fn lasting_refusals_are_remembered_apart() {
    let memory = Memory::new();
    let good = Mint::user().mint();
    assert_eq!(memory.outcome(&good), CacheOutcome::Miss);
    let forged = Mint::user().signed_by(STRANGERS_KEY).mint();
    let late = Mint::user().claim("exp", json!(NOW_SECS - 40)).mint();
    let asked = memory.keys.asked();
    for _ in 0..3 {
        assert_eq!(memory.verify(&forged).unwrap_err(), Reason::BadSignature);
        assert_eq!(memory.verify(&late).unwrap_err(), Reason::Expired);
        assert_eq!(memory.verify("a.b.c").unwrap_err(), Reason::BadBase64);
    }
    assert_eq!(memory.keys.asked() - asked, 2, "verified once each");
    assert_eq!((memory.cached.len(), memory.cached.refused()), (1, 3));
    // Garbage without end pushes out no token that was accepted, and fills no memory.
    for number in 0..30_000 {
        let garbage = format!("{number}.b.c");
        memory.verify(&garbage).unwrap_err();
    }
    assert!(memory.cached.refused() <= 10_100);
    assert_eq!(memory.outcome(&good), CacheOutcome::Hit);
    // Not for ever, and not across a change of the key.
    let asked = memory.keys.asked();
    memory.verify(&forged).unwrap_err();
    memory.clock.advance(Duration::from_secs(60));
    memory.verify(&forged).unwrap_err();
    assert!(memory.keys.asked() > asked);
    let issuer = KeySetId::Issuer(ISSUER.into());
    memory.keys.set(&issuer, "account1", Some(STRANGERS_KEY));
    assert_eq!(memory.outcome(&forged), CacheOutcome::Miss);
    assert_eq!(memory.verify(&good).unwrap_err(), Reason::BadSignature);
}

/// For as long as they last; but a clock that is set back makes none last longer.
#[test]
fn refusals_last_a_minute() {
    let memory = Memory::new();
    let forged = Mint::user().signed_by(STRANGERS_KEY).mint();
    let refused = |moment: Timestamp| {
        memory.clock.set(moment);
        let asked = memory.keys.asked();
        assert_eq!(memory.verify(&forged).unwrap_err(), Reason::BadSignature);
        memory.keys.asked() - asked
    };
    assert_eq!(refused(NOW), 1);
    assert_eq!(refused(NOW + Duration::from_millis(59_999)), 0);
    assert_eq!(refused(NOW + Duration::from_secs(60)), 1);
    assert_eq!(refused(NOW), 1);
}

/// What is said of an expired token tells whether its key is still good.
#[test]
fn an_expired_token_outlives_no_key() {
    let memory = Memory::new();
    let late = Mint::user().claim("exp", json!(NOW_SECS - 40)).mint();
    assert_eq!(memory.verify(&late).unwrap_err(), Reason::Expired);
    let issuer = KeySetId::Issuer(ISSUER.into());
    memory.keys.set(&issuer, "account1", None);
    assert_eq!(memory.verify(&late).unwrap_err(), Reason::UnknownKey);
}

/// A set that is fetched again has its keys anew, and a key is what it is and not where it lies.
#[test]
fn a_remembered_token_outlives_a_refresh_of_its_set() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
    let issuer = KeySetId::Issuer(ISSUER.into());
    memory.keys.set(&issuer, "account1", Some(PROVIDER_KEY));
    assert_eq!(memory.outcome(&token), CacheOutcome::Hit);
}

/// A token whose key was withdrawn is forgotten; one whose key cannot be asked for is not.
#[test]
fn only_a_withdrawn_key_makes_us_forget() {
    let book = Book::default();
    let memory = metrics::with_local_recorder(&book, Memory::new);
    let entries = || f64::from_bits(book.read("vestibule_token_cache_entries"));
    let token = Mint::user().mint();
    assert!(memory.cached.is_empty());
    assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
    memory.cached.refresh_gauges();
    assert!((entries() - 1.0).abs() < f64::EPSILON, "{}", entries());
    memory.keys.down.store(true, SeqCst);
    let down = Reason::ProviderUnavailable;
    assert_eq!(memory.verify(&token).unwrap_err(), down);
    assert!(!memory.cached.is_empty());
    memory.keys.down.store(false, SeqCst);
    assert_eq!(memory.outcome(&token), CacheOutcome::Hit);
    let issuer = KeySetId::Issuer(ISSUER.into());
    memory.keys.set(&issuer, "account1", None);
    assert_eq!(memory.verify(&token).unwrap_err(), Reason::UnknownKey);
    assert!(memory.cached.is_empty());
    memory.cached.refresh_gauges();
    assert!(entries().abs() < f64::EPSILON, "{}", entries());
}

#[test]
fn nothing_is_remembered_where_size_or_time_is_zero() {
    for memory in [Memory::of(0, TTL), Memory::of(100, Duration::ZERO)] {
        let token = Mint::user().mint();
        for asked in 1..=3 {
            assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
            assert_eq!(memory.keys.asked(), asked);
        }
        assert!(memory.cached.is_empty());
    }
}

// --- how long ---

#[test]
fn verified_again_when_its_bucket_turns() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
    memory.to_next_bucket(&token);
    let turned = memory.clock.clone();
    assert_eq!(memory.keys.asked(), 2);
    // From its turn on, a bucket lasts the whole time, to the millisecond.
    turned.advance(TTL - Duration::from_millis(1));
    assert_eq!(memory.outcome(&token), CacheOutcome::Hit);
    turned.advance(Duration::from_millis(1));
    assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
    // One token, one place, whatever number of buckets.
    assert_eq!(memory.cached.len(), 1);
}

#[test]
fn tokens_turn_at_different_instants() {
    let cache = TokenCache::new(1_000, TTL).unwrap();
    let mut turns = HashSet::new();
    for number in 0..200 {
        let digest = digest(&format!("a.b.{number}"));
        cache.insert(digest, filler("u", NOW + TTL * 10), NOW);
        let turn = (0..300).find(|second| {
            cache
                .get(&digest, NOW + Duration::from_secs(*second))
                .is_none()
        });
        turns.insert(turn.unwrap_or(300));
    }
    // 200 throws at 300 seconds hit about 146 different ones.
    assert!(turns.len() > 100, "{turns:?}");
    assert!(turns.iter().any(|turn| *turn < 30) && turns.iter().any(|turn| *turn > 270));
}

#[test]
fn a_clock_set_back_makes_no_entry_last_longer() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    memory.clock.advance(TTL * 2);
    assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
    memory.clock.set(NOW);
    assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
}

#[test]
fn never_used_past_exp() {
    let memory = Memory::of(100, Duration::from_secs(1_000_000));
    let exp = NOW + Duration::from_secs(10);
    let token = Mint::user().claim("exp", json!(NOW_SECS + 10)).mint();
    assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
    memory
        .clock
        .set(Timestamp::from_millis(exp.as_millis() - 1));
    assert_eq!(memory.outcome(&token), CacheOutcome::Hit);
    // Within the leeway it is still good, but not from memory.
    for millis in [0, 1, 29_999] {
        memory.clock.set(exp + Duration::from_millis(millis));
        assert_eq!(memory.outcome(&token), CacheOutcome::Miss, "{millis}");
    }
    memory.clock.set(exp + Duration::from_secs(30));
    assert_eq!(memory.verify(&token).unwrap_err(), Reason::Expired);
}

#[tokio::test]
async fn a_token_that_expires_while_the_provider_is_asked_is_refused() {
    let memory = Memory::new();
    let token = Mint::user().claim("exp", json!(NOW_SECS + 1)).mint();
    memory.keys.close();
    let mut request = Box::pin(memory.request(&token));
    assert!(poll!(&mut request).is_pending());
    memory.clock.advance(Duration::from_secs(31));
    memory.keys.open();
    assert_eq!(request.await.unwrap_err(), Reason::Expired);
}

proptest! {
    /// Whatever the moments of use, an answer from memory is younger than the time to live, and
    /// not past `exp`.
    #[test]
    fn no_entry_outlives_its_time(
        // Also the shortest, in which the instants of all tokens are one.
        ttl_millis in prop_oneof![Just(1_u64), 1_u64..400_000],
        lifetime in 0_u64..600_000,
        steps in proptest::collection::vec(prop_oneof![0_u64..10, 0_u64..200_000], 1..40),
        name in "[a-z]{1,8}",
    ) {
        let ttl = Duration::from_millis(ttl_millis);
        let cache = TokenCache::new(10, ttl).unwrap();
        let digest = digest(&name);
        let exp = NOW + Duration::from_millis(lifetime);
        let mut now = NOW;
        let mut verified_at = None;
        for step in steps {
            now = now + Duration::from_millis(step);
            if cache.get(&digest, now).is_some() {
                let verified_at: Timestamp = verified_at.expect("nothing was put in");
                prop_assert!(now.saturating_since(verified_at) < ttl);
                prop_assert!(now < exp);
            } else {
                cache.insert(digest, filler("u", exp), now);
                verified_at = Some(now);
                // What was put in a moment ago is there.
                prop_assert_eq!(cache.get(&digest, now).is_some(), now < exp);
            }
        }
    }
}

// --- how many ---

#[test]
fn the_bound_is_kept() {
    for size in [1, 2, 3, 10, 63, 64, 65, 127, 128, 1_000, 1_023, 10_000] {
        let cache = TokenCache::new(size, TTL).unwrap();
        for number in 0..size * 10 {
            let digest = digest(&format!("{size}.{number}"));
            cache.insert(digest, filler("u", NOW + TTL), NOW);
            assert!(cache.len() <= size, "{} of {size}", cache.len());
            assert!(cache.get(&digest, NOW).is_some(), "the newest is kept");
        }
        // It is used, too; shards are rounded down, by less than their number.
        assert!(cache.len() > size * 9 / 10, "{} of {size}", cache.len());
    }
}

#[test]
fn the_bound_is_kept_by_verified_tokens() {
    let memory = Memory::of(20, TTL);
    for number in 0..200 {
        memory.verify(&numbered(number)).unwrap();
        assert!(memory.cached.len() <= 20);
    }
    assert_eq!(memory.cached.len(), 20);
}

#[test]
fn any_size_and_time_can_be_set() {
    for (size, ttl) in [
        (usize::MAX, Duration::MAX),
        (1, Duration::from_nanos(1_000_000)),
    ] {
        let cache = TokenCache::new(size, ttl).unwrap();
        cache.insert(digest("a.b.c"), filler("u", NOW + TTL), NOW);
        assert!(cache.get(&digest("a.b.c"), NOW).is_some());
    }
    // Times that no clock shows.
    let cache = TokenCache::new(1, TTL).unwrap();
    for millis in [i64::MIN, -1, 0, i64::MAX] {
        let now = Timestamp::from_millis(millis);
        let _ = cache.get(&digest("a.b.c"), now);
        cache.insert(
            digest("a.b.c"),
            filler("u", Timestamp::from_millis(i64::MAX)),
            now,
        );
    }
}

// --- metrics ---

/// Counters and gauges by name, without labels.
#[derive(Debug, Default)]
struct Book(Mutex<HashMap<String, Arc<AtomicU64>>>);

impl Book {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        assert_eq!(key.labels().count(), 0);
        let mut cells = self.0.lock().unwrap();
        Arc::clone(cells.entry(key.name().to_owned()).or_default())
    }

    fn read(&self, name: &str) -> u64 {
        self.0.lock().unwrap()[name].load(SeqCst)
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn hits_misses_evictions_and_entries_are_counted() {
    let book = Book::default();
    let memory = metrics::with_local_recorder(&book, || Memory::of(4, TTL));
    for number in 0..10 {
        memory.verify(&numbered(number)).unwrap();
        memory.verify(&numbered(number)).unwrap();
    }
    memory.verify("a.b.c").unwrap_err();
    assert_eq!(book.read("vestibule_token_cache_hits_total"), 10);
    assert_eq!(book.read("vestibule_token_cache_misses_total"), 11);
    assert_eq!(book.read("vestibule_token_cache_evictions_total"), 6);
    memory.cached.refresh_gauges();
    let entries = f64::from_bits(book.read("vestibule_token_cache_entries"));
    assert!((entries - 4.0).abs() < f64::EPSILON, "{entries}");
}

#[test]
fn a_token_that_is_verified_again_is_no_eviction() {
    let book = Book::default();
    let memory = metrics::with_local_recorder(&book, || Memory::of(4, TTL));
    let token = Mint::user().mint();
    for _ in 0..5 {
        assert_eq!(memory.outcome(&token), CacheOutcome::Miss);
        memory.clock.advance(TTL);
    }
    assert_eq!(book.read("vestibule_token_cache_evictions_total"), 0);
    assert_eq!(book.read("vestibule_token_cache_misses_total"), 5);
}

#[test]
fn debug_shows_no_token() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    let shown = format!(
        "{:?} {:?}",
        memory.verify(&token).unwrap().digest,
        memory.cached
    );
    for part in token.split('.') {
        assert!(!shown.contains(part));
    }
    assert!(shown.contains("TokenDigest(…)"), "{shown}");
}
