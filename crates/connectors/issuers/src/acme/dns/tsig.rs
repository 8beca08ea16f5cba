//! Signed DNS messages (RFC 8945), with hmac-sha256.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certctl_connector_core::ConnectorError;
use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;
use zeroize::Zeroizing;

use super::message::{ANY, Data, Reading, Reply, TSIG, Writing, code_name};

/// A key that a name server knows.
pub(super) struct Key {
    name: String,
    key: hmac::Key,
}

impl Key {
    /// Reads a key in base64.
    pub(super) fn parse(name: &str, key: &Secret<String>) -> Result<Self, ConnectorError> {
        let bytes = STANDARD.decode(key.expose().trim()).map(Zeroizing::new).ok().filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| {
            ConnectorError::permanent("rfc2136_key is not base64").hint("give the `secret` of the key as `tsig-keygen` writes it")
        })?;
        Writing::default().name(name)?;
        Ok(Self { name: name.trim_end_matches('.').to_ascii_lowercase(), key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// Signs a message in place; gives the MAC, which the answer is signed over too.
    pub(super) fn sign(&self, message: &mut Vec<u8>, now: Timestamp) -> Result<Vec<u8>, ConnectorError> {
        let time = u64::try_from(now.unix_seconds()).unwrap_or_default();
        let variables = self.variables(time, FUDGE, &[0, 0, 0, 0])?;
        let mac = hmac::sign(&self.key, &[message.as_slice(), &variables].concat()).as_ref().to_vec();
        let id = message.get(..2).unwrap_or_default().to_vec();
        let mut data = Writing::default();
        data.name(ALGORITHM)?.bytes(&six_bytes(time)).u16(FUDGE).u16(32).bytes(&mac).bytes(&id).u16(0).u16(0);
        let length = u16::try_from(data.0.len()).unwrap_or(u16::MAX);
        let mut record = Writing::default();
        record.name(&self.name)?.u16(TSIG).u16(ANY).u32(0).u16(length).bytes(&data.0);
        message.extend(record.0);
        // One more record in the additional section.
        if let Some(count) = message.get_mut(10..12) {
            let more = u16::from_be_bytes([count.first().copied().unwrap_or(0), count.last().copied().unwrap_or(0)]).saturating_add(1);
            count.copy_from_slice(&more.to_be_bytes());
        }
        Ok(mac)
    }

    /// Checks that an answer to a message with this MAC comes from who holds the key (RFC 8945 section 5.3).
    pub(super) fn verify(&self, reply: &Reply, bytes: &[u8], request_mac: &[u8]) -> Result<(), ConnectorError> {
        let refuse = |why: String| ConnectorError::authentication(format!("the name server's answer cannot be trusted: {why}"));
        let last = reply.additional.last().filter(|record| record.kind == TSIG);
        let Some((record, Data::Raw(data))) = last.map(|record| (record, &record.data)) else {
            return Err(refuse(format!("it is not signed ({})", code_name(u16::from(reply.code)))).hint(HINT));
        };
        let signed = Signed::parse(data).ok_or_else(|| refuse("its signature is broken".to_owned()))?;
        if signed.error != 0 {
            return Err(refuse(code_name(signed.error)).hint(HINT));
        }
        let mut before = bytes.get(..record.start).unwrap_or_default().to_vec();
        // The message as it was before it was signed: its own number, one record less.
        if let Some(head) = before.get_mut(..2) {
            head.copy_from_slice(&signed.original_id);
        }
        let count = u16::try_from(reply.additional.len().saturating_sub(1)).unwrap_or_default();
        if let Some(field) = before.get_mut(10..12) {
            field.copy_from_slice(&count.to_be_bytes());
        }
        let variables = self.variables(signed.time, signed.fudge, &signed.tail)?;
        let request_length = u16::try_from(request_mac.len()).unwrap_or_default().to_be_bytes();
        let covered = [&request_length, request_mac, &before, &variables].concat();
        hmac::verify(&self.key, &covered, &signed.mac).map_err(|_| refuse("its signature is wrong".to_owned()).hint(HINT))
    }

    /// What is signed beside the message (RFC 8945 section 4.3.3); `tail` is error, length of other data, other data.
    fn variables(&self, time: u64, fudge: u16, tail: &[u8]) -> Result<Vec<u8>, ConnectorError> {
        let mut variables = Writing::default();
        variables.name(&self.name)?.u16(ANY).u32(0).name(ALGORITHM)?.bytes(&six_bytes(time)).u16(fudge).bytes(tail);
        Ok(variables.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, [redacted])", self.name)
    }
}

struct Signed {
    time: u64,
    fudge: u16,
    mac: Vec<u8>,
    original_id: [u8; 2],
    error: u16,
    tail: Vec<u8>,
}

impl Signed {
    fn parse(data: &[u8]) -> Option<Self> {
        let mut at = Reading { bytes: data, at: 0 };
        if at.name()? != ALGORITHM {
            return None;
        }
        let time = at.take(6)?.iter().fold(0, |time, byte| (time << 8) | u64::from(*byte));
        let fudge = at.u16()?;
        let length = usize::from(at.u16()?);
        let mac = at.take(length)?.to_vec();
        let original_id = at.take(2)?.try_into().ok()?;
        let tail = data.get(at.at..)?.to_vec();
        let error = at.u16()?;
        Some(Self { time, fudge, mac, original_id, error, tail })
    }
}

fn six_bytes(time: u64) -> Vec<u8> {
    time.to_be_bytes().into_iter().skip(2).collect()
}

const ALGORITHM: &str = "hmac-sha256";
/// Seconds that the clocks may differ.
const FUDGE: u16 = 300;
const HINT: &str = "look whether name, key and algorithm (hmac-sha256) are the same at the name server, and whether the clocks agree";
