//! How long requests take, and how many are being answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::api::RequestSeen;
use crate::state::Requests;

/// What is counted of requests.
#[derive(Debug)]
pub struct RequestMetrics {
    durations: Family<RequestLabels, Histogram>,
    in_flight: AtomicI64,
}

/// What requests are told apart by: all of it from lists of ours, so that callers cannot make up series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    method: String,
    route: String,
    status: &'static str,
}

impl RequestMetrics {
    /// Counts the requests to a router while they are answered.
    pub fn around(self: Arc<Self>, router: Router) -> Router {
        router.layer(from_fn_with_state(self, in_flight))
    }

    pub(super) const fn durations(&self) -> &Family<RequestLabels, Histogram> {
        &self.durations
    }

    pub(super) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self { durations: Family::new_with_constructor(histogram as fn() -> Histogram), in_flight: AtomicI64::new(0) }
    }
}

impl Requests for RequestMetrics {
    fn seen(&self, request: &RequestSeen<'_>) {
        let labels = RequestLabels { method: request.method.to_owned(), route: request.route.to_owned(), status: class_of(request.status) };
        self.durations.get_or_create(&labels).observe(request.took.as_secs_f64());
    }
}

/// A request that is being answered; also one whose caller went away is over in the end.
#[derive(Debug)]
struct InFlight(Arc<RequestMetrics>);

impl InFlight {
    fn new(metrics: Arc<RequestMetrics>) -> Self {
        metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(metrics)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn in_flight(State(metrics): State<Arc<RequestMetrics>>, request: Request, next: Next) -> Response {
    let _counted = InFlight::new(metrics);
    next.run(request).await
}

const fn class_of(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// Most answers take milliseconds; polls are held open for most of a minute.
fn histogram() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0])
}
