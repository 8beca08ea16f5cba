//! The configuration: defaults, below a TOML file, below `CERTCTL_*` variables, below flags; parsed once, before anything starts.
//!
//! [`load`] is pure: it is given the environment, the file and the flags. Nothing after it reads any of them. All mistakes are
//! collected and told together. The settings themselves stand in one table, in `settings.rs`.

mod backup;
mod check;
mod choice;
mod database_url;
mod environment;
mod error;
mod file;
mod flags;
mod key;
mod process;
mod quantity;
mod reference;
mod relying;
mod resolve;
mod secrets;
mod settings;
mod show;
mod suggest;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use backup::{AgeRecipient, BucketName, EndpointUrl, ObjectPrefix, Word};
pub use choice::{BucketEncryption, LogFormat, Synchronous, TlsVersion};
pub use database_url::DatabaseUrl;
pub use error::{ConfigError, ConfigErrors, Origin};
pub use file::{CANDIDATES, ConfigFile, find};
pub use flags::ConfigFlags;
pub use key::{Key, Preset, Section};
pub use process::{backup_from_process, database_from_process, from_process};
pub use quantity::ByteSize;
pub use reference::reference;
pub use relying::PublishedAt;
pub use resolve::{Effective, ReadFile};
pub use secrets::{EncryptionKey, Token};
pub use settings::{
    AcmeSettings, AgentSettings, AuthSettings, BackupSettings, DatabaseSettings, EncryptionSettings, KEYS, LimitSettings, LogSettings,
    MetricsSettings, PkiSettings, RetentionSettings, SECTIONS, SchedulerSettings, ServerSettings, TlsSettings,
};
pub use show::ShownSetting;
pub use text::{LogFilter, PublicUrl, TlsHost};
pub use value::{BadValue, ListItem, Raw, SettingValue, Shown};

use resolve::Resolver;

/// Everything that a configuration is made from.
pub struct LoadInput<'a> {
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The TOML file, if there is one.
    pub file: Option<ConfigFile>,
    /// The command line.
    pub flags: ConfigFlags,
    /// Reads the files that settings name.
    pub read_file: ReadFile<'a>,
    /// Whether the server runs as root, which decides the default data directory.
    pub runs_as_root: bool,
}

/// The whole configuration; every value has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the server listens, and how much it takes in.
    pub server: ServerSettings,
    /// The certificate that it shows.
    pub tls: TlsSettings,
    /// Where the data lives.
    pub database: DatabaseSettings,
    /// The key for secrets at rest.
    pub encryption: EncryptionSettings,
    /// The work that the server does by itself.
    pub scheduler: SchedulerSettings,
    /// The agents.
    pub agents: AgentSettings,
    /// A port of its own for scrapers.
    pub metrics: MetricsSettings,
    /// How names are proven to ACME CAs.
    pub acme: AcmeSettings,
    /// What relying parties fetch.
    pub pki: PkiSettings,
    /// Who gets in at first.
    pub auth: AuthSettings,
    /// How much one caller may ask for.
    pub limits: LimitSettings,
    /// How long rows are kept.
    pub retention: RetentionSettings,
    /// Where backups are kept.
    pub backup: BackupSettings,
    /// What is logged.
    pub log: LogSettings,
    effective: Vec<Effective>,
    warnings: Vec<String>,
}

impl Config {
    /// Every setting as it took effect, in the order of the table.
    #[must_use]
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// What is allowed but deserves a word in the log.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// What a run that touches nothing but the database needs.
#[derive(Debug, Clone)]
pub struct DatabaseOnly {
    /// Where the data lives.
    pub database: DatabaseSettings,
    /// The data directory, in which an SQLite file lies by default.
    pub data_dir: PathBuf,
    /// What is logged; the default when those settings are wrong.
    pub log: LogSettings,
}

/// What a run on backups needs.
#[derive(Debug, Clone)]
pub struct BackupOnly {
    /// Where the data lives.
    pub database: DatabaseSettings,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The key for secrets at rest, which only a restore is asked for.
    pub encryption: EncryptionSettings,
    /// Where backups are kept.
    pub backup: BackupSettings,
    /// What is logged; the default when those settings are wrong.
    pub log: LogSettings,
}

/// Loads the whole configuration.
///
/// # Errors
/// With everything that is wrong.
pub fn load(input: &LoadInput<'_>) -> Result<Config, ConfigErrors> {
    let (sections, values) = read(input);
    ConfigErrors::unless_empty(values.errors)?;
    let mut warnings: Vec<String> = environment::warnings(&input.variables).collect();
    warnings.extend(sections.database.as_ref().and_then(check::warnings));
    complete(sections, values.effective, warnings).ok_or_else(|| incomplete().into())
}

/// Loads only what a run that touches nothing but the database needs; mistakes elsewhere do not count.
///
/// # Errors
/// With everything that is wrong about the database settings.
pub fn load_database_only(input: &LoadInput<'_>) -> Result<DatabaseOnly, ConfigErrors> {
    let (sections, values) = read(input);
    let data_dir = values.data_dir().to_owned();
    ConfigErrors::unless_empty(values.errors.into_iter().filter(ConfigError::concerns_database).collect())?;
    let database = sections.database.ok_or_else(incomplete)?;
    Ok(DatabaseOnly { database, data_dir, log: sections.log.unwrap_or_default() })
}

/// Loads only what a run on backups needs; mistakes elsewhere do not count, and the encryption key need not be given.
///
/// # Errors
/// With everything that is wrong about the settings of database, encryption and backups.
pub fn load_backup_only(input: &LoadInput<'_>) -> Result<BackupOnly, ConfigErrors> {
    let (sections, values) = read(input);
    let data_dir = values.data_dir().to_owned();
    ConfigErrors::unless_empty(values.errors.into_iter().filter(ConfigError::concerns_backup).collect())?;
    let (Some(database), Some(encryption), Some(backup)) = (sections.database, sections.encryption, sections.backup) else {
        return Err(incomplete().into());
    };
    Ok(BackupOnly { database, data_dir, encryption, backup, log: sections.log.unwrap_or_default() })
}

fn read(input: &LoadInput<'_>) -> (settings::Sections, Resolver) {
    let from_file = input.file.as_ref().map(|file| file::read(file, input.read_file)).unwrap_or_default();
    let from_environment = environment::read(&input.variables, input.read_file);
    let from_flags = flags::read(&input.flags);
    let mut values = Resolver::new([from_file, from_environment, from_flags], default_data_dir(input));
    let mut sections = settings::read(&mut values);
    check::combine(&mut sections, &mut values.errors);
    (sections, values)
}

fn complete(sections: settings::Sections, effective: Vec<Effective>, warnings: Vec<String>) -> Option<Config> {
    Some(Config {
        server: sections.server?,
        tls: sections.tls?,
        database: sections.database?,
        encryption: sections.encryption?,
        scheduler: sections.scheduler?,
        agents: sections.agents?,
        acme: sections.acme?,
        metrics: sections.metrics?,
        pki: sections.pki?,
        auth: sections.auth?,
        limits: sections.limits?,
        retention: sections.retention?,
        backup: sections.backup?,
        log: sections.log?,
        effective,
        warnings,
    })
}

/// A section is only ever missing together with an error that says why; should that be broken, say at least this.
fn incomplete() -> ConfigError {
    ConfigError::Syntax { message: "a setting has neither a value nor a default".to_owned(), origin: Origin::Default }
}

/// systemd names the directory of a service in `STATE_DIRECTORY` (several are separated by colons).
fn default_data_dir(input: &LoadInput<'_>) -> (String, Origin) {
    const VARIABLE: &str = "STATE_DIRECTORY";
    let given = input.variables.get(VARIABLE).and_then(|list| list.split(':').next()).filter(|path| !path.is_empty());
    match given {
        Some(path) => (path.to_owned(), Origin::Variable { name: VARIABLE.to_owned() }),
        None if input.runs_as_root => ("/var/lib/certctl".to_owned(), Origin::Default),
        None => ("certctl-data".to_owned(), Origin::Default),
    }
}
