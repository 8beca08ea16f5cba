//! A place a certificate is put. One file per product, one verb: deploy.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use certctl_domain::time::Timestamp;

use crate::ConnectorError;
use crate::exec::{AllowList, Command};
use crate::material::Material;
use crate::report::{DeployEvent, DeployReport, Served};

/// What a deployment happens in.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The deployment's id; names its backup.
    pub deployment: &'a str,
    /// The target's id; names its journal and its lock.
    pub target: &'a str,
    /// Where journals, locks and backups live; mode 0700, made when absent.
    pub state_dir: &'a Path,
    /// Which programs may run.
    pub allow_list: &'a AllowList,
    /// The time now.
    pub now: Timestamp,
    /// Is told what happens.
    pub progress: &'a (dyn Fn(&DeployEvent) + Send + Sync),
}

impl fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene")
            .field("deployment", &self.deployment)
            .field("target", &self.target)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// A place a certificate is put.
#[async_trait]
pub trait Target: Send + Sync + fmt::Debug {
    /// Puts the material in place and proves it; or leaves everything as it was.
    ///
    /// # Errors
    /// When the deployment could not begin. How one that began ended is in the report.
    async fn deploy(&self, material: &Material, scene: Scene<'_>) -> Result<DeployReport, ConnectorError>;

    /// Looks at what is served now, without changing anything.
    ///
    /// # Errors
    /// When this kind of target cannot tell.
    async fn observe(&self) -> Result<Vec<Served>, ConnectorError> {
        Err(ConnectorError::unsupported("this kind of target cannot say what is served"))
    }

    /// The commands that a deployment runs, so that this machine's allow-list can be checked beforehand.
    fn commands(&self) -> Vec<Command> {
        Vec::new()
    }
}
