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
