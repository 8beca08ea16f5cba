//! CAs that are asked for certificates: one trait, one list, one file per product.

pub mod acme;
pub mod issuer;
pub mod local;
pub mod surroundings;

use certctl_connector_core::registry::{Family, entry};

pub use acme::Acme;
pub use issuer::{
    ASK_RENEWAL_INFO_AT, Answerer, Held, Hosts, Issued, Issuer, Order, Outcome, Predecessor, Prepared, Renewed, Revocation, Suggestion,
    Ticket,
};
pub use local::LocalCa;
pub use surroundings::{ChallengeAnswer, Handover, KeptAccount, Standing, Surroundings, Vault};

/// Every kind of issuer.
pub static ISSUERS: Family<dyn Issuer> = Family::new("issuer", &[entry!(LocalCa as dyn Issuer), entry!(Acme as dyn Issuer)]);
