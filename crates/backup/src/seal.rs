//! Encryption of archives with age: to public keys when they are made, with the private key when they are read.
//!
//! The server that makes backups needs public keys alone; who takes it over cannot read the backups. Any age program opens them.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr as _;

use age::{DecryptError, Decryptor, Encryptor, x25519};
use certctl_domain::secret::Secret;

use crate::BackupError;

/// A public key of age, `age1...`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

/// Private keys of age, `AGE-SECRET-KEY-1...`.
#[derive(Clone, Default)]
pub struct Identities(Vec<x25519::Identity>);

/// Content on its way into an archive.
pub enum Sealing<W: Write> {
    /// As it is.
    Plain(W),
    /// Encrypted.
    Age(Box<age::stream::StreamWriter<W>>),
}

/// Content on its way out of an archive.
pub enum Opening<R: Read> {
    /// As it is.
    Plain(R),
    /// Decrypted. A chunk that was changed is an error, and so is an end before the end.
    Age(Box<age::stream::StreamReader<R>>),
}

impl Recipient {
    /// Reads a public key.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        x25519::Recipient::from_str(text.trim()).map(Self)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Identities {
    /// Reads private keys as `age-keygen` writes them: one a line, with comments.
    ///
    /// # Errors
    /// When a line is neither, or there is no key. The line itself is not repeated.
    pub fn parse(text: &Secret<String>) -> Result<Self, BackupError> {
        let hint = "give the file that `age-keygen` wrote";
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.expose().lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = x25519::Identity::from_str(line).map_err(|why| {
                BackupError::new(format!("line {number} of the age identity is no private key of age ({why})")).hint(hint)
            })?;
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(BackupError::new("the age identity has no private key in it").hint(hint));
        }
        Ok(Self(keys))
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [redacted]", self.0.len())
    }
}

impl<W: Write> Sealing<W> {
    /// Encrypts to these, or to nobody when there is none.
    ///
    /// # Errors
    /// When the beginning cannot be written.
    pub fn new(recipients: &[Recipient], output: W) -> Result<Self, BackupError> {
        if recipients.is_empty() {
            return Ok(Self::Plain(output));
        }
        let all = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(all).map_err(|e| BackupError::new("the archive cannot be encrypted").because(e))?;
        let writer = encryptor.wrap_output(output).map_err(|e| BackupError::from_io("the archive cannot be begun", e))?;
        Ok(Self::Age(Box::new(writer)))
    }

    /// Writes the end; without it an encrypted archive is not whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(self) -> Result<W, BackupError> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Age(writer) => writer.finish().map_err(|e| BackupError::from_io("the archive cannot be ended", e)),
        }
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Age(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            Self::Age(writer) => writer.flush(),
        }
    }
}

impl<R: Read> Opening<R> {
    /// Decrypts with one of these; an archive that is not encrypted is taken as it is.
    ///
    /// # Errors
    /// When none of the keys opens it, or it is not what age writes.
    pub fn new(encrypted: Encrypted<'_>, input: R) -> Result<Self, BackupError> {
        let Encrypted::With(identities) = encrypted else {
            return Ok(Self::Plain(input));
        };
        if identities.is_empty() {
            return Err(BackupError::new("the archive is encrypted, and no age identity is given")
                .hint("give the private key as CERTCTL_BACKUP_IDENTITY_FILE"));
        }
        let decryptor = Decryptor::new(input).map_err(unreadable)?;
        let keys = identities.0.iter().map(|key| key as &dyn age::Identity);
        Ok(Self::Age(Box::new(decryptor.decrypt(keys).map_err(unreadable)?)))
    }
}

/// Whether an archive is encrypted.
#[derive(Debug, Clone, Copy)]
pub enum Encrypted<'a> {
    /// It is not.
    No,
    /// It is, and one of these should open it.
    With(&'a Identities),
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Age(reader) => reader.read(buffer),
        }
    }
}

fn unreadable(error: DecryptError) -> BackupError {
    match error {
        DecryptError::NoMatchingKeys => BackupError::new("none of the age identities opens the archive")
            .hint("its manifest names the public keys that it is encrypted to; give the private key of one of them"),
        DecryptError::Io(error) => BackupError::from_io("the encrypted archive cannot be read", error),
        other => BackupError::new("the archive cannot be decrypted").because(other),
    }
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;

    fn pair() -> (Recipient, Identities) {
        let key = x25519::Identity::generate();
        let text = format!("# created: today\n# public key: {}\n\n{}\n", key.to_public(), key.to_string().expose_secret());
        (Recipient::parse(&key.to_public().to_string()).unwrap(), Identities::parse(&Secret::new(text)).unwrap())
    }

    fn sealed(recipients: &[Recipient], content: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::new(recipients, Vec::new()).unwrap();
        sealing.write_all(content).unwrap();
        sealing.end().unwrap()
    }

    fn opened(identities: &Identities, archive: &[u8]) -> Result<Vec<u8>, BackupError> {
        let mut content = Vec::new();
        let mut opening = Opening::new(Encrypted::With(identities), archive)?;
        opening.read_to_end(&mut content).map_err(|e| BackupError::from_io("cannot be read", e))?;
        Ok(content)
    }

    #[test]
    fn each_recipient_opens_it_and_nobody_else_does() {
        let ((one, one_key), (two, two_key), (_, stranger)) = (pair(), pair(), pair());
        let content = vec![7; 300_000];
        let archive = sealed(&[one, two], &content);
        assert!(archive.windows(8).all(|window| window != [7; 8]));
        assert_eq!(opened(&one_key, &archive).unwrap(), content);
        assert_eq!(opened(&two_key, &archive).unwrap(), content);
        let refused = opened(&stranger, &archive).unwrap_err();
        assert!(refused.to_string().contains("none of the age identities"), "{refused}");
        assert!(opened(&Identities::default(), &archive).unwrap_err().advice().unwrap().contains("CERTCTL_BACKUP_IDENTITY_FILE"));
    }

    #[test]
    fn what_is_cut_or_changed_does_not_open() {
        let (recipient, key) = pair();
        let archive = sealed(&[recipient], &vec![7; 300_000]);
        // At the end of a chunk too: the last chunk says that it is the last.
        for length in [0, 10, archive.len() / 2, 200 + 65_552, archive.len() - 1] {
            assert!(opened(&key, &archive[..length]).is_err(), "{length}");
        }
        for place in [5, 120, archive.len() / 2, archive.len() - 1] {
            let mut changed = archive.clone();
            changed[place] ^= 1;
            assert!(opened(&key, &changed).is_err(), "{place}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let refused = Identities::parse(&Secret::new("# key\nAGE-SECRET-KEY-1HUNTER2".to_owned())).unwrap_err();
        assert!(refused.to_string().contains("line 2") && !refused.to_string().contains("HUNTER2"), "{refused}");
        assert!(Identities::parse(&Secret::new("# nothing".to_owned())).is_err());
        assert!(Recipient::parse("age1hunter2").is_err());
        assert!(!format!("{:?}", pair().1).contains("AGE-SECRET"));
    }

    #[test]
    fn without_recipients_it_is_as_it_is() {
        assert_eq!(sealed(&[], b"content"), b"content");
        let mut content = Vec::new();
        Opening::new(Encrypted::No, b"content".as_slice()).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, b"content");
    }
}
