//! Leaves: what is asked of the CA, and the subject, names and extensions that come of it.

use certctl_domain::x509::{ExtendedKeyUsage, San, SanSet, Serial};
use const_oid::db::rfc5280;
use der::Encode as _;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage as UsageOids, KeyUsage, KeyUsages};

use super::error::IssueError;
use super::parts::subject_key_id;
use super::publication::{PolicyOid, Publication, add_policies};
use super::validity::Validity;
use crate::dn::{Attribute, Subject};
use crate::public_key::{KeyKind, PublicKey};
use crate::tbs::Extensions;
use crate::{names, oids};

/// A leaf that is to be. Everything comes from the record and its profile; the request of the key's holder gave only the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRequest {
    /// The key.
    pub key: PublicKey,
    /// Common name; becomes a SAN too, and takes the spelling of that SAN.
    pub common_name: Option<String>,
    /// Organization, where the issuer is configured to write one. No other attribute is ever written.
    pub organization: Option<String>,
    /// Subject alternative names.
    pub sans: SanSet,
    /// Is cut to the validity of the CA and of those above it.
    pub validity: Validity,
    /// At least one.
    pub usages: Vec<ExtendedKeyUsage>,
    /// Ask servers for stapled OCSP responses (RFC 7633).
    pub must_staple: bool,
    /// Where the CA publishes.
    pub publication: Publication,
    /// Policies, usually none.
    pub policies: Vec<PolicyOid>,
    /// From [`super::random_serial`].
    pub serial: Serial,
}

/// What of the request depends on the request alone.
pub(super) struct Content {
    pub(super) subject: Subject,
    pub(super) names: SanSet,
    pub(super) usages: Vec<ObjectIdentifier>,
    /// Everything but the authority key identifier.
    pub(super) extensions: Extensions,
}

impl LeafRequest {
    pub(super) fn content(&self) -> Result<Content, IssueError> {
        self.key.supported()?;
        let common_name = self.common_name.as_deref().map(San::parse).transpose().map_err(IssueError::CommonName)?;
        let subject = self.subject(common_name.as_ref())?;
        let names = SanSet::new(self.sans.iter().cloned().chain(common_name)).map_err(IssueError::Names)?;
        if names.is_empty() {
            return Err(IssueError::NoNames);
        }
        let usages = self.usages()?;
        let extensions = self.extensions(&subject, &names, &usages)?;
        Ok(Content { subject, names, usages, extensions })
    }

    fn subject(&self, common_name: Option<&San>) -> Result<Subject, IssueError> {
        let mut subject = Subject::default();
        if let Some(organization) = &self.organization {
            subject = subject.with(Attribute::Organization, organization)?;
        }
        if let Some(name) = common_name {
            subject = subject.with(Attribute::CommonName, &name.to_string())?;
        }
        Ok(subject)
    }

    fn usages(&self) -> Result<Vec<ObjectIdentifier>, IssueError> {
        let mut usages = self.usages.clone();
        usages.sort();
        usages.dedup();
        match usages.as_slice() {
            [] => Err(IssueError::NoUsages),
            [_, _, ..] if usages.contains(&ExtendedKeyUsage::TimeStamping) => Err(IssueError::TimeStampingNotAlone),
            some => Ok(some.iter().map(|usage| oids::usage_oid(*usage)).collect()),
        }
    }

    fn extensions(&self, subject: &Subject, names: &SanSet, usages: &[ObjectIdentifier]) -> Result<Extensions, IssueError> {
        let mut extensions = Extensions::default();
        extensions.critical(&self.key_usage())?;
        let usages = UsageOids(usages.to_vec());
        // RFC 3161 section 2.3: critical for time stamping.
        if self.usages.contains(&ExtendedKeyUsage::TimeStamping) {
            extensions.critical(&usages)?;
        } else {
            extensions.plain(&usages)?;
        }
        extensions.critical(&BasicConstraints { ca: false, path_len_constraint: None })?;
        extensions.plain(&subject_key_id(&self.key)?)?;
        let names = names::encode_all(names)?;
        // RFC 5280 section 4.1.2.6: critical where the subject is empty.
        if subject.is_empty() {
            extensions.critical_raw(rfc5280::ID_CE_SUBJECT_ALT_NAME, &names)?;
        } else {
            extensions.plain_raw(rfc5280::ID_CE_SUBJECT_ALT_NAME, &names)?;
        }
        add_policies(&self.policies, &mut extensions)?;
        self.publication.add_to(&mut extensions)?;
        if self.must_staple {
            if self.publication.ocsp.is_empty() {
                return Err(IssueError::MustStapleWithoutOcsp);
            }
            extensions.plain_raw(oids::TLS_FEATURE, &vec![oids::STATUS_REQUEST].to_der()?)?;
        }
        Ok(extensions)
    }

    /// digitalSignature always; keyEncipherment for RSA in TLS only, as other keys cannot; contentCommitment for mail.
    fn key_usage(&self) -> KeyUsage {
        let has = |usage| self.usages.contains(&usage);
        let mut bits = KeyUsages::DigitalSignature.into();
        let tls = has(ExtendedKeyUsage::ServerAuth) || has(ExtendedKeyUsage::ClientAuth);
        if tls && matches!(self.key.kind(), KeyKind::Rsa { .. }) {
            bits |= KeyUsages::KeyEncipherment;
        }
        if has(ExtendedKeyUsage::EmailProtection) {
            bits |= KeyUsages::NonRepudiation;
        }
        KeyUsage(bits)
    }
}
