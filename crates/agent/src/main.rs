//! `certctl-agent`: see [`certctl_agent::commands`].

use std::process::ExitCode;

fn main() -> ExitCode {
    certctl_agent::commands::main()
}
