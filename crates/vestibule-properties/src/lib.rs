//! What must hold of any bytes that come from outside.
//!
//! Each function takes bytes of any kind, gives them to the part of the project that reads such
//! bytes, and panics where a property does not hold. `fuzz/` calls them with what libFuzzer makes
//! up; `tests/corpus.rs` calls them with what it found before, in every run of the tests.
//!
//! They use the public interface, and two functions that only the documentation leaves out: the
//! public API without a listener, and whom a request is counted against. What a property
//! expects is worked out here a second time, from the contract and the RFCs and not from the code:
//! where both differ, one of them is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a property that does not hold is a panic: that is what the fuzzer looks for"
)]

mod assertion;
mod authorization;
mod forwarded;
mod key_set;
mod request;
mod settings;
mod token;
mod tree;
mod world;

pub use self::{
    assertion::assertion, authorization::authorization, forwarded::forwarded, key_set::key_set,
    request::request, settings::settings, token::token,
};

/// A property, by the name of its fuzz target and of the directory of its corpus.
pub type Property = (&'static str, fn(&[u8]));

/// All of them.
pub const PROPERTIES: &[Property] = &[
    ("assertion", assertion),
    ("authorization", authorization),
    ("forwarded", forwarded),
    ("key_set", key_set),
    ("request", request),
    ("settings", settings),
    ("token", token),
];
