//! What roots, issuing CAs and leaves have in common: extensions, times, the act of signing.

use der::asn1::OctetString;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};

use super::error::IssueError;
use super::validity::Validity;
use crate::certificate::Certificate;
use crate::public_key::PublicKey;
use crate::signed::Signed;
use crate::signer::Signer;
use crate::tbs::{self, Extensions, Times};

/// What every CA certificate has.
pub(super) fn ca_extensions(key: &PublicKey, path_len: Option<u8>) -> der::Result<Extensions> {
    let mut extensions = Extensions::default();
    extensions.critical(&BasicConstraints { ca: true, path_len_constraint: path_len })?;
    extensions.critical(&KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))?;
    extensions.plain(&subject_key_id(key)?)?;
    Ok(extensions)
}

pub(super) fn subject_key_id(key: &PublicKey) -> der::Result<SubjectKeyIdentifier> {
    Ok(SubjectKeyIdentifier(OctetString::new(key.key_id())?))
}

pub(super) fn authority_key_id(id: &[u8]) -> der::Result<AuthorityKeyIdentifier> {
    Ok(AuthorityKeyIdentifier { key_identifier: Some(OctetString::new(id)?), ..Default::default() })
}

pub(super) fn times(validity: Validity) -> der::Result<Times> {
    Ok(Times { not_before: tbs::time(validity.not_before())?, not_after: tbs::time(validity.not_after())? })
}

/// Signs the body, and believes the signature only when the public key says so: a broken HSM must not reach a client.
pub(super) async fn sign(body: &[u8], signer: &dyn Signer, key: &PublicKey) -> Result<Certificate, IssueError> {
    let signature = signer.sign(body).await?;
    key.verify(signer.algorithm(), body, &signature).map_err(IssueError::SignatureOfSigner)?;
    let der = Signed::assemble(body, signer.algorithm(), &signature)?;
    Certificate::parse_der(&der).map_err(|error| IssueError::Unreadable(Box::new(error)))
}
