//! What must hold at size: many accounts, many users, few connections, few files.
//!
//! Each test is small unless a variable makes it large, which `scripts/soak` does; then it prints
//! what it measured, on a line that begins with `scale:`.
//!
//! | variable | what is large then |
//! | --- | --- |
//! | `SCALE_FILES` | accounts with a file of SQLite each, in use in turn |
//! | `SCALE_REQUESTS` | requests of all accounts over one small budget of connections |
//! | `SCALE_SPACES` | accounts whose data spaces are migrated, with 20 migrations instead of 5 |
//! | `SCALE_USERS` | users of a directory that is compared with one of 1,000; a tenth of it accounts |
//!
//! A test that measures time does so at its full size only: at a small one, other tests run beside
//! it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod files;
mod migrations;
mod pools;
mod population;
mod server;
mod world;
