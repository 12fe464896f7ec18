//! One request's session, made when a handler first asks for it: most requests never do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{SessionError, TenantSession, TenantSpaces, shared::SharedSession};

/// The session of one request, if it has one.
#[derive(Debug)]
pub(crate) struct SessionScope {
    spaces: TenantSpaces,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Nobody has asked for a session.
    Unused,
    /// All handles of the request share this one.
    Used(Arc<SharedSession>),
    /// The request is over.
    Ended,
}

impl SessionScope {
    pub(crate) fn new(spaces: &TenantSpaces) -> Arc<Self> {
        Arc::new(Self {
            spaces: spaces.clone(),
            state: Mutex::new(State::Unused),
        })
    }

    /// A handle of the session, which from now on is this account's and no other's.
    pub(crate) fn session(&self, account: Uuid) -> Result<TenantSession, SessionError> {
        let mut state = self.lock();
        let session = match &*state {
            State::Ended => return Err(SessionError::SessionClosed),
            State::Used(session) if session.account() != account => {
                return Err(SessionError::Refused(
                    "the session belongs to another account".to_owned(),
                ));
            }
            State::Used(session) => Arc::clone(session),
            State::Unused => {
                let session = SharedSession::of_request(&self.spaces, account);
                *state = State::Used(Arc::clone(&session));
                session
            }
        };
        Ok(TenantSession::new(session))
    }

    /// Ends the session and keeps what was written.
    ///
    /// Runs to its end where the caller goes away. Does not wait for handles that were kept.
    ///
    /// # Errors
    /// Where this fails, nothing was kept, or (with [`SessionError::Unavailable`]) it is not
    /// known whether it was.
    pub(crate) async fn commit(&self) -> Result<(), SessionError> {
        match self.end() {
            State::Unused => Ok(()),
            State::Used(session) => session.commit().await,
            State::Ended => Err(SessionError::SessionClosed),
        }
    }

    /// Ends the session and keeps nothing.
    pub(crate) async fn rollback(&self) -> Result<(), SessionError> {
        match self.end() {
            State::Unused => Ok(()),
            State::Used(session) => session.rollback().await,
            State::Ended => Err(SessionError::SessionClosed),
        }
    }

    /// Ends the session without waiting, and keeps nothing. Does nothing to one that has ended: a
    /// commit that began goes on, whoever went away.
    pub(crate) fn abandon(&self) {
        if let State::Used(session) = self.end() {
            session.abandon();
        }
    }

    /// Abandons the session when it is dropped: for the layer, whose future may be.
    pub(crate) fn guard(self: &Arc<Self>) -> ScopeGuard {
        ScopeGuard(Arc::clone(self))
    }

    fn end(&self) -> State {
        std::mem::replace(&mut *self.lock(), State::Ended)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Held for a few assignments, which do not panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl SessionScope {
    pub(super) fn is_broken(&self) -> bool {
        match &*self.lock() {
            State::Used(session) => session.is_broken(),
            State::Unused | State::Ended => false,
        }
    }
}

/// See [`SessionScope::guard`].
#[derive(Debug)]
#[must_use = "dropping it abandons the session"]
pub(crate) struct ScopeGuard(Arc<SessionScope>);

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
