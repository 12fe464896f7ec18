//! The server and command line `vestibule`.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`cli`] | the command line: what is asked, what is answered |
//! | [`settings`] | the server's own settings |
//! | [`serve`] | the listeners, from the first connection to the last |
//! | `routes` | the public API, one endpoint a file |
//! | `admin` | the admin listener: metrics, and what administrators do |
//! | `console` | the page for administrators, and who has signed in there |
//! | `explain` | why somebody was refused |
//! | `gateway` | the request that a proxy asks about, and the rule that it meets |
//! | `grpc` | the same answers for Envoy, over gRPC |
//! | [`telemetry`] | logs, one line per request, metrics, traces |
//!
//! A library so that the quickstart and tests can run a server in their own process. Nothing in
//! here decides who may come in: that is `vestibule`'s.

mod admin;
pub mod cli;
mod console;
mod explain;
mod gateway;
mod grpc;
mod routes;
pub mod serve;
pub mod settings;
pub mod telemetry;
