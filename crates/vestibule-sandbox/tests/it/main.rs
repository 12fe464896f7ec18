//! The sandbox as its users meet it: through its library and over its sockets.

mod api;
mod ask;
mod faults;
mod keys;
mod tls;
mod tokens;
