//! What is new about jobs since the last look, in words; and whether the work is done.

use std::collections::BTreeMap;

use certctl_domain::ids::JobId;
use certctl_domain::job::{Job, JobKind, JobStatus, Witness};
use certctl_domain::time::Timestamp;

use crate::failure::Failure;
use crate::output::terminal::plain;
use crate::span;

/// Remembers what was said about jobs.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The names of targets and agents by id.
    pub(super) names: BTreeMap<String, String>,
    said: BTreeMap<JobId, Said>,
}

/// Where the work stands as a whole.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict<'a> {
    /// It goes on.
    Going,
    /// It is done.
    Done,
    /// This job failed, or its next try lies beyond the deadline.
    Failed(&'a Job),
}

/// What was said about one job.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    standing: Option<String>,
    steps: usize,
    witnesses: [Option<String>; 2],
}

/// Judges jobs by the newest of each kind at each place: an older one was superseded, whatever became of it.
pub(super) fn verdict(jobs: &[Job], deadline: Timestamp) -> Verdict<'_> {
    let mut newest = BTreeMap::new();
    for job in jobs {
        // Deployments end in validations; issuance and renewal are one and the same to whoever waits.
        let kind = if job.kind == JobKind::Renewal { JobKind::Issuance } else { job.kind };
        newest.insert((kind, &job.agent_id, &job.target_id), job);
    }
    let hopeless = |job: &Job| job.last_error.is_some() && is_waiting(job) && job.scheduled_at > deadline;
    if newest.values().any(|job| !job.status.is_over() && !hopeless(job)) {
        return Verdict::Going;
    }
    match newest.values().find(|job| job.status != JobStatus::Completed) {
        Some(failed) => Verdict::Failed(failed),
        None if newest.is_empty() => Verdict::Going,
        None => Verdict::Done,
    }
}

impl Watch {
    /// Lines about what is new.
    pub(super) fn news(&mut self, jobs: &[Job], now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        for job in jobs {
            let label = self.label(job);
            let said = self.said.entry(job.id.clone()).or_default();
            // Steps come before the standing that they led to.
            for step in job.progress.iter().skip(said.steps) {
                lines.push(plain(&format!("  {:9} {}", step.step, step.detail)).trim_end().to_owned());
            }
            said.steps = job.progress.len();
            // A validation repeats what its deployment shows.
            let seen = job
                .verification
                .as_ref()
                .filter(|_| job.kind == JobKind::Deployment)
                .map(|seen| [seen.agent.as_ref().map(sight), seen.server.as_ref().map(sight)]);
            for ((who, seen), said) in ["agent", "server"].into_iter().zip(seen.unwrap_or_default()).zip(&mut said.witnesses) {
                if seen != *said {
                    lines.extend(seen.as_deref().map(|seen| plain(&format!("  {who:9} {seen}"))));
                    *said = seen;
                }
            }
            let standing = standing(job, now);
            if said.standing.as_ref() != Some(&standing) {
                lines.push(plain(&format!("{label}: {standing}")));
                lines.extend(job.hint.iter().map(|hint| plain(&format!("  hint: {hint}"))));
                said.standing = Some(standing);
            }
        }
        lines
    }

    /// In one line what goes on now.
    pub(super) fn standing(&self, jobs: &[Job]) -> String {
        let open: Vec<String> = jobs
            .iter()
            .filter(|job| !job.status.is_over())
            .map(|job| format!("{} is {}: {}", self.label(job), job.status.as_str(), job.reason))
            .collect();
        if open.is_empty() { "waiting for the first job".to_owned() } else { open.join("; ") }
    }

    /// What somebody can do about the jobs that have not ended.
    pub(super) fn hint(&self, jobs: &[Job]) -> Option<String> {
        jobs.iter().filter(|job| !job.status.is_over()).find_map(|job| match (&job.hint, job.status, &job.agent_id) {
            (Some(hint), _, _) => Some(hint.clone()),
            (None, JobStatus::AwaitingCSR, None) => {
                Some(format!("no agent holds the key, send a CSR: certctl certs csr {} FILE", job.certificate_id))
            }
            (None, JobStatus::AwaitingApproval, _) => Some(format!("somebody else approves it: certctl jobs approve {}", job.id)),
            _ => None,
        })
    }

    /// The failure that a job makes of the whole.
    pub(super) fn failure(&self, job: &Job, now: Timestamp) -> Failure {
        let next = if job.status.is_over() { String::new() } else { format!("; next try {}", span::relative(job.scheduled_at, now)) };
        let ended = if job.status.is_over() { format!("{}: ", job.status.as_str()) } else { String::new() };
        let message = format!("{}: {ended}{}{next}", self.label(job), job.reason);
        Failure::Work { message, hint: Some(job.hint.clone().unwrap_or_else(|| format!("certctl jobs explain {}", job.id))) }
    }

    /// The job in words: what it does, and where.
    pub(super) fn label(&self, job: &Job) -> String {
        let name = |id: String| self.names.get(&id).cloned().unwrap_or(id);
        let target = job.target_id.as_ref().map(|id| name(id.to_string()));
        let agent = job.agent_id.as_ref().map(|id| name(id.to_string()));
        match (job.kind, target, agent) {
            (JobKind::Issuance, _, Some(agent)) => format!("issuance for {agent}"),
            (JobKind::Renewal, _, Some(agent)) => format!("renewal for {agent}"),
            (JobKind::Issuance, _, None) => "issuance".to_owned(),
            (JobKind::Renewal, _, None) => "renewal".to_owned(),
            (JobKind::Deployment, target, _) => format!("deployment to {}", target.unwrap_or_default()),
            (JobKind::Validation, target, _) => format!("validation of {}", target.unwrap_or_default()),
        }
    }
}

const fn is_waiting(job: &Job) -> bool {
    matches!(job.status, JobStatus::Pending | JobStatus::AwaitingCSR)
}

fn standing(job: &Job, now: Timestamp) -> String {
    let next = if job.last_error.is_some() && is_waiting(job) && job.scheduled_at > now {
        format!("; next try at {}", job.scheduled_at.whole_seconds())
    } else {
        String::new()
    };
    let reason = if job.reason.is_empty() { String::new() } else { format!(": {}", job.reason) };
    format!("{}{reason}{next}", job.status.as_str())
}

fn sight(witness: &Witness) -> String {
    let start = |fingerprint: &str| fingerprint.chars().take(16).collect::<String>();
    match (&witness.actual_fingerprint, &witness.error, witness.verified) {
        (Some(seen), _, true) => format!("sees {}… served, as it should be", start(seen)),
        (Some(seen), _, false) => format!("sees {}… served, which is another certificate", start(seen)),
        (None, Some(error), _) => format!("sees nothing: {error}"),
        (None, None, _) => "sees nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests;
