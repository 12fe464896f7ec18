//! The entrance of a multi-tenant API: a bearer token comes in; who calls, for which account,
//! and a database session that sees only that account's data go out.
//!
//! ```text
//! HeaderMap ─bearer─▶ BearerToken ─token─▶ VerifiedToken ─principal─▶ Principal ─tenancy─▶ TenantSession ─▶ Repository ─▶ Service
//!                     redacted             proof, not data            user | machine,      one transaction,
//!                                                                     with its account     one account
//! ```
//!
//! Each arrow is the only way to make the type to its right, so a check that was passed is a
//! value, and a check that was forgotten does not compile.
//!
//! # An application
//!
//! ```no_run
//! use axum::{Json, Router, routing::get};
//! use vestibule::{Problem, Repository, TenantRepository, TenantSession, Vestibule};
//!
//! struct Notes(TenantSession);
//!
//! impl TenantRepository for Notes {
//!     fn new(session: TenantSession) -> Self {
//!         Self(session)
//!     }
//! }
//!
//! async fn count(Repository(notes): Repository<Notes>) -> Result<Json<i64>, Problem> {
//!     let (count,): (i64,) = notes.0.query("SELECT count(*) FROM notes").fetch_one().await?;
//!     Ok(Json(count))
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let vestibule = Vestibule::from_env().await?;
//! let app: Router = Router::new().route("/notes/count", get(count)).layer(vestibule.layer());
//! # Ok(())
//! # }
//! ```
//!
//! `examples/notes` in the repository is a whole one; the README tells how to run the server.

mod admission;
pub mod assertion;
pub mod bearer;
mod credential;
pub mod token;

pub mod principal;

pub mod store;
pub mod tenancy;

pub mod http;
mod lease;
pub mod provider;

mod authenticator;
mod vestibule;

mod changes;
pub mod clock;
pub mod error;
mod flights;
mod revocation;
pub mod settings;
pub mod trace;

// For `vestibule-properties`: not for applications.
#[doc(hidden)]
pub use self::admission::source_address;

pub use self::{
    authenticator::{Authenticator, Recalled},
    bearer::BearerToken,
    clock::{Clock, Timestamp},
    error::{Code, Reason, Refusal},
    http::{Machine, Problem, Repository, Service, User, VestibuleLayer},
    lease::{Ended, Lease},
    principal::{Principal, PrincipalKind, UserWithAccount},
    provider::Authress,
    settings::Settings,
    tenancy::{SessionError, SystemAccess, TenantRepository, TenantService, TenantSession},
    token::VerifiedToken,
    vestibule::{Readiness, StartError, Vestibule, VestibuleBuilder},
};
