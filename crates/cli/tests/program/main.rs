//! The real program, run as a user runs it, against a small HTTPS server that answers what each test says.

mod commands;
mod failures;
mod follow;
mod login;
mod support;
