//! certctl-server: the control plane.

use std::process::ExitCode;

use certctl_server::boot::{self, BootError};
use certctl_server::config::{self, ConfigErrors, ConfigFlags, LogSettings};
use certctl_server::{metrics, routes, telemetry};
use clap::{Parser, Subcommand, ValueEnum};

/// The control plane of certctl: it finds, requests, deploys, proves, renews and revokes certificates.
///
/// Without a command it serves. It needs no configuration: data, an embedded database and a CA of its own are made in its data
/// directory at the first start.
#[derive(Debug, Parser)]
#[command(name = "certctl-server", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    config: ConfigFlags,
    /// Bring the schema up to date, then end. Needs the database settings alone. The same as the command `migrate`.
    #[arg(long)]
    migrate_only: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve; the default.
    Serve,
    /// Bring the schema up to date, then end. Needs the database settings alone.
    Migrate,
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Seal every secret in the database under the current encryption key. Keep the old key in
    /// `CERTCTL_ENCRYPTION_PREVIOUS_KEYS` until this has ended.
    RotateKey,
    /// Print the REST API as an OpenAPI document.
    Openapi,
    /// What is measured.
    Metrics {
        #[command(subcommand)]
        command: MetricsCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say everything that is wrong with the configuration.
    Check,
    /// Show every setting with where it comes from; secrets are not shown.
    Show {
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Print the reference of all settings as Markdown.
    Reference,
}

#[derive(Debug, Subcommand)]
enum MetricsCommand {
    /// Print the reference of all metrics as Markdown.
    Reference,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// TOML with the source of each value.
    Text,
    /// A JSON array.
    Json,
}

const EXAMPLES: &str = "Examples:
  certctl-server
  CERTCTL_DATABASE_URL=postgres://certctl@db/certctl certctl-server --config /etc/certctl/server.toml
  certctl-server config check
  certctl-server migrate

Exit codes: 0 ended as asked, 1 something failed, 2 the command line or the configuration is wrong.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Whatever is written, the database above all, is for the server's own user.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(errors)) => {
            print_error(&errors.to_string());
            ExitCode::from(2)
        }
        Err(Failure::Boot(error)) => {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            print_error(&format!("error: {text}"));
            if let Some(hint) = error.hint() {
                print_error(&format!("hint: {hint}"));
            }
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Config(ConfigErrors),
    Boot(BootError),
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<BootError> for Failure {
    fn from(error: BootError) -> Self {
        Self::Boot(error)
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let migrate = || -> Result<(), Failure> {
        let only = config::database_from_process(&cli.config)?;
        log(&only.log)?;
        let state = block_on(boot::migrate_only(&only.database, &only.data_dir))?;
        print(&format!("the schema is at {}", state.found));
        Ok(())
    };
    if cli.migrate_only {
        return migrate();
    }
    match &cli.command {
        None | Some(Command::Serve) => {
            let config = config::from_process(&cli.config)?;
            log(&config.log)?;
            Ok(block_on(boot::serve(config))?)
        }
        Some(Command::Migrate) => migrate(),
        Some(Command::Config { command: ConfigCommand::Check }) => {
            let config = config::from_process(&cli.config)?;
            for warning in config.warnings() {
                print_error(&format!("warning: {warning}"));
            }
            print("the configuration is fine");
            Ok(())
        }
        Some(Command::Config { command: ConfigCommand::Show { output } }) => {
            let config = config::from_process(&cli.config)?;
            match output {
                Format::Text => print(config.to_toml().trim_end()),
                Format::Json => print(&serde_json::to_string_pretty(&config.to_list()).unwrap_or_default()),
            }
            Ok(())
        }
        Some(Command::Config { command: ConfigCommand::Reference }) => {
            print(config::reference().trim_end());
            Ok(())
        }
        Some(Command::RotateKey) => {
            let config = config::from_process(&cli.config)?;
            log(&config.log)?;
            let n = block_on(boot::rotate_key(&config))?;
            print(&format!("{n} secrets were sealed anew"));
            Ok(())
        }
        Some(Command::Openapi) => {
            print(&serde_json::to_string_pretty(&routes::openapi()).unwrap_or_default());
            Ok(())
        }
        Some(Command::Metrics { command: MetricsCommand::Reference }) => {
            print(metrics::reference().trim_end());
            Ok(())
        }
    }
}

fn log(settings: &LogSettings) -> Result<(), BootError> {
    telemetry::init(settings).map_err(|e| BootError::System { what: "logs cannot be written", source: Box::new(e) })
}

fn block_on<T>(work: impl Future<Output = Result<T, BootError>>) -> Result<T, BootError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| BootError::System { what: "threads cannot be started", source: Box::new(e) })?;
    runtime.block_on(work)
}

/// To standard output; a reader that has gone is no error.
fn print(text: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// To standard error.
fn print_error(text: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
