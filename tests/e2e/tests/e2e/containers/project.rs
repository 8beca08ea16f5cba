//! A project of Docker Compose: its files as Compose itself merges and fills them in, and one service of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use certctl_testkit::require_program;
use serde::Deserialize;

use crate::harness::{Home, command, in_repository, run};

/// What Compose made of the files.
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    pub(super) services: BTreeMap<String, Service>,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, Secret>,
    #[serde(skip)]
    pub(super) text: String,
}

/// A secret that is a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) file: PathBuf,
    #[serde(default, rename = "name")]
    _name: String,
}

/// A service, with everything that decides how its program runs. A key that is not listed is not looked at by these tests, so it is refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) image: String,
    #[serde(default)]
    pub(super) user: String,
    #[serde(default)]
    pub(super) entrypoint: Option<Vec<String>>,
    #[serde(default)]
    pub(super) command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) secrets: Vec<Granted>,
    #[serde(default)]
    volumes: Vec<Volume>,
    #[serde(default)]
    pub(super) tmpfs: Vec<String>,
    #[serde(default)]
    pub(super) healthcheck: Health,
    #[serde(default)]
    pub(super) read_only: bool,
    #[serde(default)]
    pub(super) cap_drop: Vec<String>,
    #[serde(default)]
    pub(super) security_opt: Vec<String>,
    #[serde(default)]
    pub(super) depends_on: BTreeMap<String, Condition>,
    #[serde(default)]
    pub(super) restart: String,
    #[serde(default)]
    pub(super) networks: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    pub(super) ports: Vec<serde_json::Value>,
    #[serde(default)]
    pub(super) deploy: serde_json::Value,
    #[serde(default)]
    pub(super) profiles: Vec<String>,
    #[serde(default, rename = "logging")]
    _logging: serde_json::Value,
    #[serde(default, rename = "stop_grace_period")]
    _stop_grace_period: String,
    #[serde(default, rename = "stop_signal")]
    _stop_signal: String,
    #[serde(default, rename = "shm_size")]
    _shm_size: serde_json::Value,
}

/// A volume, as Compose 1 and Compose 2 write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Volume {
    Short(String),
    Long {
        source: String,
        target: String,
        #[serde(default)]
        read_only: bool,
    },
}

/// A secret that a service gets.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Granted {
    pub(super) source: String,
}

/// Its health check.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Health {
    #[serde(default)]
    pub(super) test: Vec<String>,
    #[serde(default)]
    pub(super) disable: bool,
}

/// What it waits for.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Condition {
    pub(super) condition: String,
}

impl Project {
    /// Has Compose read these files of `deploy/compose`, with the variables that `.env` would have. They are copied into a folder of the
    /// test first, so that their secrets are the test's.
    pub(super) async fn read(home: &Home, files: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = home.join("compose");
        std::fs::create_dir_all(&folder).unwrap();
        let mut compose = command(home, require_program("docker-compose"));
        compose.current_dir(&folder).envs(variables.iter().copied()).env("COMPOSE_PROFILES", "agent,tools,backup,restore");
        for file in files {
            std::fs::copy(in_repository("deploy/compose").join(file), folder.join(file)).unwrap();
            compose.args(["--file", file]);
        }
        let text = run(compose.arg("config")).await.ok();
        let project: Self = serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Self { text, ..project }
    }

    /// One of its services.
    pub(super) fn service(&self, name: &str) -> &Service {
        self.services.get(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }

    /// The file of a secret.
    pub(super) fn secret(&self, name: &str) -> &Path {
        &self.secrets[name].file
    }
}

impl Service {
    /// What it is called without registry and tag.
    pub(super) fn image_name(&self) -> &str {
        self.image.rsplit('/').next().unwrap().split(':').next().unwrap()
    }

    /// Volumes, where they are mounted, and whether they can be written.
    pub(super) fn mounts(&self) -> Vec<(String, String, bool)> {
        let read = |volume: &Volume| match volume {
            Volume::Short(text) => {
                let parts: Vec<&str> = text.split(':').collect();
                (parts[0].to_owned(), parts[1].to_owned(), parts.get(2).is_none_or(|mode| *mode == "rw"))
            }
            Volume::Long { source, target, read_only } => (source.clone(), target.clone(), !read_only),
        };
        self.volumes.iter().map(read).collect()
    }
}
