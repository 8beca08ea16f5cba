//! The load: a closed loop over kept connections, each of which asks, waits for the answer, and asks again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::failure::{Context as _, Result};
use crate::http::{Connection, Target};
use crate::rows::issuance::Orders;

/// What is done again and again.
#[derive(Clone)]
pub(crate) enum Work {
    /// These requests in turn; each must be answered with this status.
    Ask { requests: Arc<Vec<Vec<u8>>>, status: u16 },
    /// Certificates, each from its CSR to its version.
    Issue(Arc<Orders>),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// How long each answer took, in microseconds.
    pub(crate) latencies: Vec<u64>,
    /// From the first question to the last answer.
    pub(crate) elapsed: Duration,
}

impl Work {
    /// One request again and again.
    pub(crate) fn one(request: Vec<u8>, status: u16) -> Self {
        Self::many(vec![request], status)
    }

    /// Requests in turn.
    pub(crate) fn many(requests: Vec<Vec<u8>>, status: u16) -> Self {
        Self::Ask { requests: Arc::new(requests), status }
    }
}

impl Round {
    /// Answers a second.
    #[expect(clippy::cast_precision_loss, reason = "a count of answers is far below what a float holds exactly")]
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Works for `time` over `connections` connections, and fails when an answer is not the expected one.
pub(crate) async fn drive(target: &Target, work: &Work, connections: usize, time: Duration) -> Result<Round> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(target).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let end = begun + time;
    let mut workers = JoinSet::new();
    for connection in open {
        let (work, next) = (work.clone(), Arc::clone(&next));
        workers.spawn(async move {
            match work {
                Work::Ask { requests, status } => ask(connection, &requests, status, &next, end).await,
                Work::Issue(orders) => orders.fulfil(connection, end).await,
            }
        });
    }
    let mut round = Round::default();
    while let Some(worker) = workers.join_next().await {
        round.latencies.extend(worker.context("a connection's task broke")??);
    }
    round.elapsed = begun.elapsed();
    Ok(round)
}

async fn ask(mut connection: Connection, requests: &[Vec<u8>], status: u16, next: &AtomicUsize, end: Instant) -> Result<Vec<u64>> {
    let mut latencies = Vec::with_capacity(16_384);
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed) % requests.len().max(1);
        let request = requests.get(at).context("there is nothing to ask")?;
        let begun = Instant::now();
        if status == connection.stream(request, |_| ()).await? {
            latencies.push(micros(begun.elapsed()));
        } else {
            // Once more, for its words.
            connection.ask(request).await?.is(status)?;
        }
        if Instant::now() >= end {
            return Ok(latencies);
        }
    }
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
