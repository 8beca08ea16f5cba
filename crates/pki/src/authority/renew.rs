//! A CA under a new certificate: of the same name and key, so that what it signed stays valid, and its lists and answers with it.

use certctl_domain::time::Timestamp;
use certctl_domain::x509::Serial;
use der::{Decode as _, Encode as _};

use super::error::IssueError;
use super::issuing::IssuingCa;
use super::parts::times;
use super::validity::Validity;
use crate::certificate::Certificate;
use crate::signed::Signed;
use crate::signer::Signer;
use crate::tbs::{self, TbsCertificate};

impl IssuingCa {
    /// Makes a new certificate for a CA that this one signed, or for this one where it is a root. Name, key and extensions stay; serial
    /// number and validity change. What the renewed CA signed is valid below both of its certificates (RFC 5280 section 6.1 goes by name
    /// and key). The validity is cut to that of the CA above; a root has none above it.
    ///
    /// # Errors
    /// When the CA is of another issuer or key, cannot be read, or the signer fails; when this CA is expired and not its own root.
    pub async fn recertify(
        &self,
        ca: &Certificate,
        (validity, serial): (Validity, &Serial),
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<Certificate, IssueError> {
        let own = self.certificate();
        ca.verify_signed_by(own).map_err(|_| IssueError::NotOurs("another CA signed the one that is to be renewed"))?;
        let validity = if ca.der() == own.der() { validity } else { validity.clamped_to(self.check_alive(now)?)? };
        let old = Signed::from_der(ca.der())?.body()?;
        let mut tbs = TbsCertificate::from_der(&old).map_err(|_| IssueError::NotOurs("the CA that is to be renewed was made elsewhere"))?;
        tbs.serial = tbs::serial(serial)?;
        tbs.signature = signer.algorithm().to_any()?;
        tbs.validity = times(validity)?;
        self.sign_ca(&tbs.to_der()?, signer).await
    }
}
