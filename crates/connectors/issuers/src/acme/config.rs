//! Settings of an ACME CA, and the checks that need nobody to be asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::egress::{Egress, Reach, Settings};
use certctl_connector_core::setting::Span;
use certctl_domain::secret::Secret;
use certctl_pki::chain::Chain;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::jws::MacKey;

/// Settings of an ACME CA.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcmeConfig {
    /// Where the CA's directory is, e.g. `https://acme-v02.api.letsencrypt.org/directory`.
    pub directory_url: String,
    /// Where the CA may write to; told to the CA at once when it changes.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether you agree to the CA's terms of service. Needed where the CA has some.
    #[serde(default)]
    pub terms_of_service_agreed: bool,
    /// The account that the CA knows from elsewhere (external account binding). Given together with `eab_hmac`.
    #[serde(default)]
    pub eab_kid: Option<String>,
    /// The key of that account, in base64url.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub eab_hmac: Option<Secret<String>>,
    /// How names are proven. Wildcards always take dns-01, and addresses http-01 where this is dns-01.
    #[serde(default)]
    pub challenge: Challenge,
    /// Who answers http-01 and tls-alpn-01: this server, or the agents beside the certificate's targets.
    #[serde(default)]
    pub answered_by: AnsweredBy,
    /// `answered_by: agent`: how long the agent that has the key may take to have the answer in place before the attempt counts as failed.
    #[serde(default = "agent_timeout")]
    pub agent_timeout: Span,
    /// The CA's profile to order under, as its directory lists them.
    #[serde(default)]
    pub profile: Option<String>,
    /// Common name of the root that the chain should lead to, where the CA offers several chains.
    #[serde(default)]
    pub preferred_root: Option<String>,
    /// Whether the profile's longest life is told to the CA in the order. Many CAs refuse that.
    #[serde(default)]
    pub request_validity: bool,
    /// Whether the CA is asked when it suggests renewal (RFC 9773), where it says so.
    #[serde(default = "yes")]
    pub ari: bool,
    /// CA certificates in PEM that the directory's own certificate may chain to, beside the system's.
    #[serde(default)]
    pub ca_bundle_pem: Option<String>,
    /// The most requests a minute that each replica sends to the CA.
    #[serde(default = "requests_per_minute")]
    #[schemars(range(min = 10, max = 60000))]
    pub requests_per_minute: u32,
    /// The longest that one request may take.
    #[serde(default = "request_timeout")]
    pub request_timeout: Span,
    /// Who writes the records of dns-01.
    #[serde(default)]
    pub dns: Option<DnsKind>,
    /// Name servers that must show a record before the CA is told to look. Without any, the zone's own are found and asked.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub dns_check_servers: Vec<SocketAddr>,
    /// How long a record may take to appear before the attempt counts as failed.
    #[serde(default = "propagation_timeout")]
    pub dns_propagation_timeout: Span,
    /// `rfc2136`: the primary server that takes updates, e.g. `192.0.2.53:53`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub rfc2136_server: Option<SocketAddr>,
    /// `rfc2136`: the zone; found by asking the server when not given.
    #[serde(default)]
    pub rfc2136_zone: Option<String>,
    /// `rfc2136`: the name of the TSIG key (hmac-sha256).
    #[serde(default)]
    pub rfc2136_key_name: Option<String>,
    /// `rfc2136`: the TSIG key, in base64.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("x-secret" = true))]
    pub rfc2136_key: Option<Secret<String>>,
    /// `exec`: the command that writes a record, e.g. `["/usr/local/bin/dns-hook", "add", "{name}", "{value}"]`. `{domain}`, `{name}`,
    /// `{value}` and `{token}` are replaced. It must be in the server's list of commands.
    #[serde(default)]
    pub exec_add: Vec<String>,
    /// `exec`: the command that takes a record back.
    #[serde(default)]
    pub exec_remove: Vec<String>,
    /// `exec`: the longest that either may take; all that one step does must end within 45 seconds.
    #[serde(default = "exec_timeout")]
    pub exec_timeout: Span,
    /// `acme-dns`: the server's API, e.g. `https://acme-dns.example.test`.
    #[serde(default)]
    pub acme_dns_url: Option<String>,
    /// `acme-dns`: for each domain the account that its `_acme-challenge` name points to; `*` for all others.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>", extend("x-secret" = true))]
    pub acme_dns_accounts: BTreeMap<String, AcmeDnsAccount>,
}

/// How names are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum Challenge {
    /// An answer over plain HTTP on port 80.
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    /// A TXT record.
    #[serde(rename = "dns-01")]
    Dns01,
    /// An answer in a TLS handshake on port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// Who answers a CA that looks at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnsweredBy {
    /// The server, where its settings `acme.http01_listen` and `acme.tls_alpn01_listen` say.
    #[default]
    Server,
    /// The agents beside the certificate's targets, as their own settings say.
    Agent,
}

/// Who writes TXT records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum DnsKind {
    /// DNS updates (RFC 2136), signed with TSIG.
    #[serde(rename = "rfc2136")]
    Rfc2136,
    /// A program on the server.
    #[serde(rename = "exec")]
    Exec,
    /// An acme-dns server.
    #[serde(rename = "acme-dns")]
    AcmeDns,
}

/// An account at an acme-dns server, as it gave it at registration.
#[derive(Debug, Deserialize)]
pub struct AcmeDnsAccount {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret<String>,
    /// The name below the server's own zone.
    pub subdomain: String,
}

impl AcmeConfig {
    /// The directory's URL.
    pub(super) fn directory(&self) -> Result<Url, ConnectorError> {
        let url = Url::parse(self.directory_url.trim()).ok().filter(|url| url.scheme() == "https" && url.host().is_some());
        url.ok_or_else(|| ConnectorError::permanent("directory_url is no https URL").hint("write it in full, as the CA publishes it"))
    }

    /// The contact as the CA is told; empty for none.
    pub(super) fn contact(&self) -> Result<String, ConnectorError> {
        let Some(email) = self.email.as_deref().map(str::trim).filter(|email| !email.is_empty()) else {
            return Ok(String::new());
        };
        let email = certctl_domain::x509::EmailAddress::parse(email).map_err(|e| ConnectorError::permanent(format!("email: {e}")))?;
        Ok(mailto(email.as_str()))
    }

    /// The external binding, when there is one.
    pub(super) fn binding(&self) -> Result<Option<(String, MacKey)>, ConnectorError> {
        match (&self.eab_kid, &self.eab_hmac) {
            (None, None) => Ok(None),
            (Some(kid), Some(hmac)) if !kid.trim().is_empty() => Ok(Some((kid.trim().to_owned(), MacKey::parse(hmac)?))),
            _ => Err(ConnectorError::permanent("eab_kid and eab_hmac are given together, or neither")),
        }
    }

    /// The HTTP client for this CA.
    pub(super) fn egress(&self) -> Result<Egress, ConnectorError> {
        let extra_roots = match &self.ca_bundle_pem {
            None => Vec::new(),
            Some(pem) => Chain::parse_pem(pem)
                .map_err(|e| ConnectorError::permanent(format!("ca_bundle_pem: {e}")))?
                .iter()
                .map(|certificate| certificate.der().to_vec())
                .collect(),
        };
        Egress::new(&Settings {
            timeout: self.request_timeout.duration(),
            connect_timeout: self.request_timeout.duration().min(std::time::Duration::from_secs(10)),
            // A signed request is for one URL: it cannot be sent to another.
            max_redirects: 0,
            reach: Reach::Private,
            extra_roots,
            ..Settings::default()
        })
    }
}

/// RFC 8555 section 7.3 takes an address of RFC 6068, whose section 2 has what means something in a URI percent-encoded. The domain is a
/// DNS name and has none of it.
fn mailto(address: &str) -> String {
    let mut text = "mailto:".to_owned();
    for character in address.chars() {
        if character.is_ascii_alphanumeric() || "-._~!$'*+@".contains(character) {
            text.push(character);
        } else {
            text.push_str(&format!("%{:02X}", u32::from(character)));
        }
    }
    text
}

const fn yes() -> bool {
    true
}
const fn requests_per_minute() -> u32 {
    600
}
const fn request_timeout() -> Span {
    Span::seconds(20)
}
const fn agent_timeout() -> Span {
    Span::seconds(120)
}
const fn propagation_timeout() -> Span {
    Span::seconds(600)
}
const fn exec_timeout() -> Span {
    Span::seconds(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contact_is_a_mailto_address_with_nothing_but_an_address_in_it() {
        let contact = |email: &str| {
            let config = serde_json::json!({"directory_url": "https://ca.test/dir", "email": email});
            serde_json::from_value::<AcmeConfig>(config).unwrap().contact()
        };
        for (email, wanted) in [
            ("", ""),
            ("ops+ca@Example.test", "mailto:ops+ca@example.test"),
            ("a?b@example.test", "mailto:a%3Fb@example.test"),
            ("50%/x&y=z#{|}^`@example.test", "mailto:50%25%2Fx%26y%3Dz%23%7B%7C%7D%5E%60@example.test"),
        ] {
            assert_eq!(contact(email).unwrap(), wanted);
        }
        assert!(contact("a@b@example.test").is_err());
    }
}
