//! What came of the work on a certificate: what is in use, until when, and where it was seen served.

use certctl_domain::certificate::{Certificate, Version, VersionState};
use certctl_domain::job::{Job, JobKind, JobStatus, Witness};
use certctl_domain::list::Page;
use certctl_domain::time::Timestamp;

use super::watch::Watch;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::Known as _;
use crate::nouns::CERTIFICATE;
use crate::nouns::certs::Certs;
use crate::output::terminal::plain;
use crate::session::Session;
use crate::span;

/// Prints it: the certificate's document, or lines for people.
pub(super) async fn show(session: &Session, id: &str, jobs: &[Job], watch: &Watch) -> Result<(), Failure> {
    let document: Doc = session.client.get(&session.path(CERTIFICATE.path, &[id])?, &[]).await?;
    if !session.out.is_for_people() {
        return session.out.one(Certs::NOUN, &document);
    }
    let certificate: Certificate = doc::read(&document)?;
    let path = session.path(CERTIFICATE.path, &[id, "versions"])?;
    let mut versions: Page<Version> = session.client.get(&path, &[("state", VersionState::Current.as_str())]).await?;
    versions.data.retain(|version| version.state == VersionState::Current);
    session.out.write(&told(&certificate, &versions.data, &places(jobs, watch), session.now))
}

fn told(certificate: &Certificate, versions: &[Version], places: &[String], now: Timestamp) -> String {
    let mut lines = Vec::new();
    for version in versions {
        let until = format!("{} ({})", version.not_after, span::relative(version.not_after, now));
        lines.push(format!("{} is valid until {until}", plain(&certificate.name)));
        lines.push(format!("  SHA-256  {}", version.fingerprint_sha256));
        lines.push(format!("  serial   {}", version.serial_number));
    }
    if versions.is_empty() {
        lines.push(plain(&format!("{} is {}: {}", certificate.name, certificate.status.as_str(), certificate.reason)));
    }
    lines.extend(places.iter().map(|place| plain(&format!("  served   {place}"))));
    lines.join("\n") + "\n"
}

/// Where the newest deployments put it, and who saw it there.
fn places(jobs: &[Job], watch: &Watch) -> Vec<String> {
    let done = jobs.iter().filter(|job| job.kind == JobKind::Deployment && job.status == JobStatus::Completed);
    let newest: std::collections::BTreeMap<_, _> = done.map(|job| (&job.target_id, job)).collect();
    newest.values().map(|job| format!("at {}, {}", watch.label(job).trim_start_matches("deployment to "), seen_by(job))).collect()
}

fn seen_by(job: &Job) -> String {
    let saw = |witness: Option<&Witness>| witness.is_some_and(|witness| witness.verified);
    let seen = job.verification.as_ref().map(|seen| (saw(seen.agent.as_ref()), saw(seen.server.as_ref())));
    match seen.unwrap_or_default() {
        (true, true) => "seen by agent and server",
        (true, false) => "seen by the agent",
        (false, true) => "seen by the server",
        (false, false) => "not seen by anybody yet",
    }
    .to_owned()
}
