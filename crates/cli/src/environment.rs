//! What surrounds the program: environment variables, terminals, and the clock, read once at the start.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use certctl_domain::secret::Secret;
use certctl_domain::time::Timestamp;

/// What surrounds the program.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `CERTCTL_SERVER_URL`
    pub server: Option<String>,
    /// `CERTCTL_API_KEY`
    pub api_key: Option<Secret<String>>,
    /// `CERTCTL_CA_FILE`, or `CERTCTL_SERVER_CA_BUNDLE_PATH` as earlier programs called it.
    pub ca_file: Option<PathBuf>,
    /// `CERTCTL_CONTEXT`
    pub context: Option<String>,
    /// `CERTCTL_INSECURE`, or `CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY`.
    pub insecure: bool,
    /// Whether `NO_COLOR` is set, or the terminal says that it is dumb.
    pub no_color: bool,
    /// Where the configuration file lies; `None` when neither `XDG_CONFIG_HOME` nor `HOME` is set.
    pub config_file: Option<PathBuf>,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Columns of that terminal, if it says how many.
    pub stdout_columns: Option<u16>,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether somebody sits at standard input.
    pub stdin_is_terminal: bool,
    /// The instant at which the program began, to which relative times refer.
    pub now: Timestamp,
}

impl Environment {
    /// Reads it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place of this program that reads environment and clock")]
    pub fn read() -> Self {
        let mut surroundings = Self::from_variables(|name| std::env::var_os(name), Timestamp::new(time::OffsetDateTime::now_utc()));
        surroundings.stdout_is_terminal = std::io::stdout().is_terminal();
        if surroundings.stdout_is_terminal {
            surroundings.stdout_columns = console::Term::stdout().size_checked().map(|(_, columns)| columns);
        }
        surroundings.stderr_is_terminal = std::io::stderr().is_terminal();
        surroundings.stdin_is_terminal = std::io::stdin().is_terminal();
        surroundings
    }

    /// From the variables alone, as for a program without terminals.
    #[must_use]
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>, now: Timestamp) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let yes = |name: &str| text(name).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes"));
        let config_home = set("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")));
        Self {
            server: text("CERTCTL_SERVER_URL"),
            api_key: text("CERTCTL_API_KEY").map(|key| Secret::new(key.trim().to_owned())),
            ca_file: set("CERTCTL_CA_FILE").or_else(|| set("CERTCTL_SERVER_CA_BUNDLE_PATH")).map(PathBuf::from),
            context: text("CERTCTL_CONTEXT"),
            insecure: yes("CERTCTL_INSECURE") || yes("CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY"),
            no_color: set("NO_COLOR").is_some() || text("TERM").is_some_and(|term| term == "dumb"),
            config_file: config_home.map(|home| home.join("certctl").join("config.toml")),
            stdout_is_terminal: false,
            stdout_columns: None,
            stderr_is_terminal: false,
            stdin_is_terminal: false,
            now,
        }
    }
}

/// The variables that the program reads, for the reference page.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("CERTCTL_SERVER_URL", "Address of the server, as `--server`."),
    ("CERTCTL_API_KEY", "The API key itself. There is no flag for it: everybody on the host can read the flags of a process."),
    ("CERTCTL_CA_FILE", "PEM file with the CAs to trust, as `--ca`. `CERTCTL_SERVER_CA_BUNDLE_PATH` is read too."),
    ("CERTCTL_CONTEXT", "Context of the configuration file, as `--context`."),
    ("CERTCTL_INSECURE", "`true` trusts any server certificate, as `--insecure`."),
    ("NO_COLOR", "Set to anything, it turns colors off, as `--no-color`."),
    ("XDG_CONFIG_HOME", "Folder in which `certctl/config.toml` lies; default `~/.config`."),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Environment::from_variables(find, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_names_of_earlier_programs_are_read_too() {
        let old = read(&[("CERTCTL_SERVER_CA_BUNDLE_PATH", "/old.pem"), ("CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY", "TRUE")]);
        assert_eq!((old.ca_file, old.insecure), (Some(PathBuf::from("/old.pem")), true));
        let both = read(&[("CERTCTL_SERVER_CA_BUNDLE_PATH", "/old.pem"), ("CERTCTL_CA_FILE", "/new.pem")]);
        assert_eq!(both.ca_file, Some(PathBuf::from("/new.pem")));
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none_and_a_key_is_not_shown() {
        let empty = read(&[("CERTCTL_API_KEY", ""), ("NO_COLOR", ""), ("XDG_CONFIG_HOME", ""), ("HOME", "/home/me")]);
        assert!(empty.api_key.is_none() && !empty.no_color);
        assert_eq!(empty.config_file, Some(PathBuf::from("/home/me/.config/certctl/config.toml")));
        let key = read(&[("CERTCTL_API_KEY", "ck_1_planted\n")]);
        assert!(!format!("{key:?}").contains("planted"));
        assert_eq!(key.api_key.unwrap().expose(), "ck_1_planted");
    }
}
