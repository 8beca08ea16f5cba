//! `certctl-server health`: asks the server that runs beside it, as the probe of a container does that has nothing but this program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use certctl_connector_core::probe::https;

use crate::boot::BootError;
use crate::config::Config;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Whether the process answers.
    Alive,
    /// Whether it can do its work: database, schema, scheduler, its own certificate.
    Ready,
}

impl Depth {
    const fn path(self) -> &'static str {
        match self {
            Self::Alive => "/health",
            Self::Ready => "/ready",
        }
    }
}

/// Asks the server that runs with this configuration; gives what it answered. Whose certificate it shows does not matter here: it is
/// asked for nothing that could be abused, and one that it could not renew is its own finding.
///
/// # Errors
/// When it does not answer within `limit`, or answers that it is not well.
pub async fn ask(config: &Config, depth: Depth, limit: Duration) -> Result<String, BootError> {
    let Some(address) = config.server.listen.first().copied().map(reachable) else { return Err(BootError::Unwell(String::new())) };
    let answer = https::get(address, depth.path(), limit).await;
    let answer = answer.map_err(|e| BootError::System { what: "the server does not answer", source: Box::new(e) })?;
    if answer.status == 200 { Ok(answer.body) } else { Err(BootError::Unwell(answer.body)) }
}

/// Whoever listens everywhere is asked on the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_at_home() {
        for (listens, asked) in
            [("0.0.0.0:8443", "127.0.0.1:8443"), ("[::]:1", "[::1]:1"), ("10.0.0.7:8443", "10.0.0.7:8443"), ("127.0.0.1:2", "127.0.0.1:2")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
