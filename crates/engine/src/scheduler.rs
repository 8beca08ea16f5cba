//! Periodic tasks. They take no input, may run twice, and run under a cluster lease, so that N replicas do the work once.

mod audit_verifier;
mod housekeeping;
mod publication;
mod renewal_due;

use std::sync::Arc;
use std::time::Duration;

use certctl_store::Topic;
use certctl_store::leases::{self, Candidate};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::Engine;
use crate::ctx::Ctx;
use crate::error::Result;

/// A periodic task.
#[derive(Clone, Copy)]
pub struct Task {
    /// Its name: of its lease, in metrics and in the audit log.
    pub name: &'static str,
    /// How often it runs.
    pub every: Duration,
    /// Does the work; gives how much there was.
    pub run: for<'a> fn(&'a Ctx) -> BoxFuture<'a, Result<u64>>,
    /// Where it runs.
    pub place: Place,
    /// What wakes it before its time.
    pub wakes_on: Option<fn() -> Topic>,
}

/// Where a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the replica that holds its lease.
    Once,
    /// On every replica, for what that replica holds in memory.
    Everywhere,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("name", &self.name).field("every", &self.every).field("place", &self.place).finish_non_exhaustive()
    }
}

/// Every task.
pub const TASKS: &[Task] = &[
    Task {
        name: crate::renewal::TASK,
        every: Duration::from_secs(5),
        run: renewal_due::run,
        place: Place::Once,
        wakes_on: Some(|| Topic::Due),
    },
    Task { name: "job_reaper", every: Duration::from_secs(5), run: housekeeping::reap_jobs, place: Place::Once, wakes_on: None },
    Task { name: "agent_health", every: Duration::from_secs(10), run: housekeeping::agent_health, place: Place::Once, wakes_on: None },
    Task { name: "audit_sealer", every: Duration::from_millis(500), run: housekeeping::seal_audit, place: Place::Once, wakes_on: None },
    Task {
        name: "audit_checkpoint",
        every: Duration::from_secs(300),
        run: housekeeping::checkpoint_audit,
        place: Place::Once,
        wakes_on: None,
    },
    Task { name: "audit_verifier", every: Duration::from_secs(300), run: audit_verifier::run, place: Place::Once, wakes_on: None },
    Task { name: "counter_folder", every: Duration::from_secs(2), run: housekeeping::fold_counters, place: Place::Once, wakes_on: None },
    Task {
        name: "revocation_teller",
        every: Duration::from_secs(5),
        run: housekeeping::tell_revocations,
        place: Place::Once,
        wakes_on: None,
    },
    Task {
        name: "revocation_lists",
        every: Duration::from_secs(2),
        run: publication::lists,
        place: Place::Once,
        wakes_on: Some(|| Topic::Revocations),
    },
    Task { name: "revocation_list_parts", every: Duration::from_secs(300), run: publication::divide, place: Place::Once, wakes_on: None },
    Task { name: "ca_renewal", every: Duration::from_secs(3_600), run: publication::authorities, place: Place::Once, wakes_on: None },
    Task { name: "ocsp_responders", every: Duration::from_secs(600), run: publication::responders, place: Place::Once, wakes_on: None },
    Task {
        name: "revocation_refresh",
        every: Duration::from_millis(500),
        run: publication::refresh,
        place: Place::Everywhere,
        wakes_on: Some(|| Topic::Revocations),
    },
    Task { name: "renewal_info", every: Duration::from_secs(300), run: housekeeping::renewal_info, place: Place::Once, wakes_on: None },
    Task { name: "retention", every: Duration::from_secs(3_600), run: housekeeping::prune, place: Place::Once, wakes_on: None },
    Task {
        name: "heartbeat_flush",
        every: Duration::from_secs(1),
        run: housekeeping::flush_heartbeats,
        place: Place::Everywhere,
        wakes_on: None,
    },
];

/// Runs one task until `stop`.
pub async fn run(engine: Arc<Engine>, mut task: Task, stop: CancellationToken) {
    if task.name == crate::renewal::TASK {
        task.every = engine.options().renewal_every;
    }
    let ctx = Ctx::system(&engine, task.name);
    // The first runs are spread, so that replicas which start together do not all ask for the same lease at once.
    let mut pause =
        task.every.min(Duration::from_secs(1)).mul_f64(certctl_domain::renewal::jitter(&format!("{}{}", engine.holder(), task.name)));
    loop {
        let woken = task.wakes_on.map(|topic| engine.store().wake().wait_for(topic()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = async { if let Some(woken) = woken { woken.await } else { std::future::pending().await } } => {}
            () = stop.cancelled() => return,
        }
        let began = tokio::time::Instant::now();
        match once(&ctx, &task).await {
            Ok(Some(done)) => engine.metrics().task_ran(task.name, began.elapsed(), done, ctx.now()),
            Ok(None) => {}
            Err(error) => {
                engine.metrics().task_failed(task.name);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(task.name = task.name, error = %error, cause, "a task failed; it runs again");
            }
        }
        pause = task.every;
    }
}

/// Runs a task now if this replica may; `None` when another one holds its lease.
///
/// # Errors
/// When the task fails.
pub async fn once(ctx: &Ctx, task: &Task) -> Result<Option<u64>> {
    if task.place == Place::Everywhere {
        return (task.run)(ctx).await.map(Some);
    }
    let ttl = time::Duration::try_from(task.every * 3).unwrap_or(time::Duration::MINUTE).max(time::Duration::seconds(15));
    let candidate = Candidate { holder: ctx.engine().holder(), now: ctx.now(), ttl };
    let Some(lease) = leases::acquire_or_renew(ctx.store(), task.name, candidate).await? else {
        return Ok(None);
    };
    // A long run keeps its lease: nobody else begins the same meanwhile, and nobody believes that the task is not done.
    let keep = async {
        let mut held = true;
        while held {
            tokio::time::sleep(Duration::try_from(ttl / 3_i32).unwrap_or(Duration::from_secs(5))).await;
            let again = Candidate { now: ctx.now(), ..candidate };
            held = matches!(leases::acquire_or_renew(ctx.store(), task.name, again).await, Ok(Some(_)) | Err(_));
        }
        tracing::warn!(task.name = task.name, "the lease of a task went to another replica while the task ran");
        std::future::pending::<std::convert::Infallible>().await
    };
    let done = tokio::select! {
        done = (task.run)(ctx) => done?,
        never = keep => match never {},
    };
    leases::mark_success(ctx.store(), &lease, ctx.now()).await?;
    Ok(Some(done))
}
