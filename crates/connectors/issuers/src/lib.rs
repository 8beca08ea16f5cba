//! CAs that are asked for certificates: one trait, one list, one file per product.

pub mod issuer;
pub mod local;

use certctl_connector_core::registry::{Family, entry};

pub use issuer::{Held, Issued, Issuer, Order, Outcome, Prepared, Revocation, Ticket};
pub use local::LocalCa;

/// Every kind of issuer.
pub static ISSUERS: Family<dyn Issuer> = Family::new("issuer", &[entry!(LocalCa as dyn Issuer)]);
