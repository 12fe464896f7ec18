//! The edge out: everything that talks to the identity provider, and what it said last.

pub mod access_key;
mod answers;

pub use self::answers::{AuthressClient, AuthressTenant, AuthressUser, Found, ProviderError};

pub use self::authress::AuthressApi;
pub use self::client::{Authress, Clients, Tenants, Users};
pub use self::key_sets::{IssuerKeys, KeySets};
pub(crate) use self::permissions::PermissionCache;
pub(crate) use self::profiles::{Dated, TenantCache, UserCache};
#[doc(hidden)]
pub use self::transport::{network_cause, tls_of_the_system, tls_without_roots};

mod authress;
mod budget;
mod client;
mod kept;
mod key_sets;
mod permissions;
mod profiles;
mod reading;
mod refresh;
mod slot;
#[cfg(test)]
mod testing;
mod transport;
