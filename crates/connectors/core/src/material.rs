//! A certificate with its chain and its key, checked to belong together before anything is done with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::ConnectorError;
use crate::probe::{KeyKind, fingerprint};

/// What is deployed: leaf, chain and key. The key signs for the leaf, the chain is in order, the leaf is valid now.
#[derive(Debug, Clone)]
pub struct Material {
    chain: Vec<CertificateDer<'static>>,
    key_pem: Secret<String>,
    not_before: Timestamp,
}

impl Material {
    /// Reads certificates (leaf first) and the leaf's key from PEM and checks that they belong together.
    ///
    /// # Errors
    /// When a part is empty, unreadable, swapped with the other, mismatched, out of order or expired.
    pub fn parse(certificates_pem: &str, key_pem: &Secret<String>, now: Timestamp) -> Result<Self, ConnectorError> {
        let refuse = |why: &str| ConnectorError::permanent(format!("this certificate and key cannot be deployed: {why}"));
        let swapped = || {
            refuse("the certificate and the key are swapped, or both are in one text")
                .hint("pass the certificate chain and the private key as two separate PEM texts")
        };
        if certificates_pem.len() > MAX_PEM || key_pem.expose().len() > MAX_PEM {
            return Err(refuse("the PEM text is larger than 1 MiB"));
        }
        let mut chain = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(certificates_pem.as_bytes()) {
            match section.map_err(|e| refuse("the certificate's PEM cannot be read").caused_by(e))? {
                (SectionKind::Certificate, der) => chain.push(CertificateDer::from(der)),
                (SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _) => return Err(swapped()),
                _ => return Err(refuse("the certificate's PEM has something in it that is not a certificate")),
            }
        }
        let key_text = key_pem.expose();
        if key_text.contains("BEGIN CERTIFICATE") {
            return Err(swapped());
        }
        if key_text.contains("ENCRYPTED") {
            return Err(refuse("the private key is encrypted")
                .hint("store the key unencrypted with mode 0600, so that the service can start by itself"));
        }
        let Some(leaf) = chain.first() else {
            return Err(refuse("the certificate is empty").hint("expected one or more CERTIFICATE blocks in PEM"));
        };
        if key_text.trim().is_empty() {
            return Err(refuse("the private key is empty"));
        }
        // The PEM parser's errors do not repeat the text.
        let key =
            PrivateKeyDer::from_pem_slice(key_text.as_bytes()).map_err(|e| refuse("the private key's PEM cannot be read").caused_by(e))?;
        let signs = any_supported_type(&key).map_err(|_| refuse("the private key is not an RSA, ECDSA or Ed25519 key that can be used"))?;
        let spki = signs.public_key().ok_or_else(|| refuse("the private key has no public half that can be compared"))?;

        let parsed = parse_all(&chain).map_err(|why| refuse(&why))?;
        let Some(first) = parsed.first() else {
            return Err(refuse("the certificate is empty"));
        };
        if first.public_key().raw != spki.as_ref() {
            let elsewhere = parsed.iter().any(|c| c.public_key().raw == spki.as_ref());
            let hint = if elsewhere {
                "the key belongs to another certificate of the chain: put the leaf first"
            } else {
                "the key was made for another certificate: issue the certificate anew for this key"
            };
            return Err(refuse(&format!("the private key does not belong to the certificate {}", fingerprint(leaf))).hint(hint));
        }
        if parsed.windows(2).any(|pair| matches!(pair, [lower, upper] if lower.issuer().as_raw() != upper.subject().as_raw())) {
            return Err(refuse("the chain is out of order or has a gap").hint("each certificate must be followed by the one of its issuer"));
        }
        let instant = |at: x509_parser::time::ASN1Time| Timestamp::from_unix_seconds(at.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
        let (not_before, not_after) = (instant(first.validity().not_before), instant(first.validity().not_after));
        if not_after <= now {
            return Err(refuse(&format!("the certificate expired at {not_after} and it is {now} here"))
                .hint("renew it; if it is new, check this machine's clock"));
        }
        Ok(Self { key_pem: key_to_pem(&key)?, not_before, chain })
    }

    /// SHA-256 of the leaf.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.chain.first().map_or_else(|| Fingerprint::from_bytes(&[0; 32]), fingerprint)
    }

    /// SHA-256 of every certificate, leaf first.
    #[must_use]
    pub fn chain_fingerprints(&self) -> Vec<Fingerprint> {
        self.chain.iter().map(fingerprint).collect()
    }

    /// The kind of the leaf's key.
    #[must_use]
    pub fn key_kind(&self) -> Option<KeyKind> {
        self.chain.first().and_then(KeyKind::of)
    }

    /// When the leaf becomes valid.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The DNS names that the leaf is for (RFC 5280 section 4.2.1.6), wildcards included.
    #[must_use]
    pub fn dns_names(&self) -> Vec<String> {
        self.chain.first().map(dns_names).unwrap_or_default()
    }

    /// The leaf in PEM, lines ended by LF.
    #[must_use]
    pub fn leaf_pem(&self) -> String {
        self.chain.iter().take(1).map(certificate_to_pem).collect()
    }

    /// The certificates above the leaf in PEM; empty when there are none.
    #[must_use]
    pub fn intermediates_pem(&self) -> String {
        self.chain.iter().skip(1).map(certificate_to_pem).collect()
    }

    /// Leaf and intermediates in PEM, as most servers want them in one file.
    #[must_use]
    pub fn fullchain_pem(&self) -> String {
        self.chain.iter().map(certificate_to_pem).collect()
    }

    /// The key in PEM.
    #[must_use]
    pub const fn key_pem(&self) -> &Secret<String> {
        &self.key_pem
    }
}

/// The leaf's fingerprint in a PEM text that may hold other things too; `None` when there is no certificate in it.
#[must_use]
pub fn leaf_in(pem: &[u8]) -> Option<(Fingerprint, Option<KeyKind>)> {
    let leaf = CertificateDer::pem_slice_iter(pem).find_map(Result::ok)?;
    Some((fingerprint(&leaf), KeyKind::of(&leaf)))
}

/// The DNS names of the first certificate in a PEM text that may hold other things too; empty when there is none.
#[must_use]
pub fn dns_names_in(pem: &[u8]) -> Vec<String> {
    CertificateDer::pem_slice_iter(pem).find_map(Result::ok).map(|leaf| dns_names(&leaf)).unwrap_or_default()
}

const MAX_PEM: usize = 1024 * 1024;
const LINE: usize = 64;

fn parse_all<'a>(chain: &'a [CertificateDer<'static>]) -> Result<Vec<X509Certificate<'a>>, String> {
    let read = |(at, der): (usize, &'a CertificateDer<'static>)| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(format!("certificate {} of the chain has bytes behind its end", at + 1)),
        Err(error) => Err(format!("certificate {} of the chain cannot be read ({error})", at + 1)),
    };
    chain.iter().enumerate().map(read).collect()
}

fn dns_names(der: &CertificateDer<'_>) -> Vec<String> {
    let parsed = X509Certificate::from_der(der).ok();
    let names = parsed.as_ref().and_then(|(_, leaf)| leaf.subject_alternative_name().ok().flatten());
    let dns = |name: &GeneralName<'_>| if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None };
    names.map(|names| names.value.general_names.iter().filter_map(dns).collect()).unwrap_or_default()
}

fn certificate_to_pem(der: &CertificateDer<'_>) -> String {
    wrap("CERTIFICATE", der).to_string()
}

fn key_to_pem(key: &PrivateKeyDer<'_>) -> Result<Secret<String>, ConnectorError> {
    let label = match key {
        PrivateKeyDer::Pkcs8(_) => "PRIVATE KEY",
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => return Err(ConnectorError::permanent("the private key is in a format that cannot be written")),
    };
    Ok(Secret::new(std::mem::take(&mut *wrap(label, key.secret_der()))))
}

/// PEM (RFC 7468) in a buffer that is large enough from the start, so that no copy of a key is left behind by growing.
fn wrap(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / LINE + 2 * label.len() + 64));
    pem.extend(["-----BEGIN ", label, "-----\n"]);
    for line in base64.as_bytes().chunks(LINE) {
        pem.extend(line.iter().map(|b| char::from(*b)));
        pem.push('\n');
    }
    pem.extend(["-----END ", label, "-----\n"]);
    pem
}

#[cfg(test)]
mod tests;
