//! A local Authress for tests and first steps.

mod api;
mod calls;
mod clock;
mod control;
mod demo;
mod faults;
mod handle;
mod kept;
mod keys;
mod listener;
mod records;
mod sandbox;
mod tls;
mod token;
mod tokens;
mod world;

pub use calls::{Call, Endpoint};
pub use demo::{DEMO_WORLD, DemoClient, DemoTenant, DemoUser};
pub use faults::{Fault, Target};
pub use keys::SigningKey;
pub use records::{Client, Tenant, User};
pub use sandbox::{Sandbox, SandboxBuilder, StartError};
pub use token::TokenBuilder;
pub use world::Unknown;
