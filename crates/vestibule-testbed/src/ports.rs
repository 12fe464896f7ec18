//! Free ports that stay free.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use uuid::Uuid;

/// A loopback address at which nobody listens.
///
/// Its port is below those that the kernel gives to outgoing connections. One of these could take
/// the place of a server that is stopped for a moment, and a client that tries again and again to
/// reach such a port ends up connected to itself.
pub(crate) fn free() -> SocketAddr {
    loop {
        let port = 20_000 + (Uuid::new_v4().as_u128() % 12_000) as u16;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
