//! Answers to callers who were here a moment ago: from memory alone, without the router and all that
//! it brings for requests that have to wait for something.
//!
//! A shortcut, not another way: it asks [`Authenticator::recall`](vestibule::Authenticator::recall)
//! who calls, and has `/v1/me` and `/v1/authorize` make their answers as for anybody. Whatever is not
//! plainly a success goes on to the router, untouched. It is closed where successes have lines in the
//! access log.

use std::net::SocketAddr;

use axum::{
    body::HttpBody,
    extract::{ConnectInfo, Request},
    http::{Method, header::CACHE_CONTROL, request::Parts},
    response::Response,
};
use futures_util::FutureExt as _;

use vestibule::principal::Principal;

use super::{ApiState, NO_STORE, authorize, me};
use crate::{gateway, settings::AccessLog};

/// Answers what can be answered at once. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Recall {
    state: ApiState,
    is_open: bool,
}

/// What has an answer here.
#[derive(Clone, Copy)]
enum Asked {
    Me,
    Authorize,
}

impl Recall {
    pub(super) fn new(state: ApiState, access_log: AccessLog) -> Self {
        Self {
            state,
            is_open: access_log == AccessLog::Refusals,
        }
    }

    /// The answer to a request that came over a connection from `peer`.
    ///
    /// # Errors
    /// The request, where the router has to answer it.
    pub(crate) fn answer<B: HttpBody>(
        &self,
        request: Request<B>,
        peer: Option<SocketAddr>,
    ) -> Result<Response, Request<B>> {
        let Some((asked, principal)) = self.recall(&request) else {
            return Err(request);
        };
        let (mut parts, body) = request.into_parts();
        let answer = match asked {
            Asked::Me => me::answer(&principal).ok(),
            Asked::Authorize => self.authorize(&mut parts, peer, principal),
        };
        answer
            .map(not_stored)
            .ok_or_else(|| Request::from_parts(parts, body))
    }

    fn recall<B: HttpBody>(&self, request: &Request<B>) -> Option<(Asked, Principal)> {
        if !self.is_open || !request.body().is_end_stream() {
            return None;
        }
        let asked = Asked::by(request.method(), request.uri().path())?;
        let authenticator = self.state.vestibule.authenticator();
        let principal = authenticator.recall(request.headers())?;
        Some((asked, principal))
    }

    fn authorize(
        &self,
        parts: &mut Parts,
        peer: Option<SocketAddr>,
        principal: Principal,
    ) -> Option<Response> {
        if let Some(peer) = peer
            && !self.state.rules.is_empty()
        {
            parts.extensions.insert(ConnectInfo(peer));
        }
        // It waits for nothing, unless the provider has to be asked for a permission.
        let decision = gateway::decide(parts, &self.state, Some(principal)).now_or_never()?;
        authorize::answer(decision.ok()?, &self.state).ok()
    }
}

impl Asked {
    fn by(method: &Method, path: &str) -> Option<Self> {
        match path.strip_prefix("/v1/")? {
            "me" if *method == Method::GET => Some(Self::Me),
            path if path.strip_prefix("authorize").is_some_and(is_below) => Some(Self::Authorize),
            _ => None,
        }
    }
}

fn is_below(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// As the layer completes every answer about somebody.
fn not_stored(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, NO_STORE);
    }
    answer
}
