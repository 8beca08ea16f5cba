//! The heartbeat: in a task of its own, so that no slow deployment makes the agent look dead.

use std::time::Duration;

use certctl_api::agents::HeartbeatResponse;
use certctl_api::client::ClientError;
use certctl_domain::agent::AgentFacts;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::backoff::{Backoff, jittered};
use crate::facts;
use crate::server::Verdict;

/// Beats until told to stop; returns early when the server has retired the agent.
pub(crate) async fn run(agent: &Agent, stop: &CancellationToken) -> Beat {
    let mut backoff = Backoff::new(agent.timing.shortest_wait, agent.timing.longest_wait);
    loop {
        let wait = match stop.run_until_cancelled(once(agent)).await {
            None => return Beat::Stopped,
            Some(Ok(answer)) => {
                agent.pulse.answered();
                agent.pulse.clock_measured(answer.clock_skew_ms);
                backoff.reset();
                jittered(agent.timing.heartbeat.unwrap_or_else(|| pace(answer.next_in_seconds)))
            }
            Some(Err(error)) => {
                agent.pulse.failed("heartbeat", &error);
                if Verdict::of(&error) == Verdict::Retired {
                    return Beat::Retired;
                }
                backoff.after_failure()
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return Beat::Stopped;
        }
    }
}

/// A server of an earlier release refuses what it does not know: it is told the rest.
async fn once(agent: &Agent) -> Result<HeartbeatResponse, ClientError> {
    let facts = facts::now(&agent.challenges);
    match agent.server.heartbeat(&facts).await {
        Err(error) if Verdict::of(&error) == Verdict::Rejected && !facts.challenges.is_empty() => {
            tracing::debug!(%error, "the server does not take what this agent can answer");
            agent.server.heartbeat(&AgentFacts { challenges: Vec::new(), ..facts }).await
        }
        answer => answer,
    }
}

/// Why the heart stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It was told to.
    Stopped,
    /// The server has retired the agent.
    Retired,
}

/// What the server asks for, within what makes sense.
fn pace(next_in_seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(next_in_seconds).unwrap_or(0)).clamp(FASTEST, SLOWEST)
}

const FASTEST: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_sets_the_pace_within_reason() {
        for (asked, given) in [(-5, 1), (0, 1), (30, 30), (100_000, 600)] {
            assert_eq!(pace(asked).as_secs(), given);
        }
    }
}
