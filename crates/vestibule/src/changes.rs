//! Whether something is still as it was: whoever remembers a conclusion keeps an [`Unchanged`] of
//! all that it was drawn from, and asks it at each use. No lock, and nothing is looked up.
//!
//! Two rules make it sound. Who draws a conclusion takes the `Unchanged` *before* he looks. Who
//! changes something counts *after* nobody can see the old state any more. A conclusion from the old
//! state then never holds past the count.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts the changes of something. Clones count the same thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeCount(Arc<AtomicU64>);

/// Holds until the next change.
#[derive(Clone, Debug)]
pub(crate) struct Unchanged {
    count: Arc<AtomicU64>,
    seen: u64,
}

impl ChangeCount {
    /// To be called once the old state can no longer be seen.
    pub(crate) fn changed(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// To be taken before the state is looked at.
    pub(crate) fn unchanged(&self) -> Unchanged {
        Unchanged {
            count: Arc::clone(&self.0),
            seen: self.0.load(Ordering::Acquire),
        }
    }
}

impl Unchanged {
    /// How many changes there had been.
    pub(crate) fn count(&self) -> u64 {
        self.seen
    }

    /// Whether nothing has changed.
    pub(crate) fn holds(&self) -> bool {
        self.count.load(Ordering::Acquire) == self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_until_the_next_change() {
        let count = ChangeCount::default();
        let before = count.unchanged();
        assert!(before.holds());
        count.clone().changed();
        assert!(!before.holds());
        assert!(count.unchanged().holds());
    }

    #[test]
    fn each_change_has_a_number_of_its_own() {
        let count = ChangeCount::default();
        let numbers: Vec<u64> = (0..3)
            .map(|_| {
                count.changed();
                count.unchanged().count()
            })
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
    }
}
