//! Asks for work: one question is always parked at the server, answered the moment there is something.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::backoff::{Backoff, jittered};
use crate::executor::Executor;
use crate::server::{Verdict, Work};

/// Asks until told to stop, or until the server has retired the agent.
pub(crate) async fn run(agent: &Arc<Agent>, executor: &mut Executor, stop: &CancellationToken) -> Asked {
    let mut backoff = Backoff::new(agent.timing.shortest_wait, agent.timing.longest_wait);
    loop {
        while executor.is_full() {
            if stop.run_until_cancelled(executor.ended()).await.is_none() {
                return Asked::Stopped;
            }
        }
        let asked_at = Instant::now();
        let answer = {
            let question = agent.server.work(agent.timing.poll_wait);
            tokio::pin!(question);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Asked::Stopped,
                    answer = &mut question => break answer,
                    () = executor.ended() => {}
                }
            }
        };
        let pause = match answer {
            Ok(work) => {
                agent.pulse.answered();
                backoff.reset();
                // A server that does not hold the question, or repeats itself, must not be asked without end.
                let idle = !take(executor, work) && asked_at.elapsed() < agent.timing.idle_pace;
                idle.then(|| jittered(agent.timing.idle_pace))
            }
            Err(error) => {
                agent.pulse.failed("asking for work", &error);
                if Verdict::of(&error) == Verdict::Retired {
                    return Asked::Retired;
                }
                Some(backoff.after_failure())
            }
        };
        if let Some(pause) = pause {
            let until = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Asked::Stopped,
                    () = tokio::time::sleep_until(until) => break,
                    () = executor.ended() => {}
                }
            }
        }
    }
}

/// Why the asking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It was told to.
    Stopped,
    /// The server has retired the agent.
    Retired,
}

/// Begins what is new; `false` when nothing is.
fn take(executor: &mut Executor, work: Work) -> bool {
    let accepted = work.items.into_iter().filter(|item| executor.accept(item.clone())).count();
    let declined = work.foreign.iter().filter(|foreign| executor.decline(foreign)).count();
    accepted + declined > 0
}
