//! Places a certificate is put: one file per product, one list, and the engine that all file-based ones share.

pub mod deploy;
pub mod files;
pub mod haproxy;
pub mod nginx;
pub mod observation;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files, tasks and processes")]
mod tests;

use certctl_connector_core::registry::{Family, entry};
use certctl_connector_core::target::Target;

pub use self::deploy::recover;

/// Every kind of target.
pub static TARGETS: Family<dyn Target> = Family::new(
    "target",
    &[entry!(nginx::Nginx as dyn Target), entry!(haproxy::Haproxy as dyn Target), entry!(files::Files as dyn Target)],
);
