//! The real binary as child processes, one or several on one database, beside a sandbox in the
//! test's own process.
//!
//! | module | what it asks |
//! | --- | --- |
//! | `first_visit` | one new user over two servers |
//! | `outage` | what goes on while the provider fails, and what ends |
//! | `kept` | what the database keeps for that, and who may write it |
//! | `changes` | changes by the command line, heard by two servers |
//! | `revocation` | what was cut off by the command line, under a loop of requests |
//! | `settings` | mistakes in the settings |
//! | `network` | TLS and proxies on the way to the provider |
//! | `life` | signals and addresses |
//! | `database` | beginnings, kills, locks, and whose files they are |
//! | `attack` | floods of bad tokens from one address |
//! | `callers` | `/v1/me` and `/v1/authorize` |
//! | `grpc` | the same answers over Envoy's `ext_authz` |
//! | `rules` | what `/v1/authorize` demands of whom |
//! | `assertion` | who calls, signed |
//! | `caching` | what a proxy may remember |
//! | `admin` | what administrators do |
//! | `accounts` | `/v1/users` and `/v1/activity`, and what another account sees of them |
//! | `reload` | new settings while the server serves, and servers that are replaced |
//! | `ending` | an account's end |
//! | `import` | accounts, users and service clients out of a file, killed at any moment |
//! | `explain` | every refusal code, and what is said of a request that met it |
//! | `surface` | routes, bodies, the document |
//! | `metrics` | the admin listener |
//! | `traces` | spans, at a collector of OpenTelemetry |
//! | `commands` | what the command line prints |
//! | `logs` | what is never logged
//! | `moving` | `account move` between clusters, killed at any moment, under a writing application |
//! | `doctor` | mistakes on PostgreSQL, each found by its name
//! | `postgres` | the whole path of an operator on PostgreSQL |

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod admin;
mod assertion;
mod attack;
mod caching;
mod callers;
mod changes;
mod commands;
mod database;
mod doctor;
mod ending;
mod explain;
mod first_visit;
mod grpc;
mod import;
mod kept;
mod life;
mod logs;
mod metrics;
mod moving;
mod network;
mod outage;
mod postgres;
mod reload;
mod repair;
mod revocation;
mod rules;
mod settings;
mod surface;
mod traces;
mod world;
