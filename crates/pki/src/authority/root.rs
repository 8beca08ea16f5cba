//! Self-signed roots.

use certctl_domain::x509::Serial;
use der::asn1::Any;
use der::{Decode as _, Encode as _};

use super::error::IssueError;
use super::parts::{authority_key_id, ca_extensions, sign, times};
use super::validity::Validity;
use crate::certificate::Certificate;
use crate::dn::Subject;
use crate::key::PrivateKey;
use crate::lint::{Role, check_structure};
use crate::public_key::PublicKey;
use crate::signed::Signed;
use crate::signer::Signer;
use crate::tbs::{self, TbsCertificate, V3};

/// A self-signed root that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSpec {
    /// Needs a common name.
    pub subject: Subject,
    /// Ten years and more are usual.
    pub validity: Validity,
    /// From [`super::random_serial`].
    pub serial: Serial,
    /// How many CAs may stand below each other; `None` for any number.
    pub path_len: Option<u8>,
}

impl RootSpec {
    /// Makes the certificate. The signer's key is the CA key.
    ///
    /// # Errors
    /// When the subject has no common name, the key is not supported, or the signer fails.
    pub async fn self_sign(&self, signer: &dyn Signer) -> Result<Certificate, IssueError> {
        let key = PublicKey::from_spki(signer.public_key_spki())?;
        key.supported()?;
        let body = self.body(&key, signer)?;
        let sample = PrivateKey::generate(signer.algorithm().sample_key())?;
        let lint = Signed::assemble(&body, signer.algorithm(), &sample.sign(&body)?)?;
        check_structure(&lint, Role::Ca).map_err(IssueError::Lint)?;
        sign(&body, signer, &key).await
    }

    fn body(&self, key: &PublicKey, signer: &dyn Signer) -> Result<Vec<u8>, IssueError> {
        let mut extensions = ca_extensions(key, self.path_len)?;
        extensions.plain(&authority_key_id(&key.key_id())?)?;
        let subject = self.subject.to_any()?;
        let tbs = TbsCertificate {
            version: V3,
            serial: tbs::serial(&self.serial)?,
            signature: signer.algorithm().to_any()?,
            issuer: subject.clone(),
            validity: times(self.validity)?,
            subject,
            public_key: Any::from_der(key.spki())?,
            extensions: extensions.into_vec(),
        };
        Ok(tbs.to_der()?)
    }
}
