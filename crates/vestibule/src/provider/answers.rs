//! The provider's answers, read and bounded.

use std::sync::Arc;

/// A user as Authress knows him. Bounded: what was too long or had control characters is left
/// out (contract §2, "The provider's answers").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthressUser {
    /// `userId`.
    pub user_id: String,
    /// `name`, at most 256 characters.
    pub name: Option<String>,
    /// `email`, at most 320 characters.
    pub email: Option<String>,
    /// `picture`, at most 2,048 characters.
    pub picture: Option<String>,
}

/// A tenant as Authress knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthressTenant {
    /// `tenantId`.
    pub tenant_id: String,
    /// `data.name`.
    pub name: Option<String>,
    /// `connection.connectionId`: the connection that vouches for the tenant's people.
    pub connection_id: Option<String>,
}

/// A service client as Authress knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthressClient {
    /// `clientId`.
    pub client_id: String,
    /// `name`.
    pub name: Option<String>,
    /// `options.grantTokenGeneration`: the client can obtain tokens for any user.
    pub grant_token_generation: bool,
}

/// An answer of the provider: the thing, or that there is none (404).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It exists.
    Present(Arc<T>),
    /// The provider says that it does not exist.
    Gone,
}

/// The provider could not be asked, or its answer could not be used. Never "it does not exist".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// No answer within `PROVIDER_TIMEOUT`.
    #[error("the provider did not answer in time")]
    Timeout,
    /// No connection.
    #[error("the provider could not be reached")]
    Unreachable,
    /// A status that is no answer: 3xx, 401, 403, 429, 5xx and all others but 200 and 404.
    #[error("the provider answered with status {0}")]
    Status(u16),
    /// An answer that is too large, not JSON, or not about what was asked.
    #[error("the provider's answer cannot be used: {0}")]
    Unusable(&'static str),
    /// The call was not made: the budget of calls is used up for now.
    #[error("the budget of calls to the provider is used up for now")]
    OverBudget,
}
