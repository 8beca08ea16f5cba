//! The REST contract: what goes over the wire beside the nouns themselves, and a typed client.

pub mod agents;
pub mod audit;
pub mod auth;
pub mod certificates;
#[cfg(feature = "client")]
pub mod client;
pub mod duration;
pub mod jobs;
pub mod pki;
pub mod problem;
pub mod stats;
pub mod system;
