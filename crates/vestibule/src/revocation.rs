//! Cut-offs: what counts no more although signature and time are good.
//!
//! Asked of every request, remembered tokens included. What the directory has is held in memory
//! whole; a new cut-off comes as a change, within a second on every replica, and is never dropped
//! before nothing can match it.
//!
//! A token counts as issued at its `iat`, which most issuers cut to whole seconds: whoever signs in
//! again within the second of the cut-off is refused until the next one.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::{SharedClock, Timestamp},
    error::Reason,
    store::{Change, CutOff, CutOffTarget, Directory, StoreError},
    token::{KeySetId, VerifiedToken},
};

/// How long after a failure all cut-offs are read again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often those that nothing can match any more are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// What was cut off. Shared by all requests.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    /// So that nobody waits for a lock where nothing was cut off.
    count: AtomicUsize,
    cuts: RwLock<Cuts>,
    incomplete: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Cuts {
    /// The end of each token.
    tokens: HashMap<[u8; 16], Option<Timestamp>>,
    users: HashMap<Uuid, Timestamp>,
    accounts: HashMap<Uuid, Timestamp>,
    issuers: HashMap<Box<str>, Timestamp>,
    /// Names of keys, by service client.
    keys: HashMap<Box<str>, HashSet<Box<str>>>,
}

impl Revocations {
    /// Refuses a token that was cut off itself, or whose key or issuer was.
    pub(crate) fn check_token(&self, token: &VerifiedToken) -> Result<(), Reason> {
        self.check(|cuts| cuts.concern(token))
    }

    /// Refuses a token that was issued before its user, or the account, was cut off.
    pub(crate) fn check_caller(
        &self,
        user: Option<Uuid>,
        account: Uuid,
        issued_at: Timestamp,
    ) -> Result<(), Reason> {
        self.check(|cuts| cuts.concern_caller(user, account, issued_at))
    }

    /// Refuses what `is_cut_off` says of the cut-offs; it is not asked where there are none.
    pub(crate) fn check(&self, is_cut_off: impl FnOnce(&Cuts) -> bool) -> Result<(), Reason> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let cuts = self.cuts.read().unwrap_or_else(PoisonError::into_inner);
        if is_cut_off(&cuts) {
            Err(Reason::Revoked)
        } else {
            Ok(())
        }
    }

    /// Takes over what was cut off just now; sees that all are read where that cannot be told.
    pub(crate) fn on_change(&self, change: &Change) {
        match change {
            Change::CutOff(cut_off) => self.add([cut_off.clone()]),
            Change::Everything => self.incomplete.notify_one(),
            _ => {}
        }
    }

    /// Reads all cut-offs. None is forgotten: a cut-off may have arrived while they were read.
    pub(crate) async fn load(&self, directory: &Directory) -> Result<(), StoreError> {
        self.add(directory.cut_offs().await?);
        Ok(())
    }

    /// Reads all whenever some may have been missed, and forgets what nothing can match: until
    /// `stopped`. A token is good for `longest` at most.
    pub(crate) async fn keep_complete(
        self: Arc<Self>,
        directory: Directory,
        clock: SharedClock,
        longest: Duration,
        stopped: CancellationToken,
    ) {
        let mut forget = tokio::time::interval(FORGET_EVERY);
        let work = async {
            loop {
                tokio::select! {
                    () = self.incomplete.notified() => {
                        if let Err(error) = self.load(&directory).await {
                            tracing::warn!(%error, "what was cut off cannot be read");
                            tokio::time::sleep(AGAIN).await;
                            self.incomplete.notify_one();
                        }
                    }
                    _ = forget.tick() => {
                        let now = clock.now();
                        let issued_before = now.saturating_sub(longest);
                        self.forget(now, issued_before);
                        if let Err(error) = directory.forget_cut_offs(now, issued_before).await {
                            tracing::warn!(%error, "old cut-offs could not be removed");
                        }
                    }
                }
            }
        };
        stopped.run_until_cancelled(work).await;
    }

    fn add(&self, cut_offs: impl IntoIterator<Item = CutOff>) {
        let mut cuts = self.cuts.write().unwrap_or_else(PoisonError::into_inner);
        for cut_off in cut_offs {
            cuts.add(cut_off);
        }
        self.count.store(cuts.len(), Ordering::Release);
    }

    fn forget(&self, now: Timestamp, issued_before: Timestamp) {
        let mut cuts = self.cuts.write().unwrap_or_else(PoisonError::into_inner);
        cuts.tokens
            .retain(|_, end| end.is_none_or(|end| end >= now));
        cuts.users.retain(|_, before| *before >= issued_before);
        cuts.accounts.retain(|_, before| *before >= issued_before);
        cuts.issuers.retain(|_, before| *before >= issued_before);
        self.count.store(cuts.len(), Ordering::Release);
    }
}

fn is_before(cut_off: Option<&Timestamp>, issued_at: Timestamp) -> bool {
    cut_off.is_some_and(|cut_off| issued_at < *cut_off)
}

impl Cuts {
    /// Whether a token was cut off itself, or its key or issuer was.
    pub(crate) fn concern(&self, token: &VerifiedToken) -> bool {
        let set_aside = match token.key_set() {
            (KeySetId::Client(client), kid) => self
                .keys
                .get(&**client)
                .is_some_and(|kids| kids.contains(kid)),
            (KeySetId::Issuer(issuer), _) => {
                is_before(self.issuers.get(&**issuer), token.issued_at())
            }
        };
        set_aside || self.tokens.contains_key(&token.digest().identity())
    }

    /// Whether a token issued then is older than what its user, or the account, was cut off at.
    pub(crate) fn concern_caller(
        &self,
        user: Option<Uuid>,
        account: Uuid,
        issued_at: Timestamp,
    ) -> bool {
        is_before(self.accounts.get(&account), issued_at)
            || user.is_some_and(|user| is_before(self.users.get(&user), issued_at))
    }

    fn add(&mut self, cut_off: CutOff) {
        let CutOff {
            target,
            issued_before,
            ends_at,
        } = cut_off;
        let later = |known: &mut Timestamp| *known = issued_before.max(*known);
        match target {
            CutOffTarget::Token(digest) => {
                self.tokens.insert(digest, ends_at);
            }
            CutOffTarget::User(id) => {
                self.users
                    .entry(id)
                    .and_modify(later)
                    .or_insert(issued_before);
            }
            CutOffTarget::Account(id) => {
                self.accounts
                    .entry(id)
                    .and_modify(later)
                    .or_insert(issued_before);
            }
            CutOffTarget::Issuer(issuer) => {
                self.issuers
                    .entry(issuer.into())
                    .and_modify(later)
                    .or_insert(issued_before);
            }
            CutOffTarget::Key { client_id, kid } => {
                self.keys
                    .entry(client_id.into())
                    .or_default()
                    .insert(kid.into());
            }
        }
    }

    fn len(&self) -> usize {
        self.tokens.len()
            + self.users.len()
            + self.accounts.len()
            + self.issuers.len()
            + self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_off(target: CutOffTarget, issued_before: i64, ends_at: Option<i64>) -> CutOff {
        CutOff {
            target,
            issued_before: Timestamp::from_secs(issued_before),
            ends_at: ends_at.map(Timestamp::from_secs),
        }
    }

    fn admits(
        revocations: &Revocations,
        user: Option<u128>,
        account: u128,
        issued_at: i64,
    ) -> bool {
        let (user, account) = (user.map(Uuid::from_u128), Uuid::from_u128(account));
        let issued_at = Timestamp::from_secs(issued_at);
        revocations.check_caller(user, account, issued_at).is_ok()
    }

    #[test]
    fn the_latest_counts_and_its_moment_does_not() {
        let revocations = Revocations::default();
        assert!(admits(&revocations, Some(1), 2, 0));
        let user = || CutOffTarget::User(Uuid::from_u128(1));
        revocations.add([cut_off(user(), 100, None), cut_off(user(), 50, None)]);
        assert!(!admits(&revocations, Some(1), 2, 99));
        assert!(admits(&revocations, Some(1), 2, 100));
        assert!(admits(&revocations, Some(3), 2, 99));
        // A machine with the id of a user is another.
        assert!(admits(&revocations, None, 2, 99));
        revocations.add([cut_off(
            CutOffTarget::Account(Uuid::from_u128(2)),
            200,
            None,
        )]);
        assert!(!admits(&revocations, None, 2, 199));
        assert!(!admits(&revocations, Some(1), 2, 199));
        assert!(admits(&revocations, Some(1), 2, 200));
        assert!(admits(&revocations, Some(3), 4, 199));
    }

    #[test]
    fn what_nothing_can_match_is_forgotten_and_nothing_else() {
        let revocations = Revocations::default();
        let key = CutOffTarget::Key {
            client_id: "sc_robot01".to_owned(),
            kid: "k1".to_owned(),
        };
        revocations.add([
            cut_off(CutOffTarget::User(Uuid::from_u128(1)), 100, None),
            cut_off(CutOffTarget::Account(Uuid::from_u128(2)), 101, None),
            cut_off(CutOffTarget::Token([1; 16]), 1, Some(200)),
            cut_off(CutOffTarget::Token([2; 16]), 1, Some(199)),
            cut_off(key, 1, None),
        ]);
        revocations.forget(Timestamp::from_secs(200), Timestamp::from_secs(101));
        assert!(admits(&revocations, Some(1), 3, 0));
        assert!(!admits(&revocations, Some(1), 2, 0));
        let cuts = revocations.cuts.read().unwrap();
        assert!(cuts.tokens.contains_key(&[1; 16]) && !cuts.tokens.contains_key(&[2; 16]));
        assert!(cuts.keys["sc_robot01"].contains("k1"));
        assert_eq!(revocations.count.load(Ordering::Relaxed), cuts.len());
    }
}
