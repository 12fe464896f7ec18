//! The rules of a request's session, seen from outside: over a real listener, with a real client
//! that goes away when it likes, against the sandbox.
//!
//! `world.rs` puts everything up, `wire.rs` is the client. What a rule says of the data is read
//! through a connection of the test's own to the account's file, never through the thing tested.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers may stop it, as the test itself may"
)]

mod disconnect;
mod kept;
mod layers;
mod outcome;
mod outside;
mod pool;
mod sql;
mod wire;
mod world;
