//! PostgreSQL, PgBouncer and bad lines, for the tests of this workspace.
//!
//! `cargo nextest run` starts one PostgreSQL and one PgBouncer for all tests of a run
//! (`scripts/postgres`, by `.config/nextest.toml`), for every package that depends on this crate.
//! Each test makes a database and logins of its own on it:
//!
//! ```no_run
//! # async fn example() {
//! use vestibule_testbed::Postgres;
//!
//! let database = Postgres::shared().database().await;
//! // DATABASE_URL and DATABASE_ADMIN_URL of the server under test.
//! let (url, admin_url) = (database.application_url(), database.owner_url());
//! // The same, through PgBouncer in transaction mode.
//! let url = database.through_pgbouncer().application_url();
//! # }
//! ```
//!
//! Whatever fails in here panics: a test that has no database cannot go on.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "only tests call this, and what fails here has to stop them"
)]

mod database;
mod link;
mod own;
mod pgbouncer;
mod place;
mod ports;
mod postgres;
mod process;

pub use self::{
    database::{Route, TestDatabase},
    link::Link,
    own::{OwnServer, Stop},
    pgbouncer::PgBouncer,
    place::Place,
    postgres::Postgres,
};
