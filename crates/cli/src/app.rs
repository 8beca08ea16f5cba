//! What every command has: its surroundings, the flags that all commands share, the configuration file, and the output.

use std::time::Duration;

use crate::config::ConfigFile;
use crate::connection::{Connection, ServerFlags};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::output::{Format, Look, Output};
use crate::session::Asks;
use crate::span;

/// The flags that all commands share.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GlobalFlags {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// The flags about what is printed, and how long to wait.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputFlags {
    /// How to print: table, wide, json, yaml, name, csv or ndjson
    #[arg(
        long = "output",
        short = 'o',
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(crate) format: Format,
    #[arg(long, global = true, hide_short_help = true, help = "No colors [env: NO_COLOR]")]
    pub(crate) no_color: bool,
    /// Only data and errors, no notes and no progress
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) quiet: bool,
    /// The longest to wait: with --wait for the work (default 5m), otherwise for each answer of the server (default 30s)
    #[arg(long, global = true, value_name = "TIME", value_parser = span::parse, hide_short_help = true)]
    pub(crate) timeout: Option<Duration>,
    /// Do not ask before what cannot be undone
    #[arg(long, short = 'y', global = true, hide_short_help = true)]
    pub(crate) yes: bool,
}

/// What every command has.
#[derive(Debug)]
pub(crate) struct App {
    /// The surroundings.
    pub(crate) environment: Environment,
    /// The shared flags.
    pub(crate) flags: GlobalFlags,
    /// The configuration file.
    pub(crate) file: ConfigFile,
    /// Prints.
    pub(crate) out: Output,
    /// Whether the command waits for work to end.
    pub(crate) waits: Waits,
}

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Answers of the server.
    Answers,
    /// An answer for which the server goes through a lot.
    LongAnswers,
    /// The end of work.
    Work,
}

impl App {
    /// Puts it together.
    pub(crate) fn new(flags: GlobalFlags, environment: &Environment, waits: Waits) -> Result<Self, Failure> {
        let file = ConfigFile::read(environment.config_file.as_deref())?;
        let look = Look {
            now: environment.now,
            columns: environment.stdout_columns,
            color: environment.stdout_is_terminal && !environment.no_color && !flags.output.no_color,
        };
        let out = Output { format: flags.output.format, look, quiet: flags.output.quiet, live: environment.stderr_is_terminal };
        if let Some(warning) = file.warning() {
            out.warn(&warning);
        }
        Ok(Self { environment: environment.clone(), flags, file, out, waits })
    }

    /// How to reach the server.
    pub(crate) fn connection(&self) -> Result<Connection, Failure> {
        let connection = Connection::find(&self.flags.server, &self.environment, &self.file.config)?;
        if connection.insecure {
            self.out.warn("--insecure: whoever answers is trusted, and gets the API key");
        }
        Ok(connection)
    }

    /// The longest that one call may take. Calls that wait for work are held open by the server.
    pub(crate) fn call_limit(&self) -> Duration {
        match self.waits {
            Waits::Answers => self.flags.output.timeout.unwrap_or(CALL_LIMIT),
            Waits::LongAnswers => self.flags.output.timeout.unwrap_or(LONG_ANSWER_LIMIT),
            Waits::Work => LONG_POLL_LIMIT,
        }
    }

    /// The longest to wait for work.
    pub(crate) fn patience(&self) -> Duration {
        self.flags.output.timeout.unwrap_or(PATIENCE)
    }

    /// What is done before something that cannot be undone.
    pub(crate) const fn asks(&self) -> Asks {
        match (self.flags.output.yes, self.environment.stdin_is_terminal && self.environment.stderr_is_terminal) {
            (true, _) => Asks::Nothing,
            (false, true) => Asks::Somebody,
            (false, false) => Asks::Nobody,
        }
    }
}

const CALL_LIMIT: Duration = Duration::from_secs(30);
/// As long as the server gives itself for such an answer.
const LONG_ANSWER_LIMIT: Duration = Duration::from_secs(10 * 60);
const LONG_POLL_LIMIT: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(5 * 60);
