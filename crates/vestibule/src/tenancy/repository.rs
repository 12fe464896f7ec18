//! What an application builds upon a session: repositories, which know SQL, and services, which
//! know repositories. Neither can be made without a session, and so without a caller.

use super::TenantSession;

/// The SQL of one kind of thing, within one account.
///
/// The extractor `Repository<R>` hands one to a handler; all extractors of a request share the
/// session.
pub trait TenantRepository: Sized {
    /// The repository upon this session.
    fn new(session: TenantSession) -> Self;
}

/// What the application does with its repositories, within one account.
///
/// The extractor `Service<S>` hands one to a handler.
pub trait TenantService: Sized {
    /// The service upon this session.
    fn new(session: TenantSession) -> Self;
}
