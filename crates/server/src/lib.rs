//! certctl-server: the control plane, as a library for its own binary and for tests.

pub mod access_reference;
pub mod api;
pub mod backup;
pub mod boot;
pub mod challenges;
pub mod config;
pub mod handlers;
pub mod health;
pub mod listener;
pub mod metrics;
pub mod platform_tls;
pub mod private_file;
pub mod problem;
pub mod rate_limit;
pub mod readiness;
pub mod rotation;
pub mod routes;
pub mod schema;
pub mod shutdown;
pub mod state;
pub mod telemetry;
pub mod tls;

#[cfg(test)]
mod fixture;
