//! The conditions under which a certificate chain may be an issuing CA here.

use certctl_domain::time::Timestamp;
use const_oid::db::rfc5280;
use der::asn1::ObjectIdentifier;

use super::error::ImportError;
use crate::certificate::Certificate;
use crate::chain::Chain;
use crate::constraints::NameConstraints;

/// Checks rights, order, signatures and path lengths of a chain that begins with the issuing CA. Time is not asked.
pub(super) fn check_chain(chain: &Chain) -> Result<(), ImportError> {
    for (below, certificate) in (0u32..).zip(chain.iter()) {
        check_rights(certificate)?;
        if let Some(allowed) = certificate.path_len().filter(|allowed| *allowed < below) {
            return Err(ImportError::PathLength { subject: certificate.subject().to_owned(), allowed, found: below });
        }
    }
    for (certificate, issuer) in chain.links() {
        certificate.verify_signed_by(issuer).map_err(|source| ImportError::Chain { subject: certificate.subject().to_owned(), source })?;
    }
    Ok(())
}

/// A CA of the chain that is not valid at an instant.
pub(super) enum Outside<'a> {
    Expired(&'a Certificate),
    NotYetValid(&'a Certificate),
}

/// The first CA of the chain that is not valid at the instant.
pub(super) fn outside_validity(chain: &Chain, now: Timestamp) -> Option<Outside<'_>> {
    chain.iter().find_map(|certificate| {
        if certificate.not_after() <= now {
            Some(Outside::Expired(certificate))
        } else if certificate.not_before() > now {
            Some(Outside::NotYetValid(certificate))
        } else {
            None
        }
    })
}

/// The name constraints of every CA in the chain; a leaf must keep all of them.
pub(super) fn name_constraints(chain: &Chain) -> Result<Vec<NameConstraints>, ImportError> {
    let with_constraints =
        chain.iter().filter_map(|certificate| Some((certificate, certificate.extension(rfc5280::ID_CE_NAME_CONSTRAINTS)?)));
    with_constraints
        .map(|(certificate, extension)| {
            NameConstraints::decode(&extension.value)
                .map_err(|source| ImportError::NameConstraints { subject: certificate.subject().to_owned(), source })
        })
        .collect()
}

fn check_rights(certificate: &Certificate) -> Result<(), ImportError> {
    let subject = || certificate.subject().to_owned();
    if !certificate.is_ca() {
        return Err(ImportError::NotCa(subject()));
    }
    // RFC 5280 section 4.2.1.3 wants keyUsage in every CA certificate; old roots without it may sign all the same.
    if !certificate.key_usage_permits(|usage| usage.key_cert_sign()) {
        return Err(ImportError::NoCertSign(subject()));
    }
    match certificate.unknown_critical_extensions(&KNOWN).pop() {
        Some(extension) => Err(ImportError::CriticalExtension { subject: subject(), extension }),
        None => Ok(()),
    }
}

/// Critical extensions of CA certificates that we keep or that do not bind us.
const KNOWN: [ObjectIdentifier; 7] = [
    rfc5280::ID_CE_KEY_USAGE,
    rfc5280::ID_CE_EXT_KEY_USAGE,
    rfc5280::ID_CE_BASIC_CONSTRAINTS,
    rfc5280::ID_CE_NAME_CONSTRAINTS,
    rfc5280::ID_CE_SUBJECT_ALT_NAME,
    rfc5280::ID_CE_CERTIFICATE_POLICIES,
    rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
];
