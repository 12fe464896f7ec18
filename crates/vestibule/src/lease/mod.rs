//! Connections that outlive their request: how long their caller may stay.
//!
//! A WebSocket or a stream of server-sent events is let in once, and may then be open for hours. A
//! [`Lease`] says when it has to end: at the `exp` of the caller's token, or as soon as a request
//! of the same caller would be refused.
//!
//! | what happens | when the lease ends |
//! | --- | --- |
//! | the token's `exp` | then; the leeway is for new requests |
//! | user, client or account is suspended or removed | when this process hears of it, within a second |
//! | the token, its key, its user, account or issuer is cut off | the same |
//! | role, or a machine's registered scopes, change | the same: what was allowed at the start may not be now |
//! | the key that signed the token is withdrawn, the user is gone at the provider | at the next look at the provider's facts, at most `TOKEN_CACHE_TTL` later |
//! | the same, where the caller came with an assertion | the user: the same; the key: not, it is the server's that saw the token |
//! | the provider is away for longer than its facts may be used (`JWKS_MAX_AGE`, `USER_CACHE_MAX_AGE`) | at the next look; not where the caller came with an assertion |
//! | changes cannot be heard, and the directory not be read, for `PRINCIPAL_MAX_STALE` | at the next look at the clock, at most five seconds later, once a read has failed |
//! | the application stops ([`Vestibule::end_leases`]) | at once |
//!
//! A lease runs in the connection's own task: it starts none, holds no database connection, and
//! asks the database only when a change concerns its caller (`registry.rs`).

mod registry;

use std::{fmt, time::Duration};

use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;

use self::registry::Hearing;
pub(crate) use self::registry::Leases;
use crate::{
    error::{Reason, Refusal},
    principal::{Principal, Standing},
    tenancy::{SessionError, TenantSession},
    vestibule::Vestibule,
};

/// How often the clock is looked at again: it may have been set, and a machine may have slept.
const LOOK: Duration = Duration::from_secs(5);

/// Rest after a look that the directory did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// How often the provider's facts are looked at: `TOKEN_CACHE_TTL`, within these. Each look at an
/// open connection may cost a call to the provider, as a request would.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
const MOST_INTERVAL: Duration = Duration::from_secs(300);

/// How long a caller may stay. An extractor; also [`Vestibule::lease`].
///
/// ```no_run
/// use std::convert::Infallible;
/// use axum::response::sse::{Event, Sse};
/// use futures_util::{Stream, stream};
/// use vestibule::Lease;
///
/// async fn events(lease: Lease) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
///     let events = stream::pending(); // whatever the application has to tell
///     Sse::new(lease.guard(events))
/// }
/// ```
///
/// In a loop, as of a WebSocket, wait for [`Lease::ended`] beside the messages:
///
/// ```no_run
/// use axum::{
///     extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
///     response::Response,
/// };
/// use vestibule::Lease;
///
/// async fn socket(upgrade: WebSocketUpgrade, mut lease: Lease) -> Response {
///     upgrade.on_upgrade(async move |mut socket| loop {
///         tokio::select! {
///             ended = lease.ended() => {
///                 let (code, reason) = (1008, ended.as_str().into());
///                 let _ = socket.send(Message::Close(Some(CloseFrame { code, reason }))).await;
///                 break;
///             }
///             message = socket.recv() => match message {
///                 Some(Ok(message)) => answer(&mut socket, message).await,
///                 _ => break,
///             },
///         }
///     })
/// }
/// # async fn answer(_: &mut WebSocket, _: Message) {}
/// ```
///
/// What waits for neither, such as the sending of a message that the other end does not read, is
/// not ended: give it a time limit.
#[must_use = "a lease ends nothing by itself: guard a stream with it, or wait for its end"]
pub struct Lease {
    vestibule: Vestibule,
    principal: Principal,
    hearing: Hearing,
    /// When the provider's facts are looked at next.
    whole_look: Instant,
    /// Something may have changed since the last look.
    unsure: bool,
    ended: Option<Ended>,
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// A request of this caller would now be refused for this reason.
    Refused(Reason),
    /// The caller's role or scopes are others than at the start. Who connects again is judged by
    /// those of now.
    Changed,
    /// The application stops.
    Stopped,
}

impl Ended {
    /// What the caller may be told: the code that a request would get, `changed` or `stopped`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(reason) => reason.code().as_str(),
            Self::Changed => "changed",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Lease {
    pub(crate) fn new(vestibule: &Vestibule, principal: &Principal) -> Self {
        let hearing = vestibule.leases().hear(principal);
        let interval = interval(vestibule);
        // Those that were opened together, as after a restart, are not looked at together.
        let share = 0.5 + f64::from(hearing.spread()) / 2_000.0;
        Self {
            vestibule: vestibule.clone(),
            principal: principal.clone().alone(),
            hearing,
            whole_look: Instant::now() + interval.mul_f64(share),
            // A change may have come between the request's authentication and now.
            unsure: true,
            ended: None,
        }
    }

    /// Who the connection belongs to. Apart from its request, which is over when a stream begins.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// A session of the caller's account, for what the connection has to read or write now. It is
    /// apart from the request's: end it with [`TenantSession::commit`], and do not keep it while
    /// waiting.
    ///
    /// # Errors
    ///
    /// As [`Vestibule::get_tenant_session`].
    pub fn session(&self) -> Result<TenantSession, SessionError> {
        self.vestibule.get_tenant_session(&self.principal)
    }

    /// Waits until the caller may stay no longer. Given up and asked again, it misses nothing;
    /// once it has ended it says so at once.
    pub async fn ended(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.ended {
                return ended;
            }
            self.ended = self.look().await;
            match self.ended {
                Some(ended) => self.tell(ended),
                None => self.wait().await,
            }
        }
    }

    /// The stream, until the caller may stay no longer: then it ends.
    pub fn guard<S: Stream>(mut self, stream: S) -> impl Stream<Item = S::Item> {
        stream.take_until(async move { self.ended().await })
    }

    /// Whether it is over now.
    async fn look(&mut self) -> Option<Ended> {
        if self.hearing.is_stopped() {
            return Some(Ended::Stopped);
        }
        let now = self.vestibule.now();
        if now >= self.principal.token().expires_at {
            return Some(Ended::Refused(Reason::Expired));
        }
        let whole = Instant::now() >= self.whole_look;
        self.unsure |= self.hearing.has_heard() || self.vestibule.is_stale();
        if !whole && !self.unsure {
            return None;
        }
        match self.standing(whole).await {
            Ok(Standing::Same) => {
                self.unsure = false;
                if whole {
                    self.whole_look = Instant::now() + interval(&self.vestibule);
                }
                None
            }
            Ok(Standing::Changed) => Some(Ended::Changed),
            // As a request would be answered; but a connection that is open can ask again, as
            // long as what is remembered may still be believed.
            Err(refusal) if refusal.reason == Reason::StorageUnavailable => {
                self.unsure = true;
                let stale = self.vestibule.is_stale();
                stale.then_some(Ended::Refused(refusal.reason))
            }
            Err(refusal) => Some(Ended::Refused(refusal.reason)),
        }
    }

    async fn standing(&self, whole: bool) -> Result<Standing, Refusal> {
        let _turn = self.hearing.turn().await;
        let authenticator = self.vestibule.authenticator();
        authenticator.standing(&self.principal, whole).await
    }

    /// Until there is something to look at.
    async fn wait(&mut self) {
        let now = self.vestibule.now();
        let left = self.principal.token().expires_at.saturating_since(now);
        let (now, look) = (Instant::now(), self.whole_look);
        let until = match self.unsure {
            true => now + left.min(RETRY),
            false => (now + left.min(LOOK)).min(look),
        };
        tokio::select! {
            () = self.hearing.something() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    fn tell(&self, ended: Ended) {
        tracing::info!(
            principal.kind = self.principal.kind().as_str(),
            account.id = %self.principal.account().id,
            reason = match ended {
                Ended::Refused(reason) => reason.as_str(),
                other => other.as_str(),
            },
            "a long connection has to end"
        );
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("principal", &self.principal)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

fn interval(vestibule: &Vestibule) -> Duration {
    vestibule
        .token_cache_ttl()
        .clamp(LEAST_INTERVAL, MOST_INTERVAL)
}
