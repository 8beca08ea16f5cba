//! A PostgreSQL database of the demo's own, so that it always begins empty and leaves nothing behind.

use std::process;

use crate::failure::Failure;
use crate::process::{command, output};

/// A database that is dropped at the end.
pub(crate) struct ScratchDatabase {
    server: String,
    name: String,
}

impl ScratchDatabase {
    /// Makes it on the server that `url` names.
    pub(crate) fn create(url: &str) -> Result<Self, Failure> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(Failure::new("--database is not a PostgreSQL address").hint("write it as postgres://user@host:5432/postgres"));
        }
        let scratch = Self { server: url.to_owned(), name: format!("certctl_demo_{}", process::id()) };
        scratch.tell(&format!("CREATE DATABASE {}", scratch.name))?;
        Ok(scratch)
    }

    /// The address of the database itself.
    pub(crate) fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// Drops it, whoever is still connected.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        self.tell(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name))
    }

    /// The address may hold a password, so it is kept out of the error.
    fn tell(&self, sql: &str) -> Result<(), Failure> {
        let mut psql = command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--no-password", "--set", "ON_ERROR_STOP=1", "--command", sql, &self.server]);
        let said = output(&mut psql).map_err(|_| Failure::new("psql cannot be started").hint("`cargo xtask setup` installs PostgreSQL"))?;
        if said.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        Err(Failure::new(format!("PostgreSQL refused `{sql}`")).because(why).hint("the role needs the right to create databases"))
    }
}

/// The same server and options with another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').map_or((url, None), |(address, options)| (address, Some(options)));
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let slash = address.get(after_scheme..).and_then(|rest| rest.find('/')).map(|at| at + after_scheme);
    let server = slash.and_then(|at| address.get(..at)).unwrap_or(address);
    options.map_or_else(|| format!("{server}/{name}"), |options| format!("{server}/{name}?{options}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_changes_in_an_address() {
        assert_eq!(with_database("postgres://u:p@h:5432/postgres", "demo"), "postgres://u:p@h:5432/demo");
        assert_eq!(with_database("postgres://h", "demo"), "postgres://h/demo");
        assert_eq!(with_database("postgresql://h/a?sslmode=disable", "demo"), "postgresql://h/demo?sslmode=disable");
    }

    #[test]
    fn another_scheme_is_refused_and_a_password_is_not_shown() {
        assert!(ScratchDatabase::create("mysql://h/x").is_err());
        let failure = ScratchDatabase::create("postgres://u:pencil@127.0.0.1:1/x").err().unwrap();
        assert!(!failure.chain().contains("pencil"), "{}", failure.chain());
    }
}
