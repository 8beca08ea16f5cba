//! nginx: a certificate with its chain in one file, the key in another; tested by `nginx -t` before the live files are
//! touched, proved by handshakes with every name under which the configuration serves it.

mod glob;
mod servers;
mod syntax;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::Command;
use certctl_connector_core::files::{Attributes, FileMode};
use certctl_connector_core::material::Material;
use certctl_connector_core::registry::Connector;
use certctl_connector_core::report::{DeployReport, Served};
use certctl_connector_core::setting::{AbsolutePath, Span};
use certctl_connector_core::target::{Scene, Target};
use certctl_domain::secret::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use self::servers::{Usage, usage};
use self::tree::Tree;
use crate::deploy::{Check, Plan, PlannedFile, Prepared, deploy, look};
use crate::observation::{ChainRule, Observation, ObserveConfig, Watch};

/// Settings of an nginx target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxConfig {
    /// The file that `ssl_certificate` names; gets the leaf and the intermediates.
    pub certificate_path: AbsolutePath,
    /// The file that `ssl_certificate_key` names.
    pub key_path: AbsolutePath,
    /// The main configuration file.
    #[serde(default)]
    #[schemars(extend("default" = DEFAULT_CONFIG_PATH))]
    pub config_path: Option<AbsolutePath>,
    /// Tests a configuration; `{config}` stands for its main file.
    #[serde(default = "default_test_command")]
    pub test_command: Vec<String>,
    /// Tells nginx to take up the new files; `{config}` stands for the main configuration file.
    #[serde(default)]
    pub reload_command: Option<Vec<String>>,
    /// For each of the two commands.
    #[serde(default = "default_command_timeout")]
    pub command_timeout: Span,
    /// User who gets the files; the one of the existing files when absent.
    #[serde(default)]
    pub owner: Option<String>,
    /// Group that gets the files; the one of the existing files when absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Mode of the certificate file; that of the existing file when absent, `0644` for a new one.
    #[serde(default)]
    pub certificate_mode: Option<FileMode>,
    /// Mode of the key file; that of the existing file without what others may do when absent, `0600` for a new one.
    #[serde(default)]
    pub key_mode: Option<FileMode>,
    /// Where to see what is served; found in the configuration when no address is given.
    #[serde(default)]
    pub observe: ObserveConfig,
    /// How many replaced pairs are kept in the agent's state directory.
    #[serde(default = "default_backups")]
    #[schemars(range(max = 100))]
    pub backups: u32,
}

impl NginxConfig {
    fn main_file(&self) -> &Path {
        self.config_path.as_ref().map_or(Path::new(DEFAULT_CONFIG_PATH), AbsolutePath::as_path)
    }
}

/// An nginx on this machine.
#[derive(Debug, Clone)]
pub struct Nginx {
    config: NginxConfig,
    test: Command,
    reload: Command,
    /// The watch that the settings ask for; else it is found in the configuration.
    watch: Option<Watch>,
}

impl Connector for Nginx {
    const KIND: &'static str = "NGINX";
    const SUMMARY: &'static str = "nginx on the agent's machine";
    type Config = NginxConfig;

    fn build(config: NginxConfig) -> Result<Self, ConnectorError> {
        if config.certificate_path == config.key_path {
            return Err(ConnectorError::permanent("certificate_path and key_path are the same file")
                .hint("give the key a file of its own, or use a target of kind Files with combined_path"));
        }
        if !config.test_command.iter().skip(1).any(|argument| argument.contains(CONFIG)) {
            return Err(ConnectorError::permanent("test_command does not use {config}, so it would test the old files instead of the new")
                .hint("e.g. [\"nginx\", \"-t\", \"-c\", \"{config}\"]"));
        }
        if config.command_timeout > Span::seconds(600) || config.backups > 100 {
            return Err(ConnectorError::permanent("command_timeout is over 10m, or backups over 100"));
        }
        let timeout = config.command_timeout.duration();
        let live = config.main_file().to_string_lossy().into_owned();
        let reload = match &config.reload_command {
            Some(argv) => argv.iter().map(|argument| argument.replace(CONFIG, &live)).collect(),
            None if config.main_file() == Path::new(DEFAULT_CONFIG_PATH) => ["nginx", "-s", "reload"].map(str::to_owned).to_vec(),
            // Without it, nginx would look for its process id where the default configuration has it.
            None => ["nginx", "-s", "reload", "-c", &live].map(str::to_owned).to_vec(),
        };
        Ok(Self {
            test: Command::new(&config.test_command, timeout)?.with(CONFIG, CONFIG),
            reload: Command::new(&reload, timeout)?,
            watch: config.observe.watch(ChainRule::Whole)?,
            config,
        })
    }
}

#[async_trait]
impl Target for Nginx {
    async fn deploy(&self, material: &Material, scene: Scene<'_>) -> Result<DeployReport, ConnectorError> {
        let tree = self.load().await?;
        deploy(self.plan(material, tree), material, scene).await
    }

    async fn observe(&self) -> Result<Vec<Served>, ConnectorError> {
        match self.observation(&self.usage(&self.load().await?)) {
            Observation::Watch(watch) => Ok(look(&watch, None).await),
            Observation::None { reason } => Err(ConnectorError::unsupported(reason)),
        }
    }

    fn commands(&self) -> Vec<Command> {
        vec![self.test.clone(), self.reload.clone()]
    }
}

impl Nginx {
    fn plan(&self, material: &Material, tree: Tree) -> Plan {
        let Usage { servers, endpoints, mut warnings } = self.usage(&tree);
        let attributes =
            |mode, default_mode| Attributes { mode, owner: self.config.owner.clone(), group: self.config.group.clone(), default_mode };
        let files = vec![
            PlannedFile {
                path: self.config.key_path.as_path().to_owned(),
                contents: Secret::new(material.key_pem().expose().clone().into_bytes()),
                attributes: attributes(self.config.key_mode, FileMode::PRIVATE),
            },
            PlannedFile {
                path: self.config.certificate_path.as_path().to_owned(),
                contents: Secret::new(material.fullchain_pem().into_bytes()),
                attributes: attributes(self.config.certificate_mode, FileMode::PUBLIC),
            },
        ];
        if self.config.key_mode.is_some_and(|mode| mode.bits() & 0o004 != 0) {
            warnings.push("key_mode lets everybody on this machine read the key".to_owned());
        }
        Plan {
            files,
            check: Some(Box::new(ConfigTest { command: self.test.clone(), tree: tree.clone() })),
            live: None,
            reload: Some(self.reload.clone()),
            observation: self.observation(&Usage { servers, endpoints, warnings: Vec::new() }),
            backups: self.config.backups,
            warnings,
        }
    }

    async fn load(&self) -> Result<Tree, ConnectorError> {
        let path = self.config.main_file().to_owned();
        tokio::task::spawn_blocking(move || Tree::load(&path))
            .await
            .unwrap_or_else(|error| Err(ConnectorError::transient("reading the nginx configuration was broken off").caused_by(error)))
    }

    fn usage(&self, tree: &Tree) -> Usage {
        let spellings = |path: &AbsolutePath| {
            let given = path.as_path().to_owned();
            let real = given.canonicalize().unwrap_or_else(|_| given.clone());
            [given, real]
        };
        let (certificate, key) = (spellings(&self.config.certificate_path), spellings(&self.config.key_path));
        usage(tree, &certificate.each_ref().map(PathBuf::as_path), &key.each_ref().map(PathBuf::as_path))
    }

    fn observation(&self, usage: &Usage) -> Observation {
        if !self.config.observe.enabled {
            return Observation::None { reason: "observe.enabled is false".to_owned() };
        }
        match &self.watch {
            Some(watch) => Observation::Watch(watch.clone()),
            None if usage.endpoints.is_empty() => Observation::None {
                reason: "the nginx configuration has no address and name that could be asked for; set observe.address".to_owned(),
            },
            None => Observation::Watch(self.config.observe.watch_of(usage.endpoints.clone(), ChainRule::Whole)),
        }
    }
}

/// Runs nginx's own test over a copy of the live configuration that names the staged files.
#[derive(Debug)]
struct ConfigTest {
    command: Command,
    tree: Tree,
}

impl Check for ConfigTest {
    fn command(&self) -> &Command {
        &self.command
    }

    fn prepare(&self, staged: &BTreeMap<PathBuf, PathBuf>, work: &Path) -> Result<Prepared, ConnectorError> {
        let copies = self.tree.render(staged, work)?;
        let main = copies.first().map(|(main, _)| main.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Prepared { command: self.command.clone().with(CONFIG, &main), copies })
    }
}

const CONFIG: &str = "{config}";
const DEFAULT_CONFIG_PATH: &str = "/etc/nginx/nginx.conf";

fn default_test_command() -> Vec<String> {
    ["nginx", "-t", "-c", CONFIG].map(str::to_owned).to_vec()
}

const fn default_command_timeout() -> Span {
    Span::seconds(60)
}

const fn default_backups() -> u32 {
    3
}
