//! Every workload, in the order in which they are run.

pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod crl;
pub(crate) mod issuance;
pub(crate) mod ocsp;
pub(crate) mod reads;
pub(crate) mod renewal;
pub(crate) mod start;
pub(crate) mod stats;

use futures_util::future::BoxFuture;

use crate::failure::Result;
use crate::figure::Row;
use crate::world::{FLEET, MANY, World};

/// Something that is measured.
pub(crate) struct Workload {
    /// What it is called.
    pub(crate) name: &'static str,
    /// With how many certificates.
    pub(crate) at: u64,
    /// Measures it.
    pub(crate) run: for<'a> fn(&'a World) -> BoxFuture<'a, Result<Vec<Row>>>,
}

/// All of them. Those that change the data stand behind those that read it.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload { name: "start", at: FLEET, run: |world| Box::pin(start::run(world)) },
    Workload { name: "get", at: FLEET, run: |world| Box::pin(reads::get(world)) },
    Workload { name: "pages at 50 000", at: FLEET, run: |world| Box::pin(reads::pages(world)) },
    Workload { name: "heartbeats", at: FLEET, run: |world| Box::pin(agents::heartbeats(world)) },
    Workload { name: "polls", at: FLEET, run: |world| Box::pin(agents::polls(world)) },
    Workload { name: "parked", at: FLEET, run: |world| Box::pin(agents::parked(world)) },
    Workload { name: "ocsp", at: FLEET, run: |world| Box::pin(ocsp::run(world)) },
    Workload { name: "issuance", at: FLEET, run: |world| Box::pin(issuance::run(world)) },
    Workload { name: "crl", at: FLEET, run: |world| Box::pin(crl::run(world)) },
    Workload { name: "renewal of 50 000", at: FLEET, run: |world| Box::pin(renewal::all(world)) },
    Workload { name: "pages at 1 000 000", at: MANY, run: |world| Box::pin(reads::pages(world)) },
    Workload { name: "size", at: MANY, run: |world| Box::pin(reads::size(world)) },
    Workload { name: "statistics", at: MANY, run: |world| Box::pin(stats::run(world)) },
    Workload { name: "renewal of 1 000 in 1 000 000", at: MANY, run: |world| Box::pin(renewal::some(world)) },
    Workload { name: "audit", at: MANY, run: |world| Box::pin(audit::run(world)) },
];
