//! A leaf and the certificates above it, in the order in which servers send them.

use crate::certificate::{Certificate, CertificateError};
use crate::pem;

/// At least one certificate, leaf first. The order is as given; [`crate::lint::check_issued`] says whether it is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    leaf: Certificate,
    intermediates: Vec<Certificate>,
}

impl Chain {
    /// The most certificates that a chain may have.
    pub const MAX: usize = 20;

    /// A chain of these certificates.
    #[must_use]
    pub const fn new(leaf: Certificate, intermediates: Vec<Certificate>) -> Self {
        Self { leaf, intermediates }
    }

    /// Reads every certificate in the text, the leaf first; blocks of other kinds and text are passed over.
    ///
    /// # Errors
    /// When there is none, more than [`Chain::MAX`], or one cannot be read.
    pub fn parse_pem(text: &str) -> Result<Self, CertificateError> {
        let blocks = pem::blocks(text)?;
        let found: Vec<_> = blocks.iter().filter(|block| block.is_certificate()).collect();
        if found.len() > Self::MAX {
            return Err(CertificateError::TooMany { found: found.len(), limit: Self::MAX });
        }
        let mut certificates = found.into_iter().map(|block| Certificate::parse_der(block.der()));
        let leaf = certificates.next().ok_or(CertificateError::NoCertificate)??;
        Ok(Self { leaf, intermediates: certificates.collect::<Result<_, _>>()? })
    }

    /// The first certificate.
    #[must_use]
    pub const fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The certificates above the leaf.
    #[must_use]
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// Every certificate, leaf first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Certificate> {
        std::iter::once(&self.leaf).chain(&self.intermediates)
    }

    /// Each certificate beside the one above it.
    pub fn links(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        self.iter().zip(&self.intermediates)
    }

    /// All of them as PEM, leaf first: what a server's `fullchain` file holds.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.iter().map(Certificate::to_pem).collect()
    }

    /// The certificates above the leaf as PEM; empty when there are none.
    #[must_use]
    pub fn intermediates_pem(&self) -> String {
        self.intermediates.iter().map(Certificate::to_pem).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_leaf_first_and_passes_over_other_blocks() {
        let made: Vec<_> = ["a.test", "b.test", "c.test"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()).into();
        let text =
            format!("{}{}words\n{}{}", made[0].cert.pem(), made[0].signing_key.serialize_pem(), made[1].cert.pem(), made[2].cert.pem());
        let chain = Chain::parse_pem(&text).unwrap();
        assert_eq!(chain.leaf().der(), made[0].cert.der().as_ref());
        assert_eq!(chain.iter().count(), 3);
        assert_eq!(chain.links().count(), 2);
        assert_eq!(chain.to_pem(), format!("{}{}", chain.leaf().to_pem(), chain.intermediates_pem()));
        assert_eq!(Chain::parse_pem(&chain.to_pem()).unwrap(), chain);
    }

    #[test]
    fn refuses_none_and_too_many() {
        assert!(matches!(Chain::parse_pem("nothing"), Err(CertificateError::NoCertificate)));
        let one = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap().cert.pem();
        assert!(matches!(Chain::parse_pem(&one.repeat(21)), Err(CertificateError::TooMany { found: 21, .. })));
    }
}
