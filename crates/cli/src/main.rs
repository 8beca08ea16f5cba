//! The program `certctl`: reads what surrounds it, runs one command, ends with its exit code.

use std::process::ExitCode;

use certctl_cli::Environment;

fn main() -> ExitCode {
    ExitCode::from(certctl_cli::run(std::env::args_os(), &Environment::read()))
}
