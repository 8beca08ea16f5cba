//! Everything that is kept: one concrete [`Store`] over SQLite or PostgreSQL.

pub mod actors;
pub mod agents;
pub mod api_keys;
pub mod audit;
pub mod authorities;
pub mod bootstrap;
pub mod certificates;
pub mod counters;
pub mod db;
pub mod error;
pub mod heartbeats;
pub mod idempotency;
pub mod issuances;
pub mod issuers;
pub mod jobs;
pub mod leases;
pub mod meta;
pub mod migrate;
pub mod outbox;
pub mod owners;
pub mod profiles;
pub mod renewal_policies;
pub mod retention;
pub mod roles;
pub mod secrets;
pub mod stats;
pub mod store;
pub mod table;
pub mod targets;
pub mod teams;
pub mod wake;

pub use db::OpenOptions;
pub use error::StoreError;
pub use store::{Store, Who, WriteTx};
pub use wake::Topic;
