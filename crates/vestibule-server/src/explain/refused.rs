//! The last refusals of this server, for whoever asks why: without the tokens.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;
use vestibule::{
    clock::{Clock as _, SystemClock, Timestamp},
    error::{Code, Reason, RefusedCaller},
    http::{Problem, RequestFacts, known_method},
};

use super::Claimed;

/// Refusals that are kept.
const KEPT: usize = 10_000;

/// Of how many in a second what the token claims is kept too: to read one costs more than to refuse
/// it again, and a flood of them tells nothing new.
const READ_A_SECOND: u64 = 20;

/// How many in a second are kept that were not looked at, in a flood: more would push out everybody
/// else's within a second.
const UNSEEN_A_SECOND: u64 = 20;

/// A refused request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Refused {
    /// Counts up; a gap is one that was forgotten.
    pub(crate) seq: u64,
    at: Timestamp,
    pub(crate) request_id: Uuid,
    /// None: it was no matter of who called.
    #[serde(serialize_with = "as_text")]
    pub(crate) reason: Option<Reason>,
    #[serde(serialize_with = "code_as_text")]
    pub(crate) code: Option<Code>,
    status: u16,
    account_id: Option<Uuid>,
    user_id: Option<Uuid>,
    client_id: Option<Arc<str>>,
    method: &'static str,
    /// The route's pattern, never the path.
    path: Option<Arc<str>>,
    #[serde(skip)]
    pub(super) claimed: Option<Box<Claimed>>,
}

impl Refused {
    /// Who it was, where he is known here.
    pub(super) fn caller(&self) -> Option<RefusedCaller> {
        Some(RefusedCaller {
            account_id: self.account_id?,
            user_id: self.user_id,
            client_id: self.client_id.clone(),
        })
    }
}

/// The last refusals. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    refused: VecDeque<Refused>,
    /// The second, since the first refusal, in which `read` tokens were read and `unseen` kept.
    began: Option<Instant>,
    second: u64,
    read: u64,
    unseen: u64,
}

impl Refusals {
    /// Keeps a request that was answered with a status of 400 or more.
    pub(crate) fn note(&self, facts: &RequestFacts<'_>, answer: &Response) {
        let refusal = facts.refusal();
        let unseen = matches!(
            facts.reason(),
            Some(Reason::SourceOverLimit | Reason::VerifierBusy)
        );
        if unseen && !self.may_keep_unseen() {
            return;
        }
        let caller = refusal.and_then(|refusal| refusal.caller.as_ref());
        let principal = facts.principal();
        let may_read = refusal.is_some() && principal.is_none() && !unseen && self.may_read();
        let claimed = may_read.then(|| claimed_by(facts)).flatten();
        let refused = Refused {
            seq: self.0.last.fetch_add(1, Ordering::Relaxed) + 1,
            at: SystemClock.now(),
            request_id: facts.request_id().as_uuid(),
            reason: facts.reason(),
            code: answer.extensions().get::<Problem>().map(Problem::code),
            status: answer.status().as_u16(),
            account_id: caller
                .map(|caller| caller.account_id)
                .or(principal.map(|principal| principal.account().id)),
            user_id: caller.and_then(|caller| caller.user_id),
            client_id: caller.and_then(|caller| caller.client_id.clone()),
            method: known_method(facts.method()).unwrap_or("other"),
            path: facts.route().map(Arc::from),
            claimed,
        };
        let mut kept = self.lock();
        if kept.refused.len() >= KEPT {
            kept.refused.pop_front();
        }
        kept.refused.push_back(refused);
    }

    /// The refusals after `seq`, the oldest first; none: the newest. And the number of the last.
    pub(crate) fn after(&self, seq: Option<u64>, limit: usize) -> (Vec<Refused>, u64) {
        let kept = self.lock();
        let skipped = match seq {
            Some(seq) => kept.refused.partition_point(|refused| refused.seq <= seq),
            None => kept.refused.len().saturating_sub(limit),
        };
        let found: Vec<Refused> = kept
            .refused
            .iter()
            .skip(skipped)
            .take(limit)
            .cloned()
            .collect();
        let next = found.last().map(|refused| refused.seq);
        let last = kept.refused.back().map_or(0, |refused| refused.seq);
        (found, next.or(seq).unwrap_or(last))
    }

    /// The request with this id.
    pub(crate) fn find(&self, request_id: Uuid) -> Option<Refused> {
        let kept = self.lock();
        let mut newest_first = kept.refused.iter().rev();
        newest_first
            .find(|refused| refused.request_id == request_id)
            .cloned()
    }

    fn may_read(&self) -> bool {
        let mut kept = self.lock();
        kept.count_from_now();
        kept.read += 1;
        kept.read <= READ_A_SECOND
    }

    fn may_keep_unseen(&self) -> bool {
        let mut kept = self.lock();
        kept.count_from_now();
        kept.unseen += 1;
        kept.unseen <= UNSEEN_A_SECOND
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Begins to count anew in each second.
    fn count_from_now(&mut self) {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let second = now.saturating_duration_since(began).as_secs();
        if second != self.second {
            (self.second, self.read, self.unseen) = (second, 0, 0);
        }
    }
}

fn claimed_by(facts: &RequestFacts<'_>) -> Option<Box<Claimed>> {
    let header = facts.authorization()?.to_str().ok()?;
    let (_, token) = header.split_once(' ')?;
    Some(Box::new(Claimed::read(token.trim()).shortened()))
}

#[expect(clippy::ref_option, reason = "as serde calls it")]
fn as_text<S: serde::Serializer>(reason: &Option<Reason>, to: S) -> Result<S::Ok, S::Error> {
    reason.map(Reason::as_str).serialize(to)
}

#[expect(clippy::ref_option, reason = "as serde calls it")]
fn code_as_text<S: serde::Serializer>(code: &Option<Code>, to: S) -> Result<S::Ok, S::Error> {
    code.map(Code::as_str).serialize(to)
}
