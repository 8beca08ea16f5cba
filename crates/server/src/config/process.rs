//! The one place that looks at the process: its environment, its user, its files. Everything else takes what is found here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::error::{ConfigError, ConfigErrors};
use super::{BackupOnly, Config, ConfigFlags, DatabaseOnly, LoadInput, file};

/// Loads the configuration of this process.
///
/// # Errors
/// With everything that is wrong.
pub fn from_process(flags: &ConfigFlags) -> Result<Config, ConfigErrors> {
    let (variables, not_text) = variables();
    ConfigErrors::unless_empty(not_text)?;
    super::load(&input(flags, variables)?)
}

/// Loads only what a run that touches nothing but the database needs.
///
/// # Errors
/// With everything that is wrong about the database settings.
pub fn database_from_process(flags: &ConfigFlags) -> Result<DatabaseOnly, ConfigErrors> {
    let (variables, not_text) = variables();
    ConfigErrors::unless_empty(not_text.into_iter().filter(ConfigError::concerns_database).collect())?;
    super::load_database_only(&input(flags, variables)?)
}

/// Loads only what a run on backups needs.
///
/// # Errors
/// With everything that is wrong about the settings of database, encryption and backups.
pub fn backup_from_process(flags: &ConfigFlags) -> Result<BackupOnly, ConfigErrors> {
    let (variables, not_text) = variables();
    ConfigErrors::unless_empty(not_text.into_iter().filter(ConfigError::concerns_backup).collect())?;
    super::load_backup_only(&input(flags, variables)?)
}

fn input(flags: &ConfigFlags, variables: BTreeMap<String, String>) -> Result<LoadInput<'static>, ConfigErrors> {
    let file = file::find(flags.file.as_deref(), &variables, &read_file)?;
    Ok(LoadInput { variables, file, flags: flags.clone(), read_file: &read_file, runs_as_root: nix::unistd::geteuid().is_root() })
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment, at boot")]
fn variables() -> (BTreeMap<String, String>, Vec<ConfigError>) {
    let mut variables = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                variables.insert(name, value);
            }
            Err(_) if name.starts_with("CERTCTL_") => errors.push(ConfigError::NotText { name }),
            Err(_) => {}
        }
    }
    (variables, errors)
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // Bounded, as a slip such as /dev/zero would otherwise fill the memory.
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 1 MiB"));
    }
    Ok(text)
}

const MAX_FILE: u64 = 1 << 20;
