//! 4. `Principal` → [`TenantSession`]: one transaction, one account.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `spaces.rs` | where an account's data lies, and who gets a connection to it |
//! | `budget.rs` | whose turn it is where connections are scarce |
//! | `scope.rs` | whether a request has a session |
//! | `shared.rs` | when a session begins, and how it ends |
//! | `session.rs`, `statement.rs`, `conflict.rs` | what a handler can do with it |
//! | `contents.rs` | what lies in every data space |
//! | `places.rs`, `space.rs`, `space_file.rs`, `postgres/` | what differs between databases |
//! | `budget.rs` | who gets the next connection |
//! | `accounts.rs`, `migrations.rs`, `export.rs` | how a data space comes into being, grows, and is read out |
//! | `system.rs` | sessions for jobs without a caller |
//! | `activity.rs` | what is written down about an account's callers |
//! | `retention.rs` | how much of it is kept, and how the rest goes |
//!
//! Raw connections do not leave this module.

mod accounts;
pub mod activity;
mod budget;
mod conflict;
mod contents;
mod error;
mod export;
mod migrations;
mod places;
mod postgres;
mod probe;
mod repository;
mod retention;
mod scope;
mod session;
mod shared;
mod space;
mod space_file;
mod spaces;
mod statement;
mod system;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::error::SessionError;
pub use self::migrations::{Migrated, MigrationStatus};
pub use self::postgres::{MoveProgress, Moved, MovedTable};
pub use self::probe::attach_is_impossible;
pub use self::repository::{TenantRepository, TenantService};
pub(crate) use self::scope::SessionScope;
pub use self::session::{SessionQuery, TenantSession};
pub use self::spaces::TenantSpaces;
pub use self::system::SystemAccess;

/// Work that goes through all accounts or all migrations.
const LONG: Duration = Duration::from_secs(600);
