mod invented;

use super::{super::testing::*, *};
use crate::clock::ManualClock;

const AUTH: &str = "https://auth.example";
const OTHER: &str = "https://other.example";

struct Fixture {
    provider: Arc<FakeProvider>,
    store: Arc<FakeStore>,
    clock: ManualClock,
    settings: ProviderSettings,
    sets: Arc<KeySets>,
}

impl Fixture {
    fn new() -> Self {
        let mut settings = settings(AUTH);
        settings.issuers = vec![AUTH.into(), OTHER.into()];
        let (provider, store, clock) = (FakeProvider::new(), FakeStore::new(), clock());
        provider.set_keys(&issuer(AUTH), &["k1", "k2"]);
        provider.set_keys(&issuer(OTHER), &["o1"]);
        let shared: SharedClock = Arc::new(clock.clone());
        Self {
            sets: KeySets::over(&settings, provider.clone(), store.clone(), shared),
            provider,
            store,
            clock,
            settings,
        }
    }

    async fn restart(&mut self) {
        self.sets.flush().await;
        let clock: SharedClock = Arc::new(self.clock.clone());
        self.sets = KeySets::over(
            &self.settings,
            self.provider.clone(),
            self.store.clone(),
            clock,
        );
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        // In steps, so that background work gets its turns.
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(Duration::from_millis(250));
            tokio::time::sleep(step).await;
            left -= step;
        }
    }

    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn key(&self, set: &KeySetId, kid: &str) -> Result<(), Reason> {
        self.sets.key(set, kid).await.map(|_| ())
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const DOWN: Result<(), Reason> = Err(Reason::ProviderUnavailable);
const NO_KEY: Result<(), Reason> = Err(UNKNOWN);

#[tokio::test(start_paused = true)]
async fn a_kid_belongs_to_its_set_alone() {
    let it = Fixture::new();
    assert_eq!(it.key(&issuer(AUTH), "k1").await, Ok(()));
    assert_eq!(it.key(&issuer(OTHER), "k1").await, NO_KEY);
    assert_eq!(it.key(&issuer(OTHER), "o1").await, Ok(()));
    assert_eq!(it.key(&client("sc_robot01"), "k1").await, NO_KEY);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_not_configured_is_never_asked() {
    let it = Fixture::new();
    assert_eq!(it.key(&issuer("https://evil.example"), "k1").await, NO_KEY);
    assert_eq!(it.key(&client(".."), "k1").await, NO_KEY);
    assert_eq!(it.provider.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_callers_with_a_new_key_make_one_fetch() {
    let it = Fixture::new();
    it.key(&issuer(AUTH), "k1").await.unwrap();
    it.provider.set_keys(&issuer(AUTH), &["k2", "k3"]);
    it.provider.delay(Duration::from_millis(50));
    let callers = (0..200).map(|_| {
        let sets = Arc::clone(&it.sets);
        tokio::spawn(async move { sets.key(&issuer(AUTH), "k3").await.map(|_| ()) })
    });
    for caller in callers.collect::<Vec<_>>() {
        assert_eq!(caller.await.unwrap(), Ok(()));
    }
    assert_eq!(it.provider.calls(), 2);
    assert!(!it.provider.overlapped());
}

#[tokio::test(start_paused = true)]
async fn a_set_is_replaced_as_a_whole() {
    let it = Fixture::new();
    it.key(&issuer(AUTH), "k1").await.unwrap();
    it.provider.set_keys(&issuer(AUTH), &["k3"]);
    it.key(&issuer(AUTH), "k3").await.unwrap();
    assert_eq!(it.key(&issuer(AUTH), "k1").await, NO_KEY);
}

#[tokio::test(start_paused = true)]
async fn invented_kids_cost_one_fetch_a_second_for_each_set() {
    let it = Fixture::new();
    it.key(&issuer(AUTH), "k1").await.unwrap();
    it.key(&issuer(OTHER), "o1").await.unwrap();
    let before = it.provider.calls();
    for n in 0..100 {
        assert_eq!(it.key(&issuer(AUTH), &format!("x{n}")).await, NO_KEY);
        it.pass(Duration::from_millis(100)).await;
    }
    let spent = it.provider.calls() - before;
    assert!((9..=11).contains(&spent), "{spent}");
    // They use up nobody else's turn, and delay no known key.
    it.provider.set_keys(&issuer(OTHER), &["o2"]);
    assert_eq!(it.key(&issuer(OTHER), "o2").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_invented_kid_of_a_set_not_yet_loaded_costs_one_fetch() {
    let it = Fixture::new();
    assert_eq!(it.key(&issuer(AUTH), "x1").await, NO_KEY);
    assert_eq!(it.provider.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_the_next_turn() {
    let it = Fixture::new();
    it.key(&issuer(AUTH), "k1").await.unwrap();
    assert_eq!(it.key(&issuer(AUTH), "x1").await, NO_KEY);
    it.provider.set_keys(&issuer(AUTH), &["k3"]);
    let before = Instant::now();
    assert_eq!(it.key(&issuer(AUTH), "k3").await, NO_KEY);
    assert_eq!(before.elapsed(), Duration::ZERO);
    it.pass(secs(1)).await;
    assert_eq!(it.key(&issuer(AUTH), "k3").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_background_fetch_uses_up_no_turn() {
    let it = Fixture::new();
    it.sets.warm_up().await;
    it.settle().await;
    assert!(it.sets.ready());
    // Rotated a moment after the start-up fetch.
    it.provider.set_keys(&issuer(AUTH), &["k3"]);
    assert_eq!(it.key(&issuer(AUTH), "k3").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_the_request_is_not_the_last_word() {
    let it = Fixture::new();
    it.provider.delay(secs(1));
    it.sets.warm_up().await;
    it.settle().await;
    // A request joins the fetch of the start; the rotation came just after its answer was made.
    let sets = Arc::clone(&it.sets);
    let request = tokio::spawn(async move { sets.key(&issuer(AUTH), "k3").await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    it.provider.set_keys(&issuer(AUTH), &["k3"]);
    assert_eq!(request.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn joining_a_background_fetch_is_not_the_last_word_either() {
    let it = Fixture::new();
    let robot = client("sc_robot01");
    it.provider.set_keys(&robot, &["r1"]);
    it.key(&robot, "r1").await.unwrap();
    it.pass(secs(300)).await;
    it.provider.delay(secs(1));
    it.key(&robot, "r1").await.unwrap();
    it.settle().await;
    assert_eq!(it.provider.calls(), 2, "a background fetch is under way");
    let sets = Arc::clone(&it.sets);
    let request = tokio::spawn(async move {
        let robot = client("sc_robot01");
        sets.key(&robot, "r2").await.map(|_| ())
    });
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    it.provider.set_keys(&robot, &["r2"]);
    assert_eq!(request.await.unwrap(), Ok(()));
    assert_eq!(it.provider.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn configured_issuers_are_kept_fresh_without_traffic() {
    let it = Fixture::new();
    it.sets.warm_up().await;
    it.settle().await;
    assert_eq!(it.provider.calls(), 2);
    it.provider.set_keys(&issuer(AUTH), &["k3"]);
    it.pass(secs(301)).await;
    let calls = it.provider.calls();
    assert_eq!(calls, 4);
    assert_eq!(it.key(&issuer(AUTH), "k3").await, Ok(()));
    assert_eq!(it.provider.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_start_during_an_outage_succeeds_within_five_seconds_of_its_end() {
    let it = Fixture::new();
    it.provider.fail(ProviderError::Unreachable);
    it.sets.warm_up().await;
    it.pass(secs(60)).await;
    assert!(!it.sets.ready());
    assert!(it.provider.calls() <= 2 * 20, "{}", it.provider.calls());
    it.provider.recover();
    it.pass(secs(5)).await;
    assert!(it.sets.ready());
}

#[tokio::test(start_paused = true)]
async fn readiness_needs_every_issuer() {
    let it = Fixture::new();
    it.provider.remove_keys(&issuer(OTHER));
    it.sets.warm_up().await;
    it.pass(secs(10)).await;
    assert!(!it.sets.ready());
    it.provider.set_keys(&issuer(OTHER), &["o1"]);
    it.pass(secs(5)).await;
    assert!(it.sets.ready());
}

#[tokio::test(start_paused = true)]
async fn a_slow_issuer_delays_no_other() {
    let it = Fixture::new();
    it.provider.delay_one(OTHER, secs(3_600));
    it.sets.warm_up().await;
    let before = Instant::now();
    assert_eq!(it.key(&issuer(AUTH), "k1").await, Ok(()));
    assert_eq!(it.key(&issuer(AUTH), "x1").await, NO_KEY);
    assert!(before.elapsed() < secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_up_to_the_hard_age() {
    let it = Fixture::new();
    it.key(&issuer(AUTH), "k1").await.unwrap();
    it.provider.fail(ProviderError::Status(503));
    it.pass(secs(3_600)).await;
    assert_eq!(it.key(&issuer(AUTH), "k1").await, Ok(()));
    // Whether a new key exists cannot be said now.
    it.pass(secs(0)).await;
    assert_eq!(it.key(&issuer(AUTH), "k9").await, DOWN);
    assert_eq!(
        it.key(&issuer(AUTH), "k9").await,
        DOWN,
        "nor without a turn"
    );
    it.pass(secs(1)).await;
    assert_eq!(it.key(&issuer(AUTH), "k1").await, DOWN);
    assert!(!it.sets.ready());
    it.provider.recover();
    it.pass(secs(1)).await;
    assert_eq!(it.key(&issuer(AUTH), "k1").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn keys_survive_a_restart_during_an_outage() {
    let mut it = Fixture::new();
    let robot = client("sc_robot01");
    it.provider.set_keys(&robot, &["r1"]);
    it.key(&issuer(AUTH), "k1").await.unwrap();
    it.key(&issuer(OTHER), "o1").await.unwrap();
    it.key(&robot, "r1").await.unwrap();
    it.provider.fail(ProviderError::Unreachable);
    it.pass(secs(3_000)).await;
    it.restart().await;
    it.sets.warm_up().await;
    assert!(it.sets.ready());
    assert_eq!(it.key(&issuer(AUTH), "k1").await, Ok(()));
    assert_eq!(it.key(&robot, "r1").await, Ok(()));
    it.pass(secs(601)).await;
    it.restart().await;
    it.sets.warm_up().await;
    assert!(!it.sets.ready());
    assert_eq!(it.key(&issuer(AUTH), "k1").await, DOWN);
    assert_eq!(it.key(&robot, "r1").await, DOWN);
}

#[tokio::test(start_paused = true)]
async fn keys_cannot_be_planted() {
    let mut it = Fixture::new();
    it.key(&issuer(AUTH), "k1").await.unwrap();
    it.restart().await;
    it.provider.fail(ProviderError::Unreachable);
    for fact in it.store.facts.lock().unwrap().values_mut() {
        fact.body = jwks(&["evil"]);
    }
    it.sets.warm_up().await;
    assert!(!it.sets.ready());
    assert_eq!(it.key(&issuer(AUTH), "evil").await, DOWN);
}

#[tokio::test(start_paused = true)]
async fn withdrawn_keys_of_a_client_are_gone_at_once_and_stay_gone() {
    for empty in [false, true] {
        let mut it = Fixture::new();
        let robot = client("sc_robot01");
        it.provider.set_keys(&robot, &["r1"]);
        it.key(&robot, "r1").await.unwrap();
        it.sets.flush().await;
        assert_eq!(it.store.len(), 1);
        match empty {
            true => it.provider.set_keys(&robot, &[]),
            false => it.provider.remove_keys(&robot),
        }
        // Any unknown kid shows it.
        assert_eq!(it.key(&robot, "r2").await, NO_KEY);
        assert_eq!(it.key(&robot, "r1").await, NO_KEY);
        it.restart().await;
        assert_eq!(it.store.len(), 0);
        it.provider.fail(ProviderError::Unreachable);
        assert_eq!(it.key(&robot, "r1").await, DOWN);
        // And a new key works within a second.
        it.provider.recover();
        it.provider.set_keys(&robot, &["r3"]);
        it.pass(secs(1)).await;
        assert_eq!(it.key(&robot, "r3").await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_of_a_client_ends_with_the_background_refresh() {
    let it = Fixture::new();
    let robot = client("sc_robot01");
    it.provider.set_keys(&robot, &["r1"]);
    it.key(&robot, "r1").await.unwrap();
    it.provider.set_keys(&robot, &["r2"]);
    it.pass(secs(300)).await;
    let _ = it.key(&robot, "r1").await;
    it.settle().await;
    assert_eq!(it.key(&robot, "r1").await, NO_KEY);
}

#[tokio::test(start_paused = true)]
async fn many_clients_cost_twenty_fetches_a_second() {
    let it = Fixture::new();
    let ids: Vec<_> = (0..100).map(|n| format!("sc_robot{n:02}")).collect();
    for id in &ids {
        it.provider.set_keys(&client(id), &["r1"]);
    }
    let ask = |kid: &'static str| {
        let asked = ids.iter().map(|id| {
            let (sets, id) = (Arc::clone(&it.sets), client(id));
            tokio::spawn(async move { sets.key(&id, kid).await.map(|_| ()) })
        });
        asked.collect::<Vec<_>>()
    };
    let requests = ask("r1");
    tokio::time::sleep(Duration::from_millis(999)).await;
    assert_eq!(it.provider.calls(), 20);
    let mut good = 0;
    for request in requests {
        good += usize::from(request.await.unwrap().is_ok());
    }
    assert_eq!(good, 40, "those whose turn came within the patience");
    // Invented kids of known clients get no more.
    it.pass(secs(10)).await;
    let before = it.provider.calls();
    for request in ask("x1") {
        request.await.unwrap().unwrap_err();
    }
    assert!(it.provider.calls() - before <= 40);
    // An issuer's keys do not wait for them.
    let before = Instant::now();
    assert_eq!(it.key(&issuer(AUTH), "k1").await, Ok(()));
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn kept_answers_past_any_age_are_forgotten() {
    let it = Fixture::new();
    let robot = client("sc_robot01");
    it.provider.set_keys(&robot, &["r1"]);
    it.key(&robot, "r1").await.unwrap();
    it.sets.flush().await;
    it.clock.advance(secs(3_600));
    it.sets.warm_up().await;
    it.sets.flush().await;
    let kept = || {
        it.store
            .facts
            .lock()
            .unwrap()
            .contains_key(&("client_keys".into(), "sc_robot01".into()))
    };
    assert!(kept(), "it may still be used");
    it.pass(secs(3_601)).await;
    assert!(!kept());
    assert_eq!(it.store.len(), 2, "what is fresh stays");
}

#[tokio::test(start_paused = true)]
async fn the_refreshers_end_with_the_value() {
    let it = Fixture::new();
    it.sets.warm_up().await;
    it.sets.warm_up().await;
    it.settle().await;
    assert_eq!(it.provider.calls(), 2, "one refresher for each issuer");
    let provider = Arc::clone(&it.provider);
    drop(it);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(Arc::strong_count(&provider), 1, "nobody is left to call");
}
