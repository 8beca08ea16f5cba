//! Ports that nobody uses, and that nobody will be given by the system meanwhile.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of this machine that is free now, for TCP and for UDP. It lies below those that the system gives to outgoing connections, and no
/// other test of this process gets it, so a program can be stopped and started on it again.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let port = FIRST + (start() + NEXT.fetch_add(1, Ordering::Relaxed)) % (END - FIRST);
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// An address of this machine with a port as of [`free_port`].
#[must_use]
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// Where this process begins, so that test programs that run side by side do not try the same ports in the same order.
fn start() -> u16 {
    u16::try_from(std::process::id().wrapping_mul(331) % u32::from(END - FIRST)).unwrap_or_default()
}

static NEXT: AtomicU16 = AtomicU16::new(0);
const FIRST: u16 = 20_000;
/// Linux gives outgoing connections ports from 32768 on.
const END: u16 = 32_000;
