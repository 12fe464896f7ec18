//! Who has to hear of which change: thousands of connections wait, and a change wakes those whose
//! caller it concerns.
//!
//! A topic exists as long as somebody listens to it. All counting happens under one lock, so that
//! the last who leaves takes the topic away and nobody else's.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    principal::{Principal, PrincipalKind},
    store::Change,
};

/// Looks at the directory at once. More would take connections from requests, where one change
/// concerns thousands; fewer would let the last of them wait past the second that is promised.
const LOOKS: usize = 8;

/// All leases of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Leases(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    topics: Mutex<HashMap<Topic, Weak<watch::Sender<()>>>>,
    everything: watch::Sender<()>,
    looks: Semaphore,
    stopped: CancellationToken,
    opened: AtomicU32,
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Topic {
    User(Arc<str>),
    Client(Arc<str>),
    Account(Uuid),
}

/// What one lease hears.
#[derive(Debug)]
pub(super) struct Hearing {
    leases: Leases,
    caller: Subscription,
    account: Subscription,
    everything: watch::Receiver<()>,
    spread: u16,
}

#[derive(Debug)]
struct Subscription {
    shared: Arc<Shared>,
    topic: Topic,
    sender: Arc<watch::Sender<()>>,
    receiver: watch::Receiver<()>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            topics: Mutex::default(),
            everything: watch::Sender::new(()),
            looks: Semaphore::new(LOOKS),
            stopped: CancellationToken::new(),
            opened: AtomicU32::new(0),
        }))
    }

    /// Wakes whom the change concerns. What was remembered of it must be forgotten by then.
    pub(crate) fn on_change(&self, change: &Change) {
        let topic = match change {
            Change::User { subject, .. } => Topic::User(subject.as_str().into()),
            Change::Client(client_id) => Topic::Client(client_id.as_str().into()),
            Change::Account(id) => Topic::Account(*id),
            // Whom it concerns stands in tokens, which nobody listens to.
            Change::CutOff(_) | Change::Everything => {
                self.0.everything.send_replace(());
                return;
            }
        };
        let topics = self.0.topics();
        if let Some(sender) = topics.get(&topic).and_then(Weak::upgrade) {
            sender.send_replace(());
            drop(sender);
        }
    }

    /// Ends all leases, those to come too.
    pub(crate) fn stop(&self) {
        self.0.stopped.cancel();
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        self.0.everything.receiver_count()
    }

    pub(super) fn hear(&self, principal: &Principal) -> Hearing {
        let name = principal.user().authress_user_id.as_str().into();
        let caller = match principal.kind() {
            PrincipalKind::User => Topic::User(name),
            PrincipalKind::Machine => Topic::Client(name),
        };
        let number = self.0.opened.fetch_add(1, Ordering::Relaxed);
        Hearing {
            leases: self.clone(),
            caller: self.subscribe(caller),
            account: self.subscribe(Topic::Account(principal.account().id)),
            everything: self.0.everything.subscribe(),
            // The golden ratio: however many have come, the next lies between two others.
            spread: u16::try_from(number.wrapping_mul(618) % 1_000).unwrap_or_default(),
        }
    }

    fn subscribe(&self, topic: Topic) -> Subscription {
        let mut topics = self.0.topics();
        let known = topics.get(&topic).and_then(Weak::upgrade);
        let sender = known.unwrap_or_else(|| {
            let sender = Arc::new(watch::Sender::new(()));
            topics.insert(topic.clone(), Arc::downgrade(&sender));
            sender
        });
        Subscription {
            shared: Arc::clone(&self.0),
            topic,
            receiver: sender.subscribe(),
            sender,
        }
    }
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Weak<watch::Sender<()>>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hearing {
    /// Waits for a change that may concern the caller, or the end.
    pub(super) async fn something(&mut self) {
        // A sender lives as long as its receiver here.
        tokio::select! {
            _ = self.caller.receiver.changed() => self.caller.receiver.mark_changed(),
            _ = self.account.receiver.changed() => self.account.receiver.mark_changed(),
            _ = self.everything.changed() => self.everything.mark_changed(),
            () = self.leases.0.stopped.cancelled() => {}
        }
    }

    /// Whether there was a change since this was asked last.
    pub(super) fn has_heard(&mut self) -> bool {
        let mut heard = false;
        for receiver in [
            &mut self.caller.receiver,
            &mut self.account.receiver,
            &mut self.everything,
        ] {
            heard |= receiver.has_changed().unwrap_or(true);
            receiver.mark_unchanged();
        }
        heard
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.leases.0.stopped.is_cancelled()
    }

    /// Waits for a turn to look at the directory.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.leases.0.looks.acquire().await.ok()
    }

    /// 0 to 999, spread evenly over leases.
    pub(super) const fn spread(&self) -> u16 {
        self.spread
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut topics = self.shared.topics();
        // The map's own is weak: this one is the last.
        if Arc::strong_count(&self.sender) == 1 {
            topics.remove(&self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Topic {
        Topic::User(name.into())
    }

    fn change(name: &str) -> Change {
        Change::User {
            provider: "authress".to_owned(),
            subject: name.to_owned(),
        }
    }

    #[test]
    fn a_change_wakes_whom_it_concerns() {
        let leases = Leases::new();
        let (mut ada, mut again) = (leases.subscribe(user("ada")), leases.subscribe(user("ada")));
        let alan = leases.subscribe(user("alan"));
        let robot = leases.subscribe(Topic::Client("ada".into()));
        let everything = leases.0.everything.subscribe();
        leases.on_change(&change("ada"));
        let heard = |it: &Subscription| it.receiver.has_changed().unwrap();
        assert!(heard(&ada) && heard(&again) && !heard(&alan) && !heard(&robot));
        assert!(!everything.has_changed().unwrap());
        for it in [&mut ada, &mut again] {
            it.receiver.mark_unchanged();
        }
        leases.on_change(&Change::Everything);
        assert!(everything.has_changed().unwrap() && !heard(&ada));
        // Nobody listens: nothing happens.
        leases.on_change(&change("grace"));
        leases.on_change(&Change::Account(Uuid::nil()));
    }

    #[test]
    fn a_topic_goes_with_its_last_listener() {
        let leases = Leases::new();
        let first = leases.subscribe(user("ada"));
        let second = leases.subscribe(user("ada"));
        let other = leases.subscribe(user("alan"));
        let topics = || leases.0.topics().len();
        assert_eq!(topics(), 2);
        drop(first);
        assert_eq!(topics(), 2);
        leases.on_change(&change("ada"));
        assert!(second.receiver.has_changed().unwrap());
        drop(second);
        assert_eq!(topics(), 1);
        drop(other);
        assert_eq!(topics(), 0);
    }
}
