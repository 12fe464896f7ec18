//! When to ask the provider again: a pure decision over two ages, the last failure and the fetch
//! under way.
//!
//! ```text
//! age   0 ─────────── soft ─────────── 2 × soft ─────────────── hard ──────────▶
//!       answer        answer, and      wait for a fresh one;    wait for a fresh
//!                     fetch in the     the old one only where   one; without it,
//!                     background       the provider fails       fail
//! ```
//!
//! The hard age wins where the settings put it below the soft one. A soft age of zero asks on
//! every request. While the provider is failing nobody waits who has something usable: those
//! requests are answered at once, and one of them a second asks again behind their backs.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long a failure is remembered, and so the shortest time between two calls for something
/// that fails. Longer delays the return after an outage; shorter makes an outage cost more calls.
pub(super) const FAILURE_MEMORY: Duration = Duration::from_secs(1);

/// How far in the future an answer may seem to have been fetched: the clocks of two servers, or
/// one clock that was set back. Past it the answer counts as too old, else a clock that jumped
/// back for an hour would make it live an hour longer.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

/// The two ages of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ages {
    /// From here on it is fetched again.
    pub(super) soft: Duration,
    /// Past it, it may not be used at all.
    pub(super) hard: Duration,
}

/// What is known when a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The age of the answer that is held; none where nothing is, or where it has no sensible age.
    pub(super) age: Option<Duration>,
    /// The ages of that answer.
    pub(super) ages: Ages,
    /// The last fetch, where it failed.
    pub(super) failed: Option<Failed>,
    /// The fetch under way.
    pub(super) in_flight: Option<Flying>,
}

/// A fetch that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Since it was started.
    pub(super) since_start: Duration,
    /// Since it failed.
    pub(super) since_end: Duration,
}

/// A fetch under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flying {
    /// Whether it asks a provider that failed last, so that waiting for it is not promising.
    pub(super) probe: bool,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Answer from what is held.
    Use,
    /// Answer from what is held and start a fetch.
    UseAndFetch {
        /// The fetch asks a provider that failed last.
        probe: bool,
    },
    /// Wait for the fetch under way, else for a new one; fall back to what is held.
    WaitOrFallBack,
    /// Wait for the fetch under way, else for a new one; without an answer, fail.
    WaitOrFail,
    /// Fail as the last fetch did, a moment ago.
    Fail,
}

impl Ages {
    /// Whether an answer of this age may be used while the provider is down.
    pub(super) fn usable(self, age: Duration) -> bool {
        age <= self.hard
    }
}

/// The age at `now` of what was fetched at `fetched_at`; none where that lies in the future.
pub(super) fn age(fetched_at: Timestamp, now: Timestamp) -> Option<Duration> {
    (fetched_at <= now + CLOCK_TOLERANCE).then(|| now.saturating_since(fetched_at))
}

/// What to do with a request.
pub(super) fn decide(standing: &Standing) -> Decision {
    match standing.age {
        Some(age) if standing.ages.usable(age) => with_answer(standing, age),
        _ => without_answer(standing),
    }
}

fn with_answer(standing: &Standing, age: Duration) -> Decision {
    let soft = standing.ages.soft;
    if age < soft {
        return Decision::Use;
    }
    let failing = standing
        .failed
        .is_some_and(|failed| failed.since_end < FAILURE_MEMORY);
    let may_start = standing.in_flight.is_none() && !started_a_moment_ago(standing);
    if age < soft.saturating_mul(2) || failing {
        return if may_start {
            Decision::UseAndFetch { probe: failing }
        } else {
            Decision::Use
        };
    }
    match standing.in_flight {
        Some(Flying { probe: true }) => Decision::Use,
        _ => Decision::WaitOrFallBack,
    }
}

fn without_answer(standing: &Standing) -> Decision {
    // Counted from the start: a call that hung until its deadline has cost its time already, and
    // must not add a second to the way back after the outage.
    if standing.in_flight.is_none() && started_a_moment_ago(standing) {
        Decision::Fail
    } else {
        Decision::WaitOrFail
    }
}

fn started_a_moment_ago(standing: &Standing) -> bool {
    standing
        .failed
        .is_some_and(|failed| failed.since_start < FAILURE_MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const AGES: Ages = Ages {
        soft: Duration::from_secs(60),
        hard: Duration::from_secs(3_600),
    };

    fn standing(age: Option<u64>) -> Standing {
        Standing {
            age: age.map(Duration::from_secs),
            ages: AGES,
            failed: None,
            in_flight: None,
        }
    }

    #[test]
    fn the_four_stretches_of_an_answers_life() {
        for (age, decision) in [
            (0, Decision::Use),
            (59, Decision::Use),
            (60, Decision::UseAndFetch { probe: false }),
            (119, Decision::UseAndFetch { probe: false }),
            (120, Decision::WaitOrFallBack),
            (3_600, Decision::WaitOrFallBack),
            (3_601, Decision::WaitOrFail),
        ] {
            assert_eq!(decide(&standing(Some(age))), decision, "{age}");
        }
        assert_eq!(decide(&standing(None)), Decision::WaitOrFail);
    }

    #[test]
    fn a_soft_age_of_zero_asks_every_time() {
        let mut zero = standing(Some(0));
        zero.ages.soft = Duration::ZERO;
        assert_eq!(decide(&zero), Decision::WaitOrFallBack);
    }

    #[test]
    fn the_hard_age_wins() {
        let mut odd = standing(Some(30));
        odd.ages.hard = Duration::from_secs(20);
        assert_eq!(decide(&odd), Decision::WaitOrFail);
        odd.age = Some(Duration::from_secs(20));
        assert_eq!(decide(&odd), Decision::Use);
    }

    #[test]
    fn a_failing_provider_makes_nobody_wait_who_has_something() {
        let mut failing = standing(Some(500));
        failing.failed = Some(Failed {
            since_start: SECOND / 2,
            since_end: SECOND / 4,
        });
        assert_eq!(decide(&failing), Decision::Use);
        // It hung for five seconds: ask again, but do not wait again.
        failing.failed = Some(Failed {
            since_start: SECOND * 5,
            since_end: SECOND / 4,
        });
        assert_eq!(decide(&failing), Decision::UseAndFetch { probe: true });
        failing.failed = Some(Failed {
            since_start: SECOND * 7,
            since_end: SECOND * 2,
        });
        failing.in_flight = Some(Flying { probe: true });
        assert_eq!(decide(&failing), Decision::Use);
        // A failure of long ago says nothing.
        failing.in_flight = None;
        assert_eq!(decide(&failing), Decision::WaitOrFallBack);
    }

    #[test]
    fn a_failure_is_remembered_for_a_second_from_the_start_of_the_fetch() {
        let mut nothing = standing(None);
        nothing.failed = Some(Failed {
            since_start: SECOND - Duration::from_millis(1),
            since_end: Duration::ZERO,
        });
        assert_eq!(decide(&nothing), Decision::Fail);
        nothing.failed = Some(Failed {
            since_start: SECOND,
            since_end: Duration::ZERO,
        });
        assert_eq!(decide(&nothing), Decision::WaitOrFail);
    }

    #[test]
    fn what_comes_from_the_future_has_no_age() {
        let now = Timestamp::from_secs(1_000);
        assert_eq!(age(Timestamp::from_secs(990), now), Some(SECOND * 10));
        assert_eq!(age(Timestamp::from_secs(1_030), now), Some(Duration::ZERO));
        assert_eq!(age(Timestamp::from_millis(1_030_001), now), None);
        assert_eq!(age(Timestamp::from_secs(i64::MAX), now), None);
    }

    /// A provider and its callers in small: time passes, requests come, fetches end.
    #[derive(Debug, Clone)]
    enum Event {
        Wait(u64),
        Request,
        Succeed,
        Fail,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => (1..2_000_u64).prop_map(Event::Wait),
            1 => (2_000..100_000_u64).prop_map(Event::Wait),
            6 => Just(Event::Request),
            2 => Just(Event::Succeed),
            2 => Just(Event::Fail),
        ]
    }

    proptest! {
        #[test]
        fn always(
            soft in 0..20_000_u64,
            hard in 0..60_000_u64,
            events in prop::collection::vec(event(), 1..200),
        ) {
            let ages = Ages { soft: Duration::from_millis(soft), hard: Duration::from_millis(hard) };
            let mut now = 0_u64;
            let mut fetched: Option<u64> = None;
            let mut flight: Option<(u64, bool)> = None;
            let mut failed: Option<(u64, u64)> = None;
            for event in events {
                match event {
                    Event::Wait(millis) => now += millis,
                    Event::Succeed => if let Some((started, _)) = flight.take() {
                        fetched = Some(started);
                        failed = None;
                    },
                    Event::Fail => if let Some((started, _)) = flight.take() {
                        failed = Some((started, now));
                    },
                    Event::Request => {
                        let since = |then: u64| Duration::from_millis(now - then);
                        let age = fetched.map(since);
                        let decision = decide(&Standing {
                            age,
                            ages,
                            failed: failed.map(|(start, end)| Failed {
                                since_start: since(start),
                                since_end: since(end),
                            }),
                            in_flight: flight.map(|(_, probe)| Flying { probe }),
                        });
                        let usable = age.is_some_and(|age| age <= ages.hard);
                        let starts = match decision {
                            Decision::Use => None,
                            Decision::UseAndFetch { probe } => {
                                prop_assert!(flight.is_none(), "two fetches in flight");
                                Some(probe)
                            }
                            Decision::WaitOrFallBack | Decision::WaitOrFail => {
                                flight.is_none().then_some(false)
                            }
                            Decision::Fail => None,
                        };
                        match decision {
                            Decision::Use | Decision::UseAndFetch { .. } | Decision::WaitOrFallBack => {
                                prop_assert!(usable, "used past its hard age");
                            }
                            Decision::WaitOrFail | Decision::Fail => prop_assert!(!usable),
                        }
                        if decision == Decision::Use && age.is_some_and(|age| age >= ages.soft) {
                            // Old, and nothing started: a fetch is under way, or failed just now.
                            prop_assert!(
                                flight.is_some()
                                    || failed.is_some_and(|(start, _)| since(start) < FAILURE_MEMORY)
                            );
                        }
                        if decision == Decision::Fail {
                            prop_assert!(failed.is_some_and(|(start, _)| since(start) < FAILURE_MEMORY));
                        }
                        let overdue = age.is_some_and(|age| age >= ages.soft * 2);
                        let quiet = failed.is_none_or(|(_, end)| since(end) >= FAILURE_MEMORY);
                        if usable && overdue && quiet && flight.is_none() {
                            prop_assert_eq!(decision, Decision::WaitOrFallBack);
                        }
                        if let Some(probe) = starts {
                            if let Some((start, _)) = failed {
                                prop_assert!(since(start) >= FAILURE_MEMORY, "two failing calls in a second");
                            }
                            flight = Some((now, probe));
                        }
                    }
                }
            }
        }
    }
}
