//! What happens when PostgreSQL goes away under load, and when several processes share it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod changes;
mod first_visits;
mod outages;
mod world;
