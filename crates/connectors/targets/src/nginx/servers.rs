//! Which server blocks use the certificate, and under which addresses and names it must therefore be served.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use certctl_domain::x509::DnsName;

use super::tree::{Located, Tree};
use crate::observation::Endpoint;

/// What the configuration says about a certificate's path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Where the server blocks that use it stand.
    pub(super) servers: Vec<String>,
    /// Where it must be served.
    pub(super) endpoints: Vec<Endpoint>,
    /// What looks wrong.
    pub(super) warnings: Vec<String>,
}

/// Finds the use of a certificate (by the paths it is known under) with its key.
pub(super) fn usage(tree: &Tree, certificate: &[&Path], key: &[&Path]) -> Usage {
    let known = |paths: &[&Path]| paths.iter().map(|path| ((*path).to_owned(), ())).collect::<BTreeMap<PathBuf, ()>>();
    let (certificate, key) = (known(certificate), known(key));
    let servers = servers(tree);
    let encrypted: BTreeSet<_> = servers.iter().flat_map(|s| &s.listens).filter(|l| l.encrypted).map(|l| l.address).collect();
    let behind_proxy: BTreeSet<_> = servers.iter().flat_map(|s| &s.listens).filter(|l| l.behind_proxy).map(|l| l.address).collect();

    let mut usage = Usage::default();
    let mut endpoints = BTreeSet::new();
    for server in &servers {
        if !server.certificates.iter().any(|path| tree.leads_to(path, &certificate).is_some()) {
            continue;
        }
        usage.servers.push(server.place.clone());
        if !server.keys.iter().any(|path| tree.leads_to(path, &key).is_some()) {
            usage.warnings.push(format!("{} uses the certificate but not the key that is deployed with it", server.place));
        }
        for listen in &server.listens {
            if !encrypted.contains(&listen.address) || behind_proxy.contains(&listen.address) {
                continue;
            }
            let address = within_reach(listen.address).to_string();
            let alone = servers.iter().filter(|other| other.listens.iter().any(|l| l.address == listen.address)).count() == 1;
            if server.names.is_empty() && (listen.default || alone) {
                endpoints.insert(Endpoint { address: address.clone(), server_name: None });
            }
            endpoints.extend(
                server.names.iter().take(MAX_NAMES).map(|name| Endpoint { address: address.clone(), server_name: Some(name.clone()) }),
            );
        }
    }
    usage.endpoints = endpoints.into_iter().take(MAX_ENDPOINTS).collect();
    if usage.servers.is_empty() {
        usage
            .warnings
            .push("no server block of the nginx configuration uses this certificate's path, so nobody will be served it".to_owned());
    }
    usage
}

const MAX_NAMES: usize = 8;
const MAX_ENDPOINTS: usize = 32;

#[derive(Debug, Default)]
struct Server {
    place: String,
    listens: Vec<Listen>,
    /// Names that can be asked for: no wildcards, no patterns.
    names: Vec<String>,
    certificates: Vec<String>,
    keys: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Listen {
    address: SocketAddr,
    encrypted: bool,
    default: bool,
    behind_proxy: bool,
}

fn servers(tree: &Tree) -> Vec<Server> {
    let mut servers = Vec::new();
    for context in tree.main().into_iter().filter(|located| matches!(located.directive.name.as_str(), "http" | "stream" | "mail")) {
        let directives = tree.block(context);
        // A server without a certificate of its own inherits the one of its context.
        let inherited = (values(&directives, "ssl_certificate"), values(&directives, "ssl_certificate_key"));
        for located in directives.iter().filter(|located| located.directive.name == "server") {
            servers.push(server(tree, *located, &inherited));
        }
    }
    servers
}

fn server(tree: &Tree, located: Located<'_>, inherited: &(Vec<String>, Vec<String>)) -> Server {
    let directives = tree.block(located);
    let own_or = |name: &str, above: &Vec<String>| {
        let own = values(&directives, name);
        if own.is_empty() { above.clone() } else { own }
    };
    let always_encrypted = values(&directives, "ssl").iter().any(|value| value == "on");
    let mut listens: Vec<_> = directives.iter().filter(|d| d.directive.name == "listen").filter_map(listen).collect();
    listens.iter_mut().for_each(|listen| listen.encrypted |= always_encrypted);
    let can_be_asked_for = |name: &String| !name.contains(['*', '~', '$', '_']) && DnsName::parse(name).is_ok();
    Server {
        place: tree.place(located),
        listens,
        names: values(&directives, "server_name").into_iter().filter(can_be_asked_for).map(|name| name.to_ascii_lowercase()).collect(),
        certificates: own_or("ssl_certificate", &inherited.0),
        keys: own_or("ssl_certificate_key", &inherited.1),
    }
}

fn values(directives: &[Located<'_>], name: &str) -> Vec<String> {
    directives.iter().filter(|d| d.directive.name == name).flat_map(|d| d.directive.args.iter().map(|arg| arg.text.clone())).collect()
}

/// A `listen` that TLS over TCP can reach; `None` for the others (unix sockets, QUIC, host names).
fn listen(located: &Located<'_>) -> Option<Listen> {
    let (address, options) = located.directive.args.split_first()?;
    let has = |option: &str| options.iter().any(|arg| arg.text == option);
    if has("quic") || has("udp") {
        return None;
    }
    Some(Listen {
        address: address_of(&address.text)?,
        encrypted: has("ssl"),
        default: has("default_server") || has("default"),
        behind_proxy: has("proxy_protocol"),
    })
}

fn address_of(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse() {
        return Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    }
    let text = text.strip_prefix('*').map_or_else(|| text.to_owned(), |rest| format!("0.0.0.0{rest}"));
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let ip: IpAddr = text.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip, 80))
}

/// The address to connect to for one that is listened on.
fn within_reach(listened: SocketAddr) -> SocketAddr {
    let ip = match listened.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listened.port())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;

    fn usage_in(conf: &str) -> Usage {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("nginx.conf");
        std::fs::write(&main, conf).unwrap();
        let mut usage = usage(&Tree::load(&main).unwrap(), &[Path::new("/ssl/web.pem")], &[Path::new("/ssl/web.key")]);
        let root = format!("{}/", directory.path().display());
        usage.servers.iter_mut().chain(&mut usage.warnings).for_each(|text| *text = text.replace(&root, ""));
        usage
    }

    fn asked(usage: &Usage) -> Vec<String> {
        usage.endpoints.iter().map(|e| format!("{} {}", e.address, e.server_name.as_deref().unwrap_or("-"))).collect()
    }

    const PAIR: &str = "ssl_certificate /ssl/web.pem; ssl_certificate_key /ssl/web.key;";

    #[test]
    fn every_name_and_address_of_every_user_is_found() {
        let usage = usage_in(&format!(
            "events {{}}\nhttp {{\n\
             server {{ listen 443 ssl; listen [::]:443 ssl; server_name Web.example.test *.example.test ~^x$ _; {PAIR} }}\n\
             server {{ listen 443 ssl; server_name other.example.test; ssl_certificate /ssl/other.pem; ssl_certificate_key /ssl/other.key; }}\n\
             server {{ listen 10.1.2.3:8443; listen 80; ssl on; {PAIR} }}\n\
             server {{ listen unix:/run/x ssl; listen 444 quic; listen 445 ssl proxy_protocol; server_name pp.example.test; {PAIR} }}\n\
             }}"
        ));
        assert_eq!(usage.servers, ["nginx.conf:3", "nginx.conf:5", "nginx.conf:6"]);
        assert_eq!(asked(&usage), ["10.1.2.3:8443 -", "127.0.0.1:443 web.example.test", "127.0.0.1:80 -", "[::1]:443 web.example.test"]);
        assert!(usage.warnings.is_empty(), "{:?}", usage.warnings);
    }

    #[test]
    fn a_certificate_is_inherited_and_a_port_is_encrypted_for_all() {
        let usage = usage_in(&format!(
            "http {{ {PAIR}\n\
             server {{ listen *:8443 ssl; server_name a.example.test; }}\n\
             server {{ listen 8443; server_name b.example.test; }}\n\
             server {{ listen 80; server_name c.example.test; }} }}"
        ));
        assert_eq!(asked(&usage), ["127.0.0.1:8443 a.example.test", "127.0.0.1:8443 b.example.test"]);
    }

    #[test]
    fn a_nameless_server_is_asked_for_only_where_it_answers() {
        let conf = |options: &str| {
            format!("http {{ server {{ listen 443 ssl {options}; {PAIR} }} server {{ listen 443 ssl; server_name a.example.test; }} }}")
        };
        assert!(asked(&usage_in(&conf(""))).is_empty());
        assert_eq!(asked(&usage_in(&conf("default_server"))), ["127.0.0.1:443 -"]);
    }

    #[test]
    fn a_path_that_nobody_uses_and_a_foreign_key_are_told() {
        let unused = usage_in("http { server { listen 443 ssl; ssl_certificate /ssl/other.pem; } }");
        assert!(unused.servers.is_empty() && unused.warnings[0].contains("no server block"));
        let foreign = usage_in("http { server { listen 443 ssl; ssl_certificate /ssl/web.pem; ssl_certificate_key /ssl/x.key; } }");
        assert_eq!(foreign.warnings, ["nginx.conf:1 uses the certificate but not the key that is deployed with it"]);
    }
}
