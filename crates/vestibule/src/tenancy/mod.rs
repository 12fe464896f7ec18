//! 4. `Principal` → [`TenantSession`]: one transaction, one account.

mod session;

pub(crate) use self::session::SessionScope;
pub use self::session::{SessionError, TenantSession};
