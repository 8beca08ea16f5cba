//! The REST API, spoken to through its router, on both databases.

#![cfg(test)]

mod access;
mod agents;
mod audit;
mod authorization;
mod bad_input;
mod bootstrap;
mod contract;
mod crud;
mod export;
mod frame;
mod http01;
mod idempotency;
mod keys;
mod life;
mod metrics;
mod pki;
mod problems;
mod runbook;
mod scopes;
mod statements;
mod stats;
mod support;
