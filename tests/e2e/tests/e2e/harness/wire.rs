//! A wire between two programs that can be cut in the middle of a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

/// What is cut off next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    /// The second half of the next long message that is sent.
    Upload = 1,
    /// The whole answer to the next long message that is sent.
    Answer = 2,
    /// The second half of the next long message that is sent, and from then on everything.
    ForGood = 3,
}

/// The wire; it ends with the test's runtime.
pub(crate) struct Wire {
    /// Where it is taken up.
    pub(crate) port: u16,
    next: Arc<AtomicU8>,
    cuts: Arc<AtomicUsize>,
    listening: AbortHandle,
}

impl Wire {
    /// A wire to a port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (next, cuts) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicUsize::new(0)));
        let taken = listener.local_addr().unwrap().port();
        let (its_next, its_cuts) = (Arc::clone(&next), Arc::clone(&cuts));
        let listening = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                tokio::spawn(carry(near, far, Arc::clone(&its_next), Arc::clone(&its_cuts)));
            }
        });
        Self { port: taken, next, cuts, listening: listening.abort_handle() }
    }

    /// Has the next long message cut.
    pub(crate) fn cut(&self, what: Cut) {
        self.next.store(what as u8, Ordering::Release);
    }

    /// How often it was cut.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Acquire)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn carry(near: TcpStream, far: TcpStream, next: Arc<AtomicU8>, cuts: Arc<AtomicUsize>) {
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let answers: JoinHandle<()> = tokio::spawn(copy(from_far, to_near));
    send(from_near, to_far, &answers, (&next, &cuts)).await;
    answers.abort();
}

async fn send(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: &JoinHandle<()>, (next, cuts): (&AtomicU8, &AtomicUsize)) {
    let mut buffer = vec![0; 64 * 1024];
    let mut messages = 0;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        messages += 1;
        // The first ones are the TLS handshake; a poll is short, a request with a CSR is not.
        let is_upload = messages > 2 && length > LONG_MESSAGE;
        let dead = next.load(Ordering::Acquire) == Cut::ForGood as u8 && cuts.load(Ordering::Acquire) > 0;
        if dead {
            return;
        }
        let cut = if is_upload {
            next.fetch_update(Ordering::AcqRel, Ordering::Acquire, |cut| Some(if cut == Cut::ForGood as u8 { cut } else { 0 })).unwrap()
        } else {
            0
        };
        let sent = if cut == Cut::Upload as u8 || cut == Cut::ForGood as u8 { length / 2 } else { length };
        if cut == Cut::Answer as u8 {
            answers.abort();
        }
        if to.write_all(&buffer[..sent]).await.is_err() {
            return;
        }
        if cut != 0 {
            cuts.fetch_add(1, Ordering::AcqRel);
            return;
        }
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    tokio::io::copy(&mut from, &mut to).await.ok();
}

const LONG_MESSAGE: usize = 900;
