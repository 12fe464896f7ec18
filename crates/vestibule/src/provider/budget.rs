//! At most so many fetches of clients' key sets per second, in all: whoever holds the ids of many
//! clients must not be able to turn us against the provider (security rule 5).
//!
//! Nor against the clients. A fetch for an unknown `kid` either brings a new key or was for nothing,
//! and only who invents `kid`s makes many of the second kind. So a client whose last one was for
//! nothing is *doubtful* for a while: those together get half of the fetches at most, and each its
//! part of them, however often it is asked for. Somebody else's rotation finds the other half free.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Fetches per window.
const FETCHES: usize = 20;

/// Of these, the most for doubtful clients.
const FOR_DOUBTFUL: usize = 10;

/// A little more than the second of the rule: a fetch may start a little late after its turn, and
/// must not make 21 in the second that then begins.
const WINDOW: Duration = Duration::from_millis(1_050);

/// How long a client stays doubtful. Shorter, and the same few ids use the other half as well;
/// longer, and a client is slow to be trusted with a second rotation.
const DOUBT: Duration = Duration::from_secs(60);

/// How long a request waits for its turn, where there is no other answer than the fetch.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Hands out the moments at which fetches may start.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last ones, in order; some may lie ahead.
    turns: VecDeque<Instant>,
    /// When each doubtful client was last fetched for an unknown `kid`. Bounded by the turns of
    /// [`DOUBT`].
    doubtful: HashMap<Arc<str>, Instant>,
    /// The last of the doubtful clients' turns.
    doubtful_turns: VecDeque<Instant>,
    /// When those who are doubtful no longer were last looked for.
    tidied: Option<Instant>,
}

impl Budget {
    /// The next moment, where it is at most `patience` after `now`. It is then taken.
    pub(super) fn reserve(&self, now: Instant, patience: Duration) -> Option<Instant> {
        self.lock().reserve(now, patience)
    }

    /// The same for a client's set that is asked for an unknown `kid`. The client is doubtful from
    /// here on, until [`Budget::was_worth_it`].
    ///
    /// A doubtful one does not wait: its turn is now, or at a later request.
    pub(super) fn reserve_for_unknown(&self, client: &Arc<str>, now: Instant) -> Option<Instant> {
        self.lock().reserve_for_unknown(client, now)
    }

    /// Notes that the client's last fetch brought the key for which it was made.
    pub(super) fn was_worth_it(&self, client: &str) {
        self.lock().doubtful.remove(client);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reserve(&mut self, now: Instant, patience: Duration) -> Option<Instant> {
        let turn = next(&self.turns, FETCHES, now);
        // Turns are handed out in order: nobody overtakes those who wait.
        let turn = self.turns.back().map_or(turn, |&last| turn.max(last));
        if turn > now + patience {
            return None;
        }
        take(&mut self.turns, FETCHES, turn);
        Some(turn)
    }

    fn reserve_for_unknown(&mut self, client: &Arc<str>, now: Instant) -> Option<Instant> {
        self.tidy(now);
        let Some(&last) = self.doubtful.get(client) else {
            let turn = self.reserve(now, PATIENCE)?;
            self.doubtful.insert(Arc::clone(client), turn);
            return Some(turn);
        };
        // As often as all others can have theirs too. Without it whoever asks most often for some
        // would have all turns, and the real rotation of another doubtful one none.
        let all = u32::try_from(self.doubtful.len()).unwrap_or(u32::MAX);
        let share = WINDOW.saturating_mul(all) / FOR_DOUBTFUL as u32;
        let is_early = now < last + share;
        if is_early || next(&self.doubtful_turns, FOR_DOUBTFUL, now) > now {
            return None;
        }
        let turn = self.reserve(now, Duration::ZERO)?;
        take(&mut self.doubtful_turns, FOR_DOUBTFUL, turn);
        self.doubtful.insert(Arc::clone(client), turn);
        Some(turn)
    }

    /// Forgets who is doubtful no longer; at most once a second, because strangers can make us ask.
    fn tidy(&mut self, now: Instant) {
        let is_due = |last| now >= last + Duration::from_secs(1);
        if self.tidied.is_none_or(is_due) {
            self.tidied = Some(now);
            self.doubtful.retain(|_, last| now < *last + DOUBT);
        }
    }
}

/// The first moment from `now` on that makes at most `most` turns in a window.
fn next(turns: &VecDeque<Instant>, most: usize, now: Instant) -> Instant {
    match turns.front() {
        Some(&first) if turns.len() >= most => now.max(first + WINDOW),
        _ => now,
    }
}

fn take(turns: &mut VecDeque<Instant>, most: usize, turn: Instant) {
    turns.push_back(turn);
    if turns.len() > most {
        turns.pop_front();
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

    fn id(number: usize) -> Arc<str> {
        format!("sc_robot{number}").into()
    }

    /// All the clients' turns, where a stranger asks for each of them every 10 ms.
    fn flood(budget: &Budget, clients: &[Arc<str>], from: Instant, seconds: u32) -> Vec<usize> {
        let mut turns = Vec::new();
        for step in 0..seconds * 100 {
            let now = from + Duration::from_millis(10) * step;
            for (number, client) in clients.iter().enumerate() {
                if budget.reserve_for_unknown(client, now).is_some() {
                    turns.push(number);
                }
            }
        }
        turns
    }

    #[tokio::test]
    async fn invented_kids_leave_half_to_the_others() {
        let budget = Budget::default();
        let attacked: Vec<_> = (0..50).map(id).collect();
        let mut now = Instant::now();
        flood(&budget, &attacked, now, 5);
        for number in 100..150 {
            now += Duration::from_secs(5);
            let turns = flood(&budget, &attacked, now, 5);
            assert!(turns.len() <= 50, "{}", turns.len());
            now += Duration::from_secs(5);
            assert_eq!(budget.reserve_for_unknown(&id(number), now), Some(now));
            assert_eq!(budget.reserve(now, Duration::ZERO), Some(now));
        }
    }

    #[tokio::test]
    async fn each_doubtful_client_has_its_part() {
        for count in [5_usize, 10, 50] {
            let budget = Budget::default();
            let attacked: Vec<_> = (0..count).map(id).collect();
            let began = Instant::now();
            flood(&budget, &attacked, began, 10);
            // Those who are asked for first at each moment do not get more.
            let turns = flood(&budget, &attacked, began + Duration::from_secs(10), 30);
            let of = |number| turns.iter().filter(|turn| **turn == number).count();
            let parts: Vec<_> = (0..count).map(of).collect();
            let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
            assert!(most - least <= 1, "{parts:?}");
            assert!(*least >= 28_usize.min(250 / count), "{parts:?}");
        }
    }

    #[tokio::test]
    async fn a_doubtful_client_waits_for_its_part_and_not_longer() {
        let (budget, now) = (Budget::default(), Instant::now());
        assert!(budget.reserve_for_unknown(&id(0), now).is_some());
        let part = WINDOW / FOR_DOUBTFUL as u32;
        let early = now + part - Duration::from_millis(1);
        assert_eq!(budget.reserve_for_unknown(&id(0), early), None);
        let turn = now + part;
        assert_eq!(budget.reserve_for_unknown(&id(0), turn), Some(turn));
        // Nor is it doubtful for longer than is said.
        assert!(budget.reserve_for_unknown(&id(0), turn + DOUBT).is_some());
        assert_eq!(budget.lock().doubtful_turns.len(), 1);
    }

    #[tokio::test]
    async fn who_brought_a_key_is_not_doubtful() {
        let budget = Budget::default();
        let others: Vec<_> = (0..10).map(id).collect();
        let now = Instant::now();
        flood(&budget, &others, now, 1);
        let now = now + Duration::from_secs(2);
        let robot = id(100);
        assert!(budget.reserve_for_unknown(&robot, now).is_some());
        let soon = now + Duration::from_millis(100);
        assert_eq!(budget.reserve_for_unknown(&robot, soon), None);
        budget.was_worth_it(&robot);
        assert_eq!(budget.reserve_for_unknown(&robot, soon), Some(soon));
        // Nor is anybody for ever.
        let later = soon + DOUBT;
        assert!(budget.reserve_for_unknown(&robot, later).is_some());
        assert_eq!(budget.lock().doubtful.len(), 1);
    }

    #[tokio::test]
    async fn who_is_remembered_is_bounded() {
        let budget = Budget::default();
        let many: Vec<_> = (0..5_000).map(id).collect();
        let mut now = Instant::now();
        let mut most = 0;
        for _ in 0..120 {
            now += WINDOW;
            for client in &many {
                budget.reserve_for_unknown(client, now);
            }
            most = most.max(budget.lock().doubtful.len());
        }
        assert!((1_000..=FETCHES * 65).contains(&most), "{most}");
    }

    proptest! {
        #[test]
        fn never_more_than_twenty_in_a_second(
            calls in prop::collection::vec(
                (0..400_u64, 0..3_000_u64, prop::option::of(0..60_usize)),
                1..300,
            ),
        ) {
            let budget = Budget::default();
            let mut now = Instant::now();
            let mut turns = Vec::new();
            for (pause, patience, client) in calls {
                now += Duration::from_millis(pause);
                let (turn, patience) = match client {
                    Some(number) => (budget.reserve_for_unknown(&id(number), now), PATIENCE),
                    None => {
                        let patience = Duration::from_millis(patience);
                        (budget.reserve(now, patience), patience)
                    }
                };
                if let Some(turn) = turn {
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
