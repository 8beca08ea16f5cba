//! Plain files for any service: certificate and key as a pair, or both in one; then perhaps a command, perhaps a look.

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

use crate::deploy::{Plan, PlannedFile, deploy, look};
use crate::observation::{ChainRule, Observation, ObserveConfig};

/// Settings of a files target: either `combined_path`, or `certificate_path` and `key_path`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// Gets the leaf and the intermediates; the leaf alone when `chain_path` is set.
    #[serde(default)]
    pub certificate_path: Option<AbsolutePath>,
    /// Gets the intermediates.
    #[serde(default)]
    pub chain_path: Option<AbsolutePath>,
    /// Gets the key.
    #[serde(default)]
    pub key_path: Option<AbsolutePath>,
    /// Gets leaf, intermediates and key, in this order.
    #[serde(default)]
    pub combined_path: Option<AbsolutePath>,
    /// User who gets the files; the one of the existing files when absent.
    #[serde(default)]
    pub owner: Option<String>,
    /// Group that gets the files; the one of the existing files when absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Mode of the certificate and chain files; that of the existing file when absent, `0644` for a new one.
    #[serde(default)]
    pub certificate_mode: Option<FileMode>,
    /// Mode of the key or combined file; that of the existing file without what others may do when absent, `0600` for a new one.
    #[serde(default)]
    pub key_mode: Option<FileMode>,
    /// Tells the service to take up the new files.
    #[serde(default)]
    pub reload_command: Option<Vec<String>>,
    /// For the command.
    #[serde(default = "default_command_timeout")]
    pub command_timeout: Span,
    /// Where to see what is served.
    #[serde(default)]
    pub observe: ObserveConfig,
    /// How many replaced pairs are kept in the agent's state directory.
    #[serde(default = "default_backups")]
    #[schemars(range(max = 100))]
    pub backups: u32,
}

/// Files on this machine.
#[derive(Debug, Clone)]
pub struct Files {
    layout: Layout,
    config: FilesConfig,
    reload: Option<Command>,
    observation: Observation,
}

#[derive(Debug, Clone)]
enum Layout {
    Combined(AbsolutePath),
    Pair { certificate: AbsolutePath, chain: Option<AbsolutePath>, key: AbsolutePath },
}

impl Connector for Files {
    const KIND: &'static str = "Files";
    const SUMMARY: &'static str = "PEM files on the agent's machine, with an optional command";
    type Config = FilesConfig;

    fn build(config: FilesConfig) -> Result<Self, ConnectorError> {
        let layout = match (&config.combined_path, &config.certificate_path, &config.key_path, &config.chain_path) {
            (Some(combined), None, None, None) => Layout::Combined(combined.clone()),
            (None, Some(certificate), Some(key), chain) => {
                Layout::Pair { certificate: certificate.clone(), chain: chain.clone(), key: key.clone() }
            }
            _ => {
                return Err(ConnectorError::permanent("the paths do not go together")
                    .hint("set combined_path alone, or certificate_path and key_path (and perhaps chain_path)"));
            }
        };
        let paths: Vec<_> = match &layout {
            Layout::Combined(path) => vec![path],
            Layout::Pair { certificate, chain, key } => [Some(certificate), chain.as_ref(), Some(key)].into_iter().flatten().collect(),
        };
        if paths.iter().enumerate().any(|(at, path)| paths.iter().skip(at + 1).any(|other| path == other)) {
            return Err(ConnectorError::permanent("two of the paths are the same file").hint("use combined_path to have all in one file"));
        }
        if config.command_timeout > Span::seconds(600) || config.backups > 100 {
            return Err(ConnectorError::permanent("command_timeout is over 10m, or backups over 100"));
        }
        let reload = config.reload_command.as_ref().map(|argv| Command::new(argv, config.command_timeout.duration())).transpose()?;
        let observation = match config.observe.watch(ChainRule::Leaf)? {
            _ if !config.observe.enabled => Observation::None { reason: "observe.enabled is false".to_owned() },
            Some(watch) => Observation::Watch(watch),
            None => Observation::None { reason: "observe.address is not set".to_owned() },
        };
        Ok(Self { layout, config, reload, observation })
    }
}

#[async_trait]
impl Target for Files {
    async fn deploy(&self, material: &Material, scene: Scene<'_>) -> Result<DeployReport, ConnectorError> {
        deploy(self.plan(material), material, scene).await
    }

    async fn observe(&self) -> Result<Vec<Served>, ConnectorError> {
        match &self.observation {
            Observation::Watch(watch) => Ok(look(watch, None).await),
            Observation::None { reason } => Err(ConnectorError::unsupported(reason.clone())),
        }
    }

    fn commands(&self) -> Vec<Command> {
        self.reload.iter().cloned().collect()
    }
}

impl Files {
    fn plan(&self, material: &Material) -> Plan {
        let key = material.key_pem().expose();
        let mut warnings = Vec::new();
        let files = match &self.layout {
            Layout::Combined(path) => {
                vec![self.private(path, Secret::new([material.fullchain_pem().as_str(), key.as_str()].concat().into_bytes()))]
            }
            Layout::Pair { certificate, chain, key: key_path } => {
                let mut files = vec![self.private(key_path, Secret::new(key.clone().into_bytes()))];
                match chain {
                    None => files.push(self.public(certificate, material.fullchain_pem())),
                    Some(chain) => {
                        let intermediates = material.intermediates_pem();
                        if intermediates.is_empty() {
                            warnings.push(format!("there are no intermediates, so {chain} is left as it is"));
                        } else {
                            files.push(self.public(chain, intermediates));
                        }
                        files.push(self.public(certificate, material.leaf_pem()));
                    }
                }
                files
            }
        };
        if self.config.key_mode.is_some_and(|mode| mode.bits() & 0o004 != 0) {
            warnings.push("key_mode lets everybody on this machine read the key".to_owned());
        }
        Plan {
            files,
            check: None,
            live: None,
            reload: self.reload.clone(),
            observation: self.observation.clone(),
            backups: self.config.backups,
            warnings,
        }
    }

    fn private(&self, path: &AbsolutePath, contents: Secret<Vec<u8>>) -> PlannedFile {
        PlannedFile { path: path.as_path().to_owned(), contents, attributes: self.attributes(self.config.key_mode, FileMode::PRIVATE) }
    }

    fn public(&self, path: &AbsolutePath, pem: String) -> PlannedFile {
        PlannedFile {
            path: path.as_path().to_owned(),
            contents: Secret::new(pem.into_bytes()),
            attributes: self.attributes(self.config.certificate_mode, FileMode::PUBLIC),
        }
    }

    fn attributes(&self, mode: Option<FileMode>, default_mode: FileMode) -> Attributes {
        Attributes { mode, owner: self.config.owner.clone(), group: self.config.group.clone(), default_mode }
    }
}

const fn default_command_timeout() -> Span {
    Span::seconds(60)
}

const fn default_backups() -> u32 {
    3
}
