//! The token stage, as its callers see it: break one thing, expect the exact reason.

mod cache;
mod claims;
mod classification;
mod form;
mod header;
mod properties;
mod signature;
mod world;
