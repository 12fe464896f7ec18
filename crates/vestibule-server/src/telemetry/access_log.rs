//! One line per request.
//!
//! | field | meaning |
//! | --- | --- |
//! | `request_id` | ours, also in the answer's problem |
//! | `method`, `status`, `duration_ms` | of the request and its answer |
//! | `route` | the route's pattern, never the path; absent where no route fits |
//! | `principal.kind`, `account.id` | who called; absent where nobody was known |
//! | `reason` | why the request was refused, exactly; absent where it was not a matter of who called |
//! | `trace_id` | where traces are exported; also of those that are not recorded |
//!
//! Never a token, an e-mail, a path or a query.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{http::StatusCode, response::Response};
use tracing::field::display;
use vestibule::{
    http::{RequestFacts, known_method},
    principal::PrincipalKind,
};

use crate::{explain::refused::Refusals, settings::AccessLog};

/// Decides which requests get a line.
#[derive(Debug)]
struct Lines {
    which: AccessLog,
    /// Requests that could have been in the share.
    seen: AtomicU64,
}

impl Lines {
    const fn new(which: AccessLog) -> Self {
        Self {
            which,
            seen: AtomicU64::new(0),
        }
    }

    fn wants(&self, status: StatusCode) -> bool {
        if status.as_u16() >= 400 {
            return true;
        }
        match self.which {
            AccessLog::Refusals => false,
            AccessLog::All => true,
            AccessLog::Share(share) => {
                is_in_share(self.seen.fetch_add(1, Ordering::Relaxed), share)
            }
        }
    }
}

/// Writes the line of each request that `which` wants, and keeps those refused in `refusals`. For
/// [`VestibuleLayer::observe`](vestibule::http::VestibuleLayer::observe).
pub(crate) fn observer(
    which: AccessLog,
    refusals: Refusals,
) -> impl Fn(&RequestFacts<'_>, &Response) + Send + Sync + 'static {
    let lines = Lines::new(which);
    move |facts, response| {
        if response.status().as_u16() >= 400 {
            refusals.note(facts, response);
        }
        if lines.wants(response.status()) {
            write(facts, response.status());
        }
    }
}

fn write(facts: &RequestFacts<'_>, status: StatusCode) {
    let kind = facts.caller_kind().map(PrincipalKind::as_str);
    let trace_id = facts.trace_id().map(display);
    let request_id = facts.request_id();
    let method = known_method(facts.method()).unwrap_or("other");
    let route = facts.route();
    let status = status.as_u16();
    let account = facts.account_id().map(display);
    let reason = facts.reason().map(|reason| reason.as_str());
    let duration_ms = facts.elapsed().as_secs_f64() * 1_000.0;
    // The level is part of an event's static description, so the line is written out twice.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "vestibule::access",
                %request_id,
                method,
                route,
                status,
                principal.kind = kind,
                account.id = account,
                reason,
                trace_id,
                duration_ms,
                "request"
            )
        };
    }
    // A refused caller is the caller's business; a 5xx is ours.
    if status >= 500 {
        line!(warn);
    } else {
        line!(info);
    }
}

/// Spreads a share evenly: of any n requests in a row, `n * share` are in it, give or take one.
fn is_in_share(index: u64, share: f64) -> bool {
    /// Far above any sensible resolution; keeps the numbers exact in a float.
    const ROUND: u64 = 1_000_000;
    #[expect(clippy::cast_precision_loss, reason = "both are at most a million")]
    let at = |index: u64| (index as f64 * share).floor();
    let index = index % ROUND;
    at(index) < at(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept() {
        for (share, expected) in [
            (0.0, 0),
            (0.01, 100),
            (0.25, 2_500),
            (0.5, 5_000),
            (1.0, 10_000),
        ] {
            let count = (0..10_000).filter(|&n| is_in_share(n, share)).count();
            assert!(count.abs_diff(expected) <= 1, "{share}: {count}");
        }
    }

    #[test]
    fn refusals_always_have_a_line() {
        for which in [AccessLog::Refusals, AccessLog::All, AccessLog::Share(0.0)] {
            let lines = Lines::new(which);
            for status in [400, 401, 403, 404, 500, 503] {
                assert!(lines.wants(StatusCode::from_u16(status).unwrap()));
            }
            assert_eq!(lines.wants(StatusCode::OK), which == AccessLog::All);
        }
    }
}
