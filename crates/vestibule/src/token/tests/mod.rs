//! The token stage, as its callers see it: break one thing, expect the exact reason.

mod bug_shapes;
mod cache;
mod claims;
mod classification;
mod differential;
mod flights;
mod form;
mod header;
mod memory;
mod properties;
mod signature;
mod time;
mod world;
mod wycheproof;
