//! Answering the challenges of ACME CAs: over plain HTTP (RFC 8555 section 8.3) and in a TLS handshake (RFC 8737), and nothing else.
//!
//! Server and agent answer alike; they differ in where they know the answers from.

mod http;
mod server_name;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use certctl_domain::time::Timestamp;
use tokio_util::sync::CancellationToken;

pub use self::server_name::{identifier_of, server_name_of};
use crate::ConnectorError;
use crate::listen::SmallListener;

/// Knows the answers to open challenges. An answer is a key authorization (RFC 8555 section 8.1).
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// What a CA that asks over HTTP for this token is told.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn over_http(&self, token: &str) -> Result<Option<String>, ConnectorError>;

    /// What a handshake for this name, in lower case, must prove.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn over_tls(&self, server_name: &str) -> Result<Option<String>, ConnectorError>;

    /// The time.
    fn now(&self) -> Timestamp;
}

/// Answers challenges over plain HTTP until `stop`.
pub async fn serve_http(listener: SmallListener, answers: Arc<dyn Answers>, stop: CancellationToken) {
    listener.serve(stop, move |stream| http::connection(stream, Arc::clone(&answers))).await;
}

/// Answers challenges in TLS handshakes until `stop`.
pub async fn serve_tls(listener: SmallListener, answers: Arc<dyn Answers>, stop: CancellationToken) {
    listener.serve(stop, move |stream| tls::connection(stream, Arc::clone(&answers))).await;
}

/// Where CAs look for answers over HTTP, below the root of a site (RFC 8555 section 8.3).
pub const HTTP_FOLDER: [&str; 2] = [".well-known", "acme-challenge"];
