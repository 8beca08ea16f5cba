//! Deployments as a user sees them: real files, real nginx, real handshakes, real deaths.

mod bad_input;
mod crash;
mod engine;
mod family;
mod haproxy;
mod in_place;
mod kill;
mod nginx;
mod service;
mod support;
