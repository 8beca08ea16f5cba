//! Handlers of the REST operations, one file per resource. A handler reads its parts, calls one verb, and says what comes back.

pub mod actors;
pub mod agents;
pub mod api_keys;
pub mod audit;
pub mod auth;
pub mod certificates;
pub mod issuers;
pub mod jobs;
pub mod pki;
pub mod roles;
pub mod stats;
pub mod system;
pub mod targets;
