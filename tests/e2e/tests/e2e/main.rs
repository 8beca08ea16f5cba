//! The real programs against real software: server, agent and command line client as their users run them, nginx, openssl, curl, zlint.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the tests run programs, write files and read the environment as users do")]

mod acme;
mod acme_hosts;
mod agents;
mod algorithms;
mod backups;
mod bad_input;
mod chart;
mod cli;
mod containers;
mod databases;
mod disks;
mod faults;
mod gauges;
mod harness;
mod imported_ca;
mod main_job;
mod release;
mod replicas;
mod revocation;
mod runbook;
mod runbooks;
mod server_life;
mod sites;
mod traffic;
#[cfg(feature = "upgrade")]
mod upgrade;
