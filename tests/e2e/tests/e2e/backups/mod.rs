//! Backups: made while the server works, read, put back, and what becomes of them when something breaks on the way.

mod drill;
mod faults;
mod major;
mod runbook;
mod s3;

use std::path::PathBuf;

use certctl_testkit::{Database, Engine, require_program};
use serde_json::Value;

use crate::harness::{Bucket, Home, LONG, Ran, Server, Setup, World, command, names_in, read, run};

/// A world whose backups go to a directory.
pub(crate) struct Kept {
    pub(crate) world: World,
    pub(crate) directory: PathBuf,
    /// The database of the restored server; ends after it.
    pub(crate) second: Option<Database>,
}

impl Kept {
    /// Starts it.
    pub(crate) async fn open(engine: Engine) -> Self {
        Self::with(engine, |setup| setup).await
    }

    /// Starts it with further settings of the server.
    pub(crate) async fn with(engine: Engine, change: impl FnOnce(Setup) -> Setup) -> Self {
        let mut world = World::with(engine, change).await;
        let directory = world.home.join("backups");
        std::fs::create_dir(&directory).unwrap();
        let variables = &mut world.server.setup.variables;
        variables.insert("CERTCTL_BACKUP_DIRECTORY".to_owned(), directory.to_str().unwrap().to_owned());
        Self { world, directory, second: None }
    }

    /// From now on backups go to a bucket.
    pub(crate) fn goes_to(&mut self, bucket: &Bucket) {
        self.world.server.setup.variables.remove("CERTCTL_BACKUP_DIRECTORY");
        self.world.server.setup = bucket.settings(self.world.server.setup.clone());
    }

    /// Runs `certctl-server backup ...` beside the server.
    pub(crate) async fn backup(&self, words: &[&str]) -> Ran {
        self.backup_with(&[], words).await
    }

    /// The same with further variables.
    pub(crate) async fn backup_with(&self, variables: &[(&str, &str)], words: &[&str]) -> Ran {
        let setup = variables.iter().fold(self.world.server.setup.clone(), |setup, (name, value)| setup.with(name, value));
        setup.run(&self.world.home, &[&["backup"], words].concat()).await
    }

    /// Makes one; gives its manifest.
    pub(crate) async fn create(&self) -> Value {
        self.backup(&["create", "--json"]).await.json()
    }

    /// Settings for a server on nothing: another data directory, and another database where that is a server's. It has the
    /// encryption key, and the same port, so that agents find it.
    pub(crate) async fn nothing(&mut self, name: &str) -> Setup {
        let old = &self.world.server.setup;
        let mut setup = Setup { name: name.to_owned(), data: self.world.home.join(name), ..old.clone() };
        std::fs::create_dir(&setup.data).unwrap();
        if self.world.database.is_some() {
            let second = certctl_testkit::database::postgres().await;
            setup = setup.with("CERTCTL_DATABASE_URL", second.url());
            self.second = Some(second);
        } else {
            std::fs::copy(old.data.join("encryption.key"), setup.data.join("encryption.key")).unwrap();
        }
        setup
    }

    /// Takes the server away and starts another with these settings in its place.
    pub(crate) async fn go_on_with(&mut self, setup: Setup) {
        assert!(self.world.server.stop(LONG).await.success());
        self.world.server = Server::start(&self.world.home, setup).await;
    }

    /// The names in the directory.
    pub(crate) fn names(&self) -> Vec<String> {
        names_in(&self.directory)
    }

    /// A gauge or counter that a replica shows.
    pub(crate) async fn metric(&self, server: &Server, name: &str) -> f64 {
        let key = read(&self.world.server.first_key_file());
        let text = server.api().with_token(key.trim()).get("/api/v1/metrics/prometheus").await.is(200).text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not shown")).parse().unwrap()
    }
}

/// A fresh pair of age: the public key, and the file with the private one.
pub(crate) async fn age_pair(home: &Home, name: &str) -> (String, PathBuf) {
    let file = home.join(&format!("{name}.identity"));
    run(command(home, require_program("age-keygen")).arg("-o").arg(&file)).await.ok();
    let text = read(&file);
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
    home.plant(text.lines().last().unwrap());
    (public, file)
}
