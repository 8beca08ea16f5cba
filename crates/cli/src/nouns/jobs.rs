//! Jobs: single steps of work, with the reason why each stands where it stands.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{AGENT, CERTIFICATE, TARGET};
use crate::app::Waits;
use crate::crud::Crud;
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::{Known, Noun, Takes, Verb, each, flag, status, text, time};
use crate::session::Session;
use crate::{explain, follow};

/// The noun.
#[derive(Debug)]
pub(crate) struct Jobs;

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Crud(Crud<Jobs>),
    /// Say why a job stands where it stands, and what happens next
    #[command(after_help = "Examples:\n  certctl jobs explain job-1234")]
    Explain(One),
    /// Wait until a job ends, showing its steps
    #[command(after_help = "Examples:\n  certctl jobs wait job-1234 --timeout 10m")]
    Wait(One),
    /// Stop a job that has not ended
    #[command(after_help = "Examples:\n  certctl jobs cancel job-1234")]
    Cancel(One),
    /// Approve a job that waits for approval
    #[command(after_help = "Examples:\n  certctl jobs approve job-1234")]
    Approve(One),
    /// Reject a job that waits for approval
    #[command(after_help = "Examples:\n  certctl jobs reject job-1234 --reason 'the name is not ours'")]
    Reject(Reject),
}

/// One job.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Id of the job
    id: String,
}

/// A job to reject.
#[derive(Debug, Args)]
pub(crate) struct Reject {
    /// Id of the job
    id: String,
    /// Why, for whoever asked
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Command {
    /// What it waits for.
    pub(crate) const fn waits(&self) -> Waits {
        if matches!(self, Self::Wait(_)) { Waits::Work } else { Waits::Answers }
    }

    /// Runs it.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let path = |id: &str, verb| session.path(Jobs::NOUN.path, &[id, verb]);
        match self {
            Self::Crud(crud) => crud.run(session).await,
            Self::Explain(one) => explain::show(session, &path(&one.id, "explain")?).await,
            Self::Wait(one) => follow::job(session, &one.id).await,
            Self::Cancel(one) => {
                session.client.post::<Doc>(&path(&one.id, "cancel")?, &json!({})).await?;
                shown(session, &one.id, "cancelled").await
            }
            Self::Approve(one) => {
                session.client.post::<Doc>(&path(&one.id, "approve")?, &json!({})).await?;
                shown(session, &one.id, "approved").await
            }
            Self::Reject(reject) => {
                session.client.post::<Doc>(&path(&reject.id, "reject")?, &json!({ "reason": reject.reason })).await?;
                shown(session, &reject.id, "rejected").await
            }
        }
    }
}

async fn shown(session: &Session, id: &str, what: &str) -> Result<(), Failure> {
    session.out.note(&format!("job {id} {what}"));
    let job: Doc = session.client.get(&session.path(Jobs::NOUN.path, &[id])?, &[]).await?;
    session.out.one(Jobs::NOUN, &job)?;
    match doc::text(&job, "hint") {
        hint if hint.is_empty() => {}
        hint => session.out.note(&format!("hint: {}", crate::output::terminal::plain(&hint))),
    }
    Ok(())
}

impl Known for Jobs {
    const NOUN: &'static Noun = &Noun {
        command: "jobs",
        one: "job",
        many: "jobs",
        path: "/api/v1/jobs",
        handle: "id",
        columns: &[
            text("ID", "id"),
            text("TYPE", "type"),
            status("STATUS", "status"),
            text("CERTIFICATE", "certificate_id"),
            text("REASON", "reason"),
            time("CREATED", "created_at"),
            text("TARGET", "target_id").wide(),
            text("AGENT", "agent_id").wide(),
            text("ATTEMPTS", "attempts").wide(),
            time("NEXT TRY", "scheduled_at").wide(),
            time("ENDED", "completed_at").wide(),
        ],
        details: &[
            text("VERSION", "version_id"),
            text("HINT", "hint"),
            text("LAST ERROR", "last_error"),
            each("STEPS", "progress", "step"),
            text("AGENT SAW", "verification.agent.actual_fingerprint"),
            text("SERVER SAW", "verification.server.actual_fingerprint"),
            text("REQUESTED BY", "requested_by"),
            time("STARTED", "started_at"),
            time("UPDATED", "updated_at"),
        ],
        filters: &[
            flag("status", "status", Takes::Choice(STATUSES), "Only jobs with this status"),
            flag("type", "type", Takes::Choice(&["Issuance", "Renewal", "Deployment", "Validation"]), "Only jobs that do this"),
            flag("cert", "certificate_id", Takes::One(&CERTIFICATE), "Only jobs for this certificate"),
            flag("target", "target_id", Takes::One(&TARGET), "Only jobs for this target"),
            flag("agent", "agent_id", Takes::One(&AGENT), "Only jobs of this agent"),
            flag("since", "created_after", Takes::Past, "Only jobs made since this time, or within this length of time, such as 24h"),
        ],
        sorts: &["created_at"],
        fields: &[],
        verbs: &[Verb::List, Verb::Get],
        example: "job-1234",
        create_example: "",
        edit_example: "",
        empty: "jobs come with certificates: certctl certs request --help",
    };
}

const STATUSES: &[&str] = &["Pending", "AwaitingCSR", "AwaitingApproval", "Running", "Completed", "Failed", "Cancelled"];

#[cfg(test)]
mod tests {
    use certctl_domain::job::{JobKind, JobStatus};

    use super::*;

    #[test]
    fn the_filters_know_every_status_and_kind() {
        assert_eq!(STATUSES, JobStatus::ALL.map(JobStatus::as_str));
        let kinds = Jobs::NOUN.filters.iter().find(|flag| flag.name == "type").map(|flag| flag.takes);
        assert!(matches!(kinds, Some(Takes::Choice(kinds)) if kinds == JobKind::ALL.map(JobKind::as_str)));
    }
}
