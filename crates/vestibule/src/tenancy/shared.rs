//! A session's life: opened at its first statement, ended once.
//!
//! The slot behind an asynchronous lock goes `Idle` → `Open` → `Done`. A statement runs in a task
//! of its own that owns the lock, so that neither a caller who goes away nor one who is never
//! polled again can keep the connection. What was torn apart is never committed: a statement that
//! was dropped before its end breaks the session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::{SessionError, TenantSpaces, spaces::Lease};
use crate::{
    store::{Query, Rows},
    trace,
};

/// A statement of a kept handle that runs while the request ends may take this long; then it is
/// stopped, and nothing is committed, because half of it would be.
const GRACE: Duration = Duration::from_millis(250);

/// One session of one account, for all of its handles. Nothing is opened until one first needs it.
#[derive(Debug)]
pub(super) struct SharedSession {
    spaces: TenantSpaces,
    owner: Owner,
    account: Uuid,
    slot: Arc<AsyncMutex<Slot>>,
    ends: Ends,
    /// Whoever ends the session does it alone.
    is_ending: AtomicBool,
}

/// Who ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The layer, by the status of the answer.
    Request,
    /// The holder of the session.
    Holder,
}

#[derive(Debug)]
enum Slot {
    /// No statement yet, no connection.
    Idle,
    /// A transaction is open and no statement runs.
    Open(Lease),
    /// Committed or rolled back.
    Done,
    /// Something was torn apart, or runs just now.
    Broken,
}

/// The two ways in which a session comes to its end.
#[derive(Clone, Debug, Default)]
struct Ends {
    /// The session is being ended: nobody begins a statement any more.
    closing: CancellationToken,
    /// A statement was dropped before its end, or must stop: nothing may be committed.
    broken: CancellationToken,
}

/// How much of a statement's outcome is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Count,
    First,
    All,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Count(u64),
    Rows(Rows),
}

impl SharedSession {
    /// A session that the layer ends, by the status of the answer.
    pub(super) fn of_request(spaces: &TenantSpaces, account: Uuid) -> Arc<Self> {
        Self::owned_by(Owner::Request, spaces, account)
    }

    /// A session whose holder ends it.
    pub(super) fn detached(spaces: &TenantSpaces, account: Uuid) -> Arc<Self> {
        Self::owned_by(Owner::Holder, spaces, account)
    }

    fn owned_by(owner: Owner, spaces: &TenantSpaces, account: Uuid) -> Arc<Self> {
        Arc::new(Self {
            spaces: spaces.clone(),
            owner,
            account,
            slot: Arc::new(AsyncMutex::new(Slot::Idle)),
            ends: Ends::default(),
            is_ending: AtomicBool::new(false),
        })
    }

    pub(super) fn spaces(&self) -> &TenantSpaces {
        &self.spaces
    }

    pub(super) fn account(&self) -> Uuid {
        self.account
    }

    /// Ends the session and keeps what was written.
    ///
    /// Runs to its end where the caller goes away. Does not wait for handles that were kept.
    ///
    /// # Errors
    /// Where this fails, nothing was kept, or (with [`SessionError::Unavailable`]) it is not
    /// known whether it was.
    pub(super) async fn commit(&self) -> Result<(), SessionError> {
        self.end(true).await
    }

    /// Ends the session and keeps nothing.
    pub(super) async fn rollback(&self) -> Result<(), SessionError> {
        self.end(false).await
    }

    /// Ends the session without waiting, and keeps nothing. Does nothing to one that has ended.
    pub(super) fn abandon(&self) {
        if self.is_ending.swap(true, Ordering::AcqRel) {
            // A commit that began goes on: a disconnect does not undo it.
            return;
        }
        self.ends.closing.cancel();
        self.ends.broken.cancel();
        // Where a statement holds the lock, it stops by itself.
        if let Ok(mut slot) = self.slot.try_lock() {
            *slot = Slot::Done;
        }
    }

    pub(super) fn is_holders(&self) -> bool {
        self.owner == Owner::Holder
    }

    pub(super) async fn run(&self, query: Query, wanted: Wanted) -> Result<Outcome, SessionError> {
        let closing = &self.ends.closing;
        let slot = tokio::select! {
            biased;
            () = closing.cancelled() => return Err(SessionError::SessionClosed),
            slot = Arc::clone(&self.slot).lock_owned() => slot,
        };
        let statement = Statement {
            spaces: self.spaces.clone(),
            account: self.account,
            ends: self.ends.clone(),
            query,
            wanted,
        };
        let mut in_flight = InFlight {
            session: self,
            landed: false,
        };
        let task = statement.run(slot).in_current_span();
        let task = self.spaces.runtime().spawn(task);
        let outcome = tokio::select! {
            biased;
            outcome = task => outcome.unwrap_or(Err(SessionError::Aborted)),
            // The statement goes on by itself, and what it did is part of the commit.
            () = closing.cancelled() => Err(SessionError::SessionClosed),
        };
        in_flight.landed = true;
        outcome
    }

    async fn end(&self, commit: bool) -> Result<(), SessionError> {
        if self.is_ending.swap(true, Ordering::AcqRel) {
            return Err(SessionError::SessionClosed);
        }
        self.ends.closing.cancel();
        let task = end(Arc::clone(&self.slot), self.ends.clone(), commit).in_current_span();
        let task = self.spaces.runtime().spawn(task);
        task.await.unwrap_or(Err(SessionError::Aborted))
    }
}

#[cfg(test)]
impl SharedSession {
    pub(super) fn is_broken(&self) -> bool {
        self.ends.broken.is_cancelled()
    }
}

impl Drop for SharedSession {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Notices when the future of a running statement is dropped.
struct InFlight<'s> {
    session: &'s SharedSession,
    landed: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        // While the session is being ended, nobody waits for the statement any more: it goes on by
        // itself.
        if self.landed || self.session.ends.closing.is_cancelled() {
            return;
        }
        self.session.ends.broken.cancel();
        // Where the statement came to its end unseen, the connection need not wait for the
        // request's.
        if let Ok(mut slot) = self.session.slot.try_lock()
            && !matches!(*slot, Slot::Done)
        {
            *slot = Slot::Broken;
        }
    }
}

async fn end(slot: Arc<AsyncMutex<Slot>>, ends: Ends, commit: bool) -> Result<(), SessionError> {
    let in_time = tokio::time::timeout(GRACE, Arc::clone(&slot).lock_owned()).await;
    let mut slot = match in_time {
        Ok(slot) => slot,
        Err(_) => {
            ends.broken.cancel();
            slot.lock_owned().await
        }
    };
    let state = std::mem::replace(&mut *slot, Slot::Done);
    if ends.broken.is_cancelled() {
        // The lease, if there is one, is dropped here.
        drop(state);
        return if commit {
            Err(SessionError::Aborted)
        } else {
            Ok(())
        };
    }
    match state {
        Slot::Idle => Ok(()),
        Slot::Done => Err(SessionError::SessionClosed),
        Slot::Broken if commit => Err(SessionError::Aborted),
        Slot::Broken => Ok(()),
        Slot::Open(lease) if commit => lease.commit().await,
        Slot::Open(lease) => {
            lease.rollback().await;
            Ok(())
        }
    }
}

/// One statement with all that it needs, apart from the future that waits for it.
struct Statement {
    spaces: TenantSpaces,
    account: Uuid,
    ends: Ends,
    query: Query,
    wanted: Wanted,
}

impl Statement {
    async fn run(self, mut slot: OwnedMutexGuard<Slot>) -> Result<Outcome, SessionError> {
        let (mut lease, is_first) = match std::mem::replace(&mut *slot, Slot::Broken) {
            Slot::Idle => (self.open(&mut slot).await?, true),
            Slot::Open(lease) => (lease, false),
            Slot::Done => {
                *slot = Slot::Done;
                return Err(SessionError::SessionClosed);
            }
            Slot::Broken => return Err(SessionError::Aborted),
        };
        let limit = self.spaces.timeout();
        let running = async {
            if is_first {
                execute_first(self.query, self.wanted, &mut lease).await
            } else {
                execute(self.query, self.wanted, &mut lease).await
            }
        };
        let outcome = tokio::select! {
            biased;
            () = self.ends.broken.cancelled() => return Err(SessionError::Aborted),
            outcome = tokio::time::timeout(limit, running) => {
                // What is not over in time leaves the connection in an unknown state.
                outcome.map_err(|_| SessionError::too_slow())?
            }
        };
        if let Err(error) = &outcome
            && error.is_outdated_plan()
        {
            // The lease is dropped, and with its connection what was prepared there.
            return Err(SessionError::Unavailable(error.to_string()));
        }
        if outcome.is_err() && !lease.survives_errors() {
            // Nothing of it can be kept any more; the connection need not wait for the end.
            lease.rollback().await;
            return outcome;
        }
        if !lease.in_transaction() {
            // The error of the statement that did it says more.
            return outcome.and(Err(SessionError::Aborted));
        }
        *slot = Slot::Open(lease);
        outcome
    }

    async fn open(&self, slot: &mut Slot) -> Result<Lease, SessionError> {
        let span = trace::session(self.spaces.place().system(), self.account);
        let opened = tokio::select! {
            biased;
            () = self.ends.broken.cancelled() => return Err(SessionError::Aborted),
            () = self.ends.closing.cancelled() => Err(SessionError::SessionClosed),
            opened = self.spaces.begin(self.account).instrument(span.clone()) => opened,
        };
        match opened {
            Ok(mut lease) => {
                lease.count_as_session(span);
                Ok(lease)
            }
            Err(error) => {
                trace::session_failed(&span);
                // Nothing was done yet: another statement may try again.
                *slot = Slot::Idle;
                Err(error)
            }
        }
    }
}

/// A session's first statement: where it was prepared on this connection before a migration changed
/// its table, nothing was done yet, and it is prepared anew.
async fn execute_first(
    query: Query,
    wanted: Wanted,
    lease: &mut Lease,
) -> Result<Outcome, SessionError> {
    let again = query.clone();
    match execute(query, wanted, lease).await {
        Err(error) if error.is_outdated_plan() => {
            lease.begin_anew().await?;
            execute(again, wanted, lease).await
        }
        outcome => outcome,
    }
}

async fn execute(query: Query, wanted: Wanted, lease: &mut Lease) -> Result<Outcome, SessionError> {
    let query = lease.rewritten(query);
    lease.set_busy(true);
    let on = lease.connection()?;
    let outcome = match wanted {
        Wanted::Count => query.execute(on).await.map(Outcome::Count),
        Wanted::First => query.first_row(on).await.map(Outcome::Rows),
        Wanted::All => query.rows(on).await.map(Outcome::Rows),
    };
    lease.set_busy(false);
    Ok(outcome?)
}
