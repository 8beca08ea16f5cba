//! After a start: deployments that were cut short are brought to an end, and that end is told to the server.

use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::AllowList;
use certctl_connector_core::report::{DeployEvent, DeployReport};

use crate::agent::Agent;
use crate::outbox::Letter;
use crate::undertaking::Undertaking;
use crate::{apply, clock, outcome};

/// Finishes or undoes what was cut short. Trouble with one target does not keep the agent from the others.
pub(crate) async fn recover(agent: &Agent) {
    // Those of before: new ones may begin before this ends.
    let undertakings = Undertaking::open(&agent.state);
    let stories = match finish(agent).await {
        Ok(stories) => stories,
        Err(error) => {
            // The next deployment to the same target tries again before it begins.
            tracing::error!(error = %error.explain(), hint = error.advice(), "deployments that were cut short could not be finished");
            Vec::new()
        }
    };
    match undertakings {
        Ok(undertakings) => {
            for undertaking in undertakings {
                let story = stories.iter().find(|story| story.deployment == undertaking.deployment());
                if let Err(error) = tell(agent, &undertaking, story) {
                    tracing::error!(job.id = %undertaking.job_id, error = %error.explain(), "the end of a job cannot be told");
                }
            }
        }
        Err(error) => tracing::error!(error = %error.explain(), "what was being worked on cannot be read"),
    }
}

async fn finish(agent: &Agent) -> Result<Vec<DeployReport>, ConnectorError> {
    let allow_list = AllowList::load(&agent.allow_list)?;
    // The engine logs each event itself; the server learns of them from the story.
    let progress = |_: &DeployEvent| {};
    let ended = certctl_targets::recover(&agent.journal, &allow_list, clock::now(), &progress).await;
    let mut stories = Vec::new();
    for (target, story) in ended {
        match story {
            Ok(story) => stories.push(story),
            Err(error) => {
                tracing::error!(target.id = target, error = %error.explain(), hint = error.advice(), "a deployment that was cut short could not be finished");
            }
        }
    }
    Ok(stories)
}

fn tell(agent: &Agent, undertaking: &Undertaking, story: Option<&DeployReport>) -> Result<(), ConnectorError> {
    if undertaking.is_superseded(&agent.state)? {
        // The server has handed the job out anew: its end is told by whoever works on it now.
        return Ok(());
    }
    // Its result may have been written down before the end came.
    if !agent.outbox.holds(&undertaking.job_id, undertaking.fence) {
        let mut report = story.map_or_else(|| outcome::of_error(&unknown()), outcome::of_deployment);
        if let Some(story) = story {
            apply::note_use(agent, undertaking, story);
            report.steps.extend(story.events.iter().map(outcome::step));
            report.steps.extend(outcome::remarks(story, clock::now()));
        }
        tracing::info!(job.id = %undertaking.job_id, status = report.status, error = report.error, "a job that was cut short has ended");
        agent.outbox.post(&Letter::report(&undertaking.job_id, undertaking.fence, report, clock::now()))?;
    }
    undertaking.end(&agent.state)
}

fn unknown() -> ConnectorError {
    ConnectorError::transient("the agent was stopped while it worked on this; the next try sees what is in place")
}
