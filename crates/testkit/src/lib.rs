//! What tests stand on: fresh databases of both kinds, programs of other people, and waiting for a condition instead of sleeping.
//!
//! Only ever a development dependency. A fixture that cannot be made fails the test at once and says what to do.

#![expect(clippy::panic, reason = "a fixture that cannot be made must fail the test that asked for it")]

pub mod acme;
pub mod database;
mod macros;
mod postgres;
mod programs;
mod wait;

pub use database::{Database, Engine};
pub use programs::require_program;
pub use wait::{wait_for, wait_until};
