//! One verification at a time per token, whoever comes and goes.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use futures_util::{future::join_all, poll};

use super::{
    memory::{Memory, TTL, digest, numbered},
    world::Mint,
};
use crate::{bearer::BearerToken, error::Reason, token::CacheOutcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_first_uses_are_one_verification() {
    for size in [0, 100] {
        let memory = Memory::of(size, TTL);
        let token = Mint::user().mint();
        memory.keys.close();
        let requests: Vec<_> = (0..200)
            .map(|_| tokio::spawn(memory.request(&token)))
            .collect();
        let other = tokio::spawn(memory.request(&numbered(1)));
        while memory.keys.asked() < 2 {
            tokio::task::yield_now().await;
        }
        // With nothing remembered, only those who wait share: let them all arrive.
        tokio::time::sleep(Duration::from_millis(200)).await;
        memory.keys.open();
        for answer in join_all(requests).await {
            let answer = answer.unwrap().unwrap();
            assert_eq!(answer.token.subject(), "user_ada");
            assert_eq!(answer.outcome, CacheOutcome::Miss);
        }
        assert_eq!(other.await.unwrap().unwrap().token.subject(), "user_1");
        assert_eq!(memory.keys.asked(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_uses_that_do_not_wait_for_each_other_are_one_verification_too() {
    for _ in 0..20 {
        let memory = Memory::new();
        let token = Mint::user().mint();
        let requests: Vec<_> = (0..50)
            .map(|_| tokio::spawn(memory.request(&token)))
            .collect();
        for answer in join_all(requests).await {
            answer.unwrap().unwrap();
        }
        assert_eq!(memory.keys.asked(), 1);
    }
}

/// The narrow case of the above: a request looked, found nothing, and took off just after the
/// verification that it missed had ended.
#[tokio::test]
async fn whoever_comes_just_too_late_to_share_finds_what_is_remembered() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    let bearer = BearerToken::parse(&token).unwrap();
    let late = memory.cached.verification(digest(&token), &bearer, None);
    memory.verify(&token).unwrap();
    assert_eq!(late.await.unwrap().subject(), "user_ada");
    assert_eq!(memory.keys.asked(), 1);
}

#[tokio::test]
async fn those_who_wait_share_a_refusal() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    memory.keys.close();
    memory.keys.down.store(true, SeqCst);
    let mut requests: Vec<_> = (0..200).map(|_| Box::pin(memory.request(&token))).collect();
    for request in &mut requests {
        assert!(poll!(request).is_pending());
    }
    memory.keys.open();
    for answer in join_all(requests).await {
        assert_eq!(answer.unwrap_err(), Reason::ProviderUnavailable);
    }
    assert_eq!(memory.keys.asked(), 1);
}

/// While some of those who waited have not yet fetched the answer, a newcomer does not get it.
#[tokio::test]
async fn a_refusal_is_over_when_its_verification_is() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    memory.keys.close();
    memory.keys.down.store(true, SeqCst);
    let (mut first, mut slow) = (
        Box::pin(memory.request(&token)),
        Box::pin(memory.request(&token)),
    );
    assert!(poll!(&mut first).is_pending() && poll!(&mut slow).is_pending());
    memory.keys.open();
    assert_eq!(first.await.unwrap_err(), Reason::ProviderUnavailable);
    memory.keys.down.store(false, SeqCst);
    assert!(memory.request(&token).await.is_ok());
    assert_eq!(slow.await.unwrap_err(), Reason::ProviderUnavailable);
}

#[tokio::test]
async fn whoever_leaves_harms_nobody() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    memory.keys.close();
    let mut leader = Box::pin(memory.request(&token));
    assert!(poll!(&mut leader).is_pending());
    let waiters: Vec<_> = (0..10)
        .map(|_| tokio::spawn(memory.request(&token)))
        .collect();
    tokio::task::yield_now().await;
    drop(leader);
    // One of those who wait leaves, too, as a disconnected request does.
    waiters[0].abort();
    tokio::task::yield_now().await;
    memory.keys.open();
    for waiter in waiters.into_iter().skip(1) {
        assert_eq!(waiter.await.unwrap().unwrap().token.subject(), "user_ada");
    }
    assert_eq!(memory.keys.asked(), 1);
}

#[tokio::test]
async fn when_all_have_left_nothing_is_left() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    memory.keys.close();
    for _ in 0..3 {
        let mut requests: Vec<_> = (0..3).map(|_| Box::pin(memory.request(&token))).collect();
        for request in &mut requests {
            assert!(poll!(request).is_pending());
        }
        assert_eq!(memory.cached.under_way(), 1);
        drop(requests);
        assert_eq!(memory.cached.under_way(), 0);
    }
    memory.keys.open();
    assert!(memory.request(&token).await.is_ok());
    assert_eq!(memory.cached.under_way(), 0);
}

#[tokio::test]
async fn a_panic_is_a_refusal_for_those_who_wait_and_for_nobody_else() {
    let memory = Memory::new();
    let token = Mint::user().mint();
    memory.keys.close();
    memory.keys.panics.store(true, SeqCst);
    let mut requests: Vec<_> = (0..5).map(|_| Box::pin(memory.request(&token))).collect();
    for request in &mut requests {
        assert!(poll!(request).is_pending());
    }
    memory.keys.open();
    for answer in join_all(requests).await {
        assert_eq!(answer.unwrap_err(), Reason::Internal);
    }
    memory.keys.panics.store(false, SeqCst);
    assert!(memory.request(&token).await.is_ok());
    assert_eq!((memory.keys.asked(), memory.cached.under_way()), (2, 0));
}
