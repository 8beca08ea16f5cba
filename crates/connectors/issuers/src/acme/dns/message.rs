//! DNS messages (RFC 1035 section 4), as much as TXT records, zone cuts and updates need.

use certctl_connector_core::ConnectorError;

/// Types of records.
pub(super) const NS: u16 = 2;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const TXT: u16 = 16;
pub(super) const TSIG: u16 = 250;
pub(super) const IN: u16 = 1;
pub(super) const NONE: u16 = 254;
pub(super) const ANY: u16 = 255;

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Writing(pub(super) Vec<u8>);

/// A message that was read.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) truncated: bool,
    pub(super) authoritative: bool,
    /// Response code; for updates and TSIG the extended ones are elsewhere.
    pub(super) code: u8,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
    pub(super) additional: Vec<Record>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its name, in lower case, without the last dot.
    pub(super) name: String,
    pub(super) kind: u16,
    pub(super) data: Data,
    /// Where in the message it begins.
    pub(super) start: usize,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// TXT: the strings joined.
    Text(String),
    /// CNAME, NS: a name.
    Name(String),
    /// Everything else, as it is.
    Raw(Vec<u8>),
}

impl Writing {
    /// The header. `flags` holds opcode and RD; `counts` are question (zone), answer (prerequisite), authority (update), additional.
    pub(super) fn begin(id: u16, flags: u16, counts: [u16; 4]) -> Self {
        let mut message = Self::default();
        message.u16(id).u16(flags);
        for count in counts {
            message.u16(count);
        }
        message
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    /// A name, in lower case and not compressed.
    pub(super) fn name(&mut self, name: &str) -> Result<&mut Self, ConnectorError> {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        let start = self.0.len();
        for label in plain.split('.').filter(|_| !plain.is_empty()) {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
            self.0.push(length.ok_or_else(|| ConnectorError::permanent(format!("`{name}` is not a DNS name")))?);
            self.0.extend(label.as_bytes());
        }
        self.0.push(0);
        if self.0.len() - start > 255 {
            return Err(ConnectorError::permanent(format!("`{name}` is too long for a DNS name")));
        }
        Ok(self)
    }

    /// A question; in an update, the zone.
    pub(super) fn question(&mut self, name: &str, kind: u16) -> Result<&mut Self, ConnectorError> {
        Ok(self.name(name)?.u16(kind).u16(IN))
    }

    /// The data of a TXT record with its length: strings of at most 255 bytes.
    pub(super) fn text(&mut self, text: &str) -> Result<&mut Self, ConnectorError> {
        let mut data = Vec::with_capacity(text.len() + 1);
        for part in text.as_bytes().chunks(255) {
            data.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            data.extend(part);
        }
        let length = u16::try_from(data.len()).map_err(|_| ConnectorError::permanent("a text is too long for a TXT record"))?;
        Ok(self.u16(length).bytes(&data))
    }
}

impl Reply {
    /// Reads a message that answers the one with this id. `None` when it is broken or answers another.
    pub(super) fn parse(bytes: &[u8], id: u16) -> Option<Self> {
        let mut at = Reading { bytes, at: 0 };
        if at.u16()? != id {
            return None;
        }
        let flags = at.u16()?;
        if flags & 0x8000 == 0 {
            return None;
        }
        let counts = [at.u16()?, at.u16()?, at.u16()?, at.u16()?];
        let [questions, answers, authority, additional] = counts;
        for _ in 0..questions {
            at.name()?;
            at.skip(4)?;
        }
        let mut section = |count: u16| (0..count).map(|_| at.record()).collect::<Option<Vec<_>>>();
        let (answers, authority, additional) = (section(answers)?, section(authority)?, section(additional)?);
        Some(Self {
            truncated: flags & 0x0200 != 0,
            authoritative: flags & 0x0400 != 0,
            code: (flags & 0x000f) as u8,
            answers,
            authority,
            additional,
        })
    }
}

/// A response code for people.
pub(super) fn code_name(code: u16) -> String {
    match code {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        9 => "NOTAUTH".to_owned(),
        10 => "NOTZONE".to_owned(),
        16 => "BADSIG".to_owned(),
        17 => "BADKEY".to_owned(),
        18 => "BADTIME".to_owned(),
        other => format!("code {other}"),
    }
}

/// A place in a message that is being read.
pub(super) struct Reading<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(drop)
    }

    /// A name; its pointers (RFC 1035 section 4.1.4) may only lead backwards, so that it ends.
    pub(super) fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let (mut at, mut behind, mut limit) = (self.at, None, self.at);
        loop {
            let length = usize::from(*self.bytes.get(at)?);
            match length {
                0 => {
                    self.at = behind.unwrap_or(at + 1);
                    return Some(name);
                }
                1..=63 => {
                    let label = self.bytes.get(at + 1..at + 1 + length)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
                    if name.len() > 1_024 {
                        return None;
                    }
                    at += 1 + length;
                }
                192.. => {
                    let target = ((length & 0x3f) << 8) | usize::from(*self.bytes.get(at + 1)?);
                    behind.get_or_insert(at + 2);
                    if target >= limit {
                        return None;
                    }
                    (at, limit) = (target, target);
                }
                _ => return None,
            }
        }
    }

    fn record(&mut self) -> Option<Record> {
        let start = self.at;
        let name = self.name()?;
        let kind = self.u16()?;
        self.skip(6)?;
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length)?;
        let raw = self.bytes.get(self.at..end)?;
        let data = match kind {
            TXT => {
                let mut text = Vec::new();
                let mut strings = Reading { bytes: raw, at: 0 };
                while strings.at < raw.len() {
                    let length = usize::from(*strings.take(1)?.first()?);
                    text.extend(strings.take(length)?);
                }
                Data::Text(String::from_utf8_lossy(&text).into_owned())
            }
            CNAME | NS => Data::Name(Reading { bytes: self.bytes, at: self.at }.name()?),
            _ => Data::Raw(raw.to_vec()),
        };
        self.at = end;
        Some(Record { name, kind, data, start })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_texts_are_written_and_read() {
        let mut message = Writing::begin(7, 0x8400, [1, 2, 0, 0]);
        message.question("_acme-challenge.A.test.", TXT).unwrap();
        // A pointer to the question's name, at byte 12.
        message.u16(0xc00c).u16(TXT).u16(IN).u32(60).text(&"x".repeat(300)).unwrap();
        message.u16(0xc00c).u16(CNAME).u16(IN).u32(60).u16(8).name("b.test").unwrap();
        let reply = Reply::parse(&message.0, 7).unwrap();
        assert!(reply.authoritative && !reply.truncated && reply.code == 0);
        assert_eq!(reply.answers[0].name, "_acme-challenge.a.test");
        assert_eq!(reply.answers[0].data, Data::Text("x".repeat(300)));
        assert_eq!(reply.answers[1].data, Data::Name("b.test".to_owned()));
        assert!(Reply::parse(&message.0, 8).is_none());
        assert!(Writing::default().name("a..b").is_err());
        assert!(Writing::default().name(&"a".repeat(64)).is_err());
        assert!(Writing::default().name(&"abcdefg.".repeat(32)).is_err());
    }

    #[test]
    fn a_name_that_points_to_itself_is_broken() {
        let mut message = Writing::begin(7, 0x8000, [1, 0, 0, 0]);
        message.u16(0xc00c).u16(TXT).u16(IN);
        assert!(Reply::parse(&message.0, 7).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_badly(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut message = vec![0, 7, 0x80, 0];
            message.extend(bytes);
            drop(Reply::parse(&message, 7));
        }
    }
}
