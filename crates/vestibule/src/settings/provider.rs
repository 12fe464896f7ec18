//! The identity provider, its tokens, and what is remembered of both.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{
    SettingsReader,
    url::{provider_origin, provider_url},
};
use crate::{error::OutageStatus, provider::access_key::AccessKey};

/// `USER_PROVISIONING`: who becomes a local user on a first visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provisioning {
    /// Those who signed in through the connection that their tenant names.
    #[default]
    Connection,
    /// Everyone whose token names the tenant.
    Tenant,
    /// Nobody: users are made beforehand.
    Off,
}

/// The provider section of the settings.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// `AUTHRESS_API_URL`: an origin, without path, query or credentials.
    pub api_url: Url,
    /// `AUTHRESS_ACCESS_KEY`.
    pub access_key: AccessKey,
    /// `AUTHRESS_ISSUERS`: accepted issuers of user tokens, compared byte for byte.
    pub issuers: Vec<Arc<str>>,
    /// The origins whose `/v1/clients/{id}` are accepted issuers of machine tokens, without a
    /// trailing slash: that of the API URL and, for `authress.io` hosts,
    /// `https://{account id}.api.authress.io`.
    pub machine_origins: Vec<Arc<str>>,
    /// `AUTHRESS_MACHINE_AUDIENCE`.
    pub machine_audience: Arc<str>,
    /// `AUTHRESS_TENANT_CLAIM`.
    pub tenant_claim: String,
    /// `API_AUDIENCES`; empty: not checked.
    pub api_audiences: Vec<String>,
    /// `AUTHRESS_APPLICATIONS`; empty: not checked.
    pub applications: Vec<String>,
    /// `AUTHRESS_REQUIRE_TENANT`.
    pub require_tenant: bool,
    /// `AUTHRESS_ALLOW_CLIENT_ISSUED_USERS`.
    pub allow_client_issued_users: bool,
    /// `USER_PROVISIONING`.
    pub provisioning: Provisioning,
    /// `TOKEN_LEEWAY`.
    pub token_leeway: Duration,
    /// `TOKEN_MAX_LIFETIME`.
    pub token_max_lifetime: Duration,
    /// `TOKEN_CACHE_SIZE`: verified tokens kept; 0: none.
    pub token_cache_size: usize,
    /// `TOKEN_CACHE_TTL`: longest time between verifications of one token; zero: every time.
    pub token_cache_ttl: Duration,
    /// `USER_CACHE_TTL`: soft age of a fetched user; zero: ask on every request.
    pub user_cache_ttl: Duration,
    /// `USER_CACHE_MAX_AGE`: hard age of a fetched user.
    pub user_cache_max_age: Duration,
    /// `JWKS_REFRESH`: soft age of a key set.
    pub jwks_refresh: Duration,
    /// `JWKS_MAX_AGE`: hard age of a key set.
    pub jwks_max_age: Duration,
    /// `PROVIDER_TIMEOUT`: one call, in all.
    pub timeout: Duration,
    /// `PROVIDER_OUTAGE_STATUS`.
    pub outage_status: OutageStatus,
    /// `PROVIDER_PROXY`.
    pub proxy: Option<Url>,
}

// Why the defaults are what they are.

/// Longer: a removed key or an expired right lives on; shorter: more signature checks.
const TOKEN_CACHE_TTL: u32 = 300;
/// More: memory (some hundred bytes each); fewer: active callers are verified again and again.
const TOKEN_CACHE_SIZE: u32 = 10_000;
/// Longer: a user who was removed at the provider stays; shorter: more calls, which are limited.
const USER_CACHE_TTL: u32 = 60;
/// Longer: an outage is bridged longer; shorter: removed users cannot hide behind one.
const MAX_AGE: u32 = 3_600;
/// Authress says that a new key takes up to five minutes to appear: asking more often is futile.
const JWKS_REFRESH: u32 = 300;
/// Longer: requests hang on a slow provider; shorter: a slow answer counts as an outage.
const TIMEOUT: u32 = 5;
/// What Authress issues at most.
const TOKEN_MAX_LIFETIME: u32 = 86_400;
/// Clocks that are kept by NTP differ by less.
const TOKEN_LEEWAY: u32 = 30;

impl ProviderSettings {
    /// Reads the section; none where something was wrong, which `reader` then knows.
    pub fn read(reader: &mut SettingsReader) -> Option<Self> {
        let zero = Duration::ZERO;
        let tenth = Duration::from_millis(100);
        let api_url = match reader.text("AUTHRESS_API_URL") {
            Some(text) => reader.noted("AUTHRESS_API_URL", provider_origin(&text)),
            None => {
                reader.problem(
                    "AUTHRESS_API_URL",
                    "is missing: set it to your Authress custom domain or API host, such as https://auth.example.com",
                );
                None
            }
        };
        let access_key = match reader.secret("AUTHRESS_ACCESS_KEY") {
            Some(secret) => {
                let parsed = AccessKey::parse(secret.expose()).map_err(|error| error.to_string());
                reader.noted("AUTHRESS_ACCESS_KEY", parsed)
            }
            None => {
                reader.missing_secret(
                    "AUTHRESS_ACCESS_KEY",
                    "the access key of a service client that may read users and tenants",
                );
                None
            }
        };
        let issuers = read_issuers(reader, api_url.as_ref());
        let machine_audience = reader.text("AUTHRESS_MACHINE_AUDIENCE");
        let tenant_claim = reader.parsed("AUTHRESS_TENANT_CLAIM", "aud".to_owned(), |text| {
            if ["iss", "sub", "exp", "iat", "nbf", "jti"].contains(&text) {
                return Err("must not be a claim with another meaning".to_owned());
            }
            Ok(text.to_owned())
        });
        let api_audiences = reader.list("API_AUDIENCES");
        let applications = reader.list("AUTHRESS_APPLICATIONS");
        let require_tenant = reader.flag("AUTHRESS_REQUIRE_TENANT", true);
        let allow_client_issued_users = reader.flag("AUTHRESS_ALLOW_CLIENT_ISSUED_USERS", false);
        let provisioning =
            reader.parsed(
                "USER_PROVISIONING",
                Provisioning::default(),
                |text| match text {
                    "connection" => Ok(Provisioning::Connection),
                    "tenant" => Ok(Provisioning::Tenant),
                    "off" => Ok(Provisioning::Off),
                    _ => Err("must be connection, tenant or off".to_owned()),
                },
            );
        let token_cache_size = reader.count("TOKEN_CACHE_SIZE", TOKEN_CACHE_SIZE, 0, 10_000_000);
        let token_cache_ttl = reader.seconds("TOKEN_CACHE_TTL", TOKEN_CACHE_TTL, zero);
        let token_leeway = reader.seconds("TOKEN_LEEWAY", TOKEN_LEEWAY, zero);
        let token_max_lifetime = reader.seconds("TOKEN_MAX_LIFETIME", TOKEN_MAX_LIFETIME, tenth);
        let user_cache_ttl = reader.seconds("USER_CACHE_TTL", USER_CACHE_TTL, zero);
        let user_cache_max_age = reader.seconds("USER_CACHE_MAX_AGE", MAX_AGE, zero);
        let jwks_refresh = reader.seconds("JWKS_REFRESH", JWKS_REFRESH, tenth);
        let jwks_max_age = reader.seconds("JWKS_MAX_AGE", MAX_AGE, tenth);
        let timeout = reader.seconds("PROVIDER_TIMEOUT", TIMEOUT, tenth);
        let outage_status = reader.parsed(
            "PROVIDER_OUTAGE_STATUS",
            OutageStatus::default(),
            |text| match text {
                "401" => Ok(OutageStatus::Unauthorized),
                "503" => Ok(OutageStatus::ServiceUnavailable),
                _ => Err("must be 401 or 503".to_owned()),
            },
        );
        // A secret, because a password may be part of it.
        let proxy = match reader.secret("PROVIDER_PROXY") {
            None => Some(None),
            Some(text) => {
                let url = match Url::parse(text.expose()) {
                    Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url)),
                    _ => Err("must be a URL such as http://proxy.example:3128".to_owned()),
                };
                reader.noted("PROVIDER_PROXY", url)
            }
        };
        let (api_url, access_key) = (api_url?, access_key?);
        Some(Self {
            machine_origins: machine_origins(&api_url, &access_key),
            machine_audience: machine_audience.map_or_else(
                || format!("{}.accounts.authress.io", access_key.account_id()).into(),
                Into::into,
            ),
            api_url,
            access_key,
            issuers: issuers?,
            tenant_claim: tenant_claim?,
            api_audiences,
            applications,
            require_tenant: require_tenant?,
            allow_client_issued_users: allow_client_issued_users?,
            provisioning: provisioning?,
            token_leeway: token_leeway?,
            token_max_lifetime: token_max_lifetime?,
            token_cache_size: usize::try_from(token_cache_size?).ok()?,
            token_cache_ttl: token_cache_ttl?,
            user_cache_ttl: user_cache_ttl?,
            user_cache_max_age: user_cache_max_age?,
            jwks_refresh: jwks_refresh?,
            jwks_max_age: jwks_max_age?,
            timeout: timeout?,
            outage_status: outage_status?,
            proxy: proxy?,
        })
    }

    /// The provider's origin, without a trailing slash: what a database remembers it by.
    pub fn origin(&self) -> String {
        self.api_url.origin().ascii_serialization()
    }
}

fn read_issuers(reader: &mut SettingsReader, api_url: Option<&Url>) -> Option<Vec<Arc<str>>> {
    const NAME: &str = "AUTHRESS_ISSUERS";
    let configured = reader.list(NAME);
    if configured.is_empty() {
        return Some(default_issuers(api_url?));
    }
    let mut sound = true;
    for issuer in &configured {
        let problem = match provider_url(issuer) {
            Err(problem) => problem,
            Ok(url) if url.path().contains("/v1/clients/") => {
                "is the issuer of a service client, not of users".to_owned()
            }
            Ok(_) => continue,
        };
        reader.problem(NAME, format!("{:?} {problem}", shown(issuer)));
        sound = false;
    }
    sound.then(|| configured.into_iter().map(Arc::from).collect())
}

/// An issuer as a message may show it: without user and password.
fn shown(issuer: &str) -> &str {
    match issuer.rsplit_once('@') {
        Some((_, rest)) => rest,
        None => issuer,
    }
}

/// The origin and, for `{account}.api.authress.io` and its regional forms, the login host.
fn default_issuers(api_url: &Url) -> Vec<Arc<str>> {
    let mut issuers = vec![Arc::from(api_url.origin().ascii_serialization())];
    if let Some(account) = authress_account(api_url) {
        issuers.push(format!("https://{account}.login.authress.io").into());
    }
    issuers
}

fn machine_origins(api_url: &Url, access_key: &AccessKey) -> Vec<Arc<str>> {
    let origin = api_url.origin().ascii_serialization();
    let mut origins: Vec<Arc<str>> = vec![origin.into()];
    if is_authress_host(api_url) {
        let api: Arc<str> = format!("https://{}.api.authress.io", access_key.account_id()).into();
        if !origins.contains(&api) {
            origins.push(api);
        }
    }
    origins
}

fn is_authress_host(url: &Url) -> bool {
    url.host_str()
        .is_some_and(|host| host == "authress.io" || host.ends_with(".authress.io"))
}

/// The first label of `{account}.api.authress.io` and `{account}.api-{region}.authress.io`.
fn authress_account(url: &Url) -> Option<&str> {
    let (account, rest) = url.host_str()?.split_once('.')?;
    let service = rest.strip_suffix(".authress.io")?;
    (service == "api" || service.starts_with("api-")).then_some(account)
}
