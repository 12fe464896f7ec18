//! How often tokens from each source were refused lately: a bounded table of debts, each of which
//! time pays off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::Source;

/// Sources with debts. Past it the least seen are forgiven; a table for every address there is
/// would be an attack of its own.
const SOURCES: usize = 32_768;

/// How many seconds' worth of refusals a source may have at once: people behind one address whose
/// tokens all end together, or an application that was set up wrongly.
const BURST_SECONDS: u32 = 10;

/// The debts of sources. One refused token is a debt of `unit`; a source over `most` is refused.
pub(crate) struct Debts {
    /// When each source's debt will be paid off, in nanoseconds after `epoch`.
    paid_off: Cache<Source, Arc<AtomicU64>>,
    epoch: Instant,
    unit: Duration,
    most: Duration,
}

impl Debts {
    /// With so many refusals per second and source; none where that is zero: no limit.
    pub(crate) fn new(per_second: u32) -> Option<Self> {
        let unit = Duration::from_secs(1).checked_div(per_second)?;
        Some(Self {
            paid_off: Cache::new(SOURCES),
            epoch: Instant::now(),
            unit,
            most: Duration::from_secs(u64::from(BURST_SECONDS)),
        })
    }

    /// Whether a source may not add to its debt now.
    pub(crate) fn is_over(&self, source: Source, now: Instant) -> bool {
        // Most of the time nobody owes anything.
        if self.paid_off.is_empty() {
            return false;
        }
        let debt = self.paid_off.get(&source).map(|paid_off| {
            let now = self.nanos(now);
            paid_off.load(Ordering::Relaxed).saturating_sub(now)
        });
        debt.is_some_and(|debt| debt > nanos(self.most.saturating_sub(self.unit)))
    }

    /// One more refused token.
    pub(crate) fn add(&self, source: Source, now: Instant) {
        let now = self.nanos(now);
        let unit = nanos(self.unit);
        // Requests that are under way together may go over the limit together; they pay for it
        // afterwards, so that the rate holds in the long run. Twice the time of a burst is the
        // longest that anybody is locked out after his last refusal.
        let most = now.saturating_add(nanos(self.most.saturating_mul(2)));
        let raised = |paid_off: u64| paid_off.max(now).saturating_add(unit).min(most);
        match self.paid_off.get(&source) {
            Some(paid_off) => {
                let _ = paid_off.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                    Some(raised(before))
                });
            }
            // Two that begin together may count as one.
            None => self
                .paid_off
                .insert(source, Arc::new(AtomicU64::new(raised(0)))),
        }
    }

    fn nanos(&self, moment: Instant) -> u64 {
        nanos(moment.saturating_duration_since(self.epoch))
    }
}

/// Five hundred years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn source(number: u32) -> Source {
        Source::from(IpAddr::V4(Ipv4Addr::from(number)))
    }

    /// How many refused tokens are looked at from one source.
    fn spend(debts: &Debts, source: Source, now: Instant, tries: usize) -> usize {
        let mut looked_at = 0;
        for _ in 0..tries {
            if !debts.is_over(source, now) {
                looked_at += 1;
                debts.add(source, now);
            }
        }
        looked_at
    }

    #[test]
    fn zero_is_no_limit() {
        assert!(Debts::new(0).is_none());
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let debts = Debts::new(20).unwrap();
        let start = Instant::now();
        assert_eq!(spend(&debts, source(1), start, 10_000), 200);
        assert!(debts.is_over(source(1), start));
        let second = |n: u64| start + Duration::from_secs(n);
        assert_eq!(spend(&debts, source(1), second(1), 10_000), 20);
        assert_eq!(spend(&debts, source(1), second(2), 10_000), 20);
        // Nobody else pays for it.
        assert_eq!(spend(&debts, source(2), second(2), 10_000), 200);
        // All is forgotten after the time of a burst.
        assert_eq!(spend(&debts, source(1), second(12), 10_000), 200);
    }

    #[test]
    fn those_who_were_under_way_together_pay_afterwards() {
        let debts = Debts::new(20).unwrap();
        let start = Instant::now();
        for _ in 0..220 {
            debts.add(source(1), start);
        }
        // Twenty above the burst: a second in which nothing is looked at.
        assert!(debts.is_over(source(1), start + Duration::from_secs(1)));
        assert!(!debts.is_over(source(1), start + Duration::from_millis(1_051)));
        for _ in 0..5_000 {
            debts.add(source(1), start);
        }
        assert!(debts.is_over(source(1), start + Duration::from_secs(10)));
        assert!(!debts.is_over(source(1), start + Duration::from_millis(10_051)));
    }

    #[test]
    fn the_table_is_bounded_and_who_comes_often_stays() {
        let debts = Debts::new(1).unwrap();
        let start = Instant::now();
        let often = source(0xc000_0201);
        for number in 0..200_000 {
            debts.add(source(number), start);
            if number % 100 == 0 {
                debts.add(often, start);
                debts.is_over(often, start);
            }
        }
        assert!(debts.paid_off.len() <= SOURCES + 100);
        assert!(debts.is_over(often, start));
    }

    proptest! {
        /// In any time, no more than the burst and the rate.
        #[test]
        fn never_more_than_the_rate(
            rate in 1_u32..200,
            steps in prop::collection::vec((0_u64..3_000, 0_usize..400), 1..60),
        ) {
            let debts = Debts::new(rate).unwrap();
            let start = Instant::now();
            let mut now = start;
            let mut looked_at = 0;
            for (pause, tries) in steps {
                now += Duration::from_millis(pause);
                looked_at += spend(&debts, source(1), now, tries);
                let allowed = f64::from(rate) * (10.0 + (now - start).as_secs_f64());
                prop_assert!(looked_at as f64 <= allowed + 1.0, "{looked_at} of {allowed}");
            }
        }
    }
}
