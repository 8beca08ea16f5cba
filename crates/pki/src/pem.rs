//! PEM (RFC 7468): blocks out of text as people paste it, and DER back into text.
//!
//! Reading tolerates what real files have (CRLF, indentation, text before and between blocks, RFC 1421 headers) and refuses
//! what would hide a mistake (a block that never ends, an END that names another label, bad base64).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The label of a certificate block.
pub const CERTIFICATE: &str = "CERTIFICATE";

/// The most text that is looked at; a chain of twenty RSA-4096 certificates is under 60 KiB.
pub const MAX_TEXT: usize = 1024 * 1024;

/// One block: its label and what it holds. Wiped when dropped, for it may be a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    label: String,
    encrypted: bool,
    der: Zeroizing<Vec<u8>>,
}

impl Block {
    /// What stands behind `BEGIN`, such as `CERTIFICATE`.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether the content is under a password, by label or by RFC 1421 header.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted || self.label.starts_with("ENCRYPTED ")
    }

    /// The decoded bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether the block is a certificate, by today's label or that of old tools.
    #[must_use]
    pub fn is_certificate(&self) -> bool {
        matches!(self.label.as_str(), CERTIFICATE | "X509 CERTIFICATE")
    }

    /// Whether the block is a private key of any form.
    #[must_use]
    pub fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("label", &self.label).field("bytes", &self.der.len()).finish_non_exhaustive()
    }
}

/// The text has a block that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// More than [`MAX_TEXT`] bytes.
    #[error("the PEM text has {0} bytes, more than {MAX_TEXT}")]
    TooLarge(usize),
    /// A block without its END line.
    #[error("the PEM block {label} that begins on line {line} has no END line")]
    Unterminated {
        /// What stands behind `BEGIN`.
        label: String,
        /// Counted from one.
        line: usize,
    },
    /// An END line with another label, or without a BEGIN.
    #[error("line {line} ends a PEM block that did not begin")]
    UnexpectedEnd {
        /// Counted from one.
        line: usize,
    },
    /// The body is not base64.
    #[error("the PEM block {label} that begins on line {line} is not base64")]
    Base64 {
        /// What stands behind `BEGIN`.
        label: String,
        /// Counted from one.
        line: usize,
    },
}

/// Every block in the text, in order; none is not an error.
///
/// # Errors
/// At the first block that cannot be read.
pub fn blocks(text: &str) -> Result<Vec<Block>, PemError> {
    if text.len() > MAX_TEXT {
        return Err(PemError::TooLarge(text.len()));
    }
    let mut found = Vec::new();
    let mut open: Option<OpenBlock> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if let Some(label) = boundary(line, "BEGIN") {
            if let Some(block) = open {
                return Err(block.unterminated());
            }
            open = Some(OpenBlock::new(label, number));
        } else if let Some(label) = boundary(line, "END") {
            match open.take() {
                Some(block) if block.label == label => found.push(block.close()?),
                Some(_) | None => return Err(PemError::UnexpectedEnd { line: number }),
            }
        } else if let Some(block) = &mut open {
            block.add(line);
        }
    }
    match open {
        Some(block) => Err(block.unterminated()),
        None => Ok(found),
    }
}

/// One block of 64-character lines that end in LF.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for (index, character) in body.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

struct OpenBlock {
    label: String,
    line: usize,
    encrypted: bool,
    body: Zeroizing<String>,
}

impl OpenBlock {
    fn new(label: &str, line: usize) -> Self {
        Self { label: label.to_owned(), line, encrypted: false, body: Zeroizing::default() }
    }

    fn add(&mut self, line: &str) {
        // RFC 1421 headers (`Proc-Type: 4,ENCRYPTED`) have a colon, which base64 has not.
        if line.contains(':') {
            self.encrypted |= line.contains("ENCRYPTED");
        } else {
            self.body.extend(line.split_ascii_whitespace());
        }
    }

    fn unterminated(self) -> PemError {
        PemError::Unterminated { label: self.label, line: self.line }
    }

    fn close(self) -> Result<Block, PemError> {
        match STANDARD.decode(self.body.as_bytes()) {
            Ok(der) if !der.is_empty() => Ok(Block { label: self.label, encrypted: self.encrypted, der: Zeroizing::new(der) }),
            _ => Err(PemError::Base64 { label: self.label, line: self.line }),
        }
    }
}

/// The label of a `-----BEGIN X-----` or `-----END X-----` line.
fn boundary<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let label = line.strip_prefix("-----")?.strip_suffix("-----")?.strip_prefix(word)?.strip_prefix(' ')?;
    let plain = label.len() <= 64 && label.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b" #.".contains(&b));
    (plain && !label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_paste() {
        let pem = encode(CERTIFICATE, b"first");
        let text = format!(
            "\u{feff}subject=CN = web\r\n{}\nBag Attributes\n  {}",
            pem.replace('\n', "\r\n"),
            encode("EC PRIVATE KEY", b"second").replace('\n', "\n  ")
        );
        let found = blocks(&text).unwrap();
        assert_eq!(
            found.iter().map(|b| (b.label(), b.der())).collect::<Vec<_>>(),
            [(CERTIFICATE, b"first".as_slice()), ("EC PRIVATE KEY", b"second".as_slice())]
        );
        assert!(blocks("no block at all").unwrap().is_empty());
    }

    #[test]
    fn sees_passwords() {
        let text =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        assert!(blocks(text).unwrap().iter().all(Block::is_encrypted));
        assert!(blocks(&encode("ENCRYPTED PRIVATE KEY", b"x")).unwrap().iter().all(Block::is_encrypted));
    }

    #[test]
    fn refuses_broken_blocks() {
        for (text, wanted) in [
            ("-----BEGIN A-----\nAAAA\n", "no END"),
            ("-----BEGIN A-----\nAAAA\n-----BEGIN A-----\n", "no END"),
            ("-----BEGIN A-----\nAAAA\n-----END B-----\n", "did not begin"),
            ("-----END B-----\n", "did not begin"),
            ("-----BEGIN A-----\n*\n-----END A-----\n", "not base64"),
            ("-----BEGIN A-----\n-----END A-----\n", "not base64"),
        ] {
            let error = blocks(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
        assert_eq!(blocks(&" ".repeat(MAX_TEXT + 1)), Err(PemError::TooLarge(MAX_TEXT + 1)));
    }

    #[test]
    fn debug_does_not_show_the_bytes() {
        assert_eq!(format!("{:?}", blocks(&encode("A", b"hunter2")).unwrap()), "[Block { label: \"A\", bytes: 7, .. }]");
    }

    proptest! {
        #[test]
        fn round_trips(der in proptest::collection::vec(any::<u8>(), 1..400)) {
            let text = encode("TEST", &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let found = blocks(&text).unwrap();
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].der(), der.as_slice());
        }

        #[test]
        fn never_panics(text in "(-----(BEGIN|END) [A-Z]{0,3}-----|[A-Za-z0-9+/=: ]{0,9}|\r|\n){0,40}") {
            let found = blocks(&text);
            prop_assert!(found.is_err() || found.is_ok_and(|b| b.len() <= 20));
        }
    }
}
