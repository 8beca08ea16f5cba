//! Does the work: different targets at once, the same target one after another, the same hand-out once.

use std::collections::HashMap;
use std::sync::Arc;

use certctl_api::agents::JobReport;
use certctl_connector_core::{ConnectorError, fault};
use certctl_domain::ids::JobId;
use certctl_domain::job::{JobKind, JobStatus, WorkItem};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use crate::agent::Agent;
use crate::apply::apply;
use crate::clock;
use crate::narrator::Narrator;
use crate::outbox::Letter;
use crate::outcome;
use crate::request::request;
use crate::server::Foreign;
use crate::vitals::LastResult;

/// Work in hand.
#[derive(Debug)]
pub(crate) struct Executor {
    agent: Arc<Agent>,
    tasks: JoinSet<()>,
    in_hand: HashMap<Id, HandOut>,
    lanes: HashMap<String, Arc<Mutex<()>>>,
    slots: Arc<Slots>,
}

/// A job, as handed out once.
type HandOut = (JobId, i64);

impl Executor {
    pub(crate) fn new(agent: &Arc<Agent>) -> Self {
        Self {
            agent: Arc::clone(agent),
            tasks: JoinSet::new(),
            in_hand: HashMap::new(),
            lanes: HashMap::new(),
            slots: Arc::new(Slots { requests: Semaphore::new(REQUESTS_AT_ONCE), deployments: Semaphore::new(DEPLOYMENTS_AT_ONCE) }),
        }
    }

    /// Begins an item; `false` when it is in hand already, or its answer is on the way.
    pub(crate) fn accept(&mut self, item: WorkItem) -> bool {
        let hand_out = (item.id.clone(), item.fence);
        if self.in_hand.values().any(|known| *known == hand_out) || self.agent.outbox.holds(&item.id, item.fence) {
            return false;
        }
        let lane = Arc::clone(self.lanes.entry(lane(&item)).or_default());
        let (agent, slots) = (Arc::clone(&self.agent), Arc::clone(&self.slots));
        tracing::info!(job.id = %item.id, kind = item.kind.as_str(), certificate.id = %item.certificate_id, fence = item.fence, "work");
        let task = self.tasks.spawn(async move { work(&agent, &item, &lane, &slots).await });
        self.in_hand.insert(task.id(), hand_out);
        true
    }

    /// Tells the server that this version cannot do what it asks; `false` when that is on the way already.
    pub(crate) fn decline(&self, foreign: &Foreign) -> bool {
        if self.agent.outbox.holds(&foreign.job, foreign.fence) {
            return false;
        }
        let error = ConnectorError::unsupported(format!(
            "this agent (version {}) does not understand the work: {}",
            env!("CARGO_PKG_VERSION"),
            foreign.why
        ))
        .hint("upgrade certctl-agent on this machine");
        post(&self.agent, &foreign.job, foreign.fence, outcome::of_error(&error));
        true
    }

    /// Waits until something ends; for ever when nothing is in hand.
    pub(crate) async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.forget(ended),
            None => std::future::pending().await,
        }
    }

    /// Whether more work would only wait here.
    pub(crate) fn is_full(&self) -> bool {
        self.in_hand.len() >= MOST_IN_HAND
    }

    /// Lets what is in hand end until `until`; the rest is broken off and left to the journal.
    pub(crate) async fn drain(&mut self, until: Instant) {
        while !self.tasks.is_empty() {
            match timeout_at(until, self.tasks.join_next_with_id()).await {
                Ok(Some(ended)) => self.forget(ended),
                Ok(None) => break,
                Err(_elapsed) => {
                    let jobs: Vec<_> = self.in_hand.values().map(|(job, _)| job.to_string()).collect();
                    tracing::warn!(jobs = jobs.join(" "), "broken off; the next start finishes or undoes them");
                    self.tasks.shutdown().await;
                }
            }
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                // A deployment runs in a task of its own, so this is a defect around it; the lease will end.
                tracing::error!(%error, "a task of the executor ended badly");
                error.id()
            }
        };
        self.in_hand.remove(&id);
        self.lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
    }
}

/// How many jobs of a kind run at once: a request must not wait for slow reloads.
#[derive(Debug)]
struct Slots {
    requests: Semaphore,
    deployments: Semaphore,
}

const DEPLOYMENTS_AT_ONCE: usize = 4;
/// Making RSA keys is work for the processor.
const REQUESTS_AT_ONCE: usize = 2;
/// How many jobs are taken in at all; the rest is better off with the server.
const MOST_IN_HAND: usize = 32;

/// What must not happen twice at once: one target's deployments, one certificate's keys. Work that names neither has nothing to wait for.
fn lane(item: &WorkItem) -> String {
    match (item.kind, &item.target_id) {
        (JobKind::Deployment | JobKind::Validation, Some(target)) => format!("target {target}"),
        (JobKind::Deployment | JobKind::Validation, None) => format!("job {}", item.id),
        (JobKind::Issuance | JobKind::Renewal, _) => format!("certificate {}", item.certificate_id),
    }
}

async fn work(agent: &Arc<Agent>, item: &WorkItem, lane: &Mutex<()>, slots: &Slots) {
    let narrator = Arc::new(Narrator::default());
    let working = async {
        let _lane = lane.lock().await;
        let slots = if item.status == JobStatus::AwaitingCSR { &slots.requests } else { &slots.deployments };
        let _slot = slots.acquire().await;
        match (item.status, item.kind) {
            (JobStatus::AwaitingCSR, _) => answer(agent, item).await,
            (JobStatus::Running, JobKind::Deployment) => deploy(agent, item, &narrator).await,
            _ => {
                let error = ConnectorError::unsupported(format!(
                    "an agent has nothing to do for a {} that is {}",
                    item.kind.as_str(),
                    item.status.as_str()
                ));
                post(agent, &item.id, item.fence, outcome::of_error(&error));
            }
        }
    };
    if item.status == JobStatus::Running {
        // Also while it waits for its turn: the lease must not end meanwhile.
        tokio::select! { () = working => {}, () = narrator.report(agent, &item.id, item.fence) => {} }
    } else {
        working.await;
    }
}

async fn answer(agent: &Agent, item: &WorkItem) {
    match request(agent, item).await {
        Ok(letter) => {
            fault::point("key.kept");
            tracing::info!(job.id = %item.id, certificate.id = %item.certificate_id, key_algorithm = item.key_algorithm.as_str(), "the key is kept, the request is ready");
            note(agent, item, "Requested", format!("{} key for {}", item.key_algorithm, item.certificate_name));
            if let Err(error) = agent.outbox.post(&letter) {
                tracing::error!(job.id = %item.id, error = %error.explain(), "the request cannot be written down; the server will ask again");
            }
        }
        Err(error) => finish(agent, item, outcome::of_error(&error)),
    }
}

/// The deployment runs in a task of its own: when it panics, that too is a result. One that does not end is broken off, so that its lease
/// ends and its target is free again; the journal has how far it got.
async fn deploy(agent: &Arc<Agent>, item: &WorkItem, narrator: &Arc<Narrator>) {
    let mut task = JoinSet::new();
    let (its_agent, its_item, its_narrator) = (Arc::clone(agent), item.clone(), Arc::clone(narrator));
    task.spawn(async move {
        let mut begun = None;
        let report = apply(&its_agent, &its_item, &its_narrator, &mut begun).await;
        (report, begun)
    });
    let limit = agent.timing.deployment;
    let (report, begun) = match timeout(limit, task.join_next()).await {
        Err(_elapsed) => {
            let error = ConnectorError::transient(format!("the deployment did not end within {limit:?} and was broken off"))
                .hint("see in the job's steps what it waited for; the next try finishes or undoes what was begun");
            (JobReport { steps: narrator.last_words().await, ..outcome::of_error(&error) }, None)
        }
        Ok(Some(Ok(ended))) => ended,
        Ok(Some(Err(error))) => {
            tracing::error!(job.id = %item.id, %error, "a deployment ended badly");
            // Its undertaking stays: the next start looks at the journal.
            (outcome::of_error(&ConnectorError::transient("the agent failed inside; its log has the details").caused_by(error)), None)
        }
        Ok(None) => return,
    };
    fault::point("deployment.done");
    finish(agent, item, report);
    fault::point("report.written");
    if let Some(Err(error)) = begun.map(|begun| begun.end(&agent.state)) {
        tracing::warn!(job.id = %item.id, error = %error.explain(), "the record of a finished job cannot be removed");
    }
}

fn finish(agent: &Agent, item: &WorkItem, report: JobReport) {
    match &report.error {
        None => tracing::info!(job.id = %item.id, fingerprint = report.observed_fingerprint, "deployed"),
        Some(error) => tracing::warn!(job.id = %item.id, %error, hint = report.hint, "failed"),
    }
    let detail = report.error.clone().unwrap_or_else(|| item.certificate_name.clone());
    note(agent, item, &report.status, detail);
    post(agent, &item.id, item.fence, report);
}

fn note(agent: &Agent, item: &WorkItem, status: &str, detail: String) {
    agent.pulse.ended(LastResult { job_id: item.id.to_string(), status: status.to_owned(), detail, at: clock::now() });
}

fn post(agent: &Agent, job: &JobId, fence: i64, report: JobReport) {
    if let Err(error) = agent.outbox.post(&Letter::report(job, fence, report, clock::now())) {
        tracing::error!(job.id = %job, error = %error.explain(), "a result cannot be written down; the server will hand the job out again");
    }
}
