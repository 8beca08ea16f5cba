//! Certificates: what is asked of them beside create, read, list, replace and patch.

use certctl_api::certificates::{
    BulkEnqueuedJob, BulkError, BulkReassignRequest, BulkReassignResult, BulkRenewRequest, BulkRenewResult, BulkRevokeRequest,
    BulkRevokeResult, DeployRequest, ExportPkcs12Request, ExportedPem, RenewRequest, RevokeRequest, Revoked, SubmitCsrRequest,
    WorkAccepted,
};
use certctl_domain::auth::perm;
use certctl_domain::certificate::{Certificate, Explanation, Version};
use certctl_domain::ids::{CertificateId, Id as _};
use certctl_domain::job::Job;
use certctl_domain::noun::Refusal;
use certctl_domain::target::Target;
use certctl_engine::bulk::{self, Each, Selection};
use certctl_engine::revoke::What;
use certctl_engine::{Ctx, Error, certificates, crud, explain, revoke};
use certctl_pki::chain::Chain;
use certctl_pki::pkcs12::{self, Pkcs12Error};
use certctl_store::certificates::VERSIONS;
use certctl_store::table::Table;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{
    Accepted, Authorized, Body, Created, Draft, File, IfMatch, Json, Listing, Named, NoContent, OptionalBody, Pkcs12, Rows, RowsParams,
};
use crate::problem::Answer;

/// The targets of a certificate.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deployments {
    /// The targets.
    pub data: Vec<Target>,
    /// How many.
    pub total: usize,
}

impl Rows for Version {
    const TABLE: Table = VERSIONS;
}

/// Requests a certificate: the first version is issued at once, or as soon as a CSR comes.
///
/// # Errors
/// What the engine refuses; the same for every function here.
pub async fn create(ctx: Authorized<perm::CertIssue>, Draft(draft): Draft<Certificate>) -> Answer<Created<Certificate>> {
    Ok(Created::noun(crud::create::<Certificate>(&ctx, draft).await?, "/api/v1/certificates"))
}

/// Archives a certificate.
///
/// # Errors
/// As [`create`].
pub async fn archive(ctx: Authorized<perm::CertDelete>, Named(id): Named<Certificate>, IfMatch(revision): IfMatch) -> Answer<NoContent> {
    certificates::archive(&ctx, &id, revision).await?;
    Ok(NoContent)
}

/// Lists the versions of a certificate.
///
/// # Errors
/// As [`create`].
pub async fn versions(
    ctx: Authorized<perm::CertRead>,
    Named(id): Named<Certificate>,
    params: RowsParams<Version>,
) -> Answer<Listing<Version>> {
    let page = certificates::versions(&ctx, &id, &params.query).await?;
    Ok(params.answer(page))
}

/// Issues a new version now.
///
/// # Errors
/// As [`create`].
pub async fn renew(
    ctx: Authorized<perm::CertIssue>,
    Named(id): Named<Certificate>,
    OptionalBody(_): OptionalBody<RenewRequest>,
) -> Answer<Accepted<WorkAccepted>> {
    let (fresh, jobs) = certificates::renew(&ctx, &id).await?;
    Ok(accepted(if fresh { "accepted" } else { "already_running" }, jobs))
}

/// Puts the version in use on its targets again.
///
/// # Errors
/// As [`create`].
pub async fn deploy(
    ctx: Authorized<perm::CertIssue>,
    Named(id): Named<Certificate>,
    OptionalBody(body): OptionalBody<DeployRequest>,
) -> Answer<Accepted<WorkAccepted>> {
    let jobs = certificates::deploy(&ctx, &id, body.target_id.as_ref()).await?;
    Ok(accepted("accepted", jobs))
}

/// The targets of a certificate.
///
/// # Errors
/// As [`create`].
pub async fn deployments(ctx: Authorized<perm::CertRead>, Named(id): Named<Certificate>) -> Answer<Json<Deployments>> {
    let certificate: Certificate = crud::get(&ctx, &id).await?;
    let data = certificates::targets(&ctx, &certificate).await?;
    Ok(Json(Deployments { total: data.len(), data }))
}

/// Revokes a certificate, or one of its versions.
///
/// # Errors
/// As [`create`].
pub async fn revoke(
    ctx: Authorized<perm::CertRevoke>,
    Named(id): Named<Certificate>,
    OptionalBody(body): OptionalBody<RevokeRequest>,
) -> Answer<Json<Revoked>> {
    let what = match (body.serial_number, body.version_id) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid("invalid_field", "serial_number and version_id: give one of them").into());
        }
        (Some(serial), None) => What::Serial(serial),
        (None, Some(version)) => What::Version(version),
        (None, None) => What::Everything,
    };
    let versions = revoke::revoke(&ctx, &id, &what, body.reason).await?;
    let status = if versions.is_empty() { "already_revoked" } else { "revoked" };
    Ok(Json(Revoked { status: status.to_owned(), versions }))
}

/// Takes a CSR for a certificate whose key no agent holds.
///
/// # Errors
/// As [`create`].
pub async fn submit_csr(
    ctx: Authorized<perm::CertIssue>,
    Named(id): Named<Certificate>,
    Body(body): Body<SubmitCsrRequest>,
) -> Answer<Accepted<WorkAccepted>> {
    let job = certificates::submit_csr(&ctx, &id, &body.csr_pem).await?;
    Ok(accepted("accepted", vec![job]))
}

/// Says why a certificate is as it is.
///
/// # Errors
/// As [`create`].
pub async fn explain(ctx: Authorized<perm::CertRead>, Named(id): Named<Certificate>) -> Answer<Json<Explanation>> {
    Ok(Json(explain::certificate(&ctx, &id).await?))
}

/// Gives the newest version with its chain; the key is where it was made.
///
/// # Errors
/// As [`create`].
pub async fn export_pem(ctx: Authorized<perm::CertRead>, Named(id): Named<Certificate>) -> Answer<Json<ExportedPem>> {
    let chain = current_chain(&ctx, &id).await?;
    Ok(Json(ExportedPem { cert_pem: chain.leaf().to_pem(), chain_pem: chain.intermediates_pem(), full_pem: chain.to_pem() }))
}

/// Gives the newest version with its chain as a PKCS#12 file without a key.
///
/// # Errors
/// As [`create`]; and when the format cannot write the password down.
pub async fn export_pkcs12(
    ctx: Authorized<perm::CertRead>,
    Named(id): Named<Certificate>,
    OptionalBody(body): OptionalBody<ExportPkcs12Request>,
) -> Answer<File<Pkcs12>> {
    let chain = current_chain(&ctx, &id).await?;
    let name = format!("{id}.p12");
    // Deriving a key from a password is meant to take a while: not between other callers' requests.
    let written = tokio::task::spawn_blocking(move || pkcs12::trust_store(&chain, id.as_str(), body.password.expose())).await;
    match written {
        Ok(Ok(file)) => Ok(File::new(name, file)),
        Ok(Err(error @ Pkcs12Error::Password)) => Err(Refusal::field("password", error).into()),
        Ok(Err(error)) => Err(Error::internal("a PKCS#12 file cannot be written").because(error).into()),
        Err(error) => Err(Error::internal("a PKCS#12 file was not written to its end").because(error).into()),
    }
}

async fn current_chain(ctx: &Ctx, id: &CertificateId) -> Answer<Chain> {
    let version = certificates::current(ctx, id).await?;
    Ok(Chain::parse_pem(&version.pem_chain).map_err(|e| Error::internal("a version's chain cannot be read").because(e))?)
}

/// Renews every certificate that fits.
///
/// # Errors
/// As [`create`].
pub async fn bulk_renew(ctx: Authorized<perm::CertIssue>, Body(body): Body<BulkRenewRequest>) -> Answer<Json<BulkRenewResult>> {
    let filters = [
        ("profile_id", body.profile_id),
        ("owner_id", body.owner_id),
        ("agent_id", body.agent_id),
        ("issuer_id", body.issuer_id),
        ("team_id", body.team_id),
    ];
    let outcome = bulk::renew(&ctx, &selection(body.certificate_ids, filters)).await?;
    let mut result = BulkRenewResult { total_matched: outcome.len(), ..BulkRenewResult::default() };
    for (certificate_id, each) in outcome {
        match each {
            Each::Done(jobs) => {
                result.total_enqueued += 1;
                result
                    .enqueued_jobs
                    .extend(jobs.into_iter().map(|job_id| BulkEnqueuedJob { certificate_id: certificate_id.clone(), job_id }));
            }
            Each::Skipped => result.total_skipped += 1,
            Each::Failed(error) => {
                result.total_failed += 1;
                result.errors.push(bulk_error(&certificate_id, &error));
            }
        }
    }
    Ok(Json(result))
}

/// Revokes every certificate that fits.
///
/// # Errors
/// As [`create`].
pub async fn bulk_revoke(ctx: Authorized<perm::CertBulkRevoke>, Body(body): Body<BulkRevokeRequest>) -> Answer<Json<BulkRevokeResult>> {
    let filters = [
        ("profile_id", body.profile_id),
        ("owner_id", body.owner_id),
        ("agent_id", body.agent_id),
        ("issuer_id", body.issuer_id),
        ("team_id", body.team_id),
    ];
    let outcome = bulk::revoke(&ctx, &selection(body.certificate_ids, filters), body.reason).await?;
    let mut result = BulkRevokeResult { total_matched: outcome.len(), ..BulkRevokeResult::default() };
    for (id, each) in outcome {
        match each {
            Each::Done(()) => result.total_revoked += 1,
            Each::Skipped => result.total_skipped += 1,
            Each::Failed(error) => {
                result.total_failed += 1;
                result.errors.push(bulk_error(&id, &error));
            }
        }
    }
    Ok(Json(result))
}

/// Gives certificates another owner.
///
/// # Errors
/// As [`create`].
pub async fn bulk_reassign(ctx: Authorized<perm::CertEdit>, Body(body): Body<BulkReassignRequest>) -> Answer<Json<BulkReassignResult>> {
    let team = body.team_id.as_ref().map(ToString::to_string);
    let outcome = bulk::reassign(&ctx, &body.certificate_ids, &body.owner_id.to_string(), team.as_deref()).await?;
    let mut result = BulkReassignResult { total_matched: outcome.len(), ..BulkReassignResult::default() };
    for (id, each) in outcome {
        match each {
            Each::Done(()) => result.total_reassigned += 1,
            Each::Skipped => result.total_skipped += 1,
            Each::Failed(error) => {
                result.total_failed += 1;
                result.errors.push(bulk_error(&id, &error));
            }
        }
    }
    Ok(Json(result))
}

fn selection<const N: usize>(ids: Vec<CertificateId>, filters: [(&str, Option<String>); N]) -> Selection {
    let filters = filters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Selection { ids, filters }
}

fn bulk_error(id: &CertificateId, error: &Error) -> BulkError {
    BulkError { certificate_id: id.to_string(), error: error.detail.clone() }
}

/// 202 with jobs; the first one is where to look.
pub(super) fn accepted(status: &str, jobs: Vec<Job>) -> Accepted<WorkAccepted> {
    let job_id = jobs.first().map(|job| job.id.clone());
    let location = job_id.as_ref().map_or_else(|| "/api/v1/jobs".to_owned(), |id| format!("/api/v1/jobs/{id}"));
    Accepted::at(WorkAccepted { status: status.to_owned(), job_id, jobs }, location)
}
