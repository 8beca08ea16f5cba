//! A listener for clients who are few, say little and go: CAs that look at a challenge. Each has a quarter of a minute.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{BindError, bind_all};

/// Bound sockets that do not answer yet.
#[derive(Debug)]
pub struct SmallListener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl SmallListener {
    /// Binds every address. Needs a Tokio runtime.
    ///
    /// # Errors
    /// At the first address that cannot be bound.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let (sockets, addresses) = bind_all(addresses)?;
        Ok(Self { sockets, addresses })
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
