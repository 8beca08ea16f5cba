//! What can be wrong with a configuration. Everything that is wrong is collected and told at once.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
    /// A flag on the command line.
    Flag {
        /// As it is written, with its dashes.
        name: String,
    },
    /// A file of its own that another source names.
    ReadFrom {
        /// The file.
        path: PathBuf,
        /// Who names it.
        by: Box<Self>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable { name } => write!(f, "env {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
            Self::ReadFrom { path, by } => write!(f, "{} ({by})", path.display()),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not TOML, or not in the shape of a configuration.
    #[error("{message}")]
    Syntax {
        /// What the parser says.
        message: String,
        /// Where.
        origin: Origin,
    },
    /// A key that no setting has.
    #[error("`{key}` is not a setting")]
    UnknownKey {
        /// The key, with its section.
        key: String,
        /// The setting that was probably meant.
        meant: Option<String>,
        /// Where it stands.
        origin: Origin,
    },
    /// A variable that begins with `CERTCTL_` and means nothing.
    #[error("`{name}` is not a setting")]
    UnknownVariable {
        /// Its name.
        name: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// A variable whose bytes are not UTF-8.
    #[error("the value of `{name}` is not UTF-8")]
    NotText {
        /// Its name.
        name: String,
    },
    /// A value that the setting cannot have.
    #[error("`{key}`{} {why}", shown.as_ref().map(|value| format!(": `{value}`")).unwrap_or_default())]
    BadValue {
        /// The setting.
        key: &'static str,
        /// The value, unless it may be secret.
        shown: Option<String>,
        /// Completes the sentence.
        why: String,
        /// What to write instead.
        hint: Option<String>,
        /// Where the value came from.
        origin: Origin,
    },
    /// Two sources of the same rank give the same setting.
    #[error("`{key}` is given twice, by {first} and by {second}")]
    GivenTwice {
        /// The setting.
        key: &'static str,
        /// The one.
        first: Origin,
        /// The other.
        second: Origin,
    },
    /// A file that was named cannot be read.
    #[error("cannot read {}{}", path.display(), key.map(|key| format!(" for `{key}`")).unwrap_or_default())]
    Unreadable {
        /// The setting that it holds; none when it is the configuration file itself.
        key: Option<&'static str>,
        /// The file.
        path: PathBuf,
        /// Who names it.
        origin: Origin,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Settings that do not go together.
    #[error("{why}")]
    Conflict {
        /// The setting to change first.
        key: &'static str,
        /// Which settings, and why they do not go together.
        why: String,
        /// What to do.
        hint: String,
    },
}

impl ConfigError {
    /// Where the mistake stands, if it stands in one place.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Syntax { origin, .. }
            | Self::UnknownKey { origin, .. }
            | Self::BadValue { origin, .. }
            | Self::Unreadable { origin, .. } => Some(origin),
            Self::UnknownVariable { .. } | Self::NotText { .. } | Self::GivenTwice { .. } | Self::Conflict { .. } => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { meant, .. } => Some(meant.as_ref().map_or_else(
                || "`certctl-server config reference` lists every setting".to_owned(),
                |meant| format!("did you mean `{meant}`?"),
            )),
            Self::UnknownVariable { hint, .. } => {
                Some(hint.clone().unwrap_or_else(|| "`certctl-server config reference` lists every setting".to_owned()))
            }
            Self::BadValue { hint, .. } => hint.clone(),
            Self::GivenTwice { .. } => Some("remove one of them".to_owned()),
            Self::Conflict { hint, .. } => Some(hint.clone()),
            Self::Syntax { .. } | Self::NotText { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// Whether a run that only touches the database must care.
    pub(super) fn concerns_database(&self) -> bool {
        self.concerns(&["database"])
    }

    /// Whether a run on backups must care. That no encryption key is given does not matter to it.
    pub(super) fn concerns_backup(&self) -> bool {
        let no_key = matches!(self, Self::Conflict { key: "encryption.key", .. });
        !no_key && self.concerns(&["database", "encryption", "backup"])
    }

    fn concerns(&self, sections: &[&str]) -> bool {
        let of_them = |key: &str| key == "server.data_dir" || sections.iter().any(|section| key.starts_with(section));
        let names_one = |name: &str| sections.iter().any(|section| name.contains(&section.to_ascii_uppercase()));
        match self {
            Self::Syntax { .. } => true,
            Self::UnknownKey { key, meant, .. } => of_them(key) || meant.as_deref().is_some_and(of_them),
            Self::UnknownVariable { name, hint } => {
                let meant =
                    |hint: &String| sections.iter().any(|section| hint.contains(&format!("CERTCTL_{}_", section.to_ascii_uppercase())));
                names_one(name) || hint.as_ref().is_some_and(meant)
            }
            Self::NotText { name } => names_one(name),
            Self::BadValue { key, .. } | Self::GivenTwice { key, .. } | Self::Conflict { key, .. } => of_them(key),
            Self::Unreadable { key, .. } => key.is_none_or(of_them),
        }
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn unless_empty(errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// The errors in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has an error:")?,
            n => write!(f, "the configuration has {n} errors:")?,
        }
        for error in &self.0 {
            write!(f, "\n  - {error}")?;
            if let Some(source) = std::error::Error::source(error) {
                write!(f, ": {source}")?;
            }
            if let Some(origin) = error.origin() {
                write!(f, "\n    from: {origin}")?;
            }
            if let Some(hint) = error.hint() {
                write!(f, "\n    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
