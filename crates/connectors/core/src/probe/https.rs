//! One question over HTTPS to a server on this machine, whichever certificate it shows: for probes that run beside it.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Connected, Question, connect};
use crate::ConnectorError;

/// What it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code (RFC 9110 section 15).
    pub status: u16,
    /// The body, as text; 64 KiB at most.
    pub body: String,
}

/// Asks for `path` by GET, without a credential and without looking who it is: nothing may depend on the answer but whether it is well.
///
/// # Errors
/// When nobody answers within `limit`, or not in HTTPS.
pub async fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<Answer, ConnectorError> {
    match timeout(limit, ask(address, path, limit)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(ConnectorError::transient(format!("{address}: no answer within {limit:?}"))),
    }
}

async fn ask(address: SocketAddr, path: &str, limit: Duration) -> Result<Answer, ConnectorError> {
    let fail = |what: &str| ConnectorError::transient(format!("{address}{path}: {what}"));
    let question = Question { server_name: None, key_kind: None, timeout: limit };
    let Connected { stream, .. } = connect(address, &question, &address.to_string()).await?;
    let stream = stream.map_err(|e| fail("the TLS handshake failed").caused_by(e))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| fail("no HTTP is spoken").caused_by(e))?;
    let request = http::Request::get(path).header(http::header::HOST, address.to_string()).body(Empty::<Bytes>::new());
    let request = request.map_err(|e| fail("this cannot be asked").caused_by(e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| fail("there is no answer").caused_by(e))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|_| fail("the answer breaks off or is too large"))?.to_bytes();
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => match ended {
            // What has arrived by then is still to be read.
            Ok(()) => exchange.await,
            Err(error) => Err(fail("the connection broke").caused_by(error)),
        },
    }
}

const LARGEST: usize = 64 * 1024;
