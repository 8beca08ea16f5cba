//! What the listener counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts that only grow, and the number of open connections.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    accepted: AtomicU64,
    open: AtomicUsize,
    handshake_failed: AtomicU64,
    handshake_timed_out: AtomicU64,
    plain_http: AtomicU64,
    timed_out: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListenerCounts {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// TLS handshakes that failed.
    pub handshake_failed: u64,
    /// TLS handshakes that took too long.
    pub handshake_timed_out: u64,
    /// Connections that spoke HTTP without TLS.
    pub plain_http: u64,
    /// Connections closed because their client was silent or slow.
    pub timed_out: u64,
}

impl ListenerCounters {
    /// All counts now.
    #[must_use]
    pub fn counts(&self) -> ListenerCounts {
        ListenerCounts {
            accepted: self.accepted.load(Ordering::Relaxed),
            open: self.open(),
            handshake_failed: self.handshake_failed.load(Ordering::Relaxed),
            handshake_timed_out: self.handshake_timed_out.load(Ordering::Relaxed),
            plain_http: self.plain_http.load(Ordering::Relaxed),
            timed_out: self.timed_out.load(Ordering::Relaxed),
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a connection as open until what is returned is dropped.
    pub(super) fn opened(self: &Arc<Self>) -> OpenConnection {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    pub(super) fn ended(&self, end: End) {
        let counter = match end {
            End::HandshakeFailed => &self.handshake_failed,
            End::HandshakeTimedOut => &self.handshake_timed_out,
            End::PlainHttp => &self.plain_http,
            End::TimedOut => &self.timed_out,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// An end of a connection that is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    HandshakeFailed,
    HandshakeTimedOut,
    PlainHttp,
    TimedOut,
}

/// Keeps the number of open connections right however a connection ends.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<ListenerCounters>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
