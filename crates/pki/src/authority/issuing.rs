//! A CA that signs: its chain, what that chain allows, and the two steps from request to certificate.

use std::sync::Arc;

use certctl_domain::time::Timestamp;
use certctl_domain::x509::{SanSet, Serial};
use const_oid::db::rfc5280;
use der::asn1::{Any, ObjectIdentifier};
use der::{Decode as _, Encode as _};

use super::error::{ImportError, IssueError};
use super::leaf::LeafRequest;
use super::load::{check_chain, name_constraints, outside_validity};
use super::parts::{authority_key_id, sign, times};
use super::sub_ca::SubCaSpec;
use super::validity::Validity;
use crate::algorithm::{SignatureAlgorithm, name_of};
use crate::certificate::Certificate;
use crate::chain::Chain;
use crate::constraints::NameConstraints;
use crate::dn::Subject;
use crate::key::PrivateKey;
use crate::lint::{Role, check_structure};
use crate::public_key::PublicKey;
use crate::signed::Signed;
use crate::signer::Signer;
use crate::tbs::{self, Extensions, TbsCertificate, V3};

/// An issuing CA, without its key: that stays behind a [`Signer`].
#[derive(Clone)]
pub struct IssuingCa {
    chain: Chain,
    algorithm: SignatureAlgorithm,
    constraints: Vec<NameConstraints>,
    /// Signs lint certificates, never anything else; of the kind that the CA key is.
    sample: Arc<PrivateKey>,
}

/// To-be-signed bytes that passed every check, to be stored before they are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    body: Vec<u8>,
    serial: Serial,
    validity: Validity,
    names: SanSet,
}

impl IssuingCa {
    /// Takes in a CA from outside: PEM of the issuing CA and of those above it, and its private key.
    ///
    /// # Errors
    /// When it may not sign, is outside its validity, the key is another one, or the chain does not hold.
    pub fn import(chain_pem: &str, key: &PrivateKey, now: Timestamp) -> Result<Self, ImportError> {
        let chain = Chain::parse_pem(chain_pem)?;
        let ca = Self::new(chain, key.public_key(), key.signature_algorithm())?;
        match outside_validity(&ca.chain, now) {
            Some(outside) => Err(outside.into()),
            None => Ok(ca),
        }
    }

    /// A CA that was made or imported before. It may be expired; then it prepares nothing.
    ///
    /// # Errors
    /// When it may not sign, the signer holds another key, or the chain does not hold.
    pub fn load(chain: Chain, signer: &dyn Signer) -> Result<Self, ImportError> {
        let key =
            PublicKey::from_spki(signer.public_key_spki()).map_err(|_| ImportError::KeyMismatch(chain.leaf().subject().to_owned()))?;
        Self::new(chain, &key, signer.algorithm())
    }

    /// The CA's own certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        self.chain.leaf()
    }

    /// The CA's certificate and those above it, as far as they are known, the root too.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What a server sends: the leaf and the CAs above it without the root, which clients have or do not trust.
    #[must_use]
    pub fn chain_for(&self, leaf: Certificate) -> Chain {
        Chain::new(leaf, self.chain.iter().filter(|certificate| !certificate.is_self_signed()).cloned().collect())
    }

    /// The self-signed certificate at the end of the chain, if it is known.
    #[must_use]
    pub fn root(&self) -> Option<&Certificate> {
        self.chain.iter().next_back().filter(|certificate| certificate.is_self_signed())
    }

    /// The instants between which every CA of the chain is valid; `None` when there is no such time.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        let not_before = self.chain.iter().map(Certificate::not_before).max()?;
        let not_after = self.chain.iter().map(Certificate::not_after).min()?;
        Validity::new(not_before, not_after).ok()
    }

    /// Builds, checks and lints a leaf; the same request gives the same bytes. Nothing is signed with the CA key.
    ///
    /// # Errors
    /// When the request is not sound, the CA may not issue it or is expired, or a lint rule is broken.
    pub fn prepare_leaf(&self, request: &LeafRequest, now: Timestamp) -> Result<Prepared, IssueError> {
        let outer = self.check_alive(now)?;
        let content = request.content()?;
        for name in &content.names {
            self.constraints.iter().try_for_each(|constraints| constraints.check(name))?;
        }
        self.check_usages(&content.usages)?;
        let draft = Draft {
            subject: &content.subject,
            key: &request.key,
            serial: &request.serial,
            validity: request.validity.clamped_to(outer)?,
            extensions: content.extensions,
        };
        self.prepare(draft, content.names, Role::Leaf)
    }

    /// Builds, checks and lints a CA below this one.
    ///
    /// # Errors
    /// As [`IssuingCa::prepare_leaf`]; also when the path length does not allow it.
    pub fn prepare_ca(&self, spec: &SubCaSpec, now: Timestamp) -> Result<Prepared, IssueError> {
        let outer = self.check_alive(now)?;
        spec.key.supported()?;
        let wanted = u32::from(spec.path_len) + 1;
        if let Some(allowed) = self.remaining_path().filter(|allowed| *allowed < wanted) {
            return Err(IssueError::PathLength { allowed, wanted });
        }
        let draft = Draft {
            subject: &spec.subject,
            key: &spec.key,
            serial: &spec.serial,
            validity: spec.validity.clamped_to(outer)?,
            extensions: spec.extensions()?,
        };
        self.prepare(draft, SanSet::default(), Role::Ca)
    }

    /// Signs the bytes of a prepared leaf, which may come from storage. They are linted again: what was stored may have been
    /// changed, and no change makes this sign a CA certificate.
    ///
    /// # Errors
    /// When the bytes are not for this CA, break a rule, or the signer fails.
    pub async fn sign_leaf(&self, body: &[u8], signer: &dyn Signer) -> Result<Certificate, IssueError> {
        self.sign(body, signer, Role::Leaf).await
    }

    /// Signs the bytes of a prepared CA.
    ///
    /// # Errors
    /// As [`IssuingCa::sign_leaf`].
    pub async fn sign_ca(&self, body: &[u8], signer: &dyn Signer) -> Result<Certificate, IssueError> {
        self.sign(body, signer, Role::Ca).await
    }

    fn new(chain: Chain, key: &PublicKey, algorithm: SignatureAlgorithm) -> Result<Self, ImportError> {
        let own = chain.leaf();
        own.public_key().supported()?;
        check_chain(&chain)?;
        if own.public_key() != key {
            return Err(ImportError::KeyMismatch(own.subject().to_owned()));
        }
        let constraints = name_constraints(&chain)?;
        let sample = Arc::new(PrivateKey::generate(algorithm.sample_key())?);
        Ok(Self { chain, algorithm, constraints, sample })
    }

    pub(super) fn check_alive(&self, now: Timestamp) -> Result<Validity, IssueError> {
        if let Some(outside) = outside_validity(&self.chain, now) {
            return Err(outside.into());
        }
        let own = self.certificate();
        Ok(self.validity().map_or_else(|| Validity::new(own.not_before(), own.not_after()), Ok)?)
    }

    /// Usages of CAs are limits for what is below them; RFC 5280 does not say so, browsers and webpki do.
    fn check_usages(&self, usages: &[ObjectIdentifier]) -> Result<(), IssueError> {
        for certificate in self.chain.iter() {
            let allowed = certificate.extended_key_usage_oids().unwrap_or_default();
            if allowed.is_empty() || allowed.contains(&rfc5280::ANY_EXTENDED_KEY_USAGE) {
                continue;
            }
            if let Some(usage) = usages.iter().find(|usage| !allowed.contains(usage)) {
                return Err(IssueError::UsageNotPermitted { subject: certificate.subject().to_owned(), usage: name_of(*usage) });
            }
        }
        Ok(())
    }

    /// How many CAs may stand below this one, by its own path length and by those above.
    fn remaining_path(&self) -> Option<u32> {
        (0u32..).zip(self.chain.iter()).filter_map(|(above, certificate)| Some(certificate.path_len()?.saturating_sub(above))).min()
    }

    fn prepare(&self, draft: Draft<'_>, names: SanSet, role: Role) -> Result<Prepared, IssueError> {
        let (serial, validity) = (draft.serial.clone(), draft.validity);
        let body = draft.body(self.certificate(), self.algorithm)?;
        self.lint(&body, role)?;
        Ok(Prepared { body, serial, validity, names })
    }

    fn lint(&self, body: &[u8], role: Role) -> Result<(), IssueError> {
        let signature = self.sample.sign(body)?;
        let lint_certificate = Signed::assemble(body, self.algorithm, &signature)?;
        check_structure(&lint_certificate, role).map_err(IssueError::Lint)
    }

    async fn sign(&self, body: &[u8], signer: &dyn Signer, role: Role) -> Result<Certificate, IssueError> {
        let own = self.certificate();
        if signer.public_key_spki() != own.spki() {
            return Err(IssueError::OtherSigner(own.subject().to_owned()));
        }
        let tbs = TbsCertificate::from_der(body).map_err(|_| IssueError::NotOurs("they cannot be read"))?;
        if tbs.issuer.to_der()? != own.subject_der() {
            return Err(IssueError::NotOurs("they name another issuer"));
        }
        if tbs.signature != signer.algorithm().to_any()? {
            return Err(IssueError::NotOurs("they are for another signature algorithm"));
        }
        self.lint(body, role)?;
        sign(body, signer, own.public_key()).await
    }
}

impl std::fmt::Debug for IssuingCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuingCa").field("certificate", self.certificate()).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Prepared {
    /// The DER of the to-be-signed part.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The serial number inside.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The validity inside, which may be shorter than asked.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The names inside, the common name among them.
    #[must_use]
    pub const fn names(&self) -> &SanSet {
        &self.names
    }
}

/// The parts that vary from certificate to certificate.
struct Draft<'a> {
    subject: &'a Subject,
    key: &'a PublicKey,
    serial: &'a Serial,
    validity: Validity,
    extensions: Extensions,
}

impl Draft<'_> {
    fn body(mut self, issuer: &Certificate, algorithm: SignatureAlgorithm) -> Result<Vec<u8>, IssueError> {
        let authority = issuer.subject_key_id().unwrap_or_else(|| issuer.public_key().key_id().to_vec());
        self.extensions.plain(&authority_key_id(&authority)?)?;
        let tbs = TbsCertificate {
            version: V3,
            serial: tbs::serial(self.serial)?,
            signature: algorithm.to_any()?,
            issuer: Any::from_der(issuer.subject_der())?,
            validity: times(self.validity)?,
            subject: self.subject.to_any()?,
            public_key: Any::from_der(self.key.spki())?,
            extensions: self.extensions.into_vec(),
        };
        Ok(tbs.to_der()?)
    }
}
