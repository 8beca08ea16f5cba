//! How what a CA signs says which of its keys did.

use der::asn1::OctetString;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;

use crate::certificate::Certificate;

/// The CA's subject key identifier, or the one that its key would have (RFC 5280 section 4.2.1.1).
pub(crate) fn authority_key_id(ca: &Certificate) -> AuthorityKeyIdentifier {
    let id = ca.subject_key_id().unwrap_or_else(|| ca.public_key().key_id().to_vec());
    AuthorityKeyIdentifier { key_identifier: OctetString::new(id).ok(), ..Default::default() }
}
