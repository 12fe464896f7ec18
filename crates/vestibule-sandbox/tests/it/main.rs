//! The sandbox as its users meet it: through its library and over its sockets.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helpers may stop it, as the test itself may"
)]

mod api;
mod ask;
mod control;
mod faults;
mod keys;
mod program;
mod tls;
mod tokens;
