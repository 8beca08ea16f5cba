//! The objects of an order as the CA shows them (RFC 8555 section 7.1), and where ours stands.

use certctl_connector_core::ConnectorError;
use certctl_domain::profile::ApprovedRequest;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{ExtendedKeyUsage, San};
use certctl_pki::csr::Csr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::problem::{Problem, lenient};
use super::url::Url;

/// Where an order of ours stands; what is stored while the CA is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    /// The order's URL, once it was placed.
    pub(super) order: Option<Url>,
    /// What was put out for the CA to see, and is to be taken back.
    pub(super) posted: Vec<Posted>,
}

/// Something that was put out for the CA to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Posted {
    /// For which authorization.
    pub(super) authorization: Url,
    /// The name to be proven, without `*.`.
    pub(super) domain: String,
    /// The challenge's token.
    pub(super) token: String,
    /// How.
    pub(super) kind: ChallengeKind,
    /// What the CA must find.
    pub(super) value: String,
    /// Since when.
    pub(super) at: Timestamp,
    /// Whether that was done for certain. It is noted before it is tried, so that it is taken back also when nobody saw the end.
    #[serde(default = "certain")]
    pub(super) there: bool,
    /// Whether agents were asked to do it: it can be seen when they say so.
    #[serde(default)]
    pub(super) by_agents: bool,
}

/// What earlier versions noted, they noted afterwards.
const fn certain() -> bool {
    true
}

/// The challenges that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChallengeKind {
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "dns-01")]
    Dns01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl ChallengeKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// An order.
#[derive(Debug, Deserialize)]
pub(super) struct OrderObject {
    pub(super) status: Status,
    #[serde(default)]
    pub(super) authorizations: Vec<Url>,
    #[serde(default)]
    pub(super) finalize: Option<Url>,
    #[serde(default)]
    pub(super) certificate: Option<Url>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error: Option<Problem>,
}

/// An authorization: the proof for one name.
#[derive(Debug, Deserialize)]
pub(super) struct Authorization {
    pub(super) status: Status,
    pub(super) identifier: Identifier,
    #[serde(default)]
    pub(super) challenges: Vec<ChallengeObject>,
    #[serde(default)]
    pub(super) wildcard: bool,
}

/// One way to give that proof.
#[derive(Debug, Deserialize)]
pub(super) struct ChallengeObject {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) url: Url,
    pub(super) status: Status,
    #[serde(default)]
    pub(super) token: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error: Option<Problem>,
}

/// A name to be proven (RFC 8555 section 9.7.7, RFC 8738 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identifier {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) value: String,
}

/// How an object stands (RFC 8555 section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Deactivated,
    Expired,
    Revoked,
}

/// The names of a request, each once; ACME knows DNS names and addresses.
pub(super) fn identifiers(request: &ApprovedRequest) -> Result<Vec<Identifier>, ConnectorError> {
    let common_name = request.common_name().and_then(|name| San::parse(name).ok()).filter(|name| matches!(name, San::Dns(_) | San::Ip(_)));
    let mut found = Vec::new();
    for name in request.sans().iter().chain(common_name.as_ref()) {
        let identifier = match name {
            San::Dns(name) => Identifier { kind: "dns".to_owned(), value: name.as_str().to_owned() },
            San::Ip(ip) => Identifier { kind: "ip".to_owned(), value: ip.to_string() },
            other => {
                return Err(ConnectorError::permanent(format!(
                    "an ACME CA cannot certify `{other}`: it knows DNS names and addresses alone"
                ))
                .hint("take the name out of the certificate, or give it another issuer"));
            }
        };
        if !found.contains(&identifier) {
            found.push(identifier);
        }
    }
    if found.is_empty() {
        return Err(ConnectorError::permanent("the certificate has no DNS name and no address to order"));
    }
    Ok(found)
}

/// Whether the CSR asks for what is wanted: an ACME CA reads names and extensions from nowhere else.
pub(super) fn check_csr(request: &ApprovedRequest, csr: &Csr) -> Result<(), ConnectorError> {
    if let Some(missing) = request.sans().iter().find(|name| !csr.names().contains(name)) {
        return Err(ConnectorError::permanent(format!("the CSR does not ask for {missing}, and an ACME CA reads the names from the CSR"))
            .hint("make a CSR with all names of the certificate's record"));
    }
    if let Some(usage) = request.ekus().iter().find(|usage| !matches!(usage, ExtendedKeyUsage::ServerAuth | ExtendedKeyUsage::ClientAuth)) {
        return Err(ConnectorError::permanent(format!("an ACME CA makes certificates for TLS, not for {usage:?}"))
            .hint("give the certificate another issuer, or a profile without that usage"));
    }
    if request.must_staple() && !csr.wants_must_staple() {
        return Err(ConnectorError::permanent(
            "the profile wants must-staple, the CSR does not ask for it, and an ACME CA reads it from the CSR",
        )
        .hint("make a CSR with the TLS feature extension, or take must-staple out of the profile"));
    }
    Ok(())
}

/// What is sent to place an order, beside its predecessor.
pub(super) fn new_order(identifiers: &[Identifier], profile: Option<&str>, not_after: Option<Timestamp>) -> Map<String, Value> {
    let profile = profile.map(|profile| ("profile", json!(profile)));
    let not_after = not_after.map(|at| ("notAfter", json!(at.whole_seconds())));
    let fields = [("identifiers", json!(identifiers))].into_iter().chain(profile).chain(not_after);
    fields.map(|(name, value)| (name.to_owned(), value)).collect()
}
