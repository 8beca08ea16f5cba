//! The agent: the process beside targets. It makes keys that never leave the host, sends signing requests, puts what was
//! issued in place, and proves what is served.
//!
//! It calls the server and is never called. Everything that must survive is on disk before it matters: keys before their
//! request leaves, results before they are told, every step of a deployment before it is taken.

pub mod agent;
pub mod backoff;
pub mod challenges;
pub mod clock;
pub mod commands;
pub mod enroll;
pub mod identity;
pub mod keys;
pub mod outbox;
pub mod run;
pub mod server;
pub mod settings;
pub mod state;
pub mod vitals;

mod apply;
mod executor;
mod facts;
mod heartbeat;
mod listener;
mod narrator;
mod outcome;
mod poll;
mod recover;
mod request;
mod telemetry;
mod trust;
mod undertaking;
