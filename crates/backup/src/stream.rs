//! Bytes on their way: counted and hashed.

use std::io::{self, Read, Write};

use aws_lc_rs::digest::{Context, SHA256};

/// How much passed, and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in lower hex.
    pub sha256: String,
}

/// Measures what passes through it, in either direction.
pub struct Measured<T> {
    inner: T,
    bytes: u64,
    hash: Context,
}

impl<T> Measured<T> {
    /// Measures from here on.
    pub fn new(inner: T) -> Self {
        Self { inner, bytes: 0, hash: Context::new(&SHA256) }
    }

    /// What passed, and what it passed through.
    pub fn end(self) -> (T, Measure) {
        (self.inner, Measure { bytes: self.bytes, sha256: hex::encode(self.hash.finish()) })
    }

    fn count(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let read = buffer.get(..length).unwrap_or_default();
        self.bytes += read.len() as u64;
        self.hash.update(read);
        Ok(length)
    }
}

/// Reads what fits into the buffer, less only at the end.
///
/// # Errors
/// When reading fails.
pub fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// How much is read at a time.
pub const CHUNK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_measure_the_same() {
        let mut written = Measured::new(Vec::new());
        written.write_all(b"abc").unwrap();
        let (bytes, measure) = written.end();
        assert_eq!(measure.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut read = Measured::new(bytes.as_slice());
        let mut buffer = [0; 8];
        assert_eq!(fill(&mut read, &mut buffer).unwrap(), 3);
        assert_eq!(read.end().1, measure);
    }
}
