//! What the server measures: one table of metrics, one look at all of them, and how that is written.

mod exposition;
mod process;
mod reference;
mod requests;
mod series;
mod snapshot;
mod table;

use std::sync::Arc;

use certctl_domain::time::Timestamp;

pub use exposition::{Exposition, Format};
pub use reference::reference;
pub use requests::RequestMetrics;
pub use snapshot::Snapshot;
pub use table::{Metric, Of};

use crate::listener::ListenerCounters;
use crate::tls::ReloadingTls;

/// What a scrape looks at beside the engine.
#[derive(Debug)]
pub struct Sources {
    /// Is told of every request.
    pub requests: Arc<RequestMetrics>,
    /// The server's own certificate.
    pub tls: Arc<ReloadingTls>,
    /// What the listener counts.
    pub listener: Arc<ListenerCounters>,
    /// When this process started.
    pub started_at: Timestamp,
}
