//! Accepts connections: TCP, TLS, then HTTP/1.1 or HTTP/2, each step with its time-out; and stops without dropping a request.
//!
//! Everything that a client may hold open is bounded: the number of connections, the handshake, the head of a request, the time
//! without a request, the time it may leave an answer unread. How long a request may take is the application's to bound.
//!
//! A stop closes the sockets, so that new clients are refused, tells every connection to finish what it is at, waits for them, and cuts
//! off what is left when the budget is spent. A handler that parks requests (a long poll) must watch the stop itself.

mod activity;
mod connection;
mod counters;
mod executor;
mod plain;
mod stall;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use certctl_connector_core::listen::bind_all;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use certctl_connector_core::listen::{BindError, SmallListener};
pub use connection::ClientCertificate;
pub use counters::{ListenerCounters, ListenerCounts};
pub use plain::PlainListener;

use crate::config::ServerSettings;
use crate::tls::ReloadingTls;
use connection::Connection;

/// What a client may hold open, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct ListenerLimits {
    /// Connections at one time; further clients wait in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the head of a request, and for the silence between two requests over HTTP/1.1.
    pub header: Duration,
    /// Without a request, over HTTP/2.
    pub idle: Duration,
    /// For taking any part of an answer.
    pub write: Duration,
}

impl From<&ServerSettings> for ListenerLimits {
    fn from(settings: &ServerSettings) -> Self {
        Self {
            connections: usize::try_from(settings.max_connections.get()).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS),
            handshake: settings.handshake_timeout,
            header: settings.header_timeout,
            idle: settings.idle_timeout,
            write: settings.write_timeout,
        }
    }
}

/// Bound sockets that do not accept yet.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    tls: Arc<ReloadingTls>,
    limits: ListenerLimits,
    counters: Arc<ListenerCounters>,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut off because the budget was spent.
    pub aborted: usize,
}

impl Listener {
    /// Binds every address. Needs a Tokio runtime.
    ///
    /// # Errors
    /// At the first address that cannot be bound.
    pub fn bind(addresses: &[SocketAddr], tls: Arc<ReloadingTls>, limits: ListenerLimits) -> Result<Self, BindError> {
        let (sockets, addresses) = bind_all(addresses)?;
        Ok(Self { sockets, addresses, tls, limits, counters: Arc::default() })
    }

    /// The addresses that are bound; port 0 has become a real port.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What is counted, for metrics.
    #[must_use]
    pub fn counters(&self) -> Arc<ListenerCounters> {
        Arc::clone(&self.counters)
    }

    /// Serves `app` until `stop`, then lets connections finish for at most `budget`. Requests find [`ClientCertificate`] and
    /// `axum::extract::ConnectInfo<SocketAddr>` in their extensions. When `abort` comes, the budget counts as spent.
    pub async fn serve(self, app: Router, stop: CancellationToken, drain: Drain) -> Drained {
        let connections = TaskTracker::new();
        let accepting = TaskTracker::new();
        let cut = CancellationToken::new();
        let seats = Arc::new(Semaphore::new(self.limits.connections));
        let connection = Connection {
            // Finished once here, not once a request.
            app: app.with_state(()),
            tls: self.tls,
            limits: self.limits,
            counters: Arc::clone(&self.counters),
            tasks: connections.clone(),
            stop: stop.clone(),
            cut: cut.clone(),
        };
        for socket in self.sockets {
            accepting.spawn(accept(socket, connection.clone(), Arc::clone(&seats)));
        }
        drop(connection);
        accepting.close();
        accepting.wait().await;

        connections.close();
        tokio::select! {
            outcome = timeout(drain.budget, connections.wait()) => if outcome.is_ok() {
                return Drained { aborted: 0 };
            },
            () = drain.abort.cancelled() => {}
        }
        let aborted = self.counters.open();
        cut.cancel();
        connections.wait().await;
        Drained { aborted }
    }
}

/// How long a stop may take.
#[derive(Debug, Clone)]
pub struct Drain {
    /// From the stop.
    pub budget: Duration,
    /// Ends the waiting at once, such as at a second signal.
    pub abort: CancellationToken,
}

async fn accept(socket: TcpListener, connection: Connection, seats: Arc<Semaphore>) {
    loop {
        // The seat is taken before the connection, so that who finds none waits in the kernel's queue.
        let seat = tokio::select! {
            () = connection.stop.cancelled() => return,
            seat = Arc::clone(&seats).acquire_owned() => seat,
        };
        let Ok(seat) = seat else { return };
        let accepted = tokio::select! {
            () = connection.stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                no_delay(&stream);
                let task = connection.clone().run(stream, peer, seat);
                drop(connection.tasks.spawn(task));
            }
            Err(error) if is_of_one_connection(&error) => tracing::debug!(error = %error, "a connection broke before it was accepted"),
            Err(error) => {
                tracing::error!(error = %error, "cannot accept connections; trying again in a second");
                tokio::select! {
                    () = connection.stop.cancelled() => return,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "a connection cannot be set to TCP_NODELAY");
    }
}

/// Others, such as "too many open files", concern the process and would come again at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
