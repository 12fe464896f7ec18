//! The example, run as its reader would run it: the binary, against the sandbox, with two
//! accounts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers may stop it, as the test itself may"
)]

mod application;
mod isolation;
mod life;
mod model;
