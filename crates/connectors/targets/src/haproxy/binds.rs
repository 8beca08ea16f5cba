//! Which `bind` lines use the certificate, under which addresses and names it must therefore be served, and by which socket
//! the running process can be told.

use std::collections::BTreeSet;
use std::path::Path;

use certctl_domain::x509::DnsName;

use super::runtime::RuntimeAddress;
use super::syntax::Line;
use super::uses::{Config, Form, Use, lead, list_lines, read};
use crate::observation::Endpoint;

/// What the configuration says about a certificate's path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Where the lines that use it stand.
    pub(super) places: Vec<String>,
    /// Where it must be served.
    pub(super) endpoints: Vec<Endpoint>,
    /// What looks wrong.
    pub(super) warnings: Vec<String>,
}

/// Finds the use of a file (by the paths it is known under) that holds a certificate for these names.
pub(super) fn usage(config: &Config, pem: &[&Path], names: &[String]) -> Usage {
    let mut usage = Usage::default();
    let mut endpoints = BTreeSet::new();
    let uses = config.uses();
    for (at, one) in uses.iter().enumerate() {
        let Some(asked) = asked_for(one, pem, names) else {
            continue;
        };
        let place = config.place(one.file, one.line);
        if !usage.places.contains(&place) {
            usage.places.push(place);
        }
        if one.line.word(0) != "bind" || !one.line.has("ssl") || one.line.has("accept-proxy") {
            continue;
        }
        let first =
            at.checked_sub(1).and_then(|before| uses.get(before)).is_none_or(|before| before.line != one.line || before.file != one.file);
        for address in one.line.word(1).split(',').filter_map(within_reach) {
            endpoints
                .extend(asked.iter().take(MAX_NAMES).map(|name| Endpoint { address: address.clone(), server_name: Some(name.clone()) }));
            // The first certificate of a line is what clients get that ask for no name.
            if asked.is_empty() && first {
                endpoints.insert(Endpoint { address, server_name: None });
            }
        }
    }
    usage.endpoints = endpoints.into_iter().take(MAX_ENDPOINTS).collect();
    if usage.places.is_empty() {
        usage.warnings.push("no line of the HAProxy configuration uses this path, so nobody will be served it".to_owned());
    }
    usage
}

/// The socket by which the running process can be given certificates: one with the level `admin`.
pub(super) fn admin_socket(config: &Config) -> Option<RuntimeAddress> {
    let admin = |line: &Line| line.words.windows(2).any(|pair| matches!(pair, [a, b] if a.text == "level" && b.text == "admin"));
    let sockets = config.lines().filter(|(_, section, line)| *section == "global" && line.word(0) == "stats" && line.word(1) == "socket");
    sockets.filter(|(_, _, line)| admin(line)).find_map(|(_, _, line)| line.word(2).parse().ok())
}

const MAX_NAMES: usize = 8;
const MAX_ENDPOINTS: usize = 32;

/// The names to ask for where a line uses the file; `None` where it does not.
fn asked_for(one: &Use<'_>, pem: &[&Path], names: &[String]) -> Option<Vec<String>> {
    if one.is == Form::Certificate {
        return lead(&one.path, pem).map(|_| askable(names));
    }
    let lines = list_lines(&read(&one.path).ok()?, &one.base);
    let mut asked = None::<Vec<String>>;
    for line in lines.iter().filter(|line| lead(&line.path, pem).is_some()) {
        let filters: Vec<_> = line.filters.iter().filter(|filter| !filter.starts_with('!')).cloned().collect();
        let more = askable(if line.filters.is_empty() { names } else { &filters });
        asked.get_or_insert_default().extend(more);
    }
    asked
}

/// Names that can be asked for; for a wildcard, one that it covers and hardly anybody uses.
fn askable(names: &[String]) -> Vec<String> {
    let plain = names.iter().map(|name| name.strip_prefix("*.").map_or_else(|| name.clone(), |rest| format!("certctl-probe.{rest}")));
    plain.filter(|name| DnsName::parse(name).is_ok()).map(|name| name.to_ascii_lowercase()).collect()
}

/// The address to connect to for one that is listened on; `None` where TLS over TCP does not lead.
fn within_reach(listened: &str) -> Option<String> {
    let text = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"].iter().find_map(|kind| listened.strip_prefix(kind)).unwrap_or(listened);
    if text.contains(['@', '/', '$']) {
        return None;
    }
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.split('-').next()?.parse().ok()?;
    let host = match host.trim_matches(['[', ']']) {
        "" | "*" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        v6 if v6.contains(':') => format!("[{v6}]"),
        other => other.to_owned(),
    };
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use super::*;

    fn load(conf: &str) -> Config {
        let guard = tempfile::tempdir().unwrap();
        let path = guard.path().join("haproxy.cfg");
        std::fs::write(&path, conf).unwrap();
        Config::load(&[path]).unwrap()
    }

    fn asked(conf: &str, names: &[&str]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let usage = usage(&load(conf), &[Path::new("/ssl/web.pem")], &names);
        usage.endpoints.iter().map(|e| format!("{} {}", e.address, e.server_name.as_deref().unwrap_or("-"))).collect()
    }

    #[test]
    fn every_address_is_asked_for_every_name_of_the_certificate() {
        let conf = "frontend f\n bind *:443,[::]:444,ipv4@10.0.0.1:445-450 ssl crt /ssl/web.pem\n bind :::446 v4v6 ssl crt /ssl/other.pem crt /ssl/web.pem\n\
                    bind /run/x ssl crt /ssl/web.pem\n bind quic4@:443 ssl crt /ssl/web.pem\n bind :447 ssl crt /ssl/web.pem accept-proxy\n bind :448 crt /ssl/web.pem\n";
        assert_eq!(
            asked(conf, &["A.test", "*.b.test"]),
            [
                "10.0.0.1:445 a.test",
                "10.0.0.1:445 certctl-probe.b.test",
                "127.0.0.1:443 a.test",
                "127.0.0.1:443 certctl-probe.b.test",
                "[::1]:444 a.test",
                "[::1]:444 certctl-probe.b.test",
                "[::1]:446 a.test",
                "[::1]:446 certctl-probe.b.test"
            ]
        );
        // Without names only where it is the default.
        assert_eq!(asked(conf, &[]), ["10.0.0.1:445 -", "127.0.0.1:443 -", "[::1]:444 -"]);
    }

    #[test]
    fn a_lists_filters_say_the_names() {
        let guard = tempfile::tempdir().unwrap();
        let list = guard.path().join("list");
        std::fs::write(&list, "/ssl/web.pem [alpn h2] one.test !two.test\n/ssl/other.pem three.test\n/ssl/web.pem four.test\n").unwrap();
        let conf = format!("listen l\n bind 127.0.0.1:1 ssl crt-list {}\n", list.display());
        assert_eq!(asked(&conf, &["ignored.test"]), ["127.0.0.1:1 four.test", "127.0.0.1:1 one.test"]);
    }

    #[test]
    fn a_path_that_nobody_uses_is_told() {
        let unused = usage(&load("frontend f\n bind :443 ssl crt /ssl/other.pem\n"), &[Path::new("/ssl/web.pem")], &[]);
        assert!(unused.places.is_empty() && unused.warnings[0].contains("no line"), "{unused:?}");
    }

    #[test]
    fn only_a_socket_that_may_change_certificates_is_taken() {
        let conf =
            "global\n stats socket /run/a mode 600\n stats socket /run/b level operator\n stats socket unix@/run/c mode 660 level admin\n";
        assert_eq!(admin_socket(&load(conf)).unwrap().to_string(), "/run/c");
        let tcp = "global\n stats socket ipv4@10.0.0.1:9 level admin\n stats socket 127.0.0.1:9999 level admin\n";
        assert_eq!(admin_socket(&load(tcp)).unwrap().to_string(), "127.0.0.1:9999");
        assert_eq!(admin_socket(&load("frontend stats\n stats socket /run/c level admin\n")), None);
    }
}
