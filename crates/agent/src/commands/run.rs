//! `certctl-agent run`

use std::process::ExitCode;

use certctl_connector_core::ConnectorError;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::{EXIT_CONFIG, output};
use crate::agent::{Agent, HostSettings, Timing, not_enrolled};
use crate::enroll::enroll;
use crate::identity::Identity;
use crate::run::{Ended, Shutdown, run};
use crate::settings::{AcmeOptions, EnrollmentOptions, Settings};
use crate::state::StateDir;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    enrollment: EnrollmentOptions,
    #[command(flatten)]
    acme: AcmeOptions,
}

pub(super) async fn execute(settings: &Settings, options: &Options) -> Result<ExitCode, ConnectorError> {
    let host = HostSettings { allow_list: settings.allow_list.clone(), challenges: settings.challenges(&options.acme)? };
    let mut signals = JoinSet::new();
    let shutdown = Shutdown::default();
    listen(&mut signals, &shutdown)?;
    let state = StateDir::create(&settings.state_dir)?;
    let lock = state.lock().await?;
    if Identity::load(&state)?.is_none() {
        let Some(enrollment) = settings.enrollment(&options.enrollment)? else {
            output::error(&not_enrolled(&state));
            return Ok(ExitCode::from(EXIT_CONFIG));
        };
        let identity = enroll(&state, &lock, enrollment).await?;
        tracing::info!(agent.id = %identity.agent_id, name = identity.name, "enrolled");
    }
    let agent = Agent::open(&state, host, Timing::default())?;
    match run(agent, lock, shutdown).await? {
        Ended::Stopped => {}
        Ended::Retired => output::remark("the server has retired this agent; `certctl-agent unenroll` clears its state"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The first signal lets running jobs finish, the second does not.
fn listen(signals: &mut JoinSet<()>, shutdown: &Shutdown) -> Result<(), ConnectorError> {
    for (kind, name) in [(SignalKind::terminate(), "SIGTERM"), (SignalKind::interrupt(), "SIGINT"), (SignalKind::hangup(), "SIGHUP")] {
        let mut signal = signal(kind).map_err(|e| ConnectorError::transient("signals cannot be waited for").caused_by(e))?;
        let shutdown = shutdown.clone();
        signals.spawn(async move {
            while signal.recv().await.is_some() {
                if shutdown.stop.is_cancelled() {
                    tracing::warn!(signal = name, "ending at once");
                    shutdown.now.cancel();
                } else {
                    tracing::info!(signal = name, "ending when what runs has finished; a second signal ends at once");
                    shutdown.stop.cancel();
                }
            }
        });
    }
    Ok(())
}

pub(super) const EXAMPLES: &str = "\
Examples:
  certctl-agent run
  CERTCTL_AGENT_SERVER=https://certctl.example.test:8443 CERTCTL_AGENT_TOKEN=ce_... certctl-agent run   # enrolls first, once

SIGTERM ends the agent within 20 seconds: it takes no new work, lets what runs finish, and leaves the rest to its journal.";
