//! The names that a CA asks for in the handshake of a TLS challenge (RFC 8737 section 3, RFC 8738 section 6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use certctl_domain::x509::San;

/// What the CA asks for when it looks at this name or address: an address by its name in the reverse zone.
#[must_use]
pub fn server_name_of(identifier: &str) -> String {
    match identifier.parse() {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}{V4}")
        }
        Ok(IpAddr::V6(ip)) => {
            let nibbles = ip.octets().into_iter().rev().map(|byte| format!("{:x}.{:x}", byte & 0xf, byte >> 4));
            format!("{}{V6}", nibbles.collect::<Vec<_>>().join("."))
        }
        Err(_) => identifier.trim_end_matches('.').to_ascii_lowercase(),
    }
}

/// The way back: what a CA looks at that asks for this in a handshake. `None` for what is no name.
#[must_use]
pub fn identifier_of(server_name: &str) -> Option<San> {
    let ip = if let Some(reversed) = server_name.strip_suffix(V4) {
        let parts: Vec<u8> = reversed.rsplit('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(parts).ok()?)))
    } else if let Some(reversed) = server_name.strip_suffix(V6) {
        let digits: String = reversed.rsplit('.').filter(|part| part.len() == 1).collect();
        Some(IpAddr::V6(Ipv6Addr::from(u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?)))
    } else {
        None
    };
    San::parse(&ip.map_or_else(|| server_name.to_owned(), |ip| ip.to_string())).ok()
}

const V4: &str = ".in-addr.arpa";
const V6: &str = ".ip6.arpa";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_by_their_reverse_names_and_back() {
        for (identifier, name) in [
            ("web.Example.test", "web.example.test"),
            ("192.0.2.10", "10.2.0.192.in-addr.arpa"),
            ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
        ] {
            assert_eq!(server_name_of(identifier), name);
            assert_eq!(identifier_of(name), San::parse(&identifier.to_ascii_lowercase()).ok());
        }
        for none in ["1.2.in-addr.arpa", "300.1.1.1.in-addr.arpa", "1.ip6.arpa", "", "a b"] {
            assert_eq!(identifier_of(none), None, "{none}");
        }
    }
}
