//! What the agent says of itself and its machine.

use certctl_domain::agent::AgentFacts;

use crate::challenges::ChallengeSettings;
use crate::clock;

/// The facts as they are now. The address is left to the server, which sees it.
pub(crate) fn now(challenges: &ChallengeSettings) -> AgentFacts {
    AgentFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: hostname(),
        os: std::env::consts::OS.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        ip_address: String::new(),
        sent_at: Some(clock::now()),
        challenges: challenges.kinds(),
    }
}

/// The host's name; empty when the system does not say.
pub(crate) fn hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
