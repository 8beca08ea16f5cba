//! Listening: every address is bound in one way, by whoever answers others.

mod small;

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

pub use self::small::SmallListener;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl BindError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                Some("another program listens there, perhaps another certctl-server; give one of them another port")
            }
            io::ErrorKind::AddrNotAvailable => Some("this host has no such address; 0.0.0.0 or [::] stand for all it has"),
            io::ErrorKind::PermissionDenied => Some("ports below 1024 need CAP_NET_BIND_SERVICE"),
            _ => None,
        }
    }
}

/// Binds every address; gives the sockets, and where they are: port 0 has become a real port. Needs a Tokio runtime.
///
/// # Errors
/// At the first address that cannot be bound.
pub fn bind_all(addresses: &[SocketAddr]) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), BindError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    let mut bound = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let failed = |source| BindError { address, source };
        let socket = listen(address).map_err(failed)?;
        bound.push(socket.local_addr().map_err(failed)?);
        sockets.push(socket);
    }
    Ok((sockets, bound))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the connections of the process before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

const BACKLOG: u32 = 1024;
