//! The edge in: one tower layer, the extractors behind it, and the way out for refusals.
//!
//! The only module that knows tower and axum. For each request, in order:
//!
//! 1. [`VestibuleLayer`] gives the request a context of its own and calls the handler. No token
//!    is looked at, no connection is taken.
//! 2. The first extractor that needs to know who calls authenticates; the others share its
//!    answer: [`Principal`](crate::principal::Principal), [`User`], [`Machine`],
//!    [`TenantSession`](crate::tenancy::TenantSession), [`Repository`], [`Service`],
//!    [`Lease`](crate::Lease).
//!    `Option<Principal>` is none where there are no credentials; bad credentials are refused.
//! 3. When the handler has answered, the layer ends the request's session: a status below 400
//!    commits, everything else rolls back, a panic and a cancelled request too. Only then does the
//!    answer leave.
//!
//! # Where the layer belongs
//!
//! Outside everything that may use a session, inside everything that must see the final status.
//! A middleware outside of it that turns a success into a failure does so after the commit.
//! Where a request passes through several layers of one [`Vestibule`](crate::Vestibule), the
//! outermost counts and the others do nothing.
//!
//! `TOKEN_REFUSAL_LIMIT` needs to know where a request comes from: serve the router with
//! `into_make_service_with_connect_info::<SocketAddr>()`. Without it nobody is limited.

mod context;
mod extract;
mod layer;
mod problem;

pub use self::context::{RequestFacts, RequestId};
pub use self::extract::{Machine, Repository, Service, User};
pub use self::layer::{VestibuleLayer, VestibuleService};
pub use self::problem::Problem;

/// The method's name, where HTTP (RFC 9110 §9, RFC 5789) has such a method: any other is the client's
/// own text, which logs and traces do not repeat.
pub fn known_method(method: &http::Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH",
    ];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::known_method;

    #[test]
    fn a_method_of_the_clients_own_making_is_not_repeated() {
        assert_eq!(known_method(&Method::PATCH), Some("PATCH"));
        let own = Method::from_bytes(b"SECRET").unwrap();
        assert_eq!(known_method(&own), None);
        let small = Method::from_bytes(b"get").unwrap();
        assert_eq!(known_method(&small), None);
    }
}
