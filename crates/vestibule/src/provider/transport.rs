//! One `GET` to the provider, guarded: one deadline for all of it, a cap on the answer's size, no
//! redirects, no proxy but the one that was set.
//!
//! TLS is rustls with ring, named explicitly: a default of the process would be somebody else's
//! choice. Trusted roots are the system's, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::{
    collections::HashMap,
    error::Error as _,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use reqwest::{Client, Proxy, Response, redirect};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;
use url::Url;

use super::ProviderError;
use crate::{
    settings::{ProviderSettings, SettingProblem, SettingsError},
    trace,
};

/// The largest answer that is read. Real ones are a few kilobytes.
pub(super) const MAX_ANSWER: usize = 1 << 20;

/// Idle connections kept for each origin: enough for bursts, few enough to be polite.
const IDLE_CONNECTIONS: usize = 32;

/// How long an idle connection is kept. Balancers in front of APIs drop theirs after a minute or
/// more; one that was dropped costs a retry.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The shortest time between two warnings about calls of one kind.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

const USER_AGENT: &str = concat!("vestibule/", env!("CARGO_PKG_VERSION"));

/// What is asked: the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    IssuerKeys,
    ClientKeys,
    User,
    Tenant,
    Client,
    Permission,
}

/// What a call ended with that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200.
    Body(Bytes),
    /// 404.
    Gone,
}

/// A failure, with its cause for the log.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: ProviderError,
    cause: String,
}

/// Makes calls.
pub(super) struct Transport {
    /// One per origin, so that a broken one costs the others nothing.
    lanes: HashMap<String, Lane>,
    recipe: Recipe,
    timeout: Duration,
    warned: [Mutex<Option<Instant>>; 6],
}

/// The connections to one origin.
struct Lane {
    client: ArcSwap<Client>,
}

/// How clients are made.
struct Recipe {
    tls: ClientConfig,
    proxy: Option<Proxy>,
}

impl Endpoint {
    /// The label `endpoint` of the metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::IssuerKeys => "jwks",
            Self::ClientKeys => "client_jwks",
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::Client => "client",
            Self::Permission => "permission",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl Transport {
    /// Prepares calls to the API and the issuers; makes none.
    ///
    /// # Errors
    /// No trusted root certificate, or a proxy that cannot be used.
    pub(super) fn new(settings: &ProviderSettings) -> Result<Self, SettingsError> {
        let mut urls = vec![settings.api_url.clone()];
        urls.extend(settings.issuers.iter().filter_map(|it| Url::parse(it).ok()));
        let secure = |url: &Url| url.scheme() == "https";
        let needs_roots = urls.iter().any(secure) || settings.proxy.as_ref().is_some_and(secure);
        let roots = if needs_roots {
            system_roots()?
        } else {
            RootCertStore::empty()
        };
        Self::with_roots(settings, &urls, roots)
    }

    pub(super) fn with_roots(
        settings: &ProviderSettings,
        urls: &[Url],
        roots: RootCertStore,
    ) -> Result<Self, SettingsError> {
        let recipe = Recipe {
            tls: tls(roots)?,
            proxy: settings.proxy.as_ref().map(proxy).transpose()?,
        };
        let mut lanes = HashMap::new();
        for url in urls {
            let client = recipe.client().map_err(|_| {
                problem("AUTHRESS_API_URL", "no connection to it could be prepared")
            })?;
            let client = ArcSwap::from_pointee(client);
            lanes.insert(origin(url), Lane { client });
        }
        Ok(Self {
            lanes,
            recipe,
            timeout: settings.timeout,
            warned: Default::default(),
        })
    }

    /// When a call that begins now must have ended.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// `GET url`, with `authorization` where the endpoint wants it.
    ///
    /// # Errors
    /// Everything but 200 and 404. The caller shows it to [`Transport::warn`].
    pub(super) async fn get(
        &self,
        url: Url,
        authorization: Option<HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, Failed> {
        let Some(lane) = self.lanes.get(&origin(&url)) else {
            return Err(ProviderError::Unusable("its origin is not configured").into());
        };
        trace::calls(&url);
        let client = lane.client.load_full();
        let exchange = exchange(&client, url, authorization);
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(result) => result,
            Err(_) => {
                lane.renew(&client, &self.recipe);
                Err(ProviderError::Timeout.into())
            }
        }
    }

    /// One line for the operator in a while, without address, body or header.
    pub(super) fn warn(&self, endpoint: Endpoint, failed: &Failed) {
        let Some(warned) = self.warned.get(endpoint.index()) else {
            return;
        };
        let mut last = warned.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < WARNING_PAUSE) {
            return;
        }
        *last = Some(Instant::now());
        tracing::warn!(
            provider.endpoint = endpoint.as_str(),
            error = %failed.error,
            cause = %failed.cause,
            "a call to the provider failed"
        );
    }
}

impl Lane {
    /// Gives up the connections of a client that did not answer in time: after some failures of
    /// the network they look alive and swallow every call until the kernel gives up on them.
    fn renew(&self, used: &Arc<Client>, recipe: &Recipe) {
        if Arc::ptr_eq(&self.client.load(), used)
            && let Ok(client) = recipe.client()
        {
            self.client.store(Arc::new(client));
        }
    }
}

impl Recipe {
    fn client(&self) -> reqwest::Result<Client> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tls_backend_preconfigured(self.tls.clone())
            // Else HTTP_PROXY and the like would decide who sees our calls.
            .no_proxy();
        match &self.proxy {
            Some(proxy) => client.proxy(proxy.clone()),
            None => client,
        }
        .build()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl From<ProviderError> for Failed {
    fn from(error: ProviderError) -> Self {
        Self {
            error,
            cause: String::new(),
        }
    }
}

impl Failed {
    fn network(error: reqwest::Error) -> Self {
        let kind = if error.is_timeout() {
            ProviderError::Timeout
        } else if error.is_connect() || error.is_request() {
            ProviderError::Unreachable
        } else {
            ProviderError::Unusable("it ended before its end")
        };
        Self {
            error: kind,
            cause: network_cause(error),
        }
    }
}

/// Why a call came to nothing, with what lies behind it, for the log. The address holds ids, or secrets,
/// and is left out.
pub fn network_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(cause, ": {inner}");
        source = inner.source();
    }
    cause
}

async fn exchange(
    client: &Client,
    url: Url,
    authorization: Option<HeaderValue>,
) -> Result<Answer, Failed> {
    let mut request = client
        .get(url)
        .header(ACCEPT, "application/links+json, application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let mut context = HeaderMap::new();
    trace::send(&mut context);
    let request = request.headers(context);
    let response = request.send().await.map_err(Failed::network)?;
    trace::answers(response.status());
    match response.status() {
        StatusCode::OK => Ok(Answer::Body(read(response).await?)),
        StatusCode::NOT_FOUND => Ok(Answer::Gone),
        other => Err(ProviderError::Status(other.as_u16()).into()),
    }
}

/// The body, up to its cap; what lies beyond is not read.
async fn read(mut response: Response) -> Result<Bytes, Failed> {
    const TOO_LARGE: ProviderError = ProviderError::Unusable("it is too large");
    let announced = response.content_length().unwrap_or(0);
    if announced > MAX_ANSWER as u64 {
        return Err(TOO_LARGE.into());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(Failed::network)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(TOO_LARGE.into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// TLS with the roots that the system trusts, or `SSL_CERT_FILE`.
///
/// # Errors
/// None of them can be read.
pub fn tls_of_the_system() -> Result<ClientConfig, SettingsError> {
    tls(system_roots()?)
}

/// TLS that trusts nobody, for clients that call plain http only.
///
/// # Errors
/// None that is known.
pub fn tls_without_roots() -> Result<ClientConfig, SettingsError> {
    tls(RootCertStore::empty())
}

fn tls(roots: RootCertStore) -> Result<ClientConfig, SettingsError> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|_| problem("AUTHRESS_API_URL", "TLS could not be prepared"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

fn system_roots() -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    for error in &found.errors {
        tracing::warn!(%error, "some trusted root certificates could not be read");
    }
    if usable == 0 {
        return Err(problem(
            "SSL_CERT_FILE",
            "no trusted root certificate was found: install the system's (ca-certificates) or \
             name a readable PEM file",
        ));
    }
    Ok(roots)
}

fn proxy(url: &Url) -> Result<Proxy, SettingsError> {
    Proxy::all(url.clone())
        .map_err(|_| problem("PROVIDER_PROXY", "must be an http:// or https:// address"))
}

fn problem(name: &str, problem: &str) -> SettingsError {
    SettingsError {
        problems: vec![SettingProblem {
            name: name.to_owned(),
            problem: problem.to_owned(),
        }],
    }
}

pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests;
