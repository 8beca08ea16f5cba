//! What the server measures: one table of metrics, one look at all of them, and how that is written.

mod exposition;
mod process;
mod reference;
mod requests;
mod series;
mod snapshot;
mod table;

use std::sync::Arc;
use std::time::Duration;

use certctl_domain::time::Timestamp;
use certctl_engine::Error;
use certctl_engine::shared::Shared;

pub use exposition::{Exposition, Format};
pub use reference::reference;
pub use requests::RequestMetrics;
pub use snapshot::{Installation, Snapshot};
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
    /// What scrapes read of the database, one look for all who ask at the same time.
    pub installation: Shared<Installation, Error>,
    /// How old such a look may be.
    pub age: Duration,
}

/// How old the numbers of the installation may be in a scrape of a server: two scrapers that come one after the other, as those of a
/// Prometheus and its stand-by do, ask the database once.
pub const AGE: Duration = Duration::from_secs(1);
