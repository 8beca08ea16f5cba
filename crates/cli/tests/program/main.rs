//! The real program, run as a user runs it, against a small HTTPS server that answers what each test says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not as a test expects fails the test")]

mod commands;
mod failures;
mod follow;
mod login;
mod support;
