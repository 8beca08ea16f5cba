//! Where a CA publishes, and under which policies it issues, as extensions say it.

use std::str::FromStr;

use certctl_domain::x509::UriName;
use const_oid::db::rfc5280;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::ext::pkix::{AccessDescription, AuthorityInfoAccessSyntax, CertificatePolicies, CrlDistributionPoints};

use super::error::IssueError;
use crate::names::uri_name;
use crate::tbs::Extensions;

/// Where a CA publishes what concerns the certificates that it signs; empty lists leave the extension out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publication {
    /// OCSP responders (RFC 6960).
    pub ocsp: Vec<UriName>,
    /// The CA's own certificate (RFC 5280 section 4.2.2.1).
    pub ca_issuers: Vec<UriName>,
    /// Full CRLs (RFC 5280 section 4.2.1.13).
    pub crl: Vec<UriName>,
}

impl Publication {
    pub(super) fn add_to(&self, extensions: &mut Extensions) -> Result<(), IssueError> {
        if let Some(uri) = self.ocsp.iter().chain(&self.ca_issuers).chain(&self.crl).find(|uri| !can_be_fetched(uri)) {
            return Err(IssueError::PublicationUri(uri.as_str().to_owned()));
        }
        let access = self.access()?;
        if !access.is_empty() {
            extensions.plain(&AuthorityInfoAccessSyntax(access))?;
        }
        if !self.crl.is_empty() {
            let points = self.crl.iter().map(distribution_point).collect::<der::Result<_>>()?;
            extensions.plain(&CrlDistributionPoints(points))?;
        }
        Ok(())
    }

    fn access(&self) -> der::Result<Vec<AccessDescription>> {
        let of = |access_method, uri| Ok(AccessDescription { access_method, access_location: uri_name(uri)? });
        let ocsp = self.ocsp.iter().map(|uri| of(rfc5280::ID_AD_OCSP, uri));
        ocsp.chain(self.ca_issuers.iter().map(|uri| of(rfc5280::ID_AD_CA_ISSUERS, uri))).collect()
    }
}

/// The object identifier of a certificate policy (RFC 5280 section 4.2.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyOid(ObjectIdentifier);

impl FromStr for PolicyOid {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        ObjectIdentifier::new(text).map(Self).map_err(|_| InvalidPolicy(text.chars().take(100).collect()))
    }
}

impl std::fmt::Display for PolicyOid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that is no object identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an object identifier such as 2.23.140.1.2.1")]
pub struct InvalidPolicy(String);

pub(super) fn add_policies(policies: &[PolicyOid], extensions: &mut Extensions) -> der::Result<()> {
    if policies.is_empty() {
        return Ok(());
    }
    let information = |policy: &PolicyOid| PolicyInformation { policy_identifier: policy.0, policy_qualifiers: None };
    extensions.plain(&CertificatePolicies(policies.iter().map(information).collect()))
}

/// RFC 5280 sections 4.2.1.13 and 4.2.2.1 want the name of an entry and an attribute in an LDAP address; no setting says either.
fn can_be_fetched(uri: &UriName) -> bool {
    let scheme = uri.as_str().split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| matches!(scheme.as_str(), "http" | "https"))
}

fn distribution_point(uri: &UriName) -> der::Result<DistributionPoint> {
    let name = DistributionPointName::FullName(vec![uri_name(uri)?]);
    Ok(DistributionPoint { distribution_point: Some(name), reasons: None, crl_issuer: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_addresses_that_nobody_can_fetch() {
        for text in ["urn:uuid:1", "spiffe://td/x", "ftp://ca.test/x", "ldap://ca.test/cn=CA?certificateRevocationList"] {
            let publication = Publication { crl: vec![UriName::parse(text).unwrap()], ..Default::default() };
            let error = publication.add_to(&mut Extensions::default()).unwrap_err();
            assert!(matches!(error, IssueError::PublicationUri(ref uri) if uri == text), "{error}");
        }
    }

    #[test]
    fn policies_are_object_identifiers() {
        assert_eq!("2.23.140.1.2.1".parse::<PolicyOid>().unwrap().to_string(), "2.23.140.1.2.1");
        assert!("domain-validated".parse::<PolicyOid>().is_err());
    }
}
