//! Ports of the agent's own, open only while there is something to answer.

use std::net::SocketAddr;
use std::sync::Arc;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::challenge::{Answers, serve_http, serve_tls};
use certctl_connector_core::listen::{BindError, SmallListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Addresses on which one kind of challenge is answered.
#[derive(Debug)]
pub(super) struct Port {
    speaks: Speaks,
    addresses: Vec<SocketAddr>,
    serving: Option<Serving>,
}

#[derive(Debug, Clone, Copy)]
enum Speaks {
    Http,
    Tls,
}

#[derive(Debug)]
struct Serving {
    task: JoinSet<()>,
    stop: CancellationToken,
}

impl Port {
    pub(super) fn http(addresses: &[SocketAddr]) -> Self {
        Self { speaks: Speaks::Http, addresses: addresses.to_vec(), serving: None }
    }

    pub(super) fn tls(addresses: &[SocketAddr]) -> Self {
        Self { speaks: Speaks::Tls, addresses: addresses.to_vec(), serving: None }
    }

    /// Listens from now on.
    pub(super) fn open(&mut self, answers: Arc<dyn Answers>) -> Result<(), ConnectorError> {
        if self.serving.as_mut().is_some_and(|serving| serving.task.try_join_next().is_none()) {
            return Ok(());
        }
        let listener = SmallListener::bind(&self.addresses).map_err(|error| self.explain(error))?;
        tracing::info!(addresses = ?listener.addresses(), "challenges are answered here");
        let (mut task, stop) = (JoinSet::new(), CancellationToken::new());
        match self.speaks {
            Speaks::Http => task.spawn(serve_http(listener, answers, stop.clone())),
            Speaks::Tls => task.spawn(serve_tls(listener, answers, stop.clone())),
        };
        self.serving = Some(Serving { task, stop });
        Ok(())
    }

    /// Listens no more.
    pub(super) async fn close(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.stop.cancel();
            while serving.task.join_next().await.is_some() {}
            tracing::info!(addresses = ?self.addresses, "no challenge is open here any more");
        }
    }

    fn explain(&self, error: BindError) -> ConnectorError {
        let hint = match (error.source.kind(), self.speaks) {
            (std::io::ErrorKind::AddrInUse, Speaks::Http) => {
                "another program listens there: set acme_webroot to a folder that it shows, or have it pass /.well-known/acme-challenge/ on to \
                 another port and set acme_http01_listen to that"
            }
            (std::io::ErrorKind::AddrInUse, Speaks::Tls) => {
                "another program listens there: have it pass connections for acme-tls/1 on to another port, and set acme_tls_alpn01_listen to that"
            }
            (std::io::ErrorKind::PermissionDenied, _) => {
                "ports below 1024 need CAP_NET_BIND_SERVICE: add it to AmbientCapabilities= and CapabilityBoundingSet= of the agent's unit"
            }
            _ => error.hint().unwrap_or("look at the address in agent.toml"),
        };
        // Whoever listens there may go.
        ConnectorError::transient("the agent cannot answer on its own port").hint(hint).caused_by(error)
    }
}
