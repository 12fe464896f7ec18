//! The testbed holds what it promises, on real servers.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test's helpers may stop it, as the test itself may"
)]

mod ask;
mod databases;
mod links;
mod servers;
