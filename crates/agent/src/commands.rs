//! The command line. Data goes to standard output, everything else to standard error; errors end with what to do next.

pub mod allow;

mod demo_listener;
mod enroll;
mod output;
mod run;
mod status;
mod unenroll;

use std::process::ExitCode;

use certctl_connector_core::ConnectorError;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::settings::{CommonOptions, Settings, Surroundings};
use crate::telemetry;

/// Makes keys on this machine, puts certificates in place, and proves what is served.
///
/// The agent calls its server and is never called. Private keys do not leave this machine, and only commands that a file on
/// this machine allows are run.
#[derive(Debug, Parser)]
#[command(name = "certctl-agent", version, after_help = EXAMPLES, after_long_help = LONG_EXAMPLES, max_term_width = 100)]
pub struct CommandLine {
    #[command(flatten)]
    common: CommonOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Exchange a one-time token for an identity
    #[command(after_help = enroll::EXAMPLES)]
    Enroll(enroll::Options),
    /// Run the agent until it is told to stop
    #[command(after_help = run::EXAMPLES)]
    Run(run::Options),
    /// Say how the agent on this machine is; exit code 0 when all is well, 1 when not
    #[command(after_help = status::EXAMPLES)]
    Status(status::Options),
    /// Forget the identity; keys stay unless asked otherwise
    #[command(after_help = unenroll::EXAMPLES)]
    Unenroll(unenroll::Options),
    /// Allow a command to be run on this machine, or list what is allowed
    #[command(after_help = allow::EXAMPLES)]
    Allow(allow::Options),
    /// A small TLS server for demonstrations: serves one certificate, reloads it when its files change
    #[command(after_help = demo_listener::EXAMPLES)]
    DemoListener(demo_listener::Options),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  certctl-agent completions bash > /etc/bash_completion.d/certctl-agent")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    // All of our TLS names the provider; this is for libraries that ask for the process's default.
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match execute(line) {
        Ok(code) => {
            tracing::debug!(provider_installed = installed.is_ok(), "done");
            code
        }
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// The command line as clap describes it; for completions and reference pages.
#[must_use]
pub fn description() -> clap::Command {
    CommandLine::command()
}

fn execute(line: CommandLine) -> Result<ExitCode, ConnectorError> {
    if let Command::Completions { shell } = line.command {
        output::completions(shell);
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::load(&line.common, &Surroundings::read())?;
    telemetry::init(settings.log_level, settings.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|e| ConnectorError::transient("the runtime cannot be started").caused_by(e))?;
    let done = runtime.block_on(async {
        match line.command {
            Command::Enroll(options) => enroll::execute(&settings, &options).await,
            Command::Run(options) => run::execute(&settings, &options).await,
            Command::Status(options) => status::execute(&settings, &options),
            Command::Unenroll(options) => unenroll::execute(&settings, &options).await,
            Command::Allow(options) => allow::execute(&settings, &options),
            Command::DemoListener(options) => demo_listener::execute(&options).await,
            Command::Completions { .. } => Ok(ExitCode::SUCCESS),
        }
    });
    // A key that is still being made for nobody must not hold up the end.
    runtime.shutdown_background();
    done
}

/// An agent waits more than it works.
const WORKERS: usize = 2;

/// The configuration does not allow to start, and starting again will not help (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  certctl-agent enroll --server https://certctl.example.test:8443 --token-file token --ca-sha256 3f9a...
  certctl-agent allow nginx
  certctl-agent run
  certctl-agent status

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 not enrolled";

const LONG_EXAMPLES: &str = "\
Examples:
  Enroll with a token that `certctl agents token create` printed; the pin is what the server prints at its start:
    certctl-agent enroll --server https://certctl.example.test:8443 --token-file token --ca-sha256 3f9a...
  Let certificates be put on nginx:
    certctl-agent allow nginx
  Run, as a service or by hand:
    systemctl enable --now certctl-agent
    certctl-agent run
  See how it is, for people and for machines:
    certctl-agent status
    certctl-agent status --json

Every setting can be given as a flag, in the environment (CERTCTL_AGENT_*), or in /etc/certctl-agent/agent.toml.

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 not enrolled";

#[cfg(test)]
mod tests;
