//! Who has signed in at the console.
//!
//! A session is two secrets: one in a cookie that no script can read, one that the page sends as a
//! header. Neither does anything alone: a page of another site can make a browser send the first,
//! and never the second.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, header::COOKIE as COOKIE_HEADER};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use vestibule::clock::{Clock as _, SystemClock, Timestamp};

use crate::admin::tokens::Administrator;

pub(crate) const COOKIE: &str = "vestibule_console";
const HEADER: HeaderName = HeaderName::from_static("x-vestibule-csrf");

/// How long a session lasts, used or not; and how long it lasts unused.
const LONGEST: Duration = Duration::from_secs(8 * 3_600);
const UNUSED: Duration = Duration::from_secs(30 * 60);

/// Where there are more, the longest unused ends.
const MOST: usize = 256;

/// All sessions, by the SHA-256 of their cookie.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

#[derive(Debug)]
struct Session {
    administrator: Administrator,
    header: [u8; 32],
    began: Instant,
    used: Instant,
}

/// A session that has just begun: the only time that its secrets are shown.
pub(crate) struct Begun {
    pub(crate) cookie: String,
    pub(crate) header: String,
    pub(crate) ends_at: Timestamp,
}

impl Sessions {
    pub(crate) fn begin(&self, administrator: Administrator) -> Begun {
        let (cookie, header) = (secret(), secret());
        let now = Instant::now();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.lasts_at(now));
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(
            digest(&cookie),
            Session {
                administrator,
                header: digest(&header),
                began: now,
                used: now,
            },
        );
        Begun {
            cookie,
            header,
            ends_at: SystemClock.now() + LONGEST,
        }
    }

    /// Whose session the request's two secrets are.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<Administrator> {
        let key = digest(cookie_of(headers)?);
        let header = digest(headers.get(HEADER)?.to_str().ok()?);
        let now = Instant::now();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(&key)?;
        if !session.lasts_at(now) {
            sessions.remove(&key);
            return None;
        }
        if !bool::from(session.header.ct_eq(&header)) {
            return None;
        }
        session.used = now;
        Some(session.administrator.clone())
    }

    pub(crate) fn end(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie_of(headers) {
            let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.remove(&digest(cookie));
        }
    }
}

impl Session {
    fn lasts_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) < LONGEST
            && now.saturating_duration_since(self.used) < UNUSED
    }
}

/// The session's cookie (RFC 6265 §4.2.1); none where it is there twice.
fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let mut found = None;
    for header in headers.get_all(COOKIE_HEADER) {
        for pair in header.to_str().ok()?.split(';') {
            if let Some((COOKIE, value)) = pair.trim().split_once('=')
                && found.replace(value).is_some()
            {
                return None;
            }
        }
    }
    found
}

/// 244 random bits.
fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn both_secrets_are_needed_and_end_together() {
        let sessions = Sessions::default();
        let administrator = Administrator::at_the_command_line();
        let Begun { cookie, header, .. } = sessions.begin(administrator.clone());
        let other = sessions.begin(administrator.clone());
        let cookie = format!("a=b; {COOKIE}={cookie}");
        let both = headers(&[("cookie", &cookie), ("x-vestibule-csrf", &header)]);
        assert_eq!(sessions.find(&both), Some(administrator));
        let twice = format!("{cookie}; {COOKIE}=x");
        for wrong in [
            headers(&[("cookie", &cookie)]),
            headers(&[("x-vestibule-csrf", &header)]),
            headers(&[("cookie", &cookie), ("x-vestibule-csrf", &other.header)]),
            headers(&[("cookie", &cookie), ("x-vestibule-csrf", "")]),
            headers(&[("cookie", &twice), ("x-vestibule-csrf", &header)]),
            headers(&[]),
        ] {
            assert_eq!(sessions.find(&wrong), None);
        }
        sessions.end(&both);
        assert_eq!(sessions.find(&both), None);
    }

    #[test]
    fn sessions_are_bounded() {
        let sessions = Sessions::default();
        let administrator = Administrator::at_the_command_line();
        for _ in 0..MOST + 10 {
            sessions.begin(administrator.clone());
        }
        assert_eq!(sessions.0.lock().unwrap().len(), MOST);
    }

    #[test]
    fn a_session_ends_by_itself() {
        let now = Instant::now();
        let session = |began, used| Session {
            administrator: Administrator::at_the_command_line(),
            header: [0; 32],
            began,
            used,
        };
        assert!(session(now, now).lasts_at(now + UNUSED - Duration::from_secs(1)));
        assert!(!session(now, now).lasts_at(now + UNUSED));
        let late = now + LONGEST;
        assert!(!session(now, late).lasts_at(late));
    }
}
