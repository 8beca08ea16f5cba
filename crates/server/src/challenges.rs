//! Answers the challenges of ACME CAs on ports of this server.
//!
//! The answers are in the database, so it does not matter which replica the CA reaches.

use std::sync::Arc;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_connector_core::challenge::Answers;
use certctl_domain::time::Timestamp;
use certctl_engine::{Engine, issuers};

/// What the engine knows of open challenges.
#[derive(Debug)]
pub struct Open(Arc<Engine>);

impl Open {
    /// As a server answers from it.
    #[must_use]
    pub fn of(engine: &Arc<Engine>) -> Arc<dyn Answers> {
        Arc::new(Self(Arc::clone(engine)))
    }
}

#[async_trait]
impl Answers for Open {
    async fn over_http(&self, token: &str) -> Result<Option<String>, ConnectorError> {
        issuers::http_challenge(&self.0, token).await.map_err(unknown)
    }

    async fn over_tls(&self, server_name: &str) -> Result<Option<String>, ConnectorError> {
        issuers::tls_challenge(&self.0, server_name).await.map_err(unknown)
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

fn unknown(error: certctl_engine::Error) -> ConnectorError {
    ConnectorError::transient("the open challenges cannot be read").caused_by(error)
}
