//! Asking a name server: over UDP, and over TCP where the answer is too long for that or UDP does not come through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::rand;
use certctl_connector_core::ConnectorError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{Reply, Writing};

/// Whether the server is to ask others for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recursion {
    Wanted,
    Unwanted,
}

/// Asks for records.
pub(super) async fn ask(server: SocketAddr, name: &str, kind: u16, recursion: Recursion) -> Result<Reply, ConnectorError> {
    let id = new_id()?;
    let flags = if recursion == Recursion::Wanted { 0x0100 } else { 0 };
    let mut message = Writing::begin(id, flags, [1, 0, 0, 0]);
    message.question(name, kind)?;
    Ok(exchange(server, id, &message.0).await?.0)
}

/// Sends a message; gives the answer, read and as it came.
pub(super) async fn exchange(server: SocketAddr, id: u16, message: &[u8]) -> Result<(Reply, Vec<u8>), ConnectorError> {
    for _ in 0..UDP_TRIES {
        // An error here, such as a refused port, is one of UDP: TCP says whether the server is there.
        if let Ok(Ok(answer)) = timeout(UDP_PATIENCE, over_udp(server, id, message)).await {
            if answer.0.truncated {
                break;
            }
            return Ok(answer);
        }
    }
    let silent = || ConnectorError::transient(format!("the name server {server} does not answer"));
    let bytes = timeout(TCP_PATIENCE, over_tcp(server, message)).await.map_err(|_| silent())?;
    let bytes = bytes.map_err(|e| silent().caused_by(e))?;
    let reply = Reply::parse(&bytes, id);
    Ok((reply.ok_or_else(|| ConnectorError::transient(format!("the name server {server} answers what cannot be read")))?, bytes))
}

/// A number that others cannot guess, so that they cannot answer in the server's place.
pub(super) fn new_id() -> Result<u16, ConnectorError> {
    let mut bytes = [0; 2];
    rand::fill(&mut bytes).map_err(|_| ConnectorError::transient("the system gives no randomness"))?;
    Ok(u16::from_be_bytes(bytes))
}

async fn over_udp(server: SocketAddr, id: u16, message: &[u8]) -> std::io::Result<(Reply, Vec<u8>)> {
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        // What answers another question is not for us.
        if let Some(reply) = Reply::parse(bytes, id) {
            return Ok((reply, bytes.to_vec()));
        }
    }
}

async fn over_tcp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

const UDP_TRIES: usize = 2;
const UDP_PATIENCE: Duration = Duration::from_secs(2);
const TCP_PATIENCE: Duration = Duration::from_secs(5);
