//! Challenges of ACME CAs that agents answer on their hosts: who could, what is open for one of them, and what it says of it.

use std::time::Duration;

use certctl_connector_core::error::presentable;
use certctl_connector_core::fault;
use certctl_connector_core::files::sha256_hex;
use certctl_domain::challenge::{CannotAnswer, OpenChallenge};
use certctl_domain::ids::AgentId;
use certctl_domain::job::Job;
use certctl_issuers::{Answerer, Hosts};
use certctl_store::{Topic, acme_challenges, agents, certificates, jobs};

use crate::ctx::Ctx;
use crate::error::{Error, Result};

/// The hosts that the names of a job's certificate lead to.
///
/// # Errors
/// When the database fails.
pub async fn hosts(ctx: &Ctx, job: &Job) -> Result<Hosts> {
    let db = ctx.store().db();
    let mut hosts = Hosts { job: job.id.clone(), holder: None, beside: Vec::new() };
    for id in certificates::read_live_agents(db, &job.certificate_id).await? {
        let Some(agent) = agents::get(db, &id).await? else {
            continue;
        };
        let answerer = Answerer { id: agent.id, name: agent.name, challenges: agent.challenges };
        if job.agent_id.as_ref() == Some(&answerer.id) {
            hosts.holder = Some(answerer);
        } else {
            hosts.beside.push(answerer);
        }
    }
    Ok(hosts)
}

/// All that an agent is to answer now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Open {
    /// The challenges.
    pub challenges: Vec<OpenChallenge>,
    /// Another one for others; empty when there are none.
    pub revision: String,
}

/// What an agent is to answer, as soon as it is something else than what it has, or after `wait`.
///
/// # Errors
/// When the database fails.
pub async fn open(ctx: &Ctx, id: &AgentId, has: &str, wait: Duration) -> Result<Open> {
    let deadline = tokio::time::Instant::now() + wait.min(ctx.engine().options().poll_wait);
    loop {
        // Listening begins before looking, so that what comes in between is not missed.
        let waiting = ctx.store().wake().wait_for(Topic::Agent(id.clone()));
        let challenges = acme_challenges::of_agent(ctx.store().db(), id, ctx.now()).await?;
        let revision = revision_of(&challenges);
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if revision != has || left.is_zero() {
            return Ok(Open { challenges, revision });
        }
        tokio::select! {
            () = waiting => {}
            () = tokio::time::sleep(left) => {}
            () = ctx.engine().stopping() => return Ok(Open { challenges, revision }),
        }
    }
}

fn revision_of(challenges: &[OpenChallenge]) -> String {
    if challenges.is_empty() {
        return String::new();
    }
    let all: Vec<&str> = challenges.iter().map(|challenge| challenge.key_authorization.as_str()).collect();
    sha256_hex(all.join("\n").as_bytes())
}

/// Takes what an agent says of a challenge: the CA may look, or it cannot answer. The job that waits for it goes on at once.
///
/// # Errors
/// When the agent is not to answer that, or not any more.
pub async fn note(ctx: &Ctx, id: &AgentId, token: &str, failed: Option<CannotAnswer>) -> Result<()> {
    let failed = failed.map(|failed| CannotAnswer {
        error: presentable(&failed.error),
        hint: failed.hint.as_deref().map(presentable),
        permanent: failed.permanent,
    });
    let mut tx = ctx.write().await?;
    let Some(job) = acme_challenges::note(&mut tx, id, token, failed.as_ref()).await? else {
        return Err(Error::not_found("open challenge", presentable(token)).hint("ask again what is open"));
    };
    if jobs::hasten(&mut tx, &job).await? {
        tx.wake(Topic::Jobs);
    }
    tx.commit_housekeeping("acme.answer").await?;
    fault::point("challenge.noted");
    Ok(())
}
