//! What the server knows of the request that a proxy asks about.

pub(crate) mod caching;
mod decision;
pub(crate) mod original;
pub(crate) mod path;
pub(crate) mod rules;

pub(crate) use self::decision::{Decision, decide};
