//! Targets: what is asked of them beside create, read, list, replace and delete.

use certctl_domain::agent::AgentStatus;
use certctl_domain::auth::perm;
use certctl_domain::target::Target;
use certctl_engine::{agents, crud, targets};

use super::issuers::{ConnectorKind, Tested};
use crate::api::{Authorized, Json, Named};
use crate::problem::Answer;

/// Looks whether the target's agent could work on it now.
///
/// # Errors
/// What the engine refuses.
pub async fn test(ctx: Authorized<perm::TargetEdit>, Named(id): Named<Target>) -> Answer<Json<Tested>> {
    let target: Target = crud::get(&ctx, &id).await?;
    let agent = agents::get(&ctx, &target.agent_id).await?;
    let (status, message) = match agent.status {
        AgentStatus::Offline => ("failed", format!("agent `{}` is offline, so nothing can be put on the target now", agent.name)),
        AgentStatus::Online | AgentStatus::Degraded => {
            ("ok", format!("the settings are valid and agent `{}` is {}", agent.name, agent.status.as_str()))
        }
    };
    Ok(Json(Tested { status: status.to_owned(), message }))
}

/// The kinds of targets with the schemas of their settings.
///
/// # Errors
/// None.
pub async fn kinds(_ctx: Authorized<perm::TargetRead>) -> Answer<Json<Vec<ConnectorKind>>> {
    Ok(Json(targets::kinds().map(ConnectorKind::from).collect()))
}
