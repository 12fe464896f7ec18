//! The workflow of contract §2 from outside: a local Authress, the library's layer around an
//! application, and actors who send it requests. Time stands still until a test moves it.
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod activity;
mod admission;
mod answer;
mod app;
mod assertions;
mod cache;
mod counters;
mod differential;
mod entrance;
mod hostile;
mod keys;
mod leases;
mod machines;
mod optional;
mod outages;
mod profiles;
mod provisioning;
mod recalls;
mod refusals;
mod returning;
mod revocation;
mod routes;
mod single_flight;
mod steps;
mod strangers;
mod suspension;
