//! The command line client against a real server: exit codes, formats, lists, contexts.

mod contexts;
mod exit_codes;
mod formats;
mod lists;
