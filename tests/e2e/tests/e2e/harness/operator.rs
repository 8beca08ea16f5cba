//! Somebody at a shell who follows a page: the programs are in the path, and the folders that the page names are folders of the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use certctl_testkit::require_program;
use tokio::process::Command;

use super::{Cli, Home, Ran, Setup, command, product, run};

/// The person, with what was prepared for them.
#[derive(Clone)]
pub(crate) struct Operator {
    home: Arc<Home>,
    variables: BTreeMap<String, String>,
    stand_ins: Vec<(String, String)>,
}

impl Operator {
    /// Logged in as this client is, with `/etc/certctl/` in the folder of the test.
    pub(crate) fn new(home: &Arc<Home>, cli: &Cli) -> Self {
        for program in ["jq", "openssl", "curl", "tee"] {
            require_program(program);
        }
        let etc = home.join("etc");
        std::fs::create_dir_all(&etc).unwrap();
        let variables = BTreeMap::from([("XDG_CONFIG_HOME".to_owned(), cli.folder().to_str().unwrap().to_owned())]);
        let stand_ins = vec![("/etc/certctl/".to_owned(), format!("{}/", etc.display()))];
        Self { home: Arc::clone(home), variables, stand_ins }
    }

    /// At the machine of this server: its settings are in the environment, and its data directory is where it is.
    pub(crate) fn beside(self, setup: &Setup) -> Self {
        let data = format!("{}/", setup.data.display());
        let mut beside = self.reading("/var/lib/certctl/", &data);
        beside.variables.insert("CERTCTL_SERVER_LISTEN".to_owned(), format!("127.0.0.1:{}", setup.port));
        beside.variables.insert("CERTCTL_SERVER_DATA_DIR".to_owned(), setup.data.to_str().unwrap().to_owned());
        beside.variables.extend(setup.variables.clone());
        beside
    }

    /// With one more variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What the page calls `said` is `meant` here.
    pub(crate) fn reading(mut self, said: &str, meant: &str) -> Self {
        self.stand_ins.retain(|(other, _)| other != said);
        self.stand_ins.push((said.to_owned(), meant.to_owned()));
        self
    }

    /// A text of the page as it is here.
    pub(crate) fn here(&self, text: &str) -> String {
        self.stand_ins.iter().fold(text.to_owned(), |text, (said, meant)| text.replace(said, meant))
    }

    /// Runs a block to its end; its first line that fails ends it.
    pub(crate) async fn runs(&self, block: &str) -> Ran {
        run(&mut self.shell(block)).await
    }

    /// The shell that runs a block.
    pub(crate) fn shell(&self, block: &str) -> Command {
        let mut shell = command(&self.home, require_program("bash"));
        let programs = product("certctl").parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path))).unwrap();
        shell.env("PATH", path).envs(&self.variables).args(["-euo", "pipefail", "-c", &self.here(block)]);
        shell
    }
}
