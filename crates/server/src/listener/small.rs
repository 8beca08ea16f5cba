//! A listener for clients who are few, say little and go: CAs that look at a challenge. Each has a quarter of a minute.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::BindError;

/// Bound sockets that do not answer yet.
#[derive(Debug)]
pub struct SmallListener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl SmallListener {
    /// Binds every address.
    ///
    /// # Errors
    /// At the first address that cannot be bound.
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let mut sockets = Vec::with_capacity(addresses.len());
        let mut bound = Vec::with_capacity(addresses.len());
        for &address in addresses {
            let socket = TcpListener::bind(address).await.map_err(|source| BindError { address, source })?;
            bound.push(socket.local_addr().map_err(|source| BindError { address, source })?);
            sockets.push(socket);
        }
        Ok(Self { sockets, addresses: bound })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Has each connection handled until `stop`.
    pub async fn serve<F, W>(self, stop: CancellationToken, handle: F)
    where
        F: Fn(TcpStream) -> W + Clone + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut listening = JoinSet::new();
        for socket in self.sockets {
            listening.spawn(listen(socket, Arc::clone(&room), stop.clone(), handle.clone()));
        }
        while listening.join_next().await.is_some() {}
    }
}

async fn listen<F, W>(socket: TcpListener, room: Arc<Semaphore>, stop: CancellationToken, handle: F)
where
    F: Fn(TcpStream) -> W + Clone + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (socket.accept().await, permit)
        };
        tokio::select! {
            (accepted, permit) = next => match accepted {
                Ok((stream, _)) => {
                    let work = handle(stream);
                    open.spawn(async move {
                        let _permit = permit;
                        // Whoever is slower than this is no CA.
                        if timeout(LONGEST, work).await.is_err() {
                            tracing::debug!("a client of the challenges took too long");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for a challenge cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            _ended = open.join_next(), if !open.is_empty() => {}
            () = stop.cancelled() => break,
        }
    }
    open.shutdown().await;
}

const CONNECTIONS: usize = 256;
const LONGEST: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);
