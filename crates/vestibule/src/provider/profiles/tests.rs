use super::{super::testing::*, *};
use crate::clock::{Clock as _, ManualClock};

const ADA: &str = "user_ada";

struct Fixture {
    provider: Arc<FakeProvider>,
    store: Arc<FakeStore>,
    clock: ManualClock,
    settings: ProviderSettings,
    users: UserCache,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut ProviderSettings)) -> Self {
        let mut settings = settings("https://auth.example");
        change(&mut settings);
        let (provider, store, clock) = (FakeProvider::new(), FakeStore::new(), clock());
        provider.set_user(ADA, user(ADA, "Ada"));
        let shared: SharedClock = Arc::new(clock.clone());
        Self {
            users: UserCache::over(&settings, provider.clone(), store.clone(), shared),
            provider,
            store,
            clock,
            settings,
        }
    }

    /// The same server after a restart: another memory, the same directory.
    async fn restart(&mut self) {
        self.users.flush().await;
        let clock: SharedClock = Arc::new(self.clock.clone());
        self.users = UserCache::over(
            &self.settings,
            self.provider.clone(),
            self.store.clone(),
            clock,
        );
    }

    /// Lets both clocks pass.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::advance(time).await;
    }

    /// Lets background work end, without time passing on the manual clock.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn name(&self) -> Result<Option<String>, ProviderError> {
        Ok(match self.users.get(ADA).await?.found {
            Found::Present(user) => user.name.clone(),
            Found::Gone => None,
        })
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn named(name: &str) -> Result<Option<String>, ProviderError> {
    Ok(Some(name.to_owned()))
}

fn found<T>(dated: Dated<T>) -> Found<T> {
    dated.found
}

#[tokio::test(start_paused = true)]
async fn two_hundred_first_requests_make_one_call() {
    let it = Fixture::new();
    it.provider.delay(secs(1));
    let requests = (0..200).map(|_| {
        let users = it.users.clone();
        tokio::spawn(async move { users.get(ADA).await.map(found) })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), Ok(user(ADA, "Ada")));
    }
    assert_eq!(it.provider.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_neither_ends_the_fetch_nor_hangs_the_others() {
    let it = Fixture::new();
    it.provider.delay(secs(2));
    let users = it.users.clone();
    let first = tokio::spawn(async move { users.get(ADA).await.map(found) });
    it.settle().await;
    let users = it.users.clone();
    let second = tokio::spawn(async move { users.get(ADA).await.map(found) });
    it.settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(second.await.unwrap(), Ok(user(ADA, "Ada")));
    assert_eq!(it.provider.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_leaves_nobody_hanging() {
    let it = Fixture::new();
    it.provider.panic_next();
    assert_eq!(it.name().await, Err(ProviderError::Unreachable));
    it.provider.recover();
    it.pass(secs(1)).await;
    assert_eq!(it.name().await, named("Ada"));
}

#[tokio::test(start_paused = true)]
async fn young_from_memory_then_refreshed_in_the_background_then_awaited() {
    let it = Fixture::new();
    assert_eq!(it.name().await, named("Ada"));
    it.provider.set_user(ADA, user(ADA, "Ada L."));
    it.provider.delay(Duration::from_millis(1));
    it.pass(secs(59)).await;
    assert_eq!(it.name().await, named("Ada"));
    assert_eq!(it.provider.calls(), 1);

    it.pass(secs(1)).await;
    assert_eq!(it.name().await, named("Ada"), "the old one, at once");
    it.settle().await;
    it.settle().await;
    assert_eq!(it.provider.calls(), 2);
    assert_eq!(it.name().await, named("Ada L."));

    it.provider.set_user(ADA, user(ADA, "Ada K."));
    it.pass(secs(120)).await;
    assert_eq!(it.name().await, named("Ada K."), "the fresh one, awaited");
    assert_eq!(it.provider.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_up_to_the_hard_age_and_no_longer() {
    let it = Fixture::new();
    it.name().await.unwrap();
    it.provider.fail(ProviderError::Status(503));
    it.pass(secs(3_600)).await;
    assert_eq!(it.name().await, named("Ada"));
    it.pass(Duration::from_millis(1)).await;
    assert_eq!(it.name().await, Err(ProviderError::Status(503)));
    it.provider.recover();
    it.pass(secs(1)).await;
    assert_eq!(it.name().await, named("Ada"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ages_while_a_request_waits_is_not_used_after_its_end() {
    let it = Fixture::new();
    it.name().await.unwrap();
    it.provider.fail(ProviderError::Timeout);
    it.provider.delay(secs(5));
    it.pass(secs(3_598)).await;
    let users = it.users.clone();
    let request = tokio::spawn(async move { users.get(ADA).await.map(found) });
    it.settle().await;
    it.pass(secs(5)).await;
    assert_eq!(request.await.unwrap(), Err(ProviderError::Timeout));
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_one_call_a_second_and_ends_within_a_second() {
    let it = Fixture::new();
    it.provider.fail(ProviderError::Unreachable);
    for _ in 0..50 {
        assert_eq!(it.name().await, Err(ProviderError::Unreachable));
        it.pass(Duration::from_millis(100)).await;
    }
    assert_eq!(it.provider.calls(), 5);
    it.provider.recover();
    it.pass(secs(1)).await;
    assert_eq!(it.name().await, named("Ada"));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_provider_makes_only_the_first_request_wait() {
    let it = Fixture::new();
    it.name().await.unwrap();
    it.provider.fail(ProviderError::Timeout);
    it.provider.delay(secs(5));
    it.pass(secs(500)).await;
    let before = tokio::time::Instant::now();
    assert_eq!(it.name().await, named("Ada"));
    assert_eq!(before.elapsed(), secs(5), "this one learns of it");
    for _ in 0..100 {
        let before = tokio::time::Instant::now();
        assert_eq!(it.name().await, named("Ada"));
        assert_eq!(before.elapsed(), Duration::ZERO);
        it.pass(Duration::from_millis(300)).await;
    }
    assert!(!it.provider.overlapped());
    // And the end of the outage is noticed.
    it.provider.recover();
    it.provider.delay(Duration::ZERO);
    it.provider.set_user(ADA, user(ADA, "Ada L."));
    for _ in 0..50 {
        it.name().await.unwrap();
        it.pass(Duration::from_millis(100)).await;
    }
    assert_eq!(it.name().await, named("Ada L."));
}

#[tokio::test(start_paused = true)]
async fn after_a_hanging_outage_nobody_waits_for_the_memory_of_it() {
    let it = Fixture::new();
    it.provider.fail(ProviderError::Timeout);
    it.provider.delay(secs(5));
    assert_eq!(it.name().await, Err(ProviderError::Timeout));
    it.provider.recover();
    it.provider.delay(Duration::ZERO);
    assert_eq!(it.name().await, named("Ada"));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_gone_is_refused_and_a_new_one_gets_in_soon() {
    let it = Fixture::new();
    it.name().await.unwrap();
    it.users.flush().await;
    assert_eq!(it.store.len(), 1);
    it.provider.set_user(ADA, Found::Gone);
    it.pass(secs(60)).await;
    it.name().await.unwrap();
    it.settle().await;
    assert_eq!(it.users.get(ADA).await.map(found), Ok(Found::Gone));
    assert_eq!(it.provider.calls(), 2);
    it.users.flush().await;
    assert_eq!(it.store.len(), 0, "what was kept is forgotten");

    it.pass(secs(9)).await;
    assert_eq!(it.users.get(ADA).await.map(found), Ok(Found::Gone));
    assert_eq!(it.provider.calls(), 2, "believed for a while");
    it.provider.set_user(ADA, user(ADA, "Ada"));
    it.pass(secs(2)).await;
    assert_eq!(it.name().await, named("Ada"));
}

#[tokio::test(start_paused = true)]
async fn a_ttl_of_zero_asks_every_time_and_falls_back_in_an_outage() {
    let it = Fixture::with(|settings| settings.user_cache_ttl = Duration::ZERO);
    for name in ["Ada", "Ada L.", "Ada K."] {
        it.provider.set_user(ADA, user(ADA, name));
        assert_eq!(it.name().await, named(name));
    }
    assert_eq!(it.provider.calls(), 3);
    it.provider.fail(ProviderError::Status(500));
    it.pass(secs(3_600)).await;
    assert_eq!(it.name().await, named("Ada K."));
    it.pass(secs(1)).await;
    assert_eq!(it.name().await, Err(ProviderError::Status(500)));
    it.provider.recover();
    it.provider.set_user(ADA, Found::Gone);
    it.pass(secs(1)).await;
    assert_eq!(it.users.get(ADA).await.map(found), Ok(Found::Gone));
    it.provider.set_user(ADA, user(ADA, "Ada"));
    assert_eq!(it.name().await, named("Ada"));
}

#[tokio::test(start_paused = true)]
async fn known_users_survive_a_restart_during_an_outage() {
    let mut it = Fixture::new();
    it.name().await.unwrap();
    it.provider.fail(ProviderError::Unreachable);
    it.pass(secs(1_000)).await;
    it.restart().await;
    assert_eq!(it.name().await, named("Ada"));
    // Ages count from the fetch, not from the restart.
    it.pass(secs(2_600)).await;
    it.restart().await;
    assert_eq!(it.name().await, named("Ada"));
    it.pass(Duration::from_millis(1)).await;
    it.restart().await;
    assert_eq!(it.name().await, Err(ProviderError::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn a_young_kept_user_needs_no_call() {
    let mut it = Fixture::new();
    it.name().await.unwrap();
    it.restart().await;
    assert_eq!(it.name().await, named("Ada"));
    assert_eq!(it.provider.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kept_user_cannot_be_changed_or_exchanged() {
    type Tamper = fn(&mut crate::store::KeptFact);
    let tamperings: [Tamper; 4] = [
        |fact| {
            fact.body = String::from_utf8(fact.body.clone())
                .unwrap()
                .replace("Ada", "Eve")
                .into()
        },
        |fact| fact.fetched_at = fact.fetched_at + Duration::from_millis(1),
        |fact| fact.proof[0] ^= 1,
        |fact| fact.proof.clear(),
    ];
    for tamper in tamperings {
        let mut it = Fixture::new();
        it.name().await.unwrap();
        it.provider.fail(ProviderError::Unreachable);
        it.restart().await;
        it.store.facts.lock().unwrap().values_mut().for_each(tamper);
        assert_eq!(it.name().await, Err(ProviderError::Unreachable));
    }
    // Another name for a good fact.
    let mut it = Fixture::new();
    it.name().await.unwrap();
    it.provider.fail(ProviderError::Unreachable);
    it.restart().await;
    {
        let mut facts = it.store.facts.lock().unwrap();
        let fact = facts.values().next().unwrap().clone();
        facts.insert(("user".into(), "user_eve".into()), fact);
    }
    assert!(it.users.get("user_eve").await.is_err());
    assert_eq!(it.name().await, named("Ada"), "the untouched one is good");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_nothing_eternal() {
    let it = Fixture::new();
    it.name().await.unwrap();
    it.provider.fail(ProviderError::Unreachable);
    it.clock.set(it.clock.now().saturating_sub(secs(31)));
    assert_eq!(it.name().await, Err(ProviderError::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn a_broken_directory_does_not_stop_a_working_provider() {
    let it = Fixture::new();
    *it.store.broken.lock().unwrap() = true;
    assert_eq!(it.name().await, named("Ada"));
}

#[tokio::test(start_paused = true)]
async fn impossible_ids_are_never_asked_for() {
    let it = Fixture::new();
    let clock: SharedClock = Arc::new(it.clock.clone());
    let tenants = TenantCache::over(&it.settings, it.provider.clone(), clock);
    let long = "x".repeat(257);
    for id in ["", ".", "..", "a\0b", "a\nb", long.as_str()] {
        assert_eq!(it.users.get(id).await.map(found), Ok(Found::Gone), "{id:?}");
        assert_eq!(tenants.get(id).await.map(found), Ok(Found::Gone), "{id:?}");
    }
    assert_eq!(it.provider.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn tenants_are_remembered_too() {
    let it = Fixture::new();
    let clock: SharedClock = Arc::new(it.clock.clone());
    let tenants = TenantCache::over(&it.settings, it.provider.clone(), clock);
    assert_eq!(tenants.get("tenant_acme").await.map(found), Ok(Found::Gone));
    it.provider.set_tenant("tenant_acme");
    it.pass(secs(11)).await;
    for _ in 0..3 {
        let found = tenants.get("tenant_acme").await.unwrap().found;
        assert!(matches!(found, Found::Present(tenant) if tenant.tenant_id == "tenant_acme"));
    }
    assert_eq!(it.provider.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn refreshing_everybody_at_once_is_bounded() {
    let it = Fixture::new();
    let ids: Vec<_> = (0..200).map(|n| format!("user_{n}")).collect();
    for id in &ids {
        it.provider.set_user(id, user(id, "A"));
        it.users.get(id).await.unwrap();
    }
    it.provider.delay(secs(1));
    it.pass(secs(60)).await;
    for id in &ids {
        assert_eq!(it.users.get(id).await.map(found), Ok(user(id, "A")));
    }
    it.settle().await;
    assert_eq!(it.provider.calls(), 200 + BACKGROUND_FETCHES);
}
