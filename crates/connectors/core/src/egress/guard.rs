//! Which addresses may be reached: a URL from outside must not lead to what only we can see (server-side request forgery).
//!
//! Names are resolved here, every address is judged, and the connection goes to the judged addresses alone, so a name
//! that changes its mind between check and use gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::Schemes;

/// How far the client may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses alone: for URLs that anybody may have written.
    Public,
    /// Loopback and private networks too: for URLs that an administrator configured.
    Private,
}

/// Judges URLs and addresses.
#[derive(Debug, Clone)]
pub struct Guard {
    reach: Reach,
    allow: Vec<IpNet>,
    schemes: Schemes,
}

/// Why a URL or an address is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not https.
    #[error("the URL scheme `{0}` is not allowed here")]
    Scheme(String),
    /// No host in it.
    #[error("the URL has no host")]
    NoHost,
    /// User or password in it.
    #[error("the URL carries a user name or password")]
    Credentials,
    /// A reserved address.
    #[error("{host} is {what}, which is not reached from here")]
    Address {
        /// The host as asked for, with its address.
        host: String,
        /// What kind of address it is.
        what: &'static str,
    },
}

impl Refused {
    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::Scheme(_) => "use an https URL",
            Self::NoHost => "write the URL in full, e.g. https://ca.example.test/path",
            Self::Credentials => "put the credentials into their own settings",
            Self::Address { .. } => "if this is an internal service on purpose, allow its network in the connector's configuration",
        }
    }
}

impl Guard {
    pub(super) const fn new(reach: Reach, allow: Vec<IpNet>, schemes: Schemes) -> Self {
        Self { reach, allow, schemes }
    }

    /// Judges what can be judged of a URL without resolving its name.
    ///
    /// # Errors
    /// Says why it is refused.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        match (url.scheme(), self.schemes) {
            ("https", _) | ("http", Schemes::HttpToo) => {}
            (scheme, _) => return Err(Refused::Scheme(scheme.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        match url.host() {
            None => Err(Refused::NoHost),
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(ip)) => self.judge("it", IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => self.judge("it", IpAddr::V6(ip)),
        }
    }

    /// Judges one address of a host.
    ///
    /// # Errors
    /// Says why it is refused.
    pub fn judge(&self, host: &str, ip: IpAddr) -> Result<(), Refused> {
        if self.allow.iter().any(|net| net.contains(&ip)) {
            return Ok(());
        }
        let host = if host == "it" { ip.to_string() } else { format!("{host} ({ip})") };
        match (classify(ip), self.reach) {
            (Class::Public, _) | (Class::Private(_), Reach::Private) => Ok(()),
            (Class::Private(what) | Class::Never(what), _) => Err(Refused::Address { host, what }),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            // Port 0: the caller puts its own.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One reserved address among public ones is enough to refuse: which one would be dialed is chance.
            for address in &found {
                guard.judge(name.as_str(), address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

enum Class {
    Public,
    /// Reached when private networks are.
    Private(&'static str),
    /// Never reached unless listed.
    Never(&'static str),
}

fn classify(ip: IpAddr) -> Class {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => classify_v6(ip),
    }
}

/// RFC 6890 and its registry.
const fn classify_v4(ip: Ipv4Addr) -> Class {
    match ip.octets() {
        [127, ..] => Class::Private("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private("a private address"),
        [100, 64..=127, ..] => Class::Private("a carrier-grade NAT address"),
        [169, 254, ..] => Class::Never("a link-local address (cloud metadata)"),
        [0, ..] => Class::Never("an address of this network"),
        [192, 0, 0, _] => Class::Never("an IETF protocol address"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Never("a documentation address"),
        [192, 88, 99, _] => Class::Never("a 6to4 relay address"),
        [198, 18..=19, ..] => Class::Never("a benchmarking address"),
        [224..=239, ..] => Class::Never("a multicast address"),
        [255, 255, 255, 255] => Class::Never("the broadcast address"),
        [240..=255, ..] => Class::Never("a reserved address"),
        _ => Class::Public,
    }
}

fn classify_v6(ip: Ipv6Addr) -> Class {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return classify_v4(v4);
    }
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        classify_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Private("a loopback address"),
        [0, 0, 0, 0, 0, 0, ..] => Class::Never("an unspecified or IPv4-compatible address"),
        [0xfc00..=0xfdff, ..] => Class::Private("a private address"),
        [0xfe80..=0xfebf, ..] => Class::Never("a link-local address"),
        [0xfec0..=0xfeff, ..] => Class::Never("a site-local address"),
        [0xff00..=0xffff, ..] => Class::Never("a multicast address"),
        // What these translate to decides: NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380, inverted).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Class::Never("a local NAT64 address"),
        [0x2001, 0, _, _, _, _, high, low] => embedded(!high, !low),
        [0x100, 0, 0, 0, ..] => Class::Never("a discard-only address"),
        [0x2001, 0xdb8, ..] => Class::Never("a documentation address"),
        _ => Class::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(reach: Reach, allow: &[&str]) -> Guard {
        Guard::new(reach, allow.iter().map(|net| net.parse().unwrap()).collect(), Schemes::Https)
    }

    #[test]
    fn every_reserved_range_is_known() {
        let (public, private) = (guard(Reach::Public, &[]), guard(Reach::Private, &[]));
        let never = [
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.8",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:5601:5601",
            "100::1",
            "2001:db8::1",
            "::7f00:1",
        ];
        for ip in never.map(|ip| ip.parse::<IpAddr>().unwrap()) {
            assert!(public.judge("it", ip).is_err() && private.judge("it", ip).is_err(), "{ip}");
        }
        let inside = [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fc00::1",
            "fdff::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
        ];
        for ip in inside.map(|ip| ip.parse::<IpAddr>().unwrap()) {
            assert!(public.judge("it", ip).is_err() && private.judge("it", ip).is_ok(), "{ip}");
        }
        for ip in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8"] {
            assert!(public.judge("it", ip.parse().unwrap()).is_ok(), "{ip}");
        }
    }

    #[test]
    fn a_listed_network_is_reached() {
        let guard = guard(Reach::Public, &["10.20.0.0/16"]);
        assert!(guard.judge("ca.test", "10.20.1.1".parse().unwrap()).is_ok());
        let refused = guard.judge("ca.test", "10.21.1.1".parse().unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), "ca.test (10.21.1.1) is a private address, which is not reached from here");
    }

    #[test]
    fn urls_are_judged_before_they_are_asked() {
        let guard = guard(Reach::Public, &[]);
        for (url, fine) in [
            ("https://ca.example.test/x", true),
            ("http://ca.example.test/x", false),
            ("file:///etc/passwd", false),
            ("https://user:pw@ca.example.test/", false),
            ("https://127.0.0.1/", false),
            ("https://2130706433/", false),
            ("https://0x7f.1/", false),
            ("https://[::ffff:127.0.0.1]/", false),
            ("https://1.1.1.1/", true),
        ] {
            assert_eq!(guard.check(&Url::parse(url).unwrap()).is_ok(), fine, "{url}");
        }
    }
}
