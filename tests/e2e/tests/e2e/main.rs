//! The real programs against real software: server, agent and command line client as their users run them, nginx, openssl, curl, zlint.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the tests run programs, write files and read the environment as users do")]

mod algorithms;
mod harness;
mod main_job;
mod runbook;
mod sites;
