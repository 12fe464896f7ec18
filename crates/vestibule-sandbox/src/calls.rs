//! What was asked: counters and a log, the means to prove that a cache caches.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Calls kept in the log; the oldest go first. The counters go on.
const LOG_LIMIT: usize = 10_000;

/// The kinds of resource that a sandbox serves, for faults and counters.
///
/// One kind covers all methods of its resource: `User` counts a read and a deletion alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/.well-known/openid-configuration/jwks`: the keys that sign user tokens.
    Jwks,
    /// `/v1/clients/{id}/.well-known/openid-configuration/jwks`: the keys of one service client.
    ClientJwks,
    /// `/.well-known/openid-configuration`.
    Discovery,
    /// `/v1/users/{id}`.
    User,
    /// `/v1/users`.
    Users,
    /// `/v1/tenants/{id}`, and `/v1/tenants/{id}/users`.
    Tenant,
    /// `/v1/tenants`.
    Tenants,
    /// `/v1/clients/{id}`.
    Client,
    /// `/v1/clients`.
    Clients,
    /// `/v1/clients/{id}/access-keys` and one of them.
    AccessKeys,
    /// `/v1/users/{id}/resources/{uri}/permissions/{permission}`.
    Permission,
    /// `/api/authentication/oauth/tokens`.
    OauthTokens,
    /// Every other path.
    Other,
}

/// One request that reached the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path exactly as it was sent: still percent-encoded, without the query.
    pub path: String,
    /// The query, where there was one, without its `?`.
    pub query: Option<String>,
    /// What the path belongs to.
    pub endpoint: Endpoint,
    /// Whether an `Authorization` header came along. Its value is not kept.
    pub authorized: bool,
    /// The header `traceparent`, where it came along.
    pub traceparent: Option<String>,
}

#[derive(Debug)]
pub(crate) struct CallLog {
    state: Mutex<State>,
    total: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<Endpoint, u64>,
    log: VecDeque<Call>,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Jwks,
        Self::ClientJwks,
        Self::Discovery,
        Self::User,
        Self::Users,
        Self::Tenant,
        Self::Tenants,
        Self::Client,
        Self::Clients,
        Self::AccessKeys,
        Self::Permission,
        Self::OauthTokens,
        Self::Other,
    ];
}

impl CallLog {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            total: watch::Sender::new(0),
        }
    }

    pub(crate) fn record(&self, call: Call) {
        {
            let mut state = self.lock();
            *state.counts.entry(call.endpoint).or_default() += 1;
            if state.log.len() >= LOG_LIMIT {
                state.log.pop_front();
            }
            state.log.push_back(call);
        }
        self.total
            .send_modify(|total| *total = total.wrapping_add(1));
    }

    pub(crate) fn count(&self, endpoint: Endpoint) -> u64 {
        self.lock().counts.get(&endpoint).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u64 {
        self.lock().counts.values().sum()
    }

    pub(crate) fn count_path(&self, path: &str) -> u64 {
        let state = self.lock();
        let count = state.log.iter().filter(|call| call.path == path).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    pub(crate) fn log(&self) -> Vec<Call> {
        self.lock().log.iter().cloned().collect()
    }

    pub(crate) fn reset(&self) {
        *self.lock() = State::default();
    }

    /// Returns once `endpoint` has been asked `count` times.
    pub(crate) async fn wait_for(&self, endpoint: Endpoint, count: u64) {
        let mut total = self.total.subscribe();
        // The sender lives as long as `self`, so this ends only when the condition holds.
        let _ = total.wait_for(|_| self.count(endpoint) >= count).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
