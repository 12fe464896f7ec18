//! A session.
use uuid::Uuid;

/// Why a session could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The request is over.
    #[error("the session is closed")]
    SessionClosed,
}

/// One request's session, opened when first used.
#[derive(Debug)]
pub(crate) struct SessionScope;

/// One transaction that can see exactly one account's data.
#[derive(Clone, Debug)]
pub struct TenantSession;

#[allow(missing_docs)]
impl TenantSession {
    pub fn account_id(&self) -> Uuid {
        Uuid::nil()
    }
}
