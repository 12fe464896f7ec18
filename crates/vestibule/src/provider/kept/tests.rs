use super::{super::testing::*, *};

fn facts(store: &Arc<FakeStore>) -> KeptFacts {
    KeptFacts::new(&settings("https://auth.example"), store.clone())
}

fn key(text: &str) -> Arc<str> {
    text.into()
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_is_found_again() {
    let store = FakeStore::new();
    let kept = facts(&store);
    kept.keep(Kind::User, &key("a"), b"one".to_vec(), START);
    kept.flush().await;
    let found = facts(&store).load(Kind::User, "a").await.unwrap();
    assert_eq!(found, Some((b"one".to_vec(), START)));
    assert_eq!(kept.load(Kind::User, "b").await.unwrap(), None);
    assert_eq!(kept.load(Kind::ClientKeys, "a").await.unwrap(), None);
    kept.forget(Kind::User, &key("a"));
    kept.flush().await;
    assert_eq!(kept.load(Kind::User, "a").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_fact_is_good_for_its_name_its_key_and_its_provider_only() {
    let store = FakeStore::new();
    let kept = facts(&store);
    kept.keep(Kind::ClientKeys, &key("a"), b"one".to_vec(), START);
    kept.flush().await;
    {
        let mut facts = store.facts.lock().unwrap();
        let fact = facts.values().next().unwrap().clone();
        facts.insert(("issuer_keys".into(), "a".into()), fact.clone());
        facts.insert(("client_keys".into(), "b".into()), fact);
    }
    assert!(kept.load(Kind::ClientKeys, "a").await.unwrap().is_some());
    assert_eq!(kept.load(Kind::IssuerKeys, "a").await.unwrap(), None);
    assert_eq!(kept.load(Kind::ClientKeys, "b").await.unwrap(), None);

    let mut other_key = settings("https://auth.example");
    other_key.access_key = access_key(8);
    for stranger in [other_key, settings("https://other.example")] {
        let kept = KeptFacts::new(&stranger, store.clone());
        assert_eq!(kept.load(Kind::ClientKeys, "a").await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_fact_cannot_be_shifted_into_each_other() {
    // Chosen so that the bytes of the time could as well be the end of the key, and the first
    // bytes of the body a time.
    let store = FakeStore::new();
    let kept = facts(&store);
    let at = Timestamp::from_millis(i64::from_be_bytes(*b"\0\0\x01abcde"));
    kept.keep(Kind::User, &key("a"), b"\0\0\x01abcdebody".to_vec(), at);
    kept.flush().await;
    let mut fact = store.facts.lock().unwrap().values().next().unwrap().clone();
    fact.body = b"body".to_vec();
    let shifted = "a\0\0\u{1}abcde";
    let name = ("user".into(), shifted.into());
    store.facts.lock().unwrap().insert(name, fact);
    assert_eq!(kept.load(Kind::User, shifted).await.unwrap(), None);
    assert!(kept.load(Kind::User, "a").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn many_answers_about_one_thing_become_few_writes() {
    let store = FakeStore::new();
    let kept = facts(&store);
    for n in 0..1_000_u64 {
        let at = START + Duration::from_millis(n);
        kept.keep(Kind::User, &key("a"), n.to_string().into_bytes(), at);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    kept.flush().await;
    let last = START + Duration::from_millis(999);
    let found = kept.load(Kind::User, "a").await.unwrap();
    assert_eq!(found, Some((b"999".to_vec(), last)), "the latest wins");
    assert!(*store.writes.lock().unwrap() <= 6);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_delays_nobody_and_memory_stays_bounded() {
    let store = FakeStore::new();
    *store.delay.lock().unwrap() = Duration::from_secs(3_600);
    let kept = facts(&store);
    for n in 0..MAX_WAITING + 500 {
        kept.keep(Kind::User, &key(&n.to_string()), vec![0; 10], START);
    }
    assert!(kept.0.waiting().writes.len() <= MAX_WAITING);
    kept.forget(Kind::User, &key("0"));
    kept.forget(Kind::User, &key("another"));
    assert!(
        kept.0
            .waiting()
            .writes
            .contains_key(&(Kind::User, key("another")))
    );
    let before = tokio::time::Instant::now();
    kept.flush().await;
    assert_eq!(before.elapsed(), FLUSH_PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_too() {
    let store = FakeStore::new();
    let kept = facts(&store);
    kept.keep(Kind::User, &key("huge"), vec![0; MAX_BODY + 1], START);
    for n in 0..200 {
        kept.keep(Kind::User, &key(&n.to_string()), vec![0; MAX_BODY], START);
    }
    assert!(kept.0.waiting().bytes <= MAX_WAITING_BYTES);
    kept.flush().await;
    assert_eq!(kept.0.waiting().bytes, 0);
    assert_eq!(store.len(), MAX_WAITING_BYTES / MAX_BODY);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_does_not_undo_a_newer_one() {
    let store = FakeStore::new();
    let kept = facts(&store);
    *store.broken.lock().unwrap() = true;
    *store.delay.lock().unwrap() = Duration::from_millis(100);
    kept.keep(Kind::User, &key("a"), b"old".to_vec(), START);
    tokio::time::sleep(Duration::from_millis(50)).await;
    kept.keep(Kind::User, &key("a"), b"new".to_vec(), START);
    tokio::time::sleep(Duration::from_millis(200)).await;
    *store.broken.lock().unwrap() = false;
    kept.flush().await;
    let found = kept.load(Kind::User, "a").await.unwrap();
    assert_eq!(found, Some((b"new".to_vec(), START)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_tried_again_a_few_times() {
    let store = FakeStore::new();
    let kept = facts(&store);
    *store.broken.lock().unwrap() = true;
    kept.keep(Kind::User, &key("a"), b"one".to_vec(), START);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    *store.broken.lock().unwrap() = false;
    kept.flush().await;
    assert_eq!(store.len(), 1);

    *store.broken.lock().unwrap() = true;
    kept.keep(Kind::User, &key("b"), b"one".to_vec(), START);
    kept.flush().await;
    *store.broken.lock().unwrap() = false;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.len(), 1, "given up");
    // And the next fact finds a writer.
    kept.keep(Kind::User, &key("c"), b"one".to_vec(), START);
    kept.flush().await;
    assert_eq!(store.len(), 2);
}
