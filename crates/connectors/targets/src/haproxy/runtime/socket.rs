//! HAProxy's runtime API on the wire: one connection per command, a line of text there, lines of text back.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use certctl_connector_core::ConnectorError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Where the running process listens for commands: the path of a socket, or an address of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RuntimeAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port of the loopback interface: keys pass in the clear.
    Tcp(SocketAddr),
}

impl RuntimeAddress {
    /// Sends a command and reads the answer to its end.
    pub(super) async fn ask(&self, command: &str, limit: Duration) -> Result<String, ConnectorError> {
        match timeout(limit, self.exchange(command)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ConnectorError::transient(format!("HAProxy did not answer at {self} within {limit:?}"))
                .hint("is the process stuck, or does another program listen there?")),
        }
    }

    async fn exchange(&self, command: &str) -> Result<String, ConnectorError> {
        let refused = |error| {
            ConnectorError::transient(format!("cannot reach HAProxy's runtime API at {self}"))
                .hint("is HAProxy running with `stats socket ... level admin` there, and may this user open the socket (its mode, user, group)?")
                .caused_by(error)
        };
        match self {
            Self::Unix(path) => self.converse(UnixStream::connect(path).await.map_err(refused)?, command).await,
            Self::Tcp(address) => self.converse(TcpStream::connect(address).await.map_err(refused)?, command).await,
        }
    }

    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, command: &str) -> Result<String, ConnectorError> {
        let broken =
            |error| ConnectorError::transient(format!("the connection to HAProxy at {self} broke off")).hint(TOO_LONG).caused_by(error);
        stream.write_all(command.as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER + 1).read_to_end(&mut answer).await.map_err(broken)?;
        if answer.len() as u64 > MAX_ANSWER {
            return Err(ConnectorError::permanent(format!("what answers at {self} says more than HAProxy would")));
        }
        if answer.is_empty() {
            return Err(ConnectorError::permanent(format!("HAProxy closed the connection at {self} without an answer")).hint(TOO_LONG));
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl FromStr for RuntimeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = Some(text.strip_prefix("unix@").unwrap_or(text)).filter(|path| path.starts_with('/')) {
            let usable = path.len() <= 107 && !path.chars().any(char::is_control);
            return if usable {
                Ok(Self::Unix(path.into()))
            } else {
                Err("the socket's path is too long or has control characters".to_owned())
            };
        }
        let address = ["ipv4@", "ipv6@"].iter().find_map(|kind| text.strip_prefix(kind)).unwrap_or(text);
        match address.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Ok(_) => Err(format!("{text} is not an address of this machine alone, and keys would pass in the clear; use a Unix socket")),
            Err(_) => Err(format!("`{text}` is neither the path of a socket nor an address such as 127.0.0.1:9999")),
        }
    }
}

impl TryFrom<String> for RuntimeAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RuntimeAddress> for String {
    fn from(address: RuntimeAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for RuntimeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl JsonSchema for RuntimeAddress {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RuntimeAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "path of a stats socket, or loopback address and port, such as \"/run/haproxy/admin.sock\""})
    }
}

const MAX_ANSWER: u64 = 8 * 1024 * 1024;
const TOO_LONG: &str = "HAProxy takes no command larger than its buffer; a long chain may need a larger `tune.bufsize`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_leave_the_machine() {
        for (text, meaning) in [
            ("/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
            ("unix@/run/x", "/run/x"),
            ("ipv4@127.0.0.1:9999", "127.0.0.1:9999"),
            ("[::1]:9999", "[::1]:9999"),
        ] {
            assert_eq!(text.parse::<RuntimeAddress>().unwrap().to_string(), meaning);
        }
        for text in ["", "run/x", "10.0.0.1:9999", "0.0.0.0:9999", "localhost:9999", "abns@x", "/x\ny"] {
            assert!(text.parse::<RuntimeAddress>().is_err(), "{text:?}");
        }
    }
}
