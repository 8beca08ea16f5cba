//! A small HTTP/1.1 client over TLS: one kept connection, requests as ready-made bytes. It costs a fraction of what it measures.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::{Context as _, Failure, Result};

/// Whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as JSON, if the status is the expected one.
    pub(crate) fn json(&self, status: u16) -> Result<serde_json::Value> {
        serde_json::from_slice(self.is(status)?).context("an answer is not JSON")
    }

    /// The body, if the status is the expected one.
    pub(crate) fn is(&self, status: u16) -> Result<&[u8]> {
        if self.status == status {
            return Ok(&self.body);
        }
        Err(Failure::new(format!("status {} instead of {status}: {}", self.status, String::from_utf8_lossy(&self.body))))
    }
}

/// A request as bytes, to be sent again and again. Nothing is compressed, as most scripts ask for nothing else.
pub(crate) fn request(method: &str, path: &str, token: Option<&str>, body: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n").into_bytes();
    if let Some(token) = token {
        bytes.extend_from_slice(format!("authorization: Bearer {token}\r\n").as_bytes());
    }
    if let Some((kind, body)) = body {
        bytes.extend_from_slice(format!("content-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
    } else {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens one.
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(target.address).await.context("cannot connect")?;
        stream.set_nodelay(true).context("cannot connect")?;
        let name = ServerName::try_from("localhost").context("the server's name")?;
        let stream = TlsConnector::from(Arc::clone(&target.tls)).connect(name, stream).await.context("the TLS handshake failed")?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Reply> {
        let mut body = Vec::new();
        let status = self.stream(request, |part| body.extend_from_slice(part)).await?;
        Ok(Reply { status, body })
    }

    /// Sends a request and gives the body of the answer to `sink` as it comes; gives the status.
    pub(crate) async fn stream(&mut self, request: &[u8], mut sink: impl FnMut(&[u8])) -> Result<u16> {
        self.send(request).await?;
        let head = self.head().await?;
        match head.length {
            Length::Known(length) => self.take(length, &mut sink).await?,
            Length::Chunked => while self.chunk(&mut sink).await? {},
        }
        Ok(head.status)
    }

    /// Sends a request and does not wait for the answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await.context("cannot send")?;
        self.stream.flush().await.context("cannot send")
    }

    async fn head(&mut self) -> Result<Head> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = Head::parse(self.buffer.get(..end).unwrap_or_default());
        self.buffer.drain(..end + 4);
        head
    }

    /// Reads one chunk; `false` after the last one.
    async fn chunk(&mut self, sink: &mut impl FnMut(&[u8])) -> Result<bool> {
        let end = self.find(b"\r\n").await?;
        let line = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).into_owned();
        let length = usize::from_str_radix(line.trim(), 16).context("a chunk without a length")?;
        self.buffer.drain(..end + 2);
        self.take(length, sink).await?;
        let end = self.find(b"\r\n").await?;
        self.buffer.drain(..end + 2);
        Ok(length > 0)
    }

    /// Gives so many bytes to `sink` as they come.
    async fn take(&mut self, mut left: usize, sink: &mut impl FnMut(&[u8])) -> Result<()> {
        while left > 0 {
            self.fill_if_empty().await?;
            let n = left.min(self.buffer.len());
            sink(self.buffer.get(..n).unwrap_or_default());
            self.buffer.drain(..n);
            left -= n;
        }
        Ok(())
    }

    /// Where `mark` begins in what was read; reads on until it is there.
    async fn find(&mut self, mark: &[u8]) -> Result<usize> {
        let mut from = 0;
        loop {
            let unseen = self.buffer.get(from..).unwrap_or_default();
            if let Some(at) = unseen.windows(mark.len()).position(|window| window == mark) {
                return Ok(from + at);
            }
            from = self.buffer.len().saturating_sub(mark.len() - 1);
            self.fill().await?;
        }
    }

    async fn fill_if_empty(&mut self) -> Result<()> {
        if self.buffer.is_empty() { self.fill().await } else { Ok(()) }
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.reserve(16 * 1024);
        match self.stream.read_buf(&mut self.buffer).await.context("cannot read an answer")? {
            0 => Err(Failure::new("the server closed the connection before its answer was complete")),
            _ => Ok(()),
        }
    }
}

struct Head {
    status: u16,
    length: Length,
}

enum Length {
    Known(usize),
    Chunked,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).context("the head of an answer is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).context("an answer without a status")?;
        let mut length = Length::Known(0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = Length::Known(value.trim().parse().context("an answer with a strange length")?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
            }
        }
        Ok(Self { status, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_credential_and_its_length() {
        let bytes = request("POST", "/a", Some("ck_1"), Some(("text/plain", b"abc")));
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("POST /a HTTP/1.1\r\n") && text.contains("authorization: Bearer ck_1\r\n"), "{text}");
        assert!(text.ends_with("content-length: 3\r\n\r\nabc"), "{text}");
    }

    #[test]
    fn heads_are_read() {
        let head = Head::parse(b"HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\nx: y").unwrap();
        assert!(head.status == 404 && matches!(head.length, Length::Known(12)));
        assert!(matches!(Head::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked").unwrap().length, Length::Chunked));
        assert!(Head::parse(b"nonsense").is_err());
    }
}
