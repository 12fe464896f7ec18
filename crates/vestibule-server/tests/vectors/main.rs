//! The requests of `tests/vectors/*.json`, sent to the real binary over HTTP. `docs/vectors.md`
//! says how to read and extend them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

#[path = "../support/mod.rs"]
mod support;

mod complaints;
mod files;
mod judge;
mod recipe;
mod vector;
mod world;
