//! The Authress HTTP API, as far as we need it.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::Instrument as _;
use url::Url;

use super::{
    AuthressClient, AuthressTenant, AuthressUser, Found, ProviderError,
    access_key::{AccessKey, MINTED_LIFETIME_SECS},
    reading,
    transport::{Answer, Endpoint, Failed, Transport, origin},
};
use crate::{
    clock::{SharedClock, Timestamp},
    settings::{ProviderSettings, SettingsError},
    token::{KeySet, KeySetId},
    trace,
};

/// Calls about users, tenants and clients at the same time. More would only queue at the
/// provider's own limits (about 100 a second); the rest wait within their deadline.
const MAX_CALLS: usize = 256;

/// Authress' ids have at most 128 characters; twice that is a margin, not an invitation.
const MAX_ID: usize = 256;

/// The longest that Authress takes.
const MAX_RESOURCE: usize = 512;
const MAX_PERMISSION: usize = 64;

/// A minted token is replaced this long before its end, so that none ends on the way.
const MINT_AGAIN_SECS: i64 = MINTED_LIFETIME_SECS - 300;

/// RFC 3986 §2.3: all that needs no encoding within one segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const JWKS: &str = ".well-known/openid-configuration/jwks";

/// Calls Authress with our own service client.
pub struct AuthressApi {
    transport: Transport,
    /// Of the API, without a trailing slash.
    origin: String,
    /// Only configured issuers are asked for keys, at addresses made from the settings.
    issuers: HashMap<Arc<str>, Url>,
    own: OwnToken,
    calls: Semaphore,
}

/// The token that we mint for ourselves, used again until near its end.
struct OwnToken {
    key: AccessKey,
    issuer: String,
    clock: SharedClock,
    current: Mutex<Option<Minted>>,
}

#[derive(Clone)]
struct Minted {
    header: HeaderValue,
    at: Timestamp,
}

/// A key set as it came and as it was read.
#[derive(Clone, Debug)]
pub(super) struct KeyDocument {
    pub(super) body: Bytes,
    pub(super) keys: Arc<KeySet>,
}

/// Whoever can be asked: Authress, or a stand-in in tests.
pub(super) trait Provider: Send + Sync + fmt::Debug + 'static {
    /// The user of this id.
    fn user<'a>(&'a self, id: &'a str) -> Asked<'a, Found<AuthressUser>>;

    /// The tenant of this id.
    fn tenant<'a>(&'a self, id: &'a str) -> Asked<'a, Found<AuthressTenant>>;

    /// The key set of an issuer or a service client.
    fn key_set<'a>(&'a self, set: &'a KeySetId) -> Asked<'a, Found<KeyDocument>>;
}

/// An answer under way.
pub(super) type Asked<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

impl AuthressApi {
    /// Prepares calls; makes none.
    ///
    /// # Errors
    /// No trusted root certificates, or a proxy that cannot be used.
    pub fn new(settings: &ProviderSettings, clock: SharedClock) -> Result<Self, SettingsError> {
        Ok(Self::over(Transport::new(settings)?, settings, clock))
    }

    pub(super) fn over(
        transport: Transport,
        settings: &ProviderSettings,
        clock: SharedClock,
    ) -> Self {
        let issuers = settings.issuers.iter().filter_map(|issuer| {
            let url = Url::parse(&format!("{}/{JWKS}", issuer.trim_end_matches('/'))).ok()?;
            Some((Arc::clone(issuer), url))
        });
        Self {
            transport,
            origin: origin(&settings.api_url),
            issuers: issuers.collect(),
            own: OwnToken::new(settings, clock),
            calls: Semaphore::new(MAX_CALLS),
        }
    }

    /// `GET /v1/users/{userId}`.
    ///
    /// # Errors
    /// The provider did not answer, or not with that user. An id that no user can have is
    /// [`Found::Gone`], without a call.
    pub async fn get_user(&self, user_id: &str) -> Result<Found<AuthressUser>, ProviderError> {
        self.resource(Endpoint::User, "users", user_id, reading::user)
            .await
    }

    /// `GET /v1/tenants/{tenantId}`.
    ///
    /// # Errors
    /// The provider did not answer, or not with that tenant.
    pub async fn get_tenant(
        &self,
        tenant_id: &str,
    ) -> Result<Found<AuthressTenant>, ProviderError> {
        self.resource(Endpoint::Tenant, "tenants", tenant_id, reading::tenant)
            .await
    }

    /// `GET /v1/clients/{clientId}`.
    ///
    /// # Errors
    /// The provider did not answer, or not with that client.
    pub async fn get_client(
        &self,
        client_id: &str,
    ) -> Result<Found<AuthressClient>, ProviderError> {
        self.resource(Endpoint::Client, "clients", client_id, reading::client)
            .await
    }

    /// `GET /v1/users/{userId}/resources/{resourceUri}/permissions/{permission}`: whether the user
    /// or service client has it.
    ///
    /// # Errors
    /// The provider did not answer. Ids that none can have are "no", without a call.
    pub async fn has_permission(
        &self,
        user_id: &str,
        resource_uri: &str,
        permission: &str,
    ) -> Result<bool, ProviderError> {
        let possible = [
            (user_id, MAX_ID),
            (resource_uri, MAX_RESOURCE),
            (permission, MAX_PERMISSION),
        ]
        .iter()
        .all(|(text, longest)| is_possible_segment(text, *longest));
        if !possible {
            return Ok(false);
        }
        let [user, resource, permission] = [user_id, resource_uri, permission]
            .map(|text| utf8_percent_encode(text, SEGMENT).to_string());
        let address = format!(
            "{}/v1/users/{user}/resources/{resource}/permissions/{permission}",
            self.origin
        );
        self.observed(Endpoint::Permission, async {
            match self.asked(&address).await? {
                Answer::Body(_) => Ok(Found::Present(Arc::new(()))),
                Answer::Gone => Ok(Found::Gone),
            }
        })
        .await
        .map(|found| matches!(found, Found::Present(_)))
    }

    async fn resource<T>(
        &self,
        endpoint: Endpoint,
        collection: &str,
        id: &str,
        read: fn(&[u8], &str) -> Result<T, ProviderError>,
    ) -> Result<Found<T>, ProviderError> {
        if !is_possible_id(id) {
            return Ok(Found::Gone);
        }
        let id_segment = utf8_percent_encode(id, SEGMENT);
        let address = format!("{}/v1/{collection}/{id_segment}", self.origin);
        self.observed(endpoint, async {
            match self.asked(&address).await? {
                Answer::Body(body) => Ok(Found::Present(Arc::new(read(&body, id)?))),
                Answer::Gone => Ok(Found::Gone),
            }
        })
        .await
    }

    /// One call within its deadline, the wait for a turn included.
    async fn asked(&self, address: &str) -> Result<Answer, Failed> {
        let deadline = self.transport.deadline();
        let _turn = match timeout_at(deadline, self.calls.acquire()).await {
            Ok(turn) => turn,
            Err(_) => return Err(ProviderError::Timeout.into()),
        };
        self.authorized(address, deadline).await
    }

    async fn authorized(&self, address: &str, deadline: Instant) -> Result<Answer, Failed> {
        let minted = self.own.current();
        let header = Some(minted.header.clone());
        let url = parsed(address)?;
        let answer = self.transport.get(url, header, deadline).await;
        if let Err(failed) = &answer
            && failed.error == ProviderError::Status(401)
        {
            self.own.forget(&minted);
        }
        answer
    }

    /// The key set of an issuer or a service client, without our own token: key sets are public,
    /// and an issuer's host need not be the API's.
    async fn keys(&self, set: &KeySetId) -> Result<Found<KeyDocument>, ProviderError> {
        let (endpoint, url) = match set {
            KeySetId::Issuer(issuer) => match self.issuers.get(issuer) {
                Some(url) => (Endpoint::IssuerKeys, url.clone()),
                None => return Err(ProviderError::Unusable("its issuer is not configured")),
            },
            KeySetId::Client(id) if is_possible_id(id) => {
                let id = utf8_percent_encode(id, SEGMENT);
                let address = format!("{}/v1/clients/{id}/{JWKS}", self.origin);
                (Endpoint::ClientKeys, parsed(&address)?)
            }
            KeySetId::Client(_) => return Ok(Found::Gone),
        };
        self.observed(endpoint, async {
            let deadline = self.transport.deadline();
            match self.transport.get(url, None, deadline).await? {
                Answer::Body(body) => Ok(key_document(set, body)?),
                // The account's own keys are never gone: that is a broken address or provider.
                Answer::Gone if endpoint == Endpoint::IssuerKeys => {
                    Err(ProviderError::Status(404).into())
                }
                Answer::Gone => Ok(Found::Gone),
            }
        })
        .await
    }

    /// Makes a call and counts it.
    async fn observed<T>(
        &self,
        endpoint: Endpoint,
        call: impl Future<Output = Result<Found<T>, Failed>>,
    ) -> Result<Found<T>, ProviderError> {
        let started = Instant::now();
        let span = trace::provider(endpoint.as_str());
        let result = call.instrument(span.clone()).await.map_err(|failed| {
            self.transport.warn(endpoint, &failed);
            failed.error
        });
        let outcome = match &result {
            Ok(Found::Present(_)) => "ok",
            Ok(Found::Gone) => "gone",
            Err(ProviderError::Timeout) => "timeout",
            Err(ProviderError::Unreachable) => "unreachable",
            Err(ProviderError::Status(_)) => "status",
            Err(ProviderError::Unusable(_)) => "unusable",
            Err(ProviderError::OverBudget) => "over_budget",
        };
        if result.is_err() {
            trace::failed(&span, outcome);
        }
        let endpoint = endpoint.as_str();
        metrics::counter!(
            "vestibule_provider_requests_total",
            "endpoint" => endpoint,
            "outcome" => outcome
        )
        .increment(1);
        metrics::histogram!("vestibule_provider_requests_duration_seconds", "endpoint" => endpoint)
            .record(started.elapsed().as_secs_f64());
        result
    }
}

impl Provider for AuthressApi {
    fn user<'a>(&'a self, id: &'a str) -> Asked<'a, Found<AuthressUser>> {
        Box::pin(self.get_user(id))
    }

    fn tenant<'a>(&'a self, id: &'a str) -> Asked<'a, Found<AuthressTenant>> {
        Box::pin(self.get_tenant(id))
    }

    fn key_set<'a>(&'a self, set: &'a KeySetId) -> Asked<'a, Found<KeyDocument>> {
        Box::pin(self.keys(set))
    }
}

impl fmt::Debug for AuthressApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthressApi")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl OwnToken {
    fn new(settings: &ProviderSettings, clock: SharedClock) -> Self {
        let key = settings.access_key.clone();
        Self {
            issuer: own_issuer(&settings.api_url, &key),
            key,
            clock,
            current: Mutex::new(None),
        }
    }

    fn current(&self) -> Minted {
        let now = self.clock.now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(minted) if minted.is_young(now) => minted.clone(),
            _ => {
                let minted = self.mint(now);
                *current = Some(minted.clone());
                minted
            }
        }
    }

    fn mint(&self, now: Timestamp) -> Minted {
        let token = self.key.mint(&self.issuer, now);
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.as_str()));
        // A token is base64url and dots, which every header value may hold.
        let mut header = HeaderValue::from_str(&bearer).unwrap_or(HeaderValue::from_static(""));
        header.set_sensitive(true);
        Minted { header, at: now }
    }

    /// The provider did not accept this one; a newer one is left alone.
    fn forget(&self, refused: &Minted) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|it| it.at == refused.at) {
            *current = None;
        }
    }
}

impl Minted {
    fn is_young(&self, now: Timestamp) -> bool {
        let until = self.at + Duration::from_secs(MINT_AGAIN_SECS.unsigned_abs());
        // A clock that was set back would make it a token from the future.
        self.at <= now && now < until
    }
}

/// Whether anything can have this id. What cannot exist is never asked for: as a segment of a
/// path, `.` and `..` would name something else.
pub(super) fn is_possible_id(id: &str) -> bool {
    is_possible_segment(id, MAX_ID)
}

fn is_possible_segment(text: &str, longest: usize) -> bool {
    !matches!(text, "" | "." | "..")
        && text.chars().take(longest + 1).count() <= longest
        && !text.chars().any(char::is_control)
}

/// What the SDKs put into `iss`: the API's origin, but Authress' own canonical host where that is
/// one of `authress.io` (a regional host is never an issuer).
fn own_issuer(api_url: &Url, key: &AccessKey) -> String {
    let host = api_url.host_str().unwrap_or_default();
    let origin = if host == "authress.io" || host.ends_with(".authress.io") {
        format!("https://{}.api.authress.io", key.account_id())
    } else {
        origin(api_url)
    };
    format!("{origin}/v1/clients/{}", key.client_id())
}

fn key_document(set: &KeySetId, body: Bytes) -> Result<Found<KeyDocument>, ProviderError> {
    let keys = KeySet::parse(&body).map_err(|_| ProviderError::Unusable("it is not a key set"))?;
    // An account always has keys; a service client without one is how its keys are withdrawn.
    if keys.is_empty() && matches!(set, KeySetId::Issuer(_)) {
        return Err(ProviderError::Unusable("it has no usable key"));
    }
    let keys = Arc::new(keys);
    Ok(Found::Present(Arc::new(KeyDocument { body, keys })))
}

fn parsed(address: &str) -> Result<Url, ProviderError> {
    Url::parse(address).map_err(|_| ProviderError::Unusable("its address cannot be made"))
}

#[cfg(test)]
mod tests;
