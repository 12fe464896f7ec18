//! One budget, shared out fairly, of which nothing is lost.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, poll};
use proptest::prelude::*;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::tenancy::budget::{Budget, Permit};

const A: Uuid = Uuid::from_u128(1);
const B: Uuid = Uuid::from_u128(2);
const C: Uuid = Uuid::from_u128(3);

/// A request for a permit, polled once and then only when somebody looks.
struct Waiter(Pin<Box<dyn Future<Output = Permit>>>);

impl Waiter {
    fn new(budget: &Budget, account: Uuid) -> Self {
        let budget = budget.clone();
        let mut waiter = Self(Box::pin(async move { budget.acquire(account).await }));
        assert!(waiter.permit().is_none(), "did not have to wait");
        waiter
    }

    fn permit(&mut self) -> Option<Permit> {
        self.0.as_mut().now_or_never()
    }
}

fn now(budget: &Budget, account: Uuid) -> Permit {
    let permit = budget.acquire(account).now_or_never();
    permit.expect("there is no free permit")
}

/// Which of the waiters has its permit.
fn served(waiters: &mut [Waiter]) -> Vec<(usize, Permit)> {
    waiters
        .iter_mut()
        .enumerate()
        .filter_map(|(at, waiter)| Some((at, waiter.permit()?)))
        .collect()
}

/// The order in which the waiters are served when each gives back at once.
fn order(mut held: Vec<Permit>, mut waiters: Vec<(Uuid, Waiter)>) -> Vec<Uuid> {
    let mut order = Vec::new();
    while !waiters.is_empty() {
        drop(held.pop());
        let next = waiters
            .iter_mut()
            .enumerate()
            .find_map(|(at, (_, waiter))| Some((at, waiter.permit()?)));
        let (at, permit) = next.expect("a permit is free and nobody gets it");
        held.push(permit);
        order.push(waiters.remove(at).0);
    }
    order
}

#[test]
fn one_account_alone_may_have_everything() {
    let budget = Budget::new(5);
    let held: Vec<_> = (0..5).map(|_| now(&budget, A)).collect();
    let mut late = Waiter::new(&budget, A);
    assert_eq!((budget.in_use(), budget.waiting()), (5, 1));
    drop(held);
    assert!(late.permit().is_some());
    assert_eq!((budget.in_use(), budget.waiting()), (0, 0));
}

#[test]
fn who_holds_the_fewest_is_served_first() {
    let budget = Budget::new(3);
    let mut held = vec![now(&budget, A), now(&budget, A), now(&budget, B)];
    let mut waiters = [
        Waiter::new(&budget, A),
        Waiter::new(&budget, B),
        Waiter::new(&budget, C),
    ];
    // A gives one back and holds one still, as B does; C holds none.
    drop(held.remove(0));
    let served: Vec<_> = served(&mut waiters).into_iter().map(|(at, _)| at).collect();
    assert_eq!(served, [2]);
}

#[test]
fn among_equals_the_longest_waiting_is_served_first() {
    let budget = Budget::new(1);
    let held = vec![now(&budget, C)];
    let waiters = [B, A, C].map(|account| (account, Waiter::new(&budget, account)));
    assert_eq!(order(held, waiters.into()), [B, A, C]);
}

#[test]
fn within_an_account_first_come_is_first_served() {
    let budget = Budget::new(1);
    let mut held = Some(now(&budget, A));
    let mut waiters: Vec<_> = (0..10).map(|_| Waiter::new(&budget, A)).collect();
    for turn in 0..10 {
        drop(held.take());
        let mut next = served(&mut waiters[turn..]);
        assert_eq!(next.len(), 1);
        let (at, permit) = next.remove(0);
        assert_eq!(at, 0);
        held = Some(permit);
    }
}

/// Also where everybody holds nothing, and so nobody the fewest.
#[test]
fn five_hundred_requests_of_one_account_do_not_delay_another() {
    for size in 1..=3 {
        let budget = Budget::new(size);
        let held = (0..size).map(|_| now(&budget, A)).collect();
        let mut waiters: Vec<_> = (0..500).map(|_| (A, Waiter::new(&budget, A))).collect();
        waiters.push((B, Waiter::new(&budget, B)));
        let order = order(held, waiters);
        let at = order.iter().position(|account| *account == B).unwrap();
        assert!(at <= 1, "{at} of A came before B");
    }
}

#[test]
fn busy_accounts_alternate() {
    let budget = Budget::new(1);
    let held = vec![now(&budget, C)];
    let mut waiters = Vec::new();
    for account in [A, B, C] {
        waiters.extend((0..5).map(|_| (account, Waiter::new(&budget, account))));
    }
    let order = order(held, waiters);
    for round in order.chunks(3) {
        assert_eq!(round, [A, B, C]);
    }
}

#[test]
fn who_goes_away_leaves_the_queue() {
    let budget = Budget::new(1);
    let held = now(&budget, A);
    let first = Waiter::new(&budget, B);
    let mut second = Waiter::new(&budget, B);
    drop(first);
    assert_eq!(budget.waiting(), 1);
    drop(held);
    assert!(second.permit().is_some());
    assert_eq!((budget.in_use(), budget.waiting()), (0, 0));
}

#[test]
fn what_was_granted_to_one_who_goes_away_goes_to_the_next() {
    let budget = Budget::new(1);
    let held = now(&budget, A);
    let first = Waiter::new(&budget, B);
    let mut second = Waiter::new(&budget, B);
    // The first is served, and never looks.
    drop(held);
    assert_eq!((budget.in_use(), budget.waiting()), (1, 1));
    assert!(second.permit().is_none());
    drop(first);
    assert!(second.permit().is_some());
    let held = now(&budget, A);
    let last = Waiter::new(&budget, B);
    drop(held);
    drop(last);
    assert_eq!((budget.in_use(), budget.waiting()), (0, 0));
}

#[test]
fn what_is_spare_counts_and_comes_back() {
    let budget = Budget::new(2);
    let held = now(&budget, A);
    let spare = budget.spare().unwrap();
    assert_eq!(budget.in_use(), 2);
    assert!(budget.spare().is_none());
    let mut waiter = Waiter::new(&budget, A);
    drop(spare);
    let granted = waiter.permit();
    assert!(granted.is_some() && budget.spare().is_none());
    drop((held, granted));
    assert_eq!(budget.in_use(), 0);
}

#[tokio::test]
async fn who_waits_is_woken() {
    let budget = Budget::new(1);
    let held = budget.acquire(A).await;
    let waiter = tokio::spawn({
        let budget = budget.clone();
        async move { budget.acquire(B).await }
    });
    let mut impatient = Box::pin(budget.acquire(C));
    assert!(poll!(&mut impatient).is_pending());
    tokio::task::yield_now().await;
    drop(impatient);
    drop(held);
    let woken = tokio::time::timeout(Duration::from_secs(5), waiter).await;
    assert!(woken.is_ok());
}

/// What the rule says, without any of the cleverness.
#[derive(Default)]
struct Model {
    free: usize,
    time: usize,
    held: HashMap<Uuid, usize>,
    served: HashMap<Uuid, usize>,
    /// Everybody who waits: number, account, since when.
    queue: Vec<(usize, Uuid, usize)>,
}

impl Model {
    fn tick(&mut self) -> usize {
        self.time += 1;
        self.time
    }

    fn serve(&mut self, account: Uuid) {
        self.free -= 1;
        *self.held.entry(account).or_default() += 1;
        let now = self.tick();
        self.served.insert(account, now);
    }

    fn is_served_at_once(&mut self, number: usize, account: Uuid) -> bool {
        if self.free > 0 {
            self.serve(account);
            return true;
        }
        let now = self.tick();
        self.queue.push((number, account, now));
        false
    }

    fn release(&mut self, account: Uuid) -> Option<usize> {
        self.free += 1;
        *self.held.get_mut(&account).unwrap() -= 1;
        let oldest_of = |account: Uuid| {
            let mut of_account = self.queue.iter().filter(|(_, of, _)| *of == account);
            let (_, _, since) = of_account.next().unwrap();
            *since
        };
        let standing = |account: Uuid| {
            let held = self.held.get(&account).copied().unwrap_or_default();
            let served = self.served.get(&account).copied().unwrap_or_default();
            (held, oldest_of(account).max(served))
        };
        let accounts = self.queue.iter().map(|(_, account, _)| *account);
        let next = accounts.min_by_key(|account| standing(*account))?;
        let at = self.queue.iter().position(|(_, of, _)| *of == next)?;
        self.serve(next);
        Some(self.queue.remove(at).0)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Acquire(u128),
    /// One of those who wait or were served goes away.
    GoAway(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u128..5).prop_map(Step::Acquire),
        any::<prop::sample::Index>().prop_map(Step::GoAway),
    ]
}

/// One request of the model's: what it waits with, until it is served and looks.
enum Request {
    Waits(Waiter),
    Holds { _permit: Permit },
}

proptest! {
    /// Whatever comes and goes, exactly the one is served whose turn it is. Some of those who are
    /// served never look.
    #[test]
    fn the_rule_is_kept(size in 1_usize..5, looks in any::<bool>(),
                        steps in prop::collection::vec(step(), 1..200)) {
        let budget = Budget::new(size);
        let mut model = Model { free: size, ..Model::default() };
        let mut requests: Vec<(usize, Uuid, Request)> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Acquire(account) => {
                    let account = Uuid::from_u128(account);
                    let request = if model.is_served_at_once(number, account) {
                        Request::Holds { _permit: now(&budget, account) }
                    } else {
                        Request::Waits(Waiter::new(&budget, account))
                    };
                    requests.push((number, account, request));
                }
                Step::GoAway(index) if !requests.is_empty() => {
                    let (gone, account, request) = requests.remove(index.index(requests.len()));
                    let waited = model.queue.iter().position(|(number, ..)| *number == gone);
                    let next = match waited {
                        Some(at) => {
                            model.queue.remove(at);
                            None
                        }
                        None => model.release(account),
                    };
                    drop(request);
                    for (number, _, request) in &mut requests {
                        let Request::Waits(waiter) = request else { continue };
                        let waits = model.queue.iter().any(|(of, ..)| of == number);
                        if looks || waits {
                            let permit = waiter.permit();
                            prop_assert_eq!(permit.is_some(), Some(*number) == next);
                            if let Some(permit) = permit {
                                *request = Request::Holds { _permit: permit };
                            }
                        }
                    }
                }
                Step::GoAway(_) => {}
            }
            prop_assert_eq!(budget.in_use(), size - model.free);
            prop_assert_eq!(budget.waiting(), model.queue.len());
        }
        drop(requests);
        prop_assert_eq!((budget.in_use(), budget.waiting()), (0, 0));
    }
}

/// Many tasks on two threads, most of them impatient: never too many at a time, and everybody who
/// stays is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_loses_nothing() {
    const SIZE: usize = 3;
    let budget = Budget::new(SIZE);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut storm = JoinSet::new();
    for number in 0..2_000_u64 {
        let (budget, now, most) = (budget.clone(), Arc::clone(&now), Arc::clone(&most));
        storm.spawn(async move {
            // Half of them belong to one account.
            let account =
                Uuid::from_u128(u128::from(number.wrapping_mul(7) % 20).saturating_sub(10));
            let patient = number % 3 == 0;
            let patience = if patient {
                60_000_000
            } else {
                number * 13 % 2_000
            };
            let permit = budget.acquire(account);
            let permit = tokio::time::timeout(Duration::from_micros(patience), permit).await;
            let Ok(permit) = permit else { return !patient };
            let in_use = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(in_use, Ordering::SeqCst);
            if number % 5 == 0 {
                tokio::time::sleep(Duration::from_micros(number % 700)).await;
            } else {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            drop(permit);
            true
        });
    }
    while let Some(served) = storm.join_next().await {
        assert!(served.unwrap(), "a patient one was forgotten");
    }
    assert_eq!(most.load(Ordering::SeqCst), SIZE);
    assert_eq!((budget.in_use(), budget.waiting()), (0, 0));
}
