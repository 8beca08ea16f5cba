//! The deployment of files: staged, checked, swapped, reloaded, observed, committed; or rolled back.
//!
//! Every step is written to a journal before it is taken. Whatever dies when, [`recover`] (and the next deployment of the
//! same target) finds the journal and brings the deployment to an end: onwards once the swap began, backwards before.
//!
//! ```text
//! begin -> staged -> checked -> swapping -> swapped -> reloaded -> committed
//!    \________\________\___________\__________\__________\-> rolling back -> restored -> rolled back
//! ```

mod faults;
mod journal;
mod live;
mod observe;
mod prepare;
mod recover;
mod replace;
mod rollback;
mod run;
mod stage;
mod state;
mod story;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::Command;
use certctl_connector_core::files::Attributes;
use certctl_connector_core::material::Material;
use certctl_connector_core::report::{DeployReport, Step};
use certctl_connector_core::target::Scene;
use certctl_domain::secret::Secret;

#[cfg(test)]
pub(crate) use self::faults::with_faults;
pub(crate) use self::faults::{Point, reach};
pub use self::live::LiveUpdate;
pub(crate) use self::live::NotLive;
pub(crate) use self::observe::look;
pub use self::recover::recover;
use self::run::Run;
use self::state::TargetState;
use self::story::Story;
use crate::observation::Observation;

/// What a deployment does.
#[derive(Debug)]
pub struct Plan {
    /// The files to write; swapped in this order.
    pub files: Vec<PlannedFile>,
    /// The service's own test.
    pub check: Option<Box<dyn Check>>,
    /// Tells the service while it runs.
    pub live: Option<LiveUpdate>,
    /// Tells the service where it was not told while it ran.
    pub reload: Option<Command>,
    /// Where to see what is served.
    pub observation: Observation,
    /// How many replaced pairs are kept.
    pub backups: u32,
    /// What a person should know, found while planning.
    pub warnings: Vec<String>,
}

/// One file to write.
#[derive(Debug)]
pub struct PlannedFile {
    /// Where; a symbolic link is followed.
    pub path: PathBuf,
    /// What.
    pub contents: Secret<Vec<u8>>,
    /// Whose, and who may read it.
    pub attributes: Attributes,
}

/// Tests the staged files with the service's own means.
pub trait Check: Send + Sync + std::fmt::Debug {
    /// What will run, with placeholders; for the allow-list.
    fn command(&self) -> &Command;

    /// Prepares the test of the staged files. `staged` leads from each file's path, as planned and as resolved, to
    /// the path of its staged form; `work` is an empty private directory that is removed afterwards.
    ///
    /// # Errors
    /// When the test cannot be prepared.
    fn prepare(&self, staged: &BTreeMap<PathBuf, PathBuf>, work: &Path) -> Result<Prepared, ConnectorError>;
}

/// A test that can be run.
#[derive(Debug)]
pub struct Prepared {
    /// The command, placeholders filled in.
    pub command: Command,
    /// Copies that the test reads, each with the file that it stands for: what the test says is told with the latter.
    pub copies: Vec<(PathBuf, PathBuf)>,
}

/// Carries out a plan.
///
/// # Errors
/// When the deployment could not begin: a command is not allowed, the state directory cannot be used, or another deployment
/// of the target does not end. How a deployment that began ended is in the report.
pub async fn deploy(plan: Plan, material: &Material, scene: Scene<'_>) -> Result<DeployReport, ConnectorError> {
    scene.allow_list.require(plan.check.iter().map(|check| check.command()).chain(&plan.reload))?;
    state::plain_id("deployment", scene.deployment)?;
    let state = TargetState::open(scene.state_dir, scene.target)?;
    let mut story = Story::new(scene.deployment, scene.target, material.fingerprint(), scene.now, scene.progress);
    let lock = state.lock().await?;
    if let Some(earlier) = recover::finish_open(&state, &lock, scene).await? {
        story.tell(Step::Recover, format!("deployment {} had been cut short; it is now {}", earlier.deployment, recover::ending(&earlier)));
        state.set_journal_aside()?;
    }
    story.warn(plan.warnings.iter().cloned());
    if material.not_before() > scene.now {
        story.warn([format!(
            "the certificate is valid from {} and it is {} here: check this machine's clock",
            material.not_before(),
            scene.now
        )]);
    }
    Run::fresh(plan, material, scene, (state, lock), story).await
}
