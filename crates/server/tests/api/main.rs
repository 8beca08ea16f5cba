//! The REST API, spoken to through its router, on both databases.

mod access;
mod audit;
mod authorization;
mod bad_input;
mod bootstrap;
mod contract;
mod crud;
mod idempotency;
mod keys;
mod problems;
mod runbook;
mod scopes;
mod support;
