//! Settings: flags before environment (`CERTCTL_AGENT_*`) before the configuration file before defaults. Read once, at boot.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use certctl_connector_core::ConnectorError;
use certctl_connector_core::files::explain;
use certctl_domain::secret::Secret;
use certctl_domain::x509::Fingerprint;
use clap::Args;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::challenges::{ChallengeSettings, OverHttp};
use crate::enroll::{Anchor, Enrollment};
pub use crate::telemetry::{LogFormat, LogLevel};
use crate::trust;

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonOptions {
    /// Where keys, identity and journals are kept [default: `$STATE_DIRECTORY`, `/var/lib/certctl-agent` for root, else
    /// `~/.local/state/certctl-agent`]
    #[arg(long, global = true, env = "CERTCTL_AGENT_STATE_DIR", value_name = "DIR", hide_env_values = true)]
    pub state_dir: Option<PathBuf>,
    /// TOML file with settings, named as the flags with `_` for `-` [default: /etc/certctl-agent/agent.toml, if it is there]
    #[arg(long, global = true, env = "CERTCTL_AGENT_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// File that decides which commands may run here [default: `/etc/certctl-agent/commands.toml`, if it is there, else
    /// `allow.toml` in the state directory]
    #[arg(long, global = true, env = "CERTCTL_AGENT_ALLOW_LIST", value_name = "FILE", hide_env_values = true)]
    pub allow_list: Option<PathBuf>,
    /// How much is logged [default: info]
    #[arg(long, global = true, env = "CERTCTL_AGENT_LOG_LEVEL", value_enum, value_name = "LEVEL", hide_env_values = true)]
    pub log_level: Option<LogLevel>,
    /// Log lines for people or JSON for machines [default: text]
    #[arg(long, global = true, env = "CERTCTL_AGENT_LOG_FORMAT", value_enum, value_name = "FORMAT", hide_env_values = true)]
    pub log_format: Option<LogFormat>,
}

/// What enrolling takes.
#[derive(Clone, Default, Args)]
pub struct EnrollmentOptions {
    /// The server, as `https://HOST:PORT`
    #[arg(long, env = "CERTCTL_AGENT_SERVER", value_name = "URL", hide_env_values = true)]
    pub server: Option<String>,
    /// The one-time token. Others on this machine can see a command line: the environment or --token-file is better
    #[arg(long, env = "CERTCTL_AGENT_TOKEN", value_name = "TOKEN", hide_env_values = true, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// File with the one-time token; `-` reads standard input
    #[arg(long, env = "CERTCTL_AGENT_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
    /// The name the agent would like; the token's name wins [default: the host's name]
    #[arg(long, env = "CERTCTL_AGENT_NAME", value_name = "NAME", hide_env_values = true)]
    pub name: Option<String>,
    /// PEM file of the CA that the server's certificate is from [default: the machine's CAs]
    #[arg(long, env = "CERTCTL_AGENT_CA", value_name = "FILE", hide_env_values = true, conflicts_with = "ca_sha256")]
    pub ca: Option<PathBuf>,
    /// SHA-256 of that CA; the server shows the rest. It prints this at its start
    #[arg(long, env = "CERTCTL_AGENT_CA_SHA256", value_name = "PIN", hide_env_values = true, value_parser = pin)]
    pub ca_sha256: Option<Fingerprint>,
}

impl fmt::Debug for EnrollmentOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "[redacted]");
        f.debug_struct("EnrollmentOptions")
            .field("server", &self.server)
            .field("token", &token)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Where ACME CAs that look at this host are answered. The server cannot say that, it only asks for answers.
#[derive(Debug, Clone, Default, Args)]
pub struct AcmeOptions {
    /// Answer http-01 by files in `.well-known/acme-challenge` below this directory, which the web server on port 80 shows
    #[arg(long, env = "CERTCTL_AGENT_ACME_WEBROOT", value_name = "DIR", hide_env_values = true)]
    pub acme_webroot: Option<PathBuf>,
    /// Answer http-01 here, such as 0.0.0.0:80; open only while there is something to answer. Several with commas
    #[arg(long, env = "CERTCTL_AGENT_ACME_HTTP01_LISTEN", value_name = "ADDRESS", value_delimiter = ',', hide_env_values = true)]
    pub acme_http01_listen: Vec<SocketAddr>,
    /// Answer tls-alpn-01 here, such as 0.0.0.0:443; open only while there is something to answer. Several with commas
    #[arg(long, env = "CERTCTL_AGENT_ACME_TLS_ALPN01_LISTEN", value_name = "ADDRESS", value_delimiter = ',', hide_env_values = true)]
    pub acme_tls_alpn01_listen: Vec<SocketAddr>,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// The allow-list, if it is not in the state directory.
    pub allow_list: Option<PathBuf>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// In which form.
    pub log_format: LogFormat,
    file: FileForm,
}

/// What the process was given by its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `$STATE_DIRECTORY`, from the service manager.
    pub state_directory: Option<OsString>,
    /// `$XDG_STATE_HOME`
    pub xdg_state_home: Option<OsString>,
    /// `$HOME`
    pub home: Option<OsString>,
    /// Whether this is root.
    pub is_root: bool,
    /// The allow-list of this machine, if there is one: what its administrator wrote wins over what the agent could write itself.
    pub allow_list: Option<PathBuf>,
}

impl Surroundings {
    /// Of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is boot: nothing reads the environment after it")]
    pub fn read() -> Self {
        Self {
            state_directory: std::env::var_os("STATE_DIRECTORY"),
            xdg_state_home: std::env::var_os("XDG_STATE_HOME"),
            home: std::env::var_os("HOME"),
            is_root: nix::unistd::geteuid().is_root(),
            allow_list: Some(PathBuf::from(SYSTEM_ALLOW_LIST)).filter(|path| path.exists()),
        }
    }

    fn state_dir(&self) -> PathBuf {
        let path = |text: &Option<OsString>| text.as_ref().filter(|text| !text.is_empty()).map(PathBuf::from);
        // systemd gives a list with `:` when a unit has several; the first is the one that the unit is about.
        if let Some(given) = &self.state_directory
            && let Some(first) = given.to_string_lossy().split(':').next().filter(|first| !first.is_empty())
        {
            return PathBuf::from(first);
        }
        if self.is_root {
            return PathBuf::from("/var/lib/certctl-agent");
        }
        let home = path(&self.home).unwrap_or_else(|| PathBuf::from("."));
        path(&self.xdg_state_home).unwrap_or_else(|| home.join(".local/state")).join("certctl-agent")
    }
}

impl Settings {
    /// Puts the sources together.
    ///
    /// # Errors
    /// When the configuration file cannot be read or has something in it that is not a setting.
    pub fn load(options: &CommonOptions, surroundings: &Surroundings) -> Result<Self, ConnectorError> {
        let file = match &options.config {
            Some(path) => FileForm::read(path)?
                .ok_or_else(|| ConnectorError::permanent(format!("the configuration file {} does not exist", path.display())))?,
            None => FileForm::read(Path::new(DEFAULT_FILE))?.unwrap_or_default(),
        };
        let options = options.clone();
        Ok(Self {
            state_dir: options.state_dir.or_else(|| file.state_dir.clone()).unwrap_or_else(|| surroundings.state_dir()),
            allow_list: options.allow_list.or_else(|| file.allow_list.clone()).or_else(|| surroundings.allow_list.clone()),
            log_level: options.log_level.or(file.log_level).unwrap_or_default(),
            log_format: options.log_format.or(file.log_format).unwrap_or_default(),
            file,
        })
    }

    /// Where ACME CAs that look at this host are answered.
    ///
    /// # Errors
    /// When http-01 would be answered in two places, or a path is not absolute.
    pub fn challenges(&self, options: &AcmeOptions) -> Result<ChallengeSettings, ConnectorError> {
        let or_file = |given: &[SocketAddr], file: &[SocketAddr]| if given.is_empty() { file.to_vec() } else { given.to_vec() };
        // What is given on the command line is not mixed with what the file says.
        let (webroot, listen) = match (&options.acme_webroot, options.acme_http01_listen.as_slice()) {
            (None, []) => (&self.file.acme_webroot, self.file.acme_http01_listen.as_slice()),
            given => given,
        };
        let http01 = match (webroot, listen) {
            (Some(_), [_, ..]) => {
                return Err(ConnectorError::permanent("`acme_webroot` and `acme_http01_listen` exclude one another")
                    .hint("a web server that listens on port 80 shows a folder; without one, the agent listens there itself"));
            }
            (Some(path), []) if path.is_absolute() => Some(OverHttp::Webroot(path.clone())),
            (Some(path), []) => {
                return Err(ConnectorError::permanent(format!("acme_webroot is `{}`, which is no absolute path", path.display()))
                    .hint("write the path from the root"));
            }
            (None, []) => None,
            (None, addresses) => Some(OverHttp::Listen(addresses.to_vec())),
        };
        Ok(ChallengeSettings { http01, tls_alpn01: or_file(&options.acme_tls_alpn01_listen, &self.file.acme_tls_alpn01_listen) })
    }

    /// What is known for an enrolment; `None` when there is no server or no token.
    ///
    /// # Errors
    /// When a file that was named cannot be read.
    pub fn enrollment(&self, options: &EnrollmentOptions) -> Result<Option<Enrollment>, ConnectorError> {
        let Some(server) = options.server.clone().or_else(|| self.file.server.clone()) else {
            return Ok(None);
        };
        let token_file = options.token_file.as_ref().or(self.file.token_file.as_ref());
        let token = match (&options.token, token_file) {
            (Some(token), _) => Secret::new(token.trim().to_owned()),
            (None, Some(path)) => read_token(path)?,
            (None, None) => return Ok(None),
        };
        // What is given on the command line is not mixed with what the file says.
        let (ca, pin) = match (options.ca.as_ref(), options.ca_sha256.as_ref()) {
            (None, None) => (self.file.ca.as_ref(), self.file.ca_sha256.as_ref()),
            given => given,
        };
        let anchor = match (ca, pin) {
            (Some(_), Some(_)) => return Err(ConnectorError::permanent("`ca` and `ca_sha256` exclude one another")),
            (Some(path), None) => Anchor::Pem(trust::from_file(path)?),
            (None, Some(pin)) => Anchor::Pin(pin.clone()),
            (None, None) => Anchor::System,
        };
        Ok(Some(Enrollment { server, token, name: options.name.clone().or_else(|| self.file.name.clone()), anchor }))
    }
}

const DEFAULT_FILE: &str = "/etc/certctl-agent/agent.toml";
const SYSTEM_ALLOW_LIST: &str = "/etc/certctl-agent/commands.toml";
const MAX_TOKEN: u64 = 4096;

/// The configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    state_dir: Option<PathBuf>,
    allow_list: Option<PathBuf>,
    log_level: Option<LogLevel>,
    log_format: Option<LogFormat>,
    server: Option<String>,
    token_file: Option<PathBuf>,
    name: Option<String>,
    ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "pin_in_file")]
    ca_sha256: Option<Fingerprint>,
    acme_webroot: Option<PathBuf>,
    #[serde(default)]
    acme_http01_listen: Vec<SocketAddr>,
    #[serde(default)]
    acme_tls_alpn01_listen: Vec<SocketAddr>,
}

impl FileForm {
    fn read(path: &Path) -> Result<Option<Self>, ConnectorError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(explain("read the configuration file", path, error)),
        };
        Self::parse(path, &text).map(Some)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConnectorError> {
        toml::from_str(text).map_err(|e| {
            let line = e.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.matches('\n').count() + 1);
            ConnectorError::permanent(format!("{}:{line}: {}", path.display(), e.message()))
        })
    }
}

fn pin(text: &str) -> Result<Fingerprint, String> {
    let digits = text.trim().strip_prefix("sha256:").unwrap_or(text.trim());
    Fingerprint::parse(digits).map_err(|e| e.to_string())
}

fn pin_in_file<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Fingerprint>, D::Error> {
    let text = String::deserialize(deserializer)?;
    pin(&text).map(Some).map_err(serde::de::Error::custom)
}

fn read_token(path: &Path) -> Result<Secret<String>, ConnectorError> {
    use std::io::Read as _;
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX_TOKEN).unwrap_or_default()));
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_TOKEN).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text))
    };
    read.map_err(|e| explain("read the token in", path, e))?;
    Ok(Secret::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests;
