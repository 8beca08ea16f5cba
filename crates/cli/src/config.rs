//! The configuration file: the servers that somebody logged in to, each as a named context.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use certctl_domain::secret::Secret;
use serde::{Deserialize, Serialize, Serializer};

use crate::failure::Failure;
use crate::files::{self, Readers};

/// The configuration file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The context that is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// The contexts by name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One server, and how to reach it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// `https://host:port`
    pub(crate) server: String,
    /// The API key; absent after `certctl logout`.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "write_token")]
    pub(crate) token: Option<Secret<String>>,
    /// PEM of the CAs to trust instead of the system's. The file given at login may go away, so its content is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_pem: Option<String>,
    /// Whether any server certificate is trusted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) insecure: bool,
}

/// The configuration with the place where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFile {
    path: Option<PathBuf>,
    /// What is in it.
    pub(crate) config: Config,
}

impl ConfigFile {
    /// Reads the file; one that does not exist is an empty one.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { path: None, config: Config::default() });
        };
        let config = match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                // The error's own text would quote the line, which may hold the key.
                let place = error.span().map_or_else(String::new, |span| format!(", line {}", line_of(&text, span.start)));
                Failure::usage(format!("{}{place} cannot be read: {}", path.display(), error.message()))
                    .hint("correct the file, or remove it and log in again")
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Config::default(),
            Err(error) => return Err(Failure::local(format!("cannot read {}", path.display()))(error)),
        };
        Ok(Self { path: Some(path.to_owned()), config })
    }

    /// Writes the file, readable by its owner alone.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let Some(path) = &self.path else {
            return Err(Failure::usage("there is no place for the configuration file").hint("set HOME or XDG_CONFIG_HOME"));
        };
        let text =
            toml::to_string(&self.config).map_err(|error| Failure::usage(format!("the configuration cannot be written: {error}")))?;
        let fail = |error| Failure::local(format!("cannot write {}", path.display()))(error);
        if let Some(folder) = path.parent() {
            files::private_folder(folder).map_err(fail)?;
        }
        files::write(path, text.as_bytes(), Readers::Owner).map_err(fail)
    }

    /// Where it is kept.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// A warning when others can read the keys in the file.
    pub(crate) fn warning(&self) -> Option<String> {
        let path = self.path.as_deref()?;
        let has_token = self.config.contexts.values().any(|context| context.token.is_some());
        (has_token && files::is_open_to_others(path).unwrap_or(false))
            .then(|| format!("others can read the keys in {0}; close it: chmod 600 {0}", path.display()))
    }
}

impl Config {
    /// The context with this name.
    pub(crate) fn context(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let failure = Failure::usage(format!("there is no context `{name}`"));
            if known.is_empty() {
                failure.hint("make one: certctl login --server https://...")
            } else {
                failure.hint(format!("known are {}", known.join(", ")))
            }
        })
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[expect(clippy::ref_option, reason = "serde gives the field by reference")]
fn write_token<S: Serializer>(token: &Option<Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Secret::expose).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_private_and_reads_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("certctl/config.toml");
        let mut file = ConfigFile::read(Some(&path)).unwrap();
        let context = Context {
            server: "https://a:8443".into(),
            token: Some(Secret::new("ck_1_x".into())),
            ca_pem: Some("-----".into()),
            insecure: false,
        };
        file.config.contexts.insert("lab".into(), context);
        file.config.current = Some("lab".into());
        file.write().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(file.warning(), None);
        let again = ConfigFile::read(Some(&path)).unwrap().config;
        assert_eq!(again.current.as_deref(), Some("lab"));
        let lab = again.context("lab").unwrap();
        assert_eq!((lab.server.as_str(), lab.token.as_ref().unwrap().expose().as_str()), ("https://a:8443", "ck_1_x"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(file.warning().unwrap().contains("chmod 600"));
    }

    #[test]
    fn a_broken_file_is_told_without_what_is_in_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.toml");
        files::write(&path, b"current = 'x'\n[contexts.x]\nserver = 'https://a'\ntoken = ck_planted\n", Readers::Owner).unwrap();
        let failure = ConfigFile::read(Some(&path)).unwrap_err();
        assert!(failure.told().contains("line 4") && !failure.told().contains("planted"), "{}", failure.told());
        assert_eq!(failure.exit_code(), 2);
    }

    #[test]
    fn an_unknown_context_names_the_known_ones() {
        let mut config = Config::default();
        assert!(config.context("x").unwrap_err().told().contains("certctl login"));
        config.contexts.insert("lab".into(), Context { server: String::new(), token: None, ca_pem: None, insecure: false });
        assert!(config.context("x").unwrap_err().told().contains("known are lab"));
    }
}
