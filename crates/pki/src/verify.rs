//! Whether others would believe a chain (path building by webpki, as rustls clients do it), and whether a key and a certificate pair.

use std::time::Duration;

use certctl_domain::time::Timestamp;
use certctl_domain::x509::San;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::certificate::{Certificate, CertificateError};
use crate::chain::Chain;
use crate::key::{KeyError, PrivateKey};

/// What a relying party would use the leaf for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To trust a TLS server.
    Server,
    /// To trust a TLS client.
    Client,
}

/// Verifies that a path leads from the leaf to one of the roots at the instant, and that the leaf is good for the purpose.
///
/// # Errors
/// Says what a client would object to.
pub fn verify_chain(chain: &Chain, roots: &[Certificate], at: Timestamp, purpose: Purpose) -> Result<(), VerifyError> {
    let roots: Vec<CertificateDer<'_>> = roots.iter().map(to_pki_type).collect();
    let anchors: Vec<TrustAnchor<'_>> = roots.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
    if anchors.is_empty() {
        return Err(VerifyError::NoRoots);
    }
    let intermediates: Vec<CertificateDer<'_>> = chain.intermediates().iter().map(to_pki_type).collect();
    let leaf = to_pki_type(chain.leaf());
    let seconds = u64::try_from(at.unix_seconds()).map_err(|_| VerifyError::Time)?;
    let usage = match purpose {
        Purpose::Server => KeyUsage::server_auth(),
        Purpose::Client => KeyUsage::client_auth(),
    };
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    EndEntityCert::try_from(&leaf)?.verify_for_usage(algorithms, &anchors, &intermediates, time, usage, None, None)?;
    Ok(())
}

/// Verifies that the certificate is for the name: wildcards match as TLS clients match them; e-mail addresses and URIs exactly.
///
/// # Errors
/// When it is for other names.
pub fn verify_name(leaf: &Certificate, name: &San) -> Result<(), VerifyError> {
    let other = || VerifyError::OtherName(name.to_string());
    let server = match name {
        San::Ip(address) => ServerName::IpAddress((*address).into()),
        San::Dns(dns) if !dns.is_wildcard() => ServerName::try_from(dns.as_str()).map_err(|_| other())?,
        // A wildcard, an address or a URI is nobody's host: it must stand in the certificate as it is.
        San::Dns(_) | San::Email(_) | San::Uri(_) => return if leaf.sans().contains(name) { Ok(()) } else { Err(other()) },
    };
    let der = to_pki_type(leaf);
    EndEntityCert::try_from(&der)?.verify_is_valid_for_subject_name(&server).map_err(|_| other())
}

/// Checks that the first certificate of the one text is for the private key in the other; the two may be one text.
///
/// # Errors
/// When one of them cannot be read, or they do not belong together.
pub fn pair_matches(certificate_pem: &str, key_pem: &str) -> Result<(), PairError> {
    let certificate = Certificate::parse_pem(certificate_pem)?;
    let key = PrivateKey::from_pem(key_pem)?;
    if certificate.public_key() == key.public_key() {
        Ok(())
    } else {
        Err(PairError::Mismatch { subject: certificate.subject().to_owned() })
    }
}

/// A chain that clients would refuse.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// None of the roots can be used.
    #[error("there is no root certificate to verify against")]
    NoRoots,
    /// An instant before 1970.
    #[error("the time of verification is before 1970")]
    Time,
    /// What webpki says.
    #[error("clients would refuse the certificate: {0}")]
    Path(#[from] webpki::Error),
    /// The certificate is for other names.
    #[error("the certificate is not for `{0}`")]
    OtherName(String),
}

/// A key and a certificate that do not pair.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The certificate cannot be read.
    #[error("the certificate of the pair cannot be used")]
    Certificate(#[from] CertificateError),
    /// The key cannot be read.
    #[error("the key of the pair cannot be used")]
    Key(#[from] KeyError),
    /// Each is good, but not for the other.
    #[error("the private key does not belong to the certificate `{subject}`")]
    Mismatch {
        /// Subject of the certificate.
        subject: String,
    },
}

fn to_pki_type(certificate: &Certificate) -> CertificateDer<'_> {
    CertificateDer::from(certificate.der())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_strangers() {
        let [one, two] = [(), ()].map(|()| rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap());
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        pair_matches(&certificate, &key).unwrap();
        let both = format!("{key}{certificate}");
        pair_matches(&both, &both).unwrap();

        assert!(matches!(pair_matches(&certificate, &two.signing_key.serialize_pem()), Err(PairError::Mismatch { .. })));
        assert!(matches!(pair_matches(&key, &certificate), Err(PairError::Certificate(CertificateError::NoCertificate))));
        assert!(matches!(pair_matches(&certificate, &certificate), Err(PairError::Key(KeyError::NoKey))));
    }

    #[test]
    fn names_match_as_clients_match_them() {
        let names = ["*.web.test".to_owned(), "10.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let leaf = Certificate::parse_der(made.cert.der()).unwrap();
        for (name, matches) in [
            ("a.web.test", true),
            ("*.web.test", true),
            ("web.test", false),
            ("a.b.web.test", false),
            ("10.0.0.1", true),
            ("10.0.0.2", false),
            ("a@web.test", false),
        ] {
            assert_eq!(verify_name(&leaf, &San::parse(name).unwrap()).is_ok(), matches, "{name}");
        }
    }

    #[test]
    fn a_root_is_needed() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let chain = Chain::parse_pem(&made.cert.pem()).unwrap();
        let at = chain.leaf().not_before();
        assert!(matches!(verify_chain(&chain, &[], at, Purpose::Server), Err(VerifyError::NoRoots)));
        let before = "1969-01-01T00:00:00Z".parse().unwrap();
        assert!(matches!(verify_chain(&chain, &[chain.leaf().clone()], before, Purpose::Server), Err(VerifyError::Time)));
    }
}
