//! HAProxy: certificate, chain and key in one file; tested by `haproxy -c` before the live file is touched, given to the
//! running process by its runtime API (by a reload where that is not possible), proved by handshakes.

mod binds;
mod copy;
mod runtime;
mod syntax;
mod uses;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::Command;
use certctl_connector_core::files::{Attributes, Destination, FileMode};
use certctl_connector_core::material::{Material, dns_names_in};
use certctl_connector_core::registry::Connector;
use certctl_connector_core::report::{DeployReport, Served};
use certctl_connector_core::setting::{AbsolutePath, Span};
use certctl_connector_core::target::{Scene, Target};
use certctl_domain::secret::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use self::binds::{Usage, admin_socket, usage};
pub use self::runtime::{Runtime, RuntimeAddress};
use self::uses::Config;
use crate::deploy::{Check, LiveUpdate, Plan, PlannedFile, Prepared, deploy, look};
use crate::observation::{ChainRule, Observation, ObserveConfig, Watch};

/// Settings of a HAProxy target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaproxyConfig {
    /// The file that `crt` or a `crt-list` names, or one in a directory that `crt` names; gets leaf, intermediates and key.
    pub pem_path: AbsolutePath,
    /// The configuration files, or directories of `*.cfg` files, in the order in which HAProxy is given them.
    #[serde(default = "default_config_paths")]
    #[schemars(length(min = 1, max = 32))]
    pub config_paths: Vec<AbsolutePath>,
    /// Tests a configuration; `{config}` stands for a directory of configuration files.
    #[serde(default = "default_test_command")]
    pub test_command: Vec<String>,
    /// Makes HAProxy read its files anew, where the runtime API is not enough; an empty list for never.
    #[serde(default = "default_reload_command")]
    pub reload_command: Vec<String>,
    /// For each of the two commands.
    #[serde(default = "default_command_timeout")]
    pub command_timeout: Span,
    /// How the running process is told without a reload.
    #[serde(default)]
    pub runtime: RuntimeConfig,
    /// User who gets the file; the one of the existing file when absent.
    #[serde(default)]
    pub owner: Option<String>,
    /// Group that gets the file; the one of the existing file when absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Mode of the file; that of the existing file without what others may do when absent, `0600` for a new one.
    #[serde(default)]
    pub pem_mode: Option<FileMode>,
    /// Where to see what is served; found in the configuration when no address is given.
    #[serde(default)]
    pub observe: ObserveConfig,
    /// How many replaced files are kept in the agent's state directory.
    #[serde(default = "default_backups")]
    #[schemars(range(max = 100))]
    pub backups: u32,
}

/// Settings: the runtime API of HAProxy 2.2 and later.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuntimeConfig {
    /// `false` has HAProxy reloaded each time.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// A socket with the level `admin`; found in the configuration when absent.
    #[serde(default)]
    pub address: Option<RuntimeAddress>,
    /// For one command.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self { enabled: true, address: None, timeout: ten_seconds() }
    }
}

/// A HAProxy on this machine.
#[derive(Debug, Clone)]
pub struct Haproxy {
    config: HaproxyConfig,
    test: Command,
    reload: Option<Command>,
    /// The watch that the settings ask for; else it is found in the configuration.
    watch: Option<Watch>,
}

impl Connector for Haproxy {
    const KIND: &'static str = "HAProxy";
    const SUMMARY: &'static str = "HAProxy on the agent's machine, changed while it runs";
    type Config = HaproxyConfig;

    fn build(config: HaproxyConfig) -> Result<Self, ConnectorError> {
        let path = config.pem_path.as_path();
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        if PASSED_OVER.contains(&ending) || path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
            return Err(ConnectorError::permanent(format!(
                "HAProxy takes no certificate from a file with the name of {}",
                config.pem_path
            ))
            .hint("hidden files and .key, .ocsp, .issuer and .sctl files have another meaning to it; use e.g. web.pem"));
        }
        if config.config_paths.is_empty() || config.config_paths.len() > 32 {
            return Err(ConnectorError::permanent("config_paths must name 1 to 32 files").hint("e.g. [\"/etc/haproxy/haproxy.cfg\"]"));
        }
        if !config.test_command.iter().skip(1).any(|argument| argument.contains(CONFIG)) {
            return Err(ConnectorError::permanent("test_command does not use {config}, so it would test the old file instead of the new")
                .hint("e.g. [\"haproxy\", \"-c\", \"-f\", \"{config}\"]"));
        }
        if config.reload_command.is_empty() && !config.runtime.enabled {
            return Err(ConnectorError::permanent("without runtime API and reload_command HAProxy would not take up the new certificate")
                .hint("set reload_command, or runtime.enabled to true"));
        }
        if config.command_timeout > Span::seconds(600) || config.backups > 100 || config.runtime.timeout > Span::seconds(60) {
            return Err(ConnectorError::permanent("command_timeout is over 10m, runtime.timeout over 60s, or backups over 100")
                .hint("the defaults are 60s, 10s and 3"));
        }
        let timeout = config.command_timeout.duration();
        let reload = Some(&config.reload_command).filter(|argv| !argv.is_empty());
        Ok(Self {
            test: Command::new(&config.test_command, timeout)?.with(CONFIG, CONFIG),
            reload: reload.map(|argv| Command::new(argv, timeout)).transpose()?,
            watch: config.observe.watch(ChainRule::Whole)?,
            config,
        })
    }
}

#[async_trait]
impl Target for Haproxy {
    async fn deploy(&self, material: &Material, scene: Scene<'_>) -> Result<DeployReport, ConnectorError> {
        let config = self.load().await?;
        deploy(self.plan(material, config), material, scene).await
    }

    async fn observe(&self) -> Result<Vec<Served>, ConnectorError> {
        let config = self.load().await?;
        let names = self.names_in_place().await?;
        let usage = self.usage(&config, &names);
        match self.observation(usage.endpoints) {
            Observation::Watch(watch) => Ok(look(&watch, None).await),
            Observation::None { reason } => Err(ConnectorError::unsupported(reason)),
        }
    }

    fn commands(&self) -> Vec<Command> {
        std::iter::once(&self.test).chain(&self.reload).cloned().collect()
    }
}

impl Haproxy {
    fn plan(&self, material: &Material, config: Config) -> Plan {
        let Usage { endpoints, mut warnings, .. } = self.usage(&config, &material.dns_names());
        let path = self.config.pem_path.as_path();
        let key = material.key_pem().expose();
        if self.config.pem_mode.is_some_and(|mode| mode.bits() & 0o004 != 0) {
            warnings.push("pem_mode lets everybody on this machine read the key".to_owned());
        }
        let mut stapled = path.as_os_str().to_owned();
        stapled.push(".ocsp");
        if Path::new(&stapled).exists() {
            warnings.push(format!("{} is for the certificate before; HAProxy may refuse it at its next start", stapled.to_string_lossy()));
        }
        Plan {
            files: vec![PlannedFile {
                path: path.to_owned(),
                contents: Secret::new([material.fullchain_pem().as_str(), key.as_str()].concat().into_bytes()),
                attributes: Attributes {
                    mode: self.config.pem_mode,
                    owner: self.config.owner.clone(),
                    group: self.config.group.clone(),
                    default_mode: FileMode::PRIVATE,
                },
            }],
            live: self.runtime(&config).map(LiveUpdate::Haproxy),
            check: Some(Box::new(ConfigTest { command: self.test.clone(), config })),
            reload: self.reload.clone(),
            observation: self.observation(endpoints),
            backups: self.config.backups,
            warnings,
        }
    }

    fn runtime(&self, config: &Config) -> Option<Runtime> {
        let settings = Some(&self.config.runtime).filter(|runtime| runtime.enabled)?;
        let address = settings.address.clone().or_else(|| admin_socket(config))?;
        Some(Runtime { address, timeout: settings.timeout.duration() })
    }

    async fn load(&self) -> Result<Config, ConnectorError> {
        let paths: Vec<PathBuf> = self.config.config_paths.iter().map(|path| path.as_path().to_owned()).collect();
        tokio::task::spawn_blocking(move || Config::load(&paths))
            .await
            .unwrap_or_else(|error| Err(ConnectorError::transient("reading the HAProxy configuration was broken off").caused_by(error)))
    }

    /// The names of the certificate that is in place.
    async fn names_in_place(&self) -> Result<Vec<String>, ConnectorError> {
        let path = self.config.pem_path.as_path().to_owned();
        let names = move || Ok(Destination::resolve(&path)?.load()?.map(|(pem, _)| dns_names_in(&pem)).unwrap_or_default());
        tokio::task::spawn_blocking(names)
            .await
            .unwrap_or_else(|error| Err(ConnectorError::transient("reading the certificate was broken off").caused_by(error)))
    }

    fn usage(&self, config: &Config, names: &[String]) -> Usage {
        let given = self.config.pem_path.as_path();
        let real = given.canonicalize().unwrap_or_else(|_| given.to_owned());
        usage(config, &[given, &real], names)
    }

    fn observation(&self, endpoints: Vec<crate::observation::Endpoint>) -> Observation {
        if !self.config.observe.enabled {
            return Observation::None { reason: "observe.enabled is false".to_owned() };
        }
        match &self.watch {
            Some(watch) => Observation::Watch(watch.clone()),
            None if endpoints.is_empty() => Observation::None {
                reason: "the HAProxy configuration has no address that could be asked for this certificate; set observe.address".to_owned(),
            },
            None => Observation::Watch(self.config.observe.watch_of(endpoints, ChainRule::Whole)),
        }
    }
}

/// Runs HAProxy's own test over a copy of the live configuration that names the staged file.
#[derive(Debug)]
struct ConfigTest {
    command: Command,
    config: Config,
}

impl Check for ConfigTest {
    fn command(&self) -> &Command {
        &self.command
    }

    fn prepare(&self, staged: &BTreeMap<PathBuf, PathBuf>, work: &Path) -> Result<Prepared, ConnectorError> {
        let copies = copy::write(&self.config, staged, work)?;
        Ok(Prepared { command: self.command.clone().with(CONFIG, &copies.config.to_string_lossy()), copies: copies.pairs })
    }
}

const CONFIG: &str = "{config}";
/// Endings of files that HAProxy reads beside a certificate, never as one.
const PASSED_OVER: [&str; 4] = ["key", "ocsp", "issuer", "sctl"];

fn default_config_paths() -> Vec<AbsolutePath> {
    AbsolutePath::try_from("/etc/haproxy/haproxy.cfg".to_owned()).into_iter().collect()
}

fn default_test_command() -> Vec<String> {
    ["haproxy", "-c", "-f", CONFIG].map(str::to_owned).to_vec()
}

fn default_reload_command() -> Vec<String> {
    ["systemctl", "reload", "haproxy"].map(str::to_owned).to_vec()
}

const fn default_command_timeout() -> Span {
    Span::seconds(60)
}

const fn default_backups() -> u32 {
    3
}

const fn yes() -> bool {
    true
}

const fn ten_seconds() -> Span {
    Span::seconds(10)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files and processes")]
mod tests {
    use super::*;

    /// Whether HAProxy accepts a staged file in place of a live one that is not even there.
    fn haproxy_accepts(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>, key: &rcgen::KeyPair, bind: &str) -> (bool, String) {
        let guard = tempfile::tempdir().unwrap();
        let root = guard.path().canonicalize().unwrap();
        for directory in ["ssl", "work"] {
            std::fs::create_dir(root.join(directory)).unwrap();
        }
        let (live, staged) = (root.join("ssl/web.pem"), root.join("ssl/.certctl-0.new"));
        std::fs::write(&staged, format!("{}{}", certificate.cert.pem(), key.serialize_pem())).unwrap();
        std::fs::write(root.join("list"), format!("{} web.example.test\n", live.display())).unwrap();
        let conf = format!(
            "defaults\n mode tcp\n timeout client 1s\nfrontend f\n bind 127.0.0.1:1 ssl {}\n",
            bind.replace("{root}", root.to_str().unwrap())
        );
        std::fs::write(root.join("haproxy.cfg"), conf).unwrap();
        let argv = default_test_command();
        let check = ConfigTest {
            command: Command::new(&argv, std::time::Duration::from_secs(30)).unwrap().with(CONFIG, CONFIG),
            config: Config::load(&[root.join("haproxy.cfg")]).unwrap(),
        };
        let prepared = check.prepare(&BTreeMap::from([(live, staged)]), &root.join("work")).unwrap();
        let argv = prepared.command.argv();
        let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().expect("haproxy (package haproxy) must be installed");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    fn haproxys_test_reads_the_staged_file_however_it_is_named() {
        let [one, two] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["web.example.test".to_owned()]).unwrap());
        for bind in ["crt {root}/ssl/web.pem", "crt {root}/ssl", "crt-list {root}/list"] {
            let (accepted, said) = haproxy_accepts(&one, &one.signing_key, bind);
            assert!(accepted, "{bind}: {said}");
            let (accepted, said) = haproxy_accepts(&one, &two.signing_key, bind);
            assert!(!accepted && said.contains("inconsistencies between private key and certificate"), "{bind}: {said}");
        }
    }
}
