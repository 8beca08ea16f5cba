//! The entries of a list, in DER as they come.

use certctl_domain::time::Timestamp;
use certctl_domain::x509::{RevocationReason, Serial};
use der::Encode as _;

use crate::{tbs, tlv};

/// One revoked certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its serial number.
    pub serial: Serial,
    /// Since when.
    pub revoked_at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// The entries of a list that is to be.
#[derive(Debug, Default)]
pub struct Entries {
    der: Vec<u8>,
    count: usize,
    newest: Option<Timestamp>,
}

impl Entries {
    /// Appends one.
    ///
    /// # Errors
    /// When its time cannot be written, as one before 1970.
    pub fn push(&mut self, entry: &Entry) -> Result<(), der::Error> {
        let mut time = [0; 32];
        let time = tbs::time(entry.revoked_at)?.encode_to_slice(&mut time)?;
        let serial = entry.serial.to_der_bytes();
        let extensions = extensions(entry.reason);
        let extensions = extensions.as_ref().map_or(&[][..], |extensions| extensions);
        // A serial number has at most 40 octets, so its length has one.
        let length = 2 + serial.len() + time.len() + extensions.len();
        tlv::head(&mut self.der, tlv::SEQUENCE, length);
        tlv::put(&mut self.der, tlv::INTEGER, &serial);
        self.der.extend_from_slice(time);
        self.der.extend_from_slice(extensions);
        self.count += 1;
        self.newest = self.newest.max(Some(entry.revoked_at.whole_seconds()));
        Ok(())
    }

    /// The latest revocation among them, in whole seconds as it is written.
    #[must_use]
    pub const fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// The reason code, which RFC 5280 section 5.3.1 wants left out where there is none.
fn extensions(reason: RevocationReason) -> Option<[u8; 14]> {
    const OID: [u8; 3] = [0x55, 0x1d, 0x15];
    let [a, b, c] = OID;
    let reason_code = match reason {
        RevocationReason::Unspecified => return None,
        other => other.code(),
    };
    Some([tlv::SEQUENCE, 12, tlv::SEQUENCE, 10, 0x06, 3, a, b, c, tlv::OCTET_STRING, 3, tlv::ENUMERATED, 1, reason_code])
}
