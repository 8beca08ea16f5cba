//! Where a certificate says that its list is.

use const_oid::db::rfc5280;
use der::Decode as _;
use x509_cert::ext::pkix::CrlDistributionPoints;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use crate::certificate::Certificate;

/// The addresses of the certificate's revocation lists, in its order (RFC 5280 section 4.2.1.13).
#[must_use]
pub fn distribution_points(certificate: &Certificate) -> Vec<String> {
    let Some(extension) = certificate.extension(rfc5280::ID_CE_CRL_DISTRIBUTION_POINTS) else {
        return Vec::new();
    };
    let points = CrlDistributionPoints::from_der(&extension.value).map(|points| points.0).unwrap_or_default();
    let names = points.into_iter().filter_map(|point| match point.distribution_point {
        Some(DistributionPointName::FullName(names)) => Some(names),
        _ => None,
    });
    names
        .flatten()
        .filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        })
        .collect()
}
