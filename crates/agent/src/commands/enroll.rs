//! `certctl-agent enroll`

use std::process::ExitCode;

use certctl_connector_core::ConnectorError;
use clap::Args;

use super::output::say;
use crate::enroll::enroll;
use crate::identity::Identity;
use crate::settings::{EnrollmentOptions, Settings};
use crate::state::StateDir;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    enrollment: EnrollmentOptions,
    /// Take a new identity although this agent has one
    #[arg(long)]
    replace: bool,
}

pub(super) async fn execute(settings: &Settings, options: &Options) -> Result<ExitCode, ConnectorError> {
    let state = StateDir::create(&settings.state_dir)?;
    let lock = state.lock().await?;
    if let Some(identity) = Identity::load(&state)?
        && !options.replace
    {
        return Err(ConnectorError::permanent(format!(
            "this agent is enrolled already: {} ({}) at {}",
            identity.name, identity.agent_id, identity.server
        ))
        .hint("to take a new identity, add --replace; keys stay where they are"));
    }
    let enrollment = settings.enrollment(&options.enrollment)?.ok_or_else(|| {
        ConnectorError::permanent("a server and a token are needed to enroll")
            .hint("certctl-agent enroll --server https://certctl.example.test:8443 --token-file FILE; `certctl agents token create` mints a token")
    })?;
    let identity = enroll(&state, &lock, enrollment).await?;
    say(&format!("Enrolled as {} ({}) at {}", identity.name, identity.agent_id, identity.server));
    say(&format!("State: {}", state.path().display()));
    say("Next:");
    say("  certctl-agent allow nginx    let it test and reload nginx; nothing may run yet");
    say("  certctl-agent run            or: systemctl enable --now certctl-agent");
    Ok(ExitCode::SUCCESS)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  certctl-agent enroll --server https://certctl.example.test:8443 --token-file token --ca-sha256 3f9a...
  certctl agents token create -o json | jq -r .token_value | certctl-agent enroll --server https://certctl.example.test:8443 --token-file -
  CERTCTL_AGENT_TOKEN=ce_... certctl-agent enroll --server https://certctl.example.test:8443 --ca /etc/certctl/ca.pem --name web1";
