//! So many signature checks at a time, and sources in turn.
//!
//! A check is some forty microseconds of a processor and waits for nothing. Were all processors at
//! it, those who are remembered would wait behind strangers; so checks have a part of them.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use super::Source;
use crate::error::Reason;

/// Checks that may wait: more than connections that our server accepts, and half a second's work
/// of one processor. Past it the answer would come too late for most.
const WAITING: usize = 16_384;

/// The turns that are free, and those who wait for one. Clones share them.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<Queue>>);

struct Queue {
    free: usize,
    waiting: usize,
    /// Sources with somebody waiting, each once; the front's is next.
    order: VecDeque<Option<Source>>,
    lines: HashMap<Option<Source>, VecDeque<oneshot::Sender<()>>>,
}

/// Permission to check one signature. Given back when dropped.
pub(crate) struct Turn(Turns);

/// A place in a line. A turn that arrives when nobody waits any more goes to the next.
struct Place {
    turns: Turns,
    called: oneshot::Receiver<()>,
}

impl Turns {
    /// Half of the processors: enough for all callers to come back after a restart, while the
    /// other half serves those who are back.
    pub(crate) fn for_this_machine() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(processors.div_ceil(2))
    }

    fn new(turns: usize) -> Self {
        Self(Arc::new(Mutex::new(Queue {
            free: turns,
            waiting: 0,
            order: VecDeque::new(),
            lines: HashMap::new(),
        })))
    }

    /// Waits for a turn. Whoever else comes from this source waits before; other sources are
    /// called in between, however long this one's line is.
    pub(crate) async fn take(&self, source: Option<Source>) -> Result<Turn, Reason> {
        let mut place = {
            let mut queue = self.lock();
            if queue.free > 0 {
                queue.free -= 1;
                return Ok(Turn(self.clone()));
            }
            if queue.waiting >= WAITING {
                return Err(Reason::VerifierBusy);
            }
            let (call, called) = oneshot::channel();
            queue.join(source, call);
            Place {
                turns: self.clone(),
                called,
            }
        };
        match (&mut place.called).await {
            Ok(()) => Ok(Turn(self.clone())),
            // The queue drops no call.
            Err(_) => Err(Reason::Internal),
        }
    }

    /// Gives a turn to the next who waits, or keeps it.
    fn pass_on(&self) {
        let mut queue = self.lock();
        while let Some(call) = queue.next() {
            if call.send(()).is_ok() {
                return;
            }
        }
        queue.free += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing is left half done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn join(&mut self, source: Option<Source>, call: oneshot::Sender<()>) {
        self.waiting += 1;
        let line = self.lines.entry(source).or_default();
        if line.is_empty() {
            self.order.push_back(source);
        }
        line.push_back(call);
    }

    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        let source = self.order.pop_front()?;
        let line = self.lines.get_mut(&source)?;
        let call = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&source);
        } else {
            self.order.push_back(source);
        }
        self.waiting = self.waiting.saturating_sub(1);
        call
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.called.close();
        if self.called.try_recv().is_ok() {
            self.turns.pass_on();
        }
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.lock();
        f.debug_struct("Turns")
            .field("free", &queue.free)
            .field("waiting", &queue.waiting)
            .finish()
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        task::Poll,
    };

    use futures_util::{FutureExt as _, future::BoxFuture, poll};
    use proptest::prelude::*;

    use super::*;

    fn source(number: u8) -> Option<Source> {
        Some(Source::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))))
    }

    fn waiting(turns: &Turns, from: u8) -> BoxFuture<'static, Result<Turn, Reason>> {
        let turns = turns.clone();
        async move { turns.take(source(from)).await }.boxed()
    }

    async fn is_called(place: &mut BoxFuture<'static, Result<Turn, Reason>>) -> Option<Turn> {
        match poll!(place) {
            Poll::Ready(turn) => Some(turn.unwrap()),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn sources_take_turns() {
        let turns = Turns::new(1);
        let mut held = turns.take(None).await.unwrap();
        let mut flood: Vec<_> = (0..100).map(|_| waiting(&turns, 1)).collect();
        for place in &mut flood {
            assert!(is_called(place).await.is_none());
        }
        let mut late = waiting(&turns, 2);
        assert!(is_called(&mut late).await.is_none());
        // One of the flood was first; then it is the other's turn.
        drop(held);
        held = is_called(&mut flood[0]).await.unwrap();
        drop(held);
        assert!(is_called(&mut flood[1]).await.is_none());
        drop(is_called(&mut late).await.unwrap());
        assert!(is_called(&mut flood[1]).await.is_some());
    }

    #[tokio::test]
    async fn a_turn_is_not_lost_with_who_went_away() {
        let turns = Turns::new(1);
        let held = turns.take(None).await.unwrap();
        let (mut first, mut second, mut third) =
            (waiting(&turns, 1), waiting(&turns, 2), waiting(&turns, 3));
        for place in [&mut first, &mut second, &mut third] {
            assert!(is_called(place).await.is_none());
        }
        // One went before its turn, one after it was called and before it noticed.
        drop(first);
        drop(held);
        drop(second);
        assert!(is_called(&mut third).await.is_some());
        assert_eq!(format!("{turns:?}"), "Turns { free: 1, waiting: 0 }");
    }

    #[tokio::test]
    async fn the_line_is_bounded() {
        let turns = Turns::new(1);
        let held = turns.take(None).await.unwrap();
        let mut line: Vec<_> = (0..WAITING).map(|_| waiting(&turns, 1)).collect();
        for place in &mut line {
            assert!(is_called(place).await.is_none());
        }
        let refused = turns.take(source(2)).await.unwrap_err();
        assert_eq!(refused, Reason::VerifierBusy);
        drop((held, line));
        assert_eq!(format!("{turns:?}"), "Turns { free: 1, waiting: 0 }");
    }

    proptest! {
        /// Whatever happens in whatever order: never more turns than there are, and none is lost.
        #[test]
        fn turns_are_counted(
            most in 1_usize..4,
            steps in prop::collection::vec((0_u8..3, 0_u8..5, any::<prop::sample::Index>()), 0..80),
        ) {
            let turns = Turns::new(most);
            let run = async {
                let mut places = Vec::new();
                let mut held = Vec::new();
                for (step, from, which) in steps {
                    match step {
                        0 => places.push(waiting(&turns, from)),
                        1 if !places.is_empty() => drop(places.swap_remove(which.index(places.len()))),
                        2 if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                        _ => {}
                    }
                    let mut left = Vec::new();
                    for mut place in places {
                        match is_called(&mut place).await {
                            Some(turn) => held.push(turn),
                            None => left.push(place),
                        }
                    }
                    places = left;
                    prop_assert!(held.len() <= most);
                    // Nobody waits while a turn is free.
                    prop_assert!(places.is_empty() || held.len() == most);
                }
                drop((places, held));
                prop_assert_eq!(turns.lock().free, most);
                prop_assert!(turns.lock().lines.is_empty() && turns.lock().order.is_empty());
                Ok(())
            };
            run.now_or_never().expect("nothing waits")?;
        }
    }
}
