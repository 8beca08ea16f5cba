//! Records written by a program on the server: allowed by a file there, no shell, a clean environment, a time-out.

use std::path::Path;

use async_trait::async_trait;
use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::{AllowList, Command, run_to_success};
use certctl_domain::time::Timestamp;

use super::{TxtRecord, Writer};
use crate::acme::config::AcmeConfig;

/// The two commands, and what decides whether they may run.
#[derive(Debug)]
pub(super) struct Programs {
    add: Command,
    remove: Option<Command>,
    allowed: AllowList,
}

/// The commands, checked for form.
pub(super) fn commands(config: &AcmeConfig) -> Result<(Command, Option<Command>), ConnectorError> {
    let timeout = config.exec_timeout.duration();
    let named = |what: &'static str| move |e: ConnectorError| e.rephrase(|said| format!("{what}: {said}"));
    let add = Command::new(&config.exec_add, timeout).map_err(named("exec_add"))?;
    let remove = match config.exec_remove.as_slice() {
        [] => None,
        argv => Some(Command::new(argv, timeout).map_err(named("exec_remove"))?),
    };
    Ok((add, remove))
}

impl Programs {
    pub(super) fn new(config: &AcmeConfig, allow_list: &Path) -> Result<Self, ConnectorError> {
        let (add, remove) = commands(config)?;
        Ok(Self { add, remove, allowed: AllowList::load(allow_list)? })
    }

    async fn run(&self, command: &Command, record: &TxtRecord) -> Result<(), ConnectorError> {
        let parts = [("{domain}", &record.domain), ("{name}", &record.name), ("{value}", &record.value), ("{token}", &record.token)];
        let command = parts.into_iter().fold(command.clone(), |command, (placeholder, value)| command.with(placeholder, value));
        run_to_success(&command, &self.allowed).await.map(drop)
    }
}

#[async_trait]
impl Writer for Programs {
    async fn add(&self, record: &TxtRecord, _now: Timestamp) -> Result<(), ConnectorError> {
        self.run(&self.add, record).await
    }

    async fn remove(&self, record: &TxtRecord, _now: Timestamp) -> Result<(), ConnectorError> {
        match &self.remove {
            Some(command) => self.run(command, record).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make their own files")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(value: serde_json::Value) -> AcmeConfig {
        let mut config = serde_json::json!({"directory_url": "https://ca.test/dir", "dns": "exec"});
        config.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(config).unwrap()
    }

    fn record() -> TxtRecord {
        TxtRecord { domain: "a.test".into(), name: "_acme-challenge.a.test".into(), value: "v-1".into(), token: "t-1".into() }
    }

    #[tokio::test]
    async fn the_program_gets_the_record_as_arguments_and_a_clean_environment() {
        let folder = tempfile::tempdir().unwrap();
        let (hook, said) = (folder.path().join("hook"), folder.path().join("said"));
        fs::write(&hook, format!("#!/bin/sh\n{{ echo \"$@\"; env | cut -d= -f1 | sort | tr '\\n' ' '; }} > {}\n", said.display())).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        let allowed = folder.path().join("commands.toml");
        let config = config(serde_json::json!({"exec_add": [hook, "add", "{name}", "{value}", "{domain}", "{token}"]}));
        let refused = Programs::new(&config, &allowed).unwrap().add(&record(), Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert!(refused.to_string().contains("is not among the commands"), "{refused}");
        fs::write(&allowed, format!("[[command]]\nargv = [{hook:?}, \"add\", \"*\", \"*\", \"*\", \"*\"]\n")).unwrap();
        fs::set_permissions(&allowed, fs::Permissions::from_mode(0o644)).unwrap();
        let programs = Programs::new(&config, &allowed).unwrap();
        programs.add(&record(), Timestamp::UNIX_EPOCH).await.unwrap();
        let said = fs::read_to_string(said).unwrap();
        assert!(said.starts_with("add _acme-challenge.a.test v-1 a.test t-1\n"), "{said}");
        assert!(!said.contains("CARGO") && !said.contains("HOME"), "{said}");
        programs.remove(&record(), Timestamp::UNIX_EPOCH).await.unwrap();
    }

    #[test]
    fn commands_of_the_wrong_form_are_named() {
        let error = commands(&config(serde_json::json!({}))).unwrap_err();
        assert!(error.to_string().starts_with("exec_add: "), "{error}");
    }
}
