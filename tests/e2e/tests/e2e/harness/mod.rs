//! What the tests stand on: the programs as their users run them, in a folder of the test's own, with nothing left behind.

mod agent;
mod api;
mod cli;
mod files;
mod gate;
mod handshake;
mod haproxy;
mod home;
mod nginx;
mod openssl;
mod operator;
mod pages;
mod process;
mod prometheus;
mod s3;
mod server;
mod tables;
mod wire;
mod world;
mod zlint;

use std::time::Duration;

pub(crate) use agent::{Agent, token};
pub(crate) use api::{Api, fields_of};
pub(crate) use certctl_testkit::free_port;
pub(crate) use cli::Cli;
pub(crate) use files::{mode_of, names_in, read, write, write_script};
pub(crate) use gate::Gate;
pub(crate) use handshake::{served, served_at, verified};
pub(crate) use haproxy::Haproxy;
pub(crate) use home::Home;
pub(crate) use nginx::Nginx;
pub(crate) use openssl::{Openssl, fingerprint_of};
pub(crate) use operator::Operator;
pub(crate) use pages::{Blocks, block_with, blocks, in_repository};
#[cfg(feature = "upgrade")]
pub(crate) use process::older;
pub(crate) use process::{Process, Ran, command, in_own_mounts, product, run, run_with_input};
pub(crate) use prometheus::{Prometheus, samples};
pub(crate) use s3::{Bucket, Keeper};
pub(crate) use server::{Server, Setup};
pub(crate) use tables::Tables;
pub(crate) use wire::{Cut, Wire};
pub(crate) use world::{Site, World};
pub(crate) use zlint::lint;

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(120);
