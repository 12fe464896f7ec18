//! Whether a proxy may remember for a moment that a request may go on.
//!
//! `VESTIBULE_DECISION_MAX_AGE` trades calls for delay: what is suspended or withdrawn goes on for
//! so long behind a cache that honours it. So it is off by default, at most [`MOST`], never past the
//! token's `exp`, and for a cache of the caller's own alone (RFC 9111 §5.2.2.7). `Vary` names
//! everything that the decision may have read: a cache that knows only some of it must not answer.
//! Refusals and answers about nobody are never remembered.

use std::time::Duration;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, ORIGIN, VARY},
};
use vestibule::{Clock, Timestamp};

use super::original;

/// The longest, in seconds.
pub(crate) const MOST: u32 = 5;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How allowed requests may be remembered; the same for all.
#[derive(Clone, Debug)]
pub(crate) struct Caching {
    /// Zero: not at all.
    max_age: Duration,
    vary: HeaderValue,
}

impl Caching {
    /// For `max_age` seconds, where decisions go by rules or not, and look at what trusted proxies
    /// say or not.
    pub(crate) fn new(max_age: u32, has_rules: bool, trusts_proxies: bool) -> Self {
        let mut names = vec![AUTHORIZATION];
        if has_rules {
            names.extend(original::headers());
            names.extend([ORIGIN, ACCESS_CONTROL_REQUEST_METHOD]);
        }
        if trusts_proxies {
            // Whose address it is decides whether a new token is looked at.
            names.push(FORWARDED_FOR);
        }
        let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
        // Names of headers and commas: it cannot fail. `*` means that nothing is remembered.
        let vary = HeaderValue::try_from(names.join(", "));
        Self {
            max_age: Duration::from_secs(max_age.into()),
            vary: vary.unwrap_or(HeaderValue::from_static("*")),
        }
    }

    /// Says in `answer`, which lets somebody in whose token ends at `expires_at`, how long that
    /// may be remembered. Says nothing where it may not.
    pub(crate) fn allow(&self, answer: &mut HeaderMap, expires_at: Timestamp, clock: &dyn Clock) {
        if self.max_age.is_zero() {
            return;
        }
        let left = expires_at.saturating_since(clock.now());
        let seconds = self.max_age.min(left).as_secs();
        if seconds == 0 {
            return;
        }
        if let Ok(value) = HeaderValue::try_from(format!("private, max-age={seconds}")) {
            answer.insert(CACHE_CONTROL, value);
            answer.insert(VARY, self.vary.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use vestibule::clock::ManualClock;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_521_600);

    fn said(max_age: u32, left: Duration) -> Option<String> {
        let mut answer = HeaderMap::new();
        Caching::new(max_age, false, false).allow(&mut answer, NOW + left, &ManualClock::new(NOW));
        assert_eq!(
            answer.contains_key(VARY),
            answer.contains_key(CACHE_CONTROL)
        );
        let value = answer.get(CACHE_CONTROL)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn never_past_the_end_of_the_token() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(said(5, hour).unwrap(), "private, max-age=5");
        assert_eq!(said(2, hour).unwrap(), "private, max-age=2");
        for (millis, expected) in [
            (5_000, Some("private, max-age=5")),
            (4_999, Some("private, max-age=4")),
            (1_000, Some("private, max-age=1")),
            (999, None),
            // Let in within the leeway.
            (0, None),
        ] {
            assert_eq!(
                said(5, Duration::from_millis(millis)).as_deref(),
                expected,
                "{millis}"
            );
        }
        assert_eq!(said(0, hour), None);
    }

    #[test]
    fn everything_that_is_read_is_named() {
        let vary = |rules, proxies| {
            let vary = Caching::new(5, rules, proxies).vary;
            vary.to_str().unwrap().to_owned()
        };
        assert_eq!(vary(false, false), "authorization");
        assert_eq!(vary(false, true), "authorization, x-forwarded-for");
        assert_eq!(
            vary(true, true),
            "authorization, x-forwarded-method, x-original-method, x-forwarded-uri, \
             x-original-uri, x-forwarded-host, host, origin, access-control-request-method, \
             x-forwarded-for"
        );
    }
}
