//! A certificate chain and its private key, read from two PEM files and checked to belong together.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use certctl_domain::time::Timestamp;
use certctl_domain::x509::Fingerprint;
use certctl_pki::certificate::{Certificate, CertificateError};
use certctl_pki::pem::{self, Block, PemError};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::PairFiles;

/// A chain and the key that belongs to its leaf.
pub(super) struct Pair {
    leaf: Certificate,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Pair {
    pub(super) fn read(files: &PairFiles) -> Result<Self, PairError> {
        let cert_blocks = blocks(&files.cert)?;
        let key_blocks = blocks(&files.key)?;
        let chain: Vec<CertificateDer<'static>> =
            cert_blocks.iter().filter(|block| block.is_certificate()).map(|block| CertificateDer::from(block.der().to_vec())).collect();
        let Some(first) = chain.first() else {
            let swapped = cert_blocks.iter().any(Block::is_private_key) && key_blocks.iter().any(Block::is_certificate);
            let path = files.cert.clone();
            return Err(if swapped {
                PairError::Swapped { cert: path, key: files.key.clone() }
            } else {
                PairError::NoCertificate { path }
            });
        };
        let leaf = Certificate::parse_der(first).map_err(|source| PairError::BadCertificate { path: files.cert.clone(), source })?;
        let key = private_key(&key_blocks, &files.key)?;
        let pair = Self { leaf, chain, key };
        pair.belongs_together(files)?;
        Ok(pair)
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// A copy of the key, for the TLS library to own.
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    pub(super) const fn fingerprint(&self) -> &Fingerprint {
        self.leaf.fingerprint()
    }

    pub(super) const fn not_before(&self) -> Timestamp {
        self.leaf.not_before()
    }

    pub(super) const fn not_after(&self) -> Timestamp {
        self.leaf.not_after()
    }

    pub(super) fn is_valid_at(&self, now: Timestamp) -> bool {
        self.leaf.is_valid_at(now)
    }

    pub(super) fn is_same_chain(&self, other: &Self) -> bool {
        self.chain == other.chain
    }

    fn belongs_together(&self, files: &PairFiles) -> Result<(), PairError> {
        let checked = CertifiedKey::from_der(self.chain(), self.key.clone_key(), &aws_lc_rs::default_provider());
        match checked {
            Ok(_) => Ok(()),
            Err(rustls::Error::InconsistentKeys(_)) => Err(PairError::Mismatch { cert: files.cert.clone(), key: files.key.clone() }),
            Err(source) => Err(PairError::BadKey { path: files.key.clone(), source }),
        }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("fingerprint", self.fingerprint()).finish_non_exhaustive()
    }
}

/// Why two files are not a certificate and its key.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file has a broken PEM block.
    #[error("{} is not good PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PemError,
    },
    /// There is no certificate where one should be.
    #[error("there is no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The files were named the wrong way round.
    #[error("{} holds a private key and {} a certificate: they are swapped", cert.display(), key.display())]
    Swapped {
        /// Named as the certificate.
        cert: PathBuf,
        /// Named as the key.
        key: PathBuf,
    },
    /// The leaf cannot be understood.
    #[error("the first certificate in {} cannot be read", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CertificateError,
    },
    /// There is no private key where one should be.
    #[error("there is no private key in {}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is under a password, and nobody is there to type it.
    #[error("the private key in {} is encrypted", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key cannot be used for TLS.
    #[error("the private key in {} cannot be used", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The key is that of another certificate.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

impl PairError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable { .. } => Some("the file must exist and be readable for the user that the server runs as"),
            Self::Pem { .. } | Self::BadCertificate { .. } | Self::BadKey { .. } => None,
            Self::NoCertificate { .. } => {
                Some("put the leaf first, then its intermediates, each between BEGIN CERTIFICATE and END CERTIFICATE")
            }
            Self::Swapped { .. } => Some("exchange tls.cert_file and tls.key_file"),
            Self::NoKey { .. } => Some("the file must hold a PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY"),
            Self::EncryptedKey { .. } => {
                Some("decrypt it with `openssl pkey -in KEY -out NEWKEY` and keep the new file readable for the server only")
            }
            Self::Mismatch { .. } => Some(
                "if the leaf is not the first certificate in its file, put it first; if only one of two files was replaced, replace the other",
            ),
        }
    }
}

fn private_key(blocks: &[Block], path: &Path) -> Result<PrivateKeyDer<'static>, PairError> {
    let block = blocks.iter().find(|block| block.is_private_key()).ok_or_else(|| PairError::NoKey { path: path.to_owned() })?;
    if block.is_encrypted() {
        return Err(PairError::EncryptedKey { path: path.to_owned() });
    }
    PrivateKeyDer::try_from(block.der().to_vec())
        .map_err(|why| PairError::BadKey { path: path.to_owned(), source: rustls::Error::General(why.to_owned()) })
}

fn blocks(path: &Path) -> Result<Vec<Block>, PairError> {
    let unreadable = |source| PairError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)).map_err(unreadable)?;
    pem::blocks(&text).map_err(|source| PairError::Pem { path: path.to_owned(), source })
}

/// More than any chain; a slip such as a device file must not fill the memory. The PEM reader refuses more than 1 MiB by itself.
const MAX_FILE: u64 = 2 << 20;
