//! The command line of certctl: does what the REST API can do, and nothing else.
//!
//! One file per noun in `nouns` says what its table shows and which flags it takes; `crud` does the rest for all of them.

mod app;
mod assign;
mod cli;
mod completions;
mod config;
mod connection;
mod context;
mod crud;
mod doc;
mod environment;
mod explain;
mod failure;
mod files;
mod follow;
mod input;
mod login;
mod noun;
mod nouns;
mod output;
mod reference;
mod session;
mod span;
mod status;
mod version;

use std::ffi::OsString;

use clap::Parser as _;

pub use crate::environment::Environment;

/// Runs one command and gives its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> u8 {
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no errors. A reader that went away has seen enough.
            drop(error.print());
            return u8::try_from(error.exit_code()).unwrap_or(1);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(failure::Failure::local("cannot begin")).and_then(|runtime| runtime.block_on(cli.run(environment)));
    match done {
        Ok(()) => 0,
        Err(failure) => {
            let told = failure.told();
            if !told.is_empty() {
                output::say(told.trim_end());
            }
            failure.exit_code()
        }
    }
}
