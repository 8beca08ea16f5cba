//! certctl-server: the control plane.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use certctl_server::boot::{self, BootError};
use certctl_server::config::{self, ConfigErrors, ConfigFlags, LogSettings, SettingValue};
use certctl_server::schema::{Schema, Target};
use certctl_server::{access_reference, backup, health, metrics, rotation, routes, telemetry};
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
    /// Bring the schema up to date, then end; or look at what that would do. Needs the database settings alone.
    Migrate {
        #[command(subcommand)]
        command: Option<MigrateCommand>,
    },
    /// Ask the server that runs with this configuration how it is; exit code 0 when it is well. For probes of containers.
    Health {
        /// Ask whether it can do its work too, not only whether it answers.
        #[arg(long)]
        ready: bool,
        /// How long it may take to answer.
        #[arg(long, value_parser = duration, default_value = "5s")]
        timeout: Duration,
    },
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Seal every secret in the database under the current encryption key, while servers run. Keep the old key in
    /// `CERTCTL_ENCRYPTION_PREVIOUS_KEYS` until this has ended. Stopped, it goes on where it was.
    RotateKey {
        /// Change nothing; say which keys seal how many secrets. Exit code 1 while it is another key than the current one.
        #[arg(long)]
        check: bool,
    },
    /// Make backups, read them, and put them back. Needs the settings of database and backups alone.
    Backup {
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Print the REST API as an OpenAPI document.
    Openapi,
    /// Who may do what.
    Permissions {
        #[command(subcommand)]
        command: PermissionsCommand,
    },
    /// What is measured.
    Metrics {
        #[command(subcommand)]
        command: MetricsCommand,
    },
}

#[derive(Debug, Subcommand)]
enum MigrateCommand {
    /// Show the migrations that this program would apply, and which programs can run on the schema afterwards. Changes nothing.
    Plan {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show every migration, applied or not, and which programs can run on the schema as it is. Changes nothing.
    Status {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say whether another release can run on the schema as it is, such as the one to go back to. Exit code 1 when it cannot.
    Check {
        /// The release, such as `0.1.0`, or the number of the newest migration that it knows.
        #[arg(long, value_name = "RELEASE", value_parser = target)]
        target_version: Target,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
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
enum BackupCommand {
    /// Make a backup while the server runs. It is checked on its way, and read once more where it lies.
    Create {
        /// How long to wait while another run works on backups.
        #[arg(long, value_parser = duration, default_value = "0s")]
        wait: Duration,
        /// Print the manifest as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read a backup from one end to the other and compare it with its manifest.
    Verify {
        /// A name, or `latest`.
        #[arg(default_value = "latest")]
        backup: String,
        /// Put it into a scratch database too, follow its audit chain and run the migrations of this program on it.
        #[arg(long)]
        into_scratch: bool,
        /// File with the URL of an empty PostgreSQL database for that. By default one is made and dropped again.
        #[arg(long, requires = "into_scratch", value_name = "FILE")]
        scratch_database_file: Option<PathBuf>,
    },
    /// Show the backups in the place, of every installation.
    List {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove old backups of this installation, as many as `backup.keep_*` say. One that is good always stays.
    Prune {
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
        /// How long to wait while another run works on backups.
        #[arg(long, value_parser = duration, default_value = "0s")]
        wait: Duration,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a backup into an empty database, whole or not at all. No server may run on it.
    Restore {
        /// A name, or `latest`.
        backup: String,
    },
}

#[derive(Debug, Subcommand)]
enum PermissionsCommand {
    /// Print the reference of all permissions and roles as Markdown.
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
  certctl-server migrate check --target-version 0.1.0
  certctl-server health --ready
  CERTCTL_BACKUP_DIRECTORY=/srv/backups certctl-server backup create

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
        Err(Failure::Answered) => ExitCode::FAILURE,
        Err(Failure::Boot(error)) => {
            print_error(&format!("error: {}", boot::chain(&error)));
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
    /// The answer was no, and has been given.
    Answered,
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
        Some(Command::Migrate { command: None }) => migrate(),
        Some(Command::Migrate { command: Some(command) }) => look_at_schema(&cli.config, command),
        Some(Command::Health { ready, timeout }) => {
            let config = config::from_process(&cli.config)?;
            let depth = if *ready { health::Depth::Ready } else { health::Depth::Alive };
            print(&block_on(health::ask(&config, depth, *timeout))?);
            Ok(())
        }
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
        Some(Command::RotateKey { check: true }) => {
            let config = config::from_process(&cli.config)?;
            log(&config.log)?;
            let (found, error) = block_on(rotation::check(&config))?;
            print(&found.text());
            error.map_or(Ok(()), |error| Err(error.into()))
        }
        Some(Command::RotateKey { check: false }) => {
            let config = config::from_process(&cli.config)?;
            log(&config.log)?;
            let (n, found) = block_on(rotation::rotate(&config))?;
            print(&format!("{n} secrets were sealed anew; every secret is sealed under the current key, {}", found.current));
            Ok(())
        }
        Some(Command::Backup { command }) => run_backup(&cli.config, command),
        Some(Command::Openapi) => {
            print(&serde_json::to_string_pretty(&routes::openapi()).unwrap_or_default());
            Ok(())
        }
        Some(Command::Permissions { command: PermissionsCommand::Reference }) => {
            print(access_reference::reference().trim_end());
            Ok(())
        }
        Some(Command::Metrics { command: MetricsCommand::Reference }) => {
            print(metrics::reference().trim_end());
            Ok(())
        }
    }
}

fn look_at_schema(flags: &ConfigFlags, command: &MigrateCommand) -> Result<(), Failure> {
    let only = config::database_from_process(flags)?;
    log(&only.log)?;
    let schema = block_on(Schema::look(&only.database))?;
    match command {
        MigrateCommand::Plan { json } => print(&if *json { pretty(&schema.plan()) } else { schema.plan_text() }),
        MigrateCommand::Status { json } => print(&if *json { pretty(&schema) } else { schema.status_text() }),
        MigrateCommand::Check { target_version, json } => {
            let answer = schema.check(target_version);
            print(&if *json { pretty(&answer) } else { answer.text() });
            if !answer.can_run() {
                return Err(Failure::Answered);
            }
        }
    }
    Ok(())
}

fn target(text: &str) -> Result<Target, String> {
    Target::parse(text)
}

fn run_backup(flags: &ConfigFlags, command: &BackupCommand) -> Result<(), Failure> {
    let settings = config::backup_from_process(flags)?;
    log(&settings.log)?;
    let text = block_on(async {
        Ok(match command {
            BackupCommand::Create { wait, json } => {
                let manifest = backup::create(&settings, *wait).await?;
                if *json { pretty(&manifest) } else { backup::created_text(&manifest) }
            }
            BackupCommand::Verify { backup, into_scratch, scratch_database_file } => {
                let scratch = match (into_scratch, scratch_database_file) {
                    (false, _) => backup::Scratch::No,
                    (true, None) => backup::Scratch::Own,
                    (true, Some(file)) => backup::Scratch::from_file(file)?,
                };
                let what = backup::Verify { which: backup::Which::parse(backup), scratch };
                backup::verified_text(&backup::verify(&settings, &what).await?)
            }
            BackupCommand::List { json } => {
                let (place, found) = backup::list(&settings).await?;
                if *json { pretty(&backup::list_json(&place, &found)) } else { backup::list_text(&place, &found) }
            }
            BackupCommand::Prune { dry_run, wait, json } => {
                let mode = if *dry_run { backup::Mode::DryRun } else { backup::Mode::ForReal };
                let pruned = backup::prune(&settings, *wait, mode).await?;
                if *json { pretty(&backup::pruned_json(&pruned)) } else { backup::pruned_text(&pruned) }
            }
            BackupCommand::Restore { backup } => backup::restored_text(&backup::restore(&settings, &backup::Which::parse(backup)).await?),
        })
    })?;
    print(&text);
    Ok(())
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// `90s`, `10m`: as the settings take it.
fn duration(text: &str) -> Result<Duration, String> {
    <Duration as SettingValue>::from_raw(&config::Raw::Text(text.to_owned())).map_err(|bad| bad.why)
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
