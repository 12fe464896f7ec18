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

pub mod bearer;
pub mod token;

pub mod principal;

pub mod store;
pub mod tenancy;

pub mod http;
pub mod provider;

pub mod clock;
pub mod error;
pub mod settings;
