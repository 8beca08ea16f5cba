//! What tests stand on: fresh databases of both kinds, programs of other people, and waiting for a condition instead of sleeping.
//!
//! Only ever a development dependency. A fixture that cannot be made fails the test at once and says what to do.

#![expect(clippy::panic, reason = "a fixture that cannot be made must fail the test that asked for it")]

pub mod acme;
pub mod database;
mod macros;
mod pooler;
mod ports;
mod postgres;
mod programs;
mod running;
mod wait;

pub use database::{Database, Engine};
pub use pooler::Pooler;
pub use ports::{free_address, free_port};
pub use postgres::OwnCluster;
pub use programs::{require_postgres_18, require_postgres_program, require_program};
pub use wait::{wait_for, wait_until};

/// The part of a key, credential or token that may stand nowhere: what follows `ck_<id>_`. It may have a `_` in it.
///
/// # Panics
/// When it is too short to be searched for without being found by chance.
#[must_use]
pub fn secret_of(token: &str) -> &str {
    let secret = token.trim().splitn(3, '_').nth(2).unwrap_or_default();
    assert!(secret.len() >= 16, "no secret, or one so short that it is found everywhere");
    secret
}
