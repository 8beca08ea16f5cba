//! Work on a certificate that exists: a new version, another deployment, a CSR.

use std::path::PathBuf;

use certctl_api::certificates::{DeployRequest, RenewRequest, SubmitCsrRequest};
use certctl_domain::ids::{Id as _, TargetId};
use certctl_domain::job::Job;
use clap::Args;

use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::follow::{self, Round};
use crate::input;
use crate::noun::Known as _;
use crate::nouns::jobs::Jobs;
use crate::nouns::{CERTIFICATE, TARGET};
use crate::session::Session;

/// A certificate to renew.
#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// Name or id of the certificate
    name: String,
    /// Renew although it is not due; kept for existing scripts, since a renewal by hand does so anyway
    #[arg(long, hide_short_help = true)]
    force: bool,
    /// Wait until the new version is served, showing each step
    #[arg(long)]
    pub(super) wait: bool,
}

/// A certificate to deploy.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Name or id of the certificate
    name: String,
    /// This target alone
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Wait until it is served, showing each step
    #[arg(long)]
    pub(super) wait: bool,
}

/// A CSR to submit.
#[derive(Debug, Args)]
pub(crate) struct SubmitCsr {
    /// Name or id of the certificate
    name: String,
    /// File with the CSR in PEM (PKCS#10), - for standard input
    file: PathBuf,
    /// Wait until the version is issued, showing each step
    #[arg(long)]
    pub(super) wait: bool,
}

impl Renew {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let id = session.id_of(&CERTIFICATE, &self.name).await?;
        let path = session.path(CERTIFICATE.path, &[&id, "renew"])?;
        let accepted: Doc = session.client.post(&path, &RenewRequest { force: self.force }).await?;
        begun(session, &id, &accepted, self.wait).await
    }
}

impl Deploy {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let id = session.id_of(&CERTIFICATE, &self.name).await?;
        let target_id = match &self.target {
            Some(name) => {
                let id = session.id_of(&TARGET, name).await?;
                Some(TargetId::parse(&id).map_err(|error| Failure::usage(error.to_string()))?)
            }
            None => None,
        };
        let path = session.path(CERTIFICATE.path, &[&id, "deploy"])?;
        let accepted: Doc = session.client.post(&path, &DeployRequest { target_id }).await?;
        begun(session, &id, &accepted, self.wait).await
    }
}

impl SubmitCsr {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let csr_pem = input::text(&self.file)?;
        let id = session.id_of(&CERTIFICATE, &self.name).await?;
        let path = session.path(CERTIFICATE.path, &[&id, "csr"])?;
        let accepted: Doc = session.client.post(&path, &SubmitCsrRequest { csr_pem }).await?;
        begun(session, &id, &accepted, self.wait).await
    }
}

/// Says what was begun, and sees it through when that is asked for.
async fn begun(session: &Session, id: &str, accepted: &Doc, wait: bool) -> Result<(), Failure> {
    if doc::text(accepted, "status") == "already_running" {
        session.out.note("the same work goes on already");
    }
    // An older server answers with the first job's id alone.
    let jobs = doc::at(accepted, "jobs").and_then(Doc::as_sequence).map(Vec::as_slice).unwrap_or_default();
    if wait {
        let jobs: Vec<Job> = jobs.iter().map(doc::read).collect::<Result<_, _>>()?;
        return match Round::of(&jobs) {
            Round::All => follow::whatever_goes_on(session, id).await,
            round => follow::certificate(session, id, round).await,
        };
    }
    if session.out.is_for_people() || session.out.streams() {
        session.out.rows(Jobs::NOUN, jobs, true)?;
    } else {
        session.out.answer(accepted, String::new)?;
    }
    session.out.note(&format!("see it through: certctl certs wait {id}"));
    Ok(())
}
