//! Invented `kid`s in numbers, and the real keys in between.

use super::*;

/// How many kids a stranger invents, at one a millisecond.
const INVENTED: usize = 50_000;

/// How soon a real new key works, whatever strangers do.
const SOON: Duration = secs(2);

fn robots(count: usize) -> Vec<KeySetId> {
    let ids = (0..count).map(|n| client(&format!("sc_attacked{n:02}")));
    ids.collect()
}

/// Loads the sets of these.
async fn load(it: &Fixture, sets: &[KeySetId]) {
    for set in sets {
        it.provider.set_keys(set, &["k0"]);
        while it.key(set, "k0").await.is_err() {
            it.pass(Duration::from_millis(50)).await;
        }
    }
    it.pass(secs(2)).await;
}

/// A stranger who names one of the sets after the other.
async fn invent(it: &Fixture, sets: &[KeySetId], number: usize) {
    let set = &sets[number % sets.len()];
    let refused = it.key(set, &format!("x{number}")).await;
    assert!(refused.is_err(), "{refused:?}");
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Invents kids of all these sets; every three seconds one of them has a new key in truth. Gives
/// how often the provider was asked, and for how many real keys.
async fn storm(it: &Fixture, sets: &[KeySetId]) -> (usize, usize) {
    let before = it.provider.calls();
    let mut real: Option<(KeySetId, String, Instant)> = None;
    let mut rotations = 0;
    for number in 0..INVENTED {
        if number % 3_000 == 500 {
            assert!(real.is_none(), "no key for {SOON:?}");
            let set = sets[rotations % sets.len()].clone();
            let kid = format!("k{}", rotations + 1);
            it.provider.set_keys(&set, &[&kid]);
            real = Some((set, kid, Instant::now()));
            rotations += 1;
        }
        invent(it, sets, number).await;
        if let Some((set, kid, since)) = &real
            && it.key(set, kid).await == Ok(())
        {
            assert!(since.elapsed() <= SOON, "{:?}", since.elapsed());
            real = None;
        }
    }
    assert!(!it.provider.overlapped(), "two fetches of one set at once");
    (it.provider.calls() - before, rotations)
}

#[tokio::test(start_paused = true)]
async fn fifty_thousand_kids_of_the_account() {
    let it = Fixture::new();
    let set = issuer(AUTH);
    it.key(&set, "k1").await.unwrap();
    it.provider.delay(Duration::from_millis(20));
    let (calls, rotations) = storm(&it, &[set]).await;
    let seconds = INVENTED / 1_000 + calls * 20 / 1_000;
    assert!(rotations > 15 && calls <= seconds + 2, "{calls} calls");
    assert_eq!(it.key(&issuer(OTHER), "o1").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn fifty_thousand_kids_of_known_clients() {
    let it = Fixture::new();
    let sets = robots(8);
    load(&it, &sets).await;
    it.provider.delay(Duration::from_millis(20));
    let (calls, rotations) = storm(&it, &sets).await;
    let seconds = INVENTED / 1_000 + calls * 20 / 1_000;
    assert!(
        rotations > 15 && calls <= 10 * (seconds + 2),
        "{calls} calls"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_names_many_clients_delays_no_other_ones_rotation() {
    let it = Fixture::new();
    let (sets, other) = (robots(60), client("sc_other"));
    load(&it, &sets).await;
    load(&it, std::slice::from_ref(&other)).await;
    for number in 0..30_000 {
        // Once a minute at most a rotation of its own makes a client doubtful for a moment.
        if number % 3_000 == 2_999 {
            let kid = format!("k{number}");
            it.provider.set_keys(&other, &[&kid]);
            let began = Instant::now();
            assert_eq!(it.key(&other, &kid).await, Ok(()), "{number}");
            assert_eq!(began.elapsed(), Duration::ZERO);
            // Nor the first visit of one that was never here.
            let new = client(&format!("sc_new{number}"));
            it.provider.set_keys(&new, &["n1"]);
            assert_eq!(it.key(&new, "n1").await, Ok(()));
            assert_eq!(began.elapsed(), Duration::ZERO);
        }
        invent(&it, &sets, number).await;
    }
}

/// Also who is named now and then gets its turn, though others are named a thousand times a second.
#[tokio::test(start_paused = true)]
async fn each_of_many_that_are_named_gets_its_turn() {
    let it = Fixture::new();
    let sets = robots(40);
    load(&it, &sets).await;
    let [seldom, often @ ..] = sets.as_slice() else {
        unreachable!("there are forty")
    };
    for round in 0..5 {
        assert!(it.key(seldom, &format!("y{round}")).await.is_err());
        for number in 0..10_000 {
            invent(&it, often, number).await;
        }
        let kid = format!("k{round}-1");
        it.provider.set_keys(seldom, &[&kid]);
        let began = Instant::now();
        for number in 0.. {
            invent(&it, often, number).await;
            // It tries again as clients do, not as strangers.
            if number % 250 == 0 && it.key(seldom, &kid).await == Ok(()) {
                break;
            }
            // Each of forty has had two turns, ten a second.
            assert!(began.elapsed() < secs(9), "round {round}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sets_that_hang_hold_up_nobody_else() {
    let it = Fixture::new();
    let (sets, other) = (robots(30), client("sc_other"));
    load(&it, std::slice::from_ref(&other)).await;
    for set in &sets {
        let (KeySetId::Issuer(name) | KeySetId::Client(name)) = set;
        it.provider.delay_one(name, secs(5));
    }
    for round in 0..10 {
        for set in &sets {
            let (sets, set) = (Arc::clone(&it.sets), set.clone());
            tokio::spawn(async move { sets.key(&set, "x").await.map(|_| ()) });
        }
        it.pass(secs(2)).await;
        let kid = format!("k{round}-1");
        it.provider.set_keys(&other, &[&kid]);
        let began = Instant::now();
        assert_eq!(it.key(&other, &kid).await, Ok(()));
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    assert!(!it.provider.overlapped());
}
