//! A deployment: what was issued is fetched, matched with its key, and put in place by the target's connector.

use certctl_api::agents::{AgentCertificate, JobReport};
use certctl_connector_core::ConnectorError;
use certctl_connector_core::exec::AllowList;
use certctl_connector_core::material::Material;
use certctl_connector_core::report::{DeployEvent, DeployReport};
use certctl_connector_core::target::{Scene, Target};
use certctl_domain::ids::{Id as _, TargetId};
use certctl_domain::job::WorkItem;
use certctl_pki::chain::Chain;
use certctl_targets::TARGETS;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::agent::Agent;
use crate::backoff::Backoff;
use crate::keys::Use;
use crate::narrator::Narrator;
use crate::server::Verdict;
use crate::undertaking::Undertaking;
use crate::{clock, outcome};

/// Carries out a deployment and says how it ended. What it began is noted in `begun`, so that its end is not lost.
pub(crate) async fn apply(agent: &Agent, item: &WorkItem, narrator: &Narrator, begun: &mut Option<Undertaking>) -> JobReport {
    let report = match deploy(agent, item, narrator, begun).await {
        Ok(story) => {
            let report = outcome::of_deployment(&story);
            for remark in outcome::remarks(&story, clock::now()) {
                narrator.tell_at(&remark.step, remark.detail, remark.at);
            }
            report
        }
        Err(error) => outcome::of_error(&error),
    };
    JobReport { steps: narrator.last_words().await, ..report }
}

/// Notes that what was deployed is in use.
pub(crate) fn note_use(agent: &Agent, undertaking: &Undertaking, story: &DeployReport) {
    if !story.succeeded() {
        return;
    }
    let in_use = Use {
        key_job_id: undertaking.key_job_id.clone(),
        version_id: undertaking.version_id.clone(),
        fingerprint: story.fingerprint.clone(),
        at: clock::now(),
    };
    if let Err(error) = agent.keys.deployed(&undertaking.certificate_id, undertaking.target_id.as_str(), in_use) {
        tracing::warn!(error = %error.explain(), certificate.id = %undertaking.certificate_id, "which keys are in use cannot be noted; none is removed");
    }
}

async fn deploy(
    agent: &Agent,
    item: &WorkItem,
    narrator: &Narrator,
    begun: &mut Option<Undertaking>,
) -> Result<DeployReport, ConnectorError> {
    let (target_id, target) = target(item)?;
    let issued = fetch(agent, item).await?;
    let material = material(agent, item, &issued)?;
    narrator.tell("fetch", format!("version {} is here and belongs to the key of {}", issued.version_id, issued.key_job_id));
    let allow_list = AllowList::load(&agent.allow_list)?;
    let issued = (&issued.version_id, &issued.key_job_id);
    let undertaking = begun.insert(Undertaking::begin(&agent.state, item, target_id, issued, clock::now())?);
    let deployment = undertaking.deployment();
    let progress = |event: &DeployEvent| narrator.tell_at(&event.step.to_string(), event.detail.as_str(), event.at);
    let scene = Scene {
        deployment: &deployment,
        target: target_id.as_str(),
        state_dir: &agent.journal,
        allow_list: &allow_list,
        now: clock::now(),
        progress: &progress,
    };
    let story = target.deploy(&material, scene).await?;
    note_use(agent, undertaking, &story);
    Ok(story)
}

/// The target as the item describes it. Its settings may hold secrets: they are not logged.
fn target(item: &WorkItem) -> Result<(&TargetId, Box<dyn Target>), ConnectorError> {
    let (Some(id), Some(kind)) = (&item.target_id, &item.target_type) else {
        tracing::warn!(job.id = %item.id, "the server asks for a deployment and names no target");
        return Err(ConnectorError::permanent("the server asks for a deployment and names no target"));
    };
    let config = item.target_config.clone().map_or(Value::Null, Value::Object);
    let target = TARGETS.build(kind, config).map_err(|error| {
        let hint = error.advice().unwrap_or_default().to_owned();
        ConnectorError::permanent(error.explain()).hint(format!("{hint} (agent version {})", env!("CARGO_PKG_VERSION")))
    })?;
    Ok((id, target))
}

/// Fetches what was issued; a server that has just restarted is worth some patience.
async fn fetch(agent: &Agent, item: &WorkItem) -> Result<AgentCertificate, ConnectorError> {
    let until = Instant::now() + agent.timing.patience;
    let mut backoff = Backoff::new(agent.timing.shortest_wait, agent.timing.longest_wait);
    loop {
        let error = match agent.server.certificate(&item.certificate_id, item.version_id.as_ref()).await {
            Ok(issued) => return Ok(issued),
            Err(error) => error,
        };
        let wait = backoff.after_failure();
        if Verdict::of(&error) != Verdict::Later || Instant::now() + wait >= until {
            let hint = error.hint().unwrap_or("certctl jobs explain shows what the server knows of it").to_owned();
            return Err(ConnectorError::transient("the certificate cannot be fetched from the server").hint(hint).caused_by(error));
        }
        sleep(wait).await;
    }
}

/// The certificate with its key, checked to be what was asked for and to belong together.
fn material(agent: &Agent, item: &WorkItem, issued: &AgentCertificate) -> Result<Material, ConnectorError> {
    let refuse = |why: &str| ConnectorError::transient(format!("the server sent another certificate than it announced: {why}"));
    if item.version_id.as_ref().is_some_and(|wanted| *wanted != issued.version_id) {
        return Err(refuse(&format!("it is version {}", issued.version_id)));
    }
    let chain = Chain::parse_pem(&issued.certificate_pem)
        .map_err(|e| ConnectorError::permanent("the issued certificate cannot be read").caused_by(e))?;
    let leaf = chain.leaf();
    if *leaf.fingerprint() != issued.fingerprint_sha256 {
        return Err(refuse(&format!("its fingerprint is {}", leaf.fingerprint().as_str())));
    }
    let key = agent.keys.find(&item.certificate_id, &issued.key_job_id, leaf)?;
    Material::parse(&issued.certificate_pem, &key, clock::now())
}
