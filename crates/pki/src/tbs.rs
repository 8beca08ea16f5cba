//! The to-be-signed part of a certificate (RFC 5280 section 4.1), strict: what we write, and what a lint of ours accepts.

use certctl_domain::time::Timestamp;
use certctl_domain::x509::Serial;
use const_oid::AssociatedOid;
use der::asn1::{Any, ObjectIdentifier, OctetString};
use der::{DateTime, Encode, Sequence, Tag};
use x509_cert::ext::Extension;
use x509_cert::time::Time;

/// `TBSCertificate` of version 3, without the unique identifiers that RFC 5280 forbids. Names stay bytes: an issuer must be
/// written exactly as it stands in the CA's own certificate.
#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
pub(crate) struct TbsCertificate {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(crate) version: u8,
    pub(crate) serial: Any,
    pub(crate) signature: Any,
    pub(crate) issuer: Any,
    pub(crate) validity: Times,
    pub(crate) subject: Any,
    pub(crate) public_key: Any,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    pub(crate) extensions: Vec<Extension>,
}

/// `Validity`, with each time in the encoding in which it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Sequence)]
pub(crate) struct Times {
    pub(crate) not_before: Time,
    pub(crate) not_after: Time,
}

/// Version 3.
pub(crate) const V3: u8 = 2;

/// The INTEGER of a serial number.
pub(crate) fn serial(serial: &Serial) -> der::Result<Any> {
    Any::new(Tag::Integer, serial.to_der_bytes())
}

/// `UTCTime` through 2049, `GeneralizedTime` from 2050 (RFC 5280 section 4.1.2.5); whole seconds.
pub(crate) fn time(at: Timestamp) -> der::Result<Time> {
    let seconds = u64::try_from(at.unix_seconds()).map_err(|_| der::Error::from(der::ErrorKind::DateTime))?;
    Ok(DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))?.into())
}

/// Extensions in the order in which they are added.
#[derive(Debug, Default)]
pub(crate) struct Extensions(Vec<Extension>);

impl Extensions {
    /// Adds one that a reader may ignore.
    pub(crate) fn plain<T: AssociatedOid + Encode>(&mut self, extension: &T) -> der::Result<()> {
        self.plain_raw(T::OID, &extension.to_der()?)
    }

    /// Adds one that a reader must understand.
    pub(crate) fn critical<T: AssociatedOid + Encode>(&mut self, extension: &T) -> der::Result<()> {
        self.critical_raw(T::OID, &extension.to_der()?)
    }

    /// Adds one that a reader may ignore, by the DER of its value.
    pub(crate) fn plain_raw(&mut self, extn_id: ObjectIdentifier, value: &[u8]) -> der::Result<()> {
        self.0.push(Extension { extn_id, critical: false, extn_value: OctetString::new(value)? });
        Ok(())
    }

    /// Adds one that a reader must understand, by the DER of its value.
    pub(crate) fn critical_raw(&mut self, extn_id: ObjectIdentifier, value: &[u8]) -> der::Result<()> {
        self.0.push(Extension { extn_id, critical: true, extn_value: OctetString::new(value)? });
        Ok(())
    }

    pub(crate) fn into_vec(self) -> Vec<Extension> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_changes_its_encoding_with_the_year_2050() {
        let encoded = |text: &str| time(text.parse().unwrap()).unwrap().to_der().unwrap();
        assert_eq!(encoded("2049-12-31T23:59:59.999999Z"), b"\x17\x0d491231235959Z");
        assert_eq!(encoded("2050-01-01T00:00:00Z"), b"\x18\x0f20500101000000Z");
        assert!(time("1969-12-31T23:59:59Z".parse().unwrap()).is_err());
    }

    #[test]
    fn serials_are_written_as_they_are_kept() {
        let encoded = |text| serial(&Serial::parse(text).unwrap()).unwrap().to_der().unwrap();
        assert_eq!(encoded("7f"), [2, 1, 0x7f]);
        assert_eq!(encoded("80"), [2, 2, 0, 0x80]);
    }
}
