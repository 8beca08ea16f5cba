//! Whether a record is there for all to see: asked at the name servers that are responsible for it, not at a cache.

use std::net::{IpAddr, SocketAddr};

use certctl_connector_core::ConnectorError;

use super::TxtRecord;
use super::message::{CNAME, Data, NS, TXT, code_name};
use super::query::{Recursion, ask};

/// Which name server does not show the record yet; `None` when all do. Without `servers` the zone's own are found.
pub(in crate::acme) async fn missing(record: &TxtRecord, servers: &[SocketAddr]) -> Result<Option<String>, ConnectorError> {
    if !servers.is_empty() {
        return at_all(servers, &record.name, &record.value).await;
    }
    let resolver = resolver().await?;
    let name = behind_aliases(resolver, &record.name).await?;
    let servers = name_servers(resolver, &name).await?;
    at_all(&servers, &name, &record.value).await
}

async fn at_all(servers: &[SocketAddr], name: &str, value: &str) -> Result<Option<String>, ConnectorError> {
    for server in servers {
        let reply = ask(*server, name, TXT, Recursion::Unwanted).await?;
        let there = reply.answers.iter().any(|record| record.kind == TXT && matches!(&record.data, Data::Text(text) if text == value));
        if !there {
            return Ok(Some(format!("the name server {server} does not show it ({})", code_name(u16::from(reply.code)))));
        }
    }
    Ok(None)
}

async fn behind_aliases(resolver: SocketAddr, name: &str) -> Result<String, ConnectorError> {
    let mut name = name.to_owned();
    for _ in 0..8 {
        let reply = ask(resolver, &name, CNAME, Recursion::Wanted).await?;
        match reply.answers.iter().find(|record| record.kind == CNAME && record.name.eq_ignore_ascii_case(&name)).map(|r| &r.data) {
            Some(Data::Name(target)) => name.clone_from(target),
            _ => return Ok(name),
        }
    }
    Err(ConnectorError::permanent(format!("the aliases of {name} lead in a circle")))
}

/// The name servers of the zone that a name is in, every address of each.
async fn name_servers(resolver: SocketAddr, name: &str) -> Result<Vec<SocketAddr>, ConnectorError> {
    for zone in std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent)) {
        let reply = ask(resolver, zone, NS, Recursion::Wanted).await?;
        let hosts = reply.answers.iter().filter(|record| record.kind == NS && record.name.eq_ignore_ascii_case(zone));
        let mut servers = Vec::new();
        for host in hosts.filter_map(|record| if let Data::Name(host) = &record.data { Some(host) } else { None }) {
            let found = tokio::net::lookup_host((host.as_str(), 53)).await;
            // A host that has addresses of a kind that this one cannot reach is asked at its others.
            servers.extend(found.map_err(|e| ConnectorError::transient(format!("the name server {host} has no address")).caused_by(e))?);
        }
        if servers.iter().any(SocketAddr::is_ipv4) {
            servers.retain(SocketAddr::is_ipv4);
        }
        if !servers.is_empty() {
            return Ok(servers);
        }
    }
    Err(ConnectorError::transient(format!("no name server is known for {name}")).hint("set dns_check_servers"))
}

/// The first resolver of the system.
async fn resolver() -> Result<SocketAddr, ConnectorError> {
    let text = tokio::fs::read_to_string(RESOLV_CONF)
        .await
        .map_err(|e| ConnectorError::permanent(format!("{RESOLV_CONF} cannot be read")).caused_by(e).hint("set dns_check_servers"))?;
    first_server(&text).ok_or_else(|| ConnectorError::permanent(format!("{RESOLV_CONF} names no server")).hint("set dns_check_servers"))
}

fn first_server(text: &str) -> Option<SocketAddr> {
    let mut servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.find_map(|rest| rest.trim().parse::<IpAddr>().ok()).map(|ip| SocketAddr::new(ip, 53))
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_usable_resolver_is_taken() {
        let text = "# nameserver 192.0.2.9\nsearch a.test\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        assert_eq!(first_server(text), Some("192.0.2.1:53".parse().unwrap()));
        assert_eq!(first_server("search a.test\n"), None);
    }
}
