//! Whether a request is an administrator's.
//!
//! A token comes as a bearer token; the console's page, which has traded its own for a session, says so
//! by cookie and header. Who sends wrong ones is asked to wait: guessing would take for
//! ever, and shows in the log.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap,
        header::{AUTHORIZATION, HOST, ORIGIN},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use vestibule::{error::Code, http::Problem};

use super::tokens::{AdminTokens, Administrator};
use crate::console::sessions::Sessions;

/// Wrong tokens that one address may send at once, and how long until it may send one more.
const BURST: u32 = 10;
const REST: Duration = Duration::from_secs(1);

/// Addresses that are remembered; where there are more, all are forgotten.
const ADDRESSES: usize = 1_024;

/// Decides who is an administrator. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tokens: AdminTokens,
    sessions: Arc<Sessions>,
    refused: Mutex<HashMap<Option<IpAddr>, Refused>>,
}

/// The wrong tokens of one address.
#[derive(Clone, Copy, Debug)]
struct Refused {
    count: u32,
    last: Instant,
}

impl Guard {
    pub(crate) fn new(tokens: AdminTokens, sessions: Arc<Sessions>) -> Self {
        Self(Arc::new(Inner {
            tokens,
            sessions,
            refused: Mutex::default(),
        }))
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Whose session of the console it is.
    pub(crate) fn by_session(&self, headers: &HeaderMap) -> Result<Administrator, Problem> {
        if !is_of_this_origin(headers) {
            return Err(Problem::new(Code::InvalidToken));
        }
        let found = self.0.sessions.find(headers);
        // His token may have been taken out of the settings since.
        let found = found.filter(|administrator| self.0.tokens.has(administrator));
        found.ok_or_else(|| Problem::new(Code::MissingToken))
    }

    /// Whose token it is.
    pub(crate) fn find(&self, token: &str, from: Option<IpAddr>) -> Result<Administrator, Problem> {
        let now = Instant::now();
        if self.is_to_wait(from, now) {
            return Err(Problem::new(Code::TooManyRequests));
        }
        match self.0.tokens.find(token) {
            Some(administrator) => Ok(administrator),
            None => {
                self.note_refused(from, now);
                tracing::warn!(
                    from = from.map(tracing::field::display),
                    "a wrong admin token"
                );
                Err(Problem::new(Code::InvalidToken))
            }
        }
    }

    fn by_headers(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
    ) -> Result<Administrator, Problem> {
        let mut sent = headers.get_all(AUTHORIZATION).into_iter();
        match (sent.next(), sent.next()) {
            (None, _) => self.by_session(headers),
            (Some(header), None) => {
                let token = header.to_str().ok().and_then(bearer_of);
                let token = token.ok_or_else(|| Problem::new(Code::MalformedAuthorization))?;
                self.find(token, from)
            }
            (Some(_), Some(_)) => Err(Problem::new(Code::MalformedAuthorization)),
        }
    }

    fn is_to_wait(&self, from: Option<IpAddr>, now: Instant) -> bool {
        let refused = self
            .0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        refused
            .get(&from)
            .is_some_and(|refused| refused.left_at(now) >= BURST)
    }

    fn note_refused(&self, from: Option<IpAddr>, now: Instant) {
        let mut refused = self
            .0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= ADDRESSES && !refused.contains_key(&from) {
            refused.retain(|_, it| it.left_at(now) > 0);
            if refused.len() >= ADDRESSES {
                refused.clear();
            }
        }
        let before = refused.get(&from).map_or(0, |it| it.left_at(now));
        let count = before.saturating_add(1);
        refused.insert(from, Refused { count, last: now });
    }
}

impl Refused {
    /// How many still count at `now`.
    fn left_at(self, now: Instant) -> u32 {
        let rested = now.saturating_duration_since(self.last).as_secs() / REST.as_secs().max(1);
        self.count
            .saturating_sub(u32::try_from(rested).unwrap_or(u32::MAX))
    }
}

/// Whether a browser says that its page is this listener's own, or nothing says that a browser sent
/// it.
pub(crate) fn is_of_this_origin(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let host = headers.get(HOST).map(|host| host.as_bytes());
    let origin = origin.as_bytes();
    let named = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    named.is_some() && named == host
}

/// RFC 6750 §2.1, RFC 9110 §11.1: the scheme without regard to case.
fn bearer_of(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Lets administrators through, with who they are.
pub(super) async fn admit(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = peer(&request);
    match guard.by_headers(request.headers(), from) {
        Ok(administrator) => {
            request.extensions_mut().insert(administrator);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn peer(request: &Request) -> Option<IpAddr> {
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    connection.map(|ConnectInfo(address)| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let host = ("host", "127.0.0.1:9090");
        for own in [
            headers(&[host]),
            headers(&[host, ("origin", "http://127.0.0.1:9090")]),
            headers(&[host, ("origin", "https://127.0.0.1:9090")]),
            headers(&[host, ("sec-fetch-site", "same-origin")]),
        ] {
            assert!(is_of_this_origin(&own), "{own:?}");
        }
        for foreign in [
            headers(&[host, ("origin", "http://127.0.0.1:9091")]),
            headers(&[host, ("origin", "http://evil.example")]),
            headers(&[host, ("origin", "null")]),
            headers(&[("origin", "http://127.0.0.1:9090")]),
            headers(&[host, ("sec-fetch-site", "cross-site")]),
            headers(&[host, ("sec-fetch-site", "same-site")]),
        ] {
            assert!(!is_of_this_origin(&foreign), "{foreign:?}");
        }
    }

    #[test]
    fn who_guesses_waits_and_nobody_else() {
        let guard = Guard::new(AdminTokens::default(), Arc::default());
        let (one, other) = (
            Some(IpAddr::from([10, 0, 0, 1])),
            Some(IpAddr::from([10, 0, 0, 2])),
        );
        for _ in 0..BURST {
            let refused = guard.find("guess", one).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidToken);
        }
        let waits = guard.find("guess", one).unwrap_err();
        assert_eq!(waits.code(), Code::TooManyRequests);
        let refused = guard.find("guess", other).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidToken);
        let now = Instant::now();
        assert!(guard.is_to_wait(one, now));
        assert!(!guard.is_to_wait(one, now + REST));
    }

    #[test]
    fn memory_of_guesses_is_bounded() {
        let guard = Guard::new(AdminTokens::default(), Arc::default());
        for number in 0..5_000_u32 {
            guard.note_refused(Some(IpAddr::from(number.to_be_bytes())), Instant::now());
        }
        assert!(guard.0.refused.lock().unwrap().len() <= ADDRESSES);
    }

    #[test]
    fn bearer_tokens() {
        assert_eq!(bearer_of("Bearer abc"), Some("abc"));
        assert_eq!(bearer_of("bearer  abc"), Some("abc"));
        assert_eq!(bearer_of("Basic abc"), None);
        assert_eq!(bearer_of("abc"), None);
    }
}
