//! An account goes to another cluster: whole, once, and whatever breaks it off.

mod rows;
mod sessions;
mod stops;
mod world;
