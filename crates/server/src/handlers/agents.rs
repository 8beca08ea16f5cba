//! Agents: enrolled, seen, retired; and what agents themselves call.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use certctl_api::agents::{
    AgentCertificate, ChallengeReport, ChallengesResponse, CsrRequest, EnrollRequest, EnrollResponse, EnrollmentTokenDraft,
    HeartbeatResponse, JobReport, MintedEnrollmentToken, RegisterAgentRequest, RegisteredAgent, RetireAgentResponse, WorkResponse,
};
use certctl_api::certificates::WorkAccepted;
use certctl_domain::agent::{Agent, AgentDraft, AgentFacts, EnrollmentToken};
use certctl_domain::auth::perm;
use certctl_domain::certificate::Explanation;
use certctl_domain::challenge::CannotAnswer;
use certctl_domain::ids::{AgentId, CertificateId, EnrollmentTokenId, JobId, VersionId};
use certctl_domain::job::Job;
use certctl_domain::secret::Secret;
use certctl_engine::agents::{self, Enrollment, MintedToken, Retire, Submission};
use certctl_engine::deploy::{self, Progress, Report, Retrying};
use certctl_engine::{Error, challenges, explain};
use certctl_store::agents::{AGENTS, ENROLLMENT_TOKENS, resolve};
use certctl_store::table::Table;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::{
    Accepted, Authorized, AuthorizedAgent, Body, Created, Json, Listing, NoContent, Operation, OptionalBody, Part, Path, Peer, Public,
    Query, Rows, RowsParams,
};
use crate::problem::{Answer, Problem};
use crate::state::{AppState, Invitation};

/// An agent by its id or its name in `{id}`.
#[derive(Debug)]
pub struct Which(pub AgentId);

impl FromRequestParts<AppState> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Answer<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        let found = resolve(state.engine.store().db(), &text).await?;
        found
            .map(Self)
            .ok_or_else(|| Error::not_found("agent", text.chars().take(64).filter(|c| !c.is_control()).collect::<String>()).into())
    }
}

impl Part for Which {
    fn describe(_operation: &mut Operation) {}
}

/// How to wait for work.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Seconds to wait when there is none.
    #[serde(default)]
    pub wait: u64,
}

/// How to wait for challenges.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitForOthers {
    /// Seconds to wait when there are no others.
    #[serde(default)]
    pub wait: u64,
    /// The `revision` of those that the agent has; empty for none.
    #[serde(default)]
    pub has: String,
}

/// Which version.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichVersion {
    /// A version; absent means the one in use.
    pub version: Option<VersionId>,
}

/// How to retire.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HowToRetire {
    /// Whether targets are disabled and jobs cancelled with it.
    #[serde(default)]
    pub force: bool,
    /// Why; needed with force.
    #[serde(default)]
    pub reason: String,
}

impl Rows for Agent {
    const TABLE: Table = AGENTS;
}

impl Rows for EnrollmentToken {
    const TABLE: Table = ENROLLMENT_TOKENS;
}

/// Lists agents; retired ones only where the filter asks for them.
///
/// # Errors
/// What the engine refuses; the same for every function here.
pub async fn list(ctx: Authorized<perm::AgentRead>, mut params: RowsParams<Agent>) -> Answer<Listing<Agent>> {
    if !params.query.filters.iter().any(|(name, _)| name == "retired") {
        params.query.filters.push(("retired".to_owned(), "false".to_owned()));
    }
    let page = agents::list(&ctx, &params.query).await?;
    Ok(params.answer(page))
}

/// Lists retired agents.
///
/// # Errors
/// As [`list`].
pub async fn retired(ctx: Authorized<perm::AgentRead>, mut params: RowsParams<Agent>) -> Answer<Listing<Agent>> {
    params.query.filters.retain(|(name, _)| name != "retired");
    params.query.filters.push(("retired".to_owned(), "true".to_owned()));
    let page = agents::list(&ctx, &params.query).await?;
    Ok(params.answer(page))
}

/// Reads an agent.
///
/// # Errors
/// As [`list`].
pub async fn get(ctx: Authorized<perm::AgentRead>, Which(id): Which) -> Answer<Json<Agent>> {
    Ok(Json(agents::get(&ctx, &id).await?))
}

/// Says why an agent is as it is.
///
/// # Errors
/// As [`list`].
pub async fn explain(ctx: Authorized<perm::AgentRead>, Which(id): Which) -> Answer<Json<Explanation>> {
    Ok(Json(explain::agent(&ctx, &id).await?))
}

/// Retires an agent.
///
/// # Errors
/// As [`list`].
pub async fn retire(
    ctx: Authorized<perm::AgentRetire>,
    Which(id): Which,
    Query(how): Query<HowToRetire>,
) -> Answer<Json<RetireAgentResponse>> {
    if how.force && how.reason.trim().is_empty() {
        return Err(certctl_domain::noun::Refusal::field("reason", "must be given with force").into());
    }
    let (agent, already_retired, counts) =
        agents::retire(&ctx, &id, if how.force { Retire::Cascade } else { Retire::Unused }, &how.reason).await?;
    let retired_at = agent.retired_at.unwrap_or_else(|| ctx.now());
    Ok(Json(RetireAgentResponse { retired_at, already_retired, cascade: how.force, counts }))
}

/// Makes a one-time token with which an agent enrolls.
///
/// # Errors
/// As [`list`].
pub async fn create_token(
    ctx: Authorized<perm::AgentEdit>,
    state: AppState,
    OptionalBody(body): OptionalBody<EnrollmentTokenDraft>,
) -> Answer<Created<MintedEnrollmentToken>> {
    let life = body.expires_in_seconds.map_or(ctx.engine().options().token_life, time::Duration::seconds);
    let minted = agents::mint_token(&ctx, body.agent_name, body.labels, life).await?;
    let location = format!("/api/v1/agents/enrollment-tokens/{}", minted.token.id);
    Ok(Created::at(shown_once(minted, &state.invitation), location))
}

/// Registers an agent ahead of its host.
///
/// # Errors
/// As [`list`].
pub async fn register(
    ctx: Authorized<perm::AgentEdit>,
    state: AppState,
    Body(body): Body<RegisterAgentRequest>,
) -> Answer<Created<RegisteredAgent>> {
    let draft = AgentDraft {
        id: body.id,
        name: body.name,
        hostname: body.hostname,
        os: body.os,
        architecture: body.architecture,
        labels: body.labels,
    };
    let (agent, minted) = agents::register(&ctx, draft).await?;
    let location = format!("/api/v1/agents/{}", agent.id);
    Ok(Created::at(RegisteredAgent { agent, enrollment_token: shown_once(minted, &state.invitation) }, location))
}

/// A token with its secret and the command to run on the host.
fn shown_once(minted: MintedToken, invitation: &Invitation) -> MintedEnrollmentToken {
    let token_value = minted.value.expose().clone();
    let pin = invitation.ca_sha256.as_ref().map(|pin| format!(" --ca-sha256 {pin}")).unwrap_or_default();
    let command = format!("certctl-agent enroll --server {} --token {token_value}{pin}", invitation.server);
    MintedEnrollmentToken { token: minted.token, token_value, command }
}

/// Lists enrolment tokens, without their secrets.
///
/// # Errors
/// As [`list`].
pub async fn list_tokens(ctx: Authorized<perm::AgentRead>, params: RowsParams<EnrollmentToken>) -> Answer<Listing<EnrollmentToken>> {
    let page = agents::list_tokens(&ctx, &params.query).await?;
    Ok(params.answer(page))
}

/// Takes back an enrolment token that was not used.
///
/// # Errors
/// As [`list`].
pub async fn delete_token(ctx: Authorized<perm::AgentEdit>, Path(id): Path<EnrollmentTokenId>) -> Answer<NoContent> {
    agents::delete_token(&ctx, &id).await?;
    Ok(NoContent)
}

/// Enrolls the agent that calls: its one-time token is the credential.
///
/// # Errors
/// As [`list`].
pub async fn enroll(public: Public, peer: Peer, Body(body): Body<EnrollRequest>) -> Answer<Created<EnrollResponse>> {
    let enrollment = Enrollment {
        token: Secret::new(body.token),
        name: body.name,
        secret_sha256: body.secret_sha256,
        facts: body.facts,
        ip_address: address(peer),
    };
    let agent = agents::enroll(&public.engine, public.request_id, enrollment).await?;
    let location = format!("/api/v1/agents/{}", agent.id);
    let answer = EnrollResponse {
        credential_prefix: agents::credential_prefix(&agent.id),
        agent_id: agent.id,
        name: agent.name,
        server_time: public.engine.now(),
    };
    Ok(Created::at(answer, location))
}

/// Notes that an agent lives.
///
/// # Errors
/// As [`list`].
pub async fn heartbeat(
    ctx: AuthorizedAgent<perm::AgentHeartbeat>,
    peer: Peer,
    OptionalBody(facts): OptionalBody<AgentFacts>,
) -> Answer<Json<HeartbeatResponse>> {
    let clock_skew_ms = agents::heartbeat(&ctx, ctx.id(), facts, address(peer));
    let next_in_seconds = ctx.engine().options().heartbeat_every.whole_seconds();
    Ok(Json(HeartbeatResponse { status: "ok".to_owned(), server_time: ctx.now(), clock_skew_ms, next_in_seconds }))
}

/// Gives work to an agent, at once or as soon as there is some.
///
/// # Errors
/// As [`list`].
pub async fn work(ctx: AuthorizedAgent<perm::AgentJobPoll>, Query(wait): Query<Wait>) -> Answer<Json<WorkResponse>> {
    let jobs = agents::work(&ctx, ctx.id(), Duration::from_secs(wait.wait)).await?;
    Ok(Json(WorkResponse { count: jobs.len(), jobs }))
}

/// Gives an agent what it is to answer for ACME CAs, at once or as soon as that is something else than what it has.
///
/// # Errors
/// As [`list`].
pub async fn open_challenges(
    ctx: AuthorizedAgent<perm::AgentJobPoll>,
    Query(query): Query<WaitForOthers>,
) -> Answer<Json<ChallengesResponse>> {
    let open = challenges::open(&ctx, ctx.id(), &query.has, Duration::from_secs(query.wait)).await?;
    Ok(Json(ChallengesResponse { challenges: open.challenges, revision: open.revision }))
}

/// Takes what an agent says of a challenge.
///
/// # Errors
/// As [`list`].
pub async fn note_challenge(ctx: AuthorizedAgent<perm::AgentJobComplete>, Body(body): Body<ChallengeReport>) -> Answer<NoContent> {
    let failed = body.error.map(|error| CannotAnswer { error, hint: body.hint, permanent: body.permanent });
    challenges::note(&ctx, ctx.id(), &body.token, failed).await?;
    Ok(NoContent)
}

/// Takes a CSR of an agent.
///
/// # Errors
/// As [`list`].
pub async fn submit_csr(ctx: AuthorizedAgent<perm::AgentJobPoll>, Body(body): Body<CsrRequest>) -> Answer<Accepted<WorkAccepted>> {
    let job = agents::submit_csr(
        &ctx,
        ctx.id(),
        Submission { certificate: &body.certificate_id, job: body.job_id.as_ref(), fence: body.fence, csr_pem: &body.csr_pem },
    )
    .await?;
    let location = format!("/api/v1/jobs/{job}");
    Ok(Accepted::at(WorkAccepted { status: "accepted".to_owned(), job_id: Some(job), jobs: Vec::new() }, location))
}

/// Gives an agent a certificate whose key it holds.
///
/// # Errors
/// As [`list`].
pub async fn certificate(
    ctx: AuthorizedAgent<perm::CertRead>,
    Path((_, certificate)): Path<(AgentId, CertificateId)>,
    Query(which): Query<WhichVersion>,
) -> Answer<Json<AgentCertificate>> {
    let (version, key_job_id) = agents::certificate(&ctx, ctx.id(), &certificate, which.version.as_ref()).await?;
    Ok(Json(AgentCertificate {
        certificate_pem: version.pem_chain,
        version_id: version.id,
        fingerprint_sha256: version.fingerprint_sha256,
        key_job_id,
    }))
}

/// Takes what an agent says of a job.
///
/// # Errors
/// As [`list`].
pub async fn report(
    ctx: AuthorizedAgent<perm::AgentJobComplete>,
    Path((_, job)): Path<(AgentId, JobId)>,
    Body(body): Body<JobReport>,
) -> Answer<Json<Job>> {
    let progress = match body.status.as_str() {
        "Running" => Progress::Running,
        "Completed" => Progress::Completed,
        "Failed" => Progress::Failed,
        _ => return Err(certctl_domain::noun::Refusal::field("status", "is none of Running, Completed, Failed").into()),
    };
    let report = Report {
        fence: body.fence,
        steps: body.steps,
        observed_fingerprint: body.observed_fingerprint.map(|seen| seen.to_ascii_lowercase()),
        looked_at: body.served.into_iter().take(20).map(|at| (at.address, at.server_name)).collect(),
        error: body.error,
        hint: body.hint,
        retrying: if body.permanent { Retrying::Needless } else { Retrying::Helps },
    };
    Ok(Json(deploy::report(&ctx, ctx.id(), &job, progress, report).await?))
}

fn address(Peer(peer): Peer) -> String {
    peer.map(|peer: SocketAddr| peer.ip().to_canonical().to_string()).unwrap_or_default()
}
