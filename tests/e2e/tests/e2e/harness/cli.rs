//! The command line client, with a home of its own.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::{Home, Ran, Server, command, product, run_with_input};

/// The client of one person.
#[derive(Clone)]
pub(crate) struct Cli {
    home: Arc<Home>,
    config: PathBuf,
    variables: Vec<(String, String)>,
}

impl Cli {
    /// Somebody who has not logged in yet.
    pub(crate) fn new(home: &Arc<Home>, name: &str) -> Self {
        Self { home: Arc::clone(home), config: home.join(name), variables: Vec::new() }
    }

    /// The first administrator.
    pub(crate) async fn logged_in(home: &Arc<Home>, server: &Server) -> Self {
        let cli = Self::new(home, "cli");
        let (ca, token) = (server.ca_file(), server.first_key_file());
        cli.run(&["login", "--server", &server.url(), "--ca", ca.to_str().unwrap(), "--token-file", token.to_str().unwrap()]).await.ok();
        cli
    }

    /// With one more variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder of its configuration, as `XDG_CONFIG_HOME` has it.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.config
    }

    /// Where its configuration lies.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.config.join("certctl/config.toml")
    }

    /// Runs it.
    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        self.run_with_input(words, "").await
    }

    /// Runs it with something to read.
    pub(crate) async fn run_with_input(&self, words: &[&str], input: &str) -> Ran {
        let mut certctl = command(&self.home, product("certctl"));
        certctl.env("XDG_CONFIG_HOME", &self.config).envs(self.variables.iter().map(|(name, value)| (name, value))).args(words);
        run_with_input(&mut certctl, input).await
    }

    /// Runs it and reads its answer as JSON; it must succeed.
    pub(crate) async fn json(&self, words: &[&str]) -> Value {
        self.run(&[words, &["--output", "json"]].concat()).await.json()
    }

    /// The version of a certificate that is in use. There must be exactly one.
    pub(crate) async fn current_version(&self, certificate: &str) -> Value {
        let versions = self.json(&["certs", "versions", certificate, "--state", "current"]).await;
        let versions = versions["data"].as_array().unwrap();
        assert_eq!(versions.len(), 1, "{versions:#?}");
        versions[0].clone()
    }

    /// The open and closed jobs of a certificate, the newest first.
    pub(crate) async fn jobs(&self, certificate: &str) -> Vec<Value> {
        self.json(&["jobs", "list", "--cert", certificate, "--all"]).await["data"].as_array().unwrap().clone()
    }
}
