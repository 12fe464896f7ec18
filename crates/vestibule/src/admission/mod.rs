//! Who may make us work: what a new token costs before anything of it is proven, and who pays.
//!
//! Remembered tokens pass by here. A token that is not remembered costs a signature check, and a
//! stranger can send as many as the wire carries. So
//!
//! - of the processor's time, checks get a part: those who are remembered have the rest
//!   ([`turns`]); sources take turns, whoever brings more waits longer;
//! - a source address whose tokens were refused too often lately (`TOKEN_REFUSAL_LIMIT`) has no
//!   new ones checked for a while ([`debts`]). Who is remembered gets in from there too, so that a
//!   stranger behind somebody's address does not lock out those who are already at work.

pub(crate) mod debts;
mod source;
pub(crate) mod turns;

use std::{fmt, net::IpAddr};

use http::HeaderMap;
use tokio::time::Instant;

pub use self::source::source_address;
use self::{debts::Debts, turns::Turns};
pub(crate) use self::{source::Source, turns::Turn};
use crate::{
    error::{Code, Reason},
    settings::{AdmissionSettings, Network},
};

/// Decides whether a new token is looked at, and when.
pub(crate) struct Admission {
    trusted_proxies: Vec<Network>,
    /// None: no limit.
    debts: Option<Debts>,
    turns: Turns,
}

impl Admission {
    pub(crate) fn new(settings: &AdmissionSettings) -> Self {
        Self {
            trusted_proxies: settings.trusted_proxies.clone(),
            debts: Debts::new(settings.refusal_limit),
            turns: Turns::for_this_machine(),
        }
    }

    /// Where a request comes from; none where nobody can say.
    pub(crate) fn source(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<Source> {
        Source::of(peer?, headers, &self.trusted_proxies)
    }

    /// Whether it is a proxy whose word about a request counts.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        Network::any_contains(&self.trusted_proxies, peer)
    }

    /// Whether a new token from there is looked at.
    ///
    /// # Errors
    ///
    /// [`Reason::SourceOverLimit`].
    pub(crate) fn check(&self, source: Option<Source>) -> Result<(), Reason> {
        match (&self.debts, source) {
            (Some(debts), Some(source)) if debts.is_over(source, Instant::now()) => {
                Err(Reason::SourceOverLimit)
            }
            _ => Ok(()),
        }
    }

    /// Waits for a turn to check a signature.
    ///
    /// # Errors
    ///
    /// [`Reason::VerifierBusy`] where too many wait already.
    pub(crate) async fn turn(&self, source: Option<Source>) -> Result<Turn, Reason> {
        self.turns.take(source).await
    }

    /// Notes that a new token from there was refused. Our own troubles count against nobody.
    pub(crate) fn note_refused(&self, source: Option<Source>, reason: Reason) {
        let is_callers = matches!(reason.code(), Code::InvalidToken | Code::TokenExpired);
        if let (true, Some(debts), Some(source)) = (is_callers, &self.debts, source) {
            debts.add(source, Instant::now());
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
