//! New ids: UUIDv7 (RFC 9562 §5.7), so that ids sort by the time of their making.

use std::sync::Mutex;

use uuid::{ContextV7, Uuid};

use crate::clock::SharedClock;

/// Makes ids from the clock. Those of one process and one millisecond ascend too.
pub(crate) struct Ids {
    clock: SharedClock,
    context: Mutex<ContextV7>,
}

impl Ids {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            context: Mutex::new(ContextV7::new()),
        }
    }

    pub(crate) fn next(&self) -> Uuid {
        let millis = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        let nanos = u32::try_from(millis % 1_000).unwrap_or(0) * 1_000_000;
        let timestamp = uuid::Timestamp::from_unix(&self.context, millis / 1_000, nanos);
        Uuid::new_v7(timestamp)
    }
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ids").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[test]
    fn ids_ascend_within_a_millisecond_and_carry_the_clock() {
        let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_123));
        let ids = Ids::new(Arc::new(clock));
        let made: Vec<_> = (0..1_000).map(|_| ids.next()).collect();
        assert!(made.is_sorted());
        assert!(made.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(made[0].get_version_num(), 7);
        let (secs, nanos) = made[0].get_timestamp().unwrap().to_unix();
        assert_eq!((secs, nanos / 1_000_000), (1_700_000_000, 123));
    }
}
