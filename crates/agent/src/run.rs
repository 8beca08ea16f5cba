//! The life of a running agent: take the state directory, finish what was cut short, beat, ask, work, deliver; then end in order.

use std::sync::Arc;

use certctl_connector_core::ConnectorError;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::backoff::Backoff;
use crate::challenges;
use crate::executor::Executor;
use crate::heartbeat::{self, Beat};
use crate::poll::{self, Asked};
use crate::recover::recover;
use crate::state::Lock;

/// Why an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The server has retired it: starting it again is no use.
    Retired,
}

/// When an agent ends: `stop` lets running jobs finish, `now` does not.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take no new work, finish what runs.
    pub stop: CancellationToken,
    /// Break off what still runs; the journal has it.
    pub now: CancellationToken,
}

/// Runs an agent until it is told to stop or retired. `lock` shows that no other process works with its state.
///
/// # Errors
/// When one of its tasks ends that should not: the process should be started anew.
pub async fn run(agent: Agent, lock: Lock, shutdown: Shutdown) -> Result<Ended, ConnectorError> {
    let agent = Arc::new(agent);
    tracing::info!(
        agent.id = %agent.identity.agent_id, name = agent.identity.name, server = agent.identity.server, state = %agent.state.path().display(),
        version = env!("CARGO_PKG_VERSION"), "the agent runs"
    );
    // The helpers go on while running jobs finish; `stop` ends the asking alone.
    let helpers_stop = CancellationToken::new();
    let mut helpers = helpers(&agent, &helpers_stop);
    let mut executor = Executor::new(&agent);
    let asking = async {
        // Told to stop meanwhile, it leaves the rest to the journal.
        let recovering = shutdown.stop.run_until_cancelled(recover(&agent));
        tokio::pin!(recovering);
        let recovered = timeout(agent.timing.patience, &mut recovering).await.is_ok();
        let polling = poll::run(&agent, &mut executor, &shutdown.stop);
        tokio::pin!(polling);
        if !recovered {
            tracing::warn!("a deployment that was cut short takes long to finish; other work goes on meanwhile");
            tokio::select! { asked = &mut polling => return asked, _ = &mut recovering => {} }
        }
        polling.await
    };
    let ended = tokio::select! {
        asked = asking => match asked {
            Asked::Stopped => Ok(Ended::Stopped),
            Asked::Retired => Ok(Ended::Retired),
        },
        () = shutdown.now.cancelled() => Ok(Ended::Stopped),
        helper = helpers.join_next() => match helper {
            Some(Ok(Helper::Heart(Beat::Retired))) => Ok(Ended::Retired),
            Some(Ok(helper)) => Err(ConnectorError::transient(format!("a task of the agent ended that should not: {helper:?}"))),
            Some(Err(error)) => Err(ConnectorError::transient("a task of the agent ended badly").caused_by(error)),
            None => Err(ConnectorError::transient("the agent has no tasks left")),
        },
    };
    let drain_until = Instant::now() + agent.timing.drain;
    tokio::select! { () = executor.drain(drain_until) => {}, () = shutdown.now.cancelled() => executor.drain(Instant::now()).await }
    helpers_stop.cancel();
    let farewell = async {
        while helpers.join_next().await.is_some() {}
        agent.outbox.send_all(&agent.server).await
    };
    if timeout(agent.timing.farewell, farewell).await.is_err() {
        tracing::warn!("results that were not delivered are delivered after the next start");
    }
    helpers.shutdown().await;
    if ended.as_ref().is_ok_and(|ended| *ended == Ended::Retired)
        && let Err(error) = challenges::take_back_all(&agent.state)
    {
        tracing::warn!(error = %error.explain(), hint = error.advice(), "an answer to a CA cannot be taken back");
    }
    agent.pulse.stop();
    drop(lock);
    tracing::info!(retired = ended.as_ref().is_ok_and(|ended| *ended == Ended::Retired), "the agent has ended");
    ended
}

#[derive(Debug)]
enum Helper {
    Heart(Beat),
    Challenges,
    Post,
    Status,
}

fn helpers(agent: &Arc<Agent>, stop: &CancellationToken) -> JoinSet<Helper> {
    let mut helpers = JoinSet::new();
    let (its_agent, its_stop) = (Arc::clone(agent), stop.clone());
    helpers.spawn(async move { Helper::Heart(heartbeat::run(&its_agent, &its_stop).await) });
    let (its_agent, its_stop) = (Arc::clone(agent), stop.clone());
    helpers.spawn(async move {
        challenges::run(&its_agent, &its_stop).await;
        Helper::Challenges
    });
    let (its_agent, its_stop) = (Arc::clone(agent), stop.clone());
    helpers.spawn(async move {
        let mut backoff = Backoff::new(its_agent.timing.shortest_wait, its_agent.timing.longest_wait);
        its_agent.outbox.deliver(&its_agent.server, &mut backoff, &its_stop).await;
        Helper::Post
    });
    let (its_agent, its_stop) = (Arc::clone(agent), stop.clone());
    helpers.spawn(async move {
        its_agent.pulse.keep(its_stop).await;
        Helper::Status
    });
    helpers
}
