//! At most so many fetches of clients' key sets per second, in all: whoever holds the ids of many
//! clients must not be able to turn us against the provider (security rule 5).

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Fetches per window.
const FETCHES: usize = 20;

/// A little more than the second of the rule: a fetch may start a little late after its turn, and
/// must not make 21 in the second that then begins.
const WINDOW: Duration = Duration::from_millis(1_050);

/// Hands out the moments at which fetches may start.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// The last ones, in order; some may lie ahead.
    turns: Mutex<VecDeque<Instant>>,
}

impl Budget {
    /// The next moment, where it is at most `patience` after `now`. It is then taken.
    pub(super) fn reserve(&self, now: Instant, patience: Duration) -> Option<Instant> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = match turns.front() {
            Some(&first) if turns.len() >= FETCHES => now.max(first + WINDOW),
            _ => now,
        };
        // Turns are handed out in order: nobody overtakes those who wait.
        let turn = turns.back().map_or(turn, |&last| turn.max(last));
        if turn > now + patience {
            return None;
        }
        turns.push_back(turn);
        if turns.len() > FETCHES {
            turns.pop_front();
        }
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test]
    async fn the_twenty_first_waits_or_is_refused() {
        let budget = Budget::default();
        let now = Instant::now();
        for _ in 0..FETCHES {
            assert_eq!(budget.reserve(now, Duration::ZERO), Some(now));
        }
        assert_eq!(budget.reserve(now, Duration::ZERO), None);
        let later = now + WINDOW;
        assert_eq!(budget.reserve(now, Duration::from_secs(2)), Some(later));
        assert_eq!(budget.reserve(later, Duration::ZERO), Some(later));
    }

    proptest! {
        #[test]
        fn never_more_than_twenty_in_a_second(
            calls in prop::collection::vec((0..400_u64, 0..3_000_u64), 1..300),
        ) {
            let budget = Budget::default();
            let mut now = Instant::now();
            let mut turns = Vec::new();
            for (pause, patience) in calls {
                now += Duration::from_millis(pause);
                let patience = Duration::from_millis(patience);
                if let Some(turn) = budget.reserve(now, patience) {
                    prop_assert!(turn >= now && turn <= now + patience);
                    turns.push(turn);
                }
            }
            prop_assert!(turns.is_sorted());
            for window in turns.windows(FETCHES + 1) {
                prop_assert!(window[FETCHES] - window[0] > Duration::from_secs(1));
            }
        }
    }
}
