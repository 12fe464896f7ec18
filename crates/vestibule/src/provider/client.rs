//! Authress under the names that its official SDKs use.

use std::sync::Arc;

use super::{AuthressApi, AuthressClient, AuthressTenant, AuthressUser, Found, ProviderError};
use crate::{
    bearer::BearerToken,
    clock::SharedClock,
    error::Reason,
    token::{CachedVerifier, VerifiedToken},
};

/// Authress: its tokens, users, tenants and service clients. Nothing here goes through a cache;
/// requests are served by [`Authenticator`](crate::Authenticator), which does.
#[derive(Clone, Debug)]
pub struct Authress {
    api: Arc<AuthressApi>,
    verifier: CachedVerifier,
    clock: SharedClock,
}

/// `authress.users()`.
#[derive(Clone, Copy, Debug)]
pub struct Users<'a>(&'a AuthressApi);

/// `authress.tenants()`.
#[derive(Clone, Copy, Debug)]
pub struct Tenants<'a>(&'a AuthressApi);

/// `authress.clients()`.
#[derive(Clone, Copy, Debug)]
pub struct Clients<'a>(&'a AuthressApi);

impl Authress {
    pub(crate) fn new(api: Arc<AuthressApi>, verifier: CachedVerifier, clock: SharedClock) -> Self {
        Self {
            api,
            verifier,
            clock,
        }
    }

    /// Verifies a token as it comes, without a scheme.
    ///
    /// # Errors
    ///
    /// The exact reason; [`Reason::ProviderUnavailable`] is the only one that another try may
    /// mend.
    pub async fn verify_token(&self, token: &str) -> Result<VerifiedToken, Reason> {
        let token = BearerToken::parse(token)?;
        self.verifier
            .verifier()
            .verify(&token, self.clock.now())
            .await
    }

    /// Users.
    pub fn users(&self) -> Users<'_> {
        Users(&self.api)
    }

    /// Tenants.
    pub fn tenants(&self) -> Tenants<'_> {
        Tenants(&self.api)
    }

    /// Service clients.
    pub fn clients(&self) -> Clients<'_> {
        Clients(&self.api)
    }
}

impl Users<'_> {
    /// `GET /v1/users/{userId}`.
    ///
    /// # Errors
    ///
    /// [`ProviderError`]; a user who does not exist is none.
    pub async fn get_user(&self, user_id: &str) -> Result<Found<AuthressUser>, ProviderError> {
        self.0.get_user(user_id).await
    }
}

impl Tenants<'_> {
    /// `GET /v1/tenants/{tenantId}`.
    ///
    /// # Errors
    ///
    /// [`ProviderError`]; a tenant that does not exist is none.
    pub async fn get_tenant(
        &self,
        tenant_id: &str,
    ) -> Result<Found<AuthressTenant>, ProviderError> {
        self.0.get_tenant(tenant_id).await
    }
}

impl Clients<'_> {
    /// `GET /v1/clients/{clientId}`.
    ///
    /// # Errors
    ///
    /// [`ProviderError`]; a client that does not exist is none.
    pub async fn get_client(
        &self,
        client_id: &str,
    ) -> Result<Found<AuthressClient>, ProviderError> {
        self.0.get_client(client_id).await
    }
}
