//! The identity provider, its tokens, and what is remembered of both.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::SettingsReader;
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
    /// `TOKEN_CACHE_TTL`: longest time between verifications of one token.
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

impl ProviderSettings {
    /// Reads the section; none where something was wrong, which `reader` then knows.
    pub fn read(_reader: &mut SettingsReader) -> Option<Self> {
        None
    }
}
