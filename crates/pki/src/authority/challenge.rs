//! The certificate that proves a name to an ACME CA in a TLS handshake (RFC 8737 section 3).

use aws_lc_rs::digest::{SHA256, digest};
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{KeyAlgorithm, San, SanSet, Serial};
use const_oid::db::rfc5280;
use der::asn1::{Any, OctetString};
use der::{Decode as _, Encode as _};
use time::Duration;

use super::error::IssueError;
use super::parts::times;
use super::validity::Validity;
use crate::certificate::Certificate;
use crate::dn::Subject;
use crate::key::PrivateKey;
use crate::signed::Signed;
use crate::tbs::{self, Extensions, TbsCertificate, V3};
use crate::{names, oids};

/// Makes a self-signed certificate for one name with the SHA-256 of the key authorization in it, and its key.
///
/// # Errors
/// When the name cannot be encoded, or no key can be made.
pub fn challenge_certificate(
    name: &San,
    key_authorization: &str,
    serial: &Serial,
    now: Timestamp,
) -> Result<(Certificate, PrivateKey), IssueError> {
    let digest = digest(&SHA256, key_authorization.as_bytes());
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    let subject = Subject::with_common_name("ACME challenge")?.to_any()?;
    let mut extensions = Extensions::default();
    let names = SanSet::new([name.clone()]).map_err(IssueError::Names)?;
    extensions.plain_raw(rfc5280::ID_CE_SUBJECT_ALT_NAME, &names::encode_all(&names)?)?;
    extensions.critical_raw(oids::ACME_IDENTIFIER, &OctetString::new(digest.as_ref())?.to_der()?)?;
    let tbs = TbsCertificate {
        version: V3,
        serial: tbs::serial(serial)?,
        signature: key.signature_algorithm().to_any()?,
        issuer: subject.clone(),
        validity: times(Validity::starting(now, Duration::DAY, Duration::HOUR)?)?,
        subject,
        public_key: Any::from_der(key.spki())?,
        extensions: extensions.into_vec(),
    };
    let body = tbs.to_der()?;
    let der = Signed::assemble(&body, key.signature_algorithm(), &key.sign(&body)?)?;
    Ok((Certificate::parse_der(&der).map_err(|error| IssueError::Unreadable(Box::new(error)))?, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_one_name_and_the_digest_and_the_digest_is_critical() {
        let now: Timestamp = "2027-03-01T12:00:00Z".parse().unwrap();
        for name in ["web.example.test", "192.0.2.1"] {
            let name = San::parse(name).unwrap();
            let (certificate, key) = challenge_certificate(&name, "token.thumbprint", &Serial::parse("1f").unwrap(), now).unwrap();
            assert_eq!((certificate.sans(), certificate.spki()), ([name].as_slice(), key.spki()));
            let digest = [[4, 32].as_slice(), digest(&SHA256, b"token.thumbprint").as_ref()].concat();
            let found = certificate.der().windows(digest.len()).position(|window| window == digest);
            // OBJECT IDENTIFIER 1.3.6.1.5.5.7.1.31, critical TRUE, OCTET STRING.
            let before = certificate.der().get(..found.unwrap()).unwrap();
            assert!(before.ends_with(&[6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34]), "{before:02x?}");
        }
    }
}
