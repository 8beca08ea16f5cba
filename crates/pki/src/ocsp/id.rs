//! Which certificate is asked about: hashes of its issuer, and its serial number (RFC 6960 section 4.1.1).

use aws_lc_rs::digest::{self, Algorithm};
use certctl_domain::x509::Serial;
use const_oid::db::rfc5912;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Encode as _, Sequence, Tag, Tagged as _};

use crate::certificate::Certificate;
use crate::tlv;

/// Which certificate is asked about. Kept as it came, because it is sent back as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertId {
    der: Vec<u8>,
    hash: Option<Hash>,
    name_hash: Vec<u8>,
    key_hash: Vec<u8>,
    serial: Option<Serial>,
}

/// The name and the key of a CA, as requests name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerHashes(Vec<(Hash, [Vec<u8>; 2])>);

/// The hashes that a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl CertId {
    /// For a CA and a serial number, with SHA-1, which every client reads.
    ///
    /// # Errors
    /// Never for a serial number of usual length.
    pub fn new(issuer: &IssuerHashes, serial: &Serial) -> der::Result<Self> {
        let hash = Hash::Sha1;
        let [name_hash, key_hash] = issuer.by(hash).cloned().unwrap_or_default();
        let algorithm = tlv::sequence(&[&hash.oid().to_der()?, &[5, 0]]);
        let der = tlv::sequence(&[
            &algorithm,
            &tlv::value(tlv::OCTET_STRING, &name_hash),
            &tlv::value(tlv::OCTET_STRING, &key_hash),
            &tlv::value(tlv::INTEGER, &serial.to_der_bytes()),
        ]);
        Ok(Self { der, hash: Some(hash), name_hash, key_hash, serial: Some(serial.clone()) })
    }

    /// The DER, as it came.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The serial number; `None` for one that no certificate has, such as zero.
    #[must_use]
    pub const fn serial(&self) -> Option<&Serial> {
        self.serial.as_ref()
    }

    /// Whether the CA is meant. With a hash that we do not know, none is.
    #[must_use]
    pub fn is_of(&self, issuer: &IssuerHashes) -> bool {
        let hashes = self.hash.and_then(|hash| issuer.by(hash));
        hashes.is_some_and(|[name, key]| *name == self.name_hash && *key == self.key_hash)
    }

    pub(super) fn read(any: AnyRef<'_>) -> der::Result<Self> {
        let id: Wire<'_> = any.decode_as()?;
        if id.serial.tag() != Tag::Integer || id.serial.value().len() > LONGEST_SERIAL {
            return Err(Tag::Integer.value_error().into());
        }
        Ok(Self {
            der: any.to_der()?,
            hash: Hash::ALL.into_iter().find(|hash| hash.oid() == id.algorithm.oid),
            name_hash: id.name_hash.as_bytes().to_vec(),
            key_hash: id.key_hash.as_bytes().to_vec(),
            // Some clients send the octets without the one that keeps the number positive, or with more of them.
            serial: Serial::parse(&hex::encode(id.serial.value())).ok(),
        })
    }
}

impl IssuerHashes {
    /// Of a CA.
    #[must_use]
    pub fn of(ca: &Certificate) -> Self {
        let hash = |with: Hash, what: &[u8]| digest::digest(with.algorithm(), what).as_ref().to_vec();
        Self(Hash::ALL.map(|with| (with, [hash(with, ca.subject_der()), hash(with, ca.public_key().bits())])).into())
    }

    /// SHA-1 of the key, by which responders name themselves.
    pub(super) fn key_sha1(&self) -> &[u8] {
        self.by(Hash::Sha1).map_or(&[], |[_, key]| key)
    }

    fn by(&self, hash: Hash) -> Option<&[Vec<u8>; 2]> {
        self.0.iter().find(|(with, _)| *with == hash).map(|(_, hashes)| hashes)
    }
}

impl Hash {
    const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => rfc5912::ID_SHA_1,
            Self::Sha256 => rfc5912::ID_SHA_256,
            Self::Sha384 => rfc5912::ID_SHA_384,
            Self::Sha512 => rfc5912::ID_SHA_512,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            // Names a CA; protects nothing.
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

#[derive(Sequence)]
struct Wire<'a> {
    algorithm: AlgorithmOnly<'a>,
    name_hash: &'a OctetStringRef,
    key_hash: &'a OctetStringRef,
    serial: AnyRef<'a>,
}

#[derive(Sequence)]
struct AlgorithmOnly<'a> {
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'a>>,
}

/// Longer than what any CA gives out, and short enough to be kept.
const LONGEST_SERIAL: usize = 64;
