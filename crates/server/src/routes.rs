//! Every operation of the REST API, in one flat list: path, words, handler.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use certctl_domain::auth::{Actor, Role, perm};
use certctl_domain::certificate::Certificate;
use certctl_domain::issuer::Issuer;
use certctl_domain::owner::Owner;
use certctl_domain::profile::Profile;
use certctl_domain::renewal::RenewalPolicy;
use certctl_domain::target::Target;
use certctl_domain::team::Team;
use serde_json::Value;

use crate::api::{Api, Named, crud};
use crate::handlers::pki::{self, Crl, OcspResponse};
use crate::handlers::{actors, agents, api_keys, audit, auth, certificates, issuers, jobs, roles, stats, system, targets};
use crate::state::AppState;

/// The router of the REST API.
pub fn router(state: AppState) -> Router {
    let requests = Arc::clone(&state.metrics.requests);
    requests.around(routes().into_router(state))
}

/// What the port for scrapers serves: the metrics, where every scraper looks for them and where the API has them.
pub fn metrics(state: AppState) -> Router {
    let requests = Arc::clone(&state.metrics.requests);
    let mut api = Api::new();
    api.get("/metrics", "All metrics, for a scraper", stats::prometheus);
    api.get("/api/v1/metrics/prometheus", "All metrics, for a scraper", stats::prometheus);
    requests.around(api.into_router(state))
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> Value {
    routes().openapi()
}

/// The list.
#[must_use]
pub fn routes() -> Api {
    let mut api = Api::new();

    // The process
    api.get("/health", "Whether the process answers", system::health);
    api.get("/ready", "Whether the process can do its work", system::ready);
    api.get("/api/v1/version", "What the program is", system::version);
    api.get("/api/v1/openapi.json", "This API as an OpenAPI document", system::openapi);

    api.get("/api/v1/metrics", "The numbers that existing scripts read", stats::metrics);
    api.get("/api/v1/metrics/prometheus", "All metrics, for a scraper", stats::prometheus);

    // Numbers about the installation
    api.get("/api/v1/stats/summary", "How the installation stands", stats::summary);
    api.get("/api/v1/stats/certificates-by-status", "Count certificates by status", stats::certificates_by_status);
    api.get("/api/v1/stats/expiration-timeline", "Count certificates that expire on each of the next days", stats::expiration_timeline);
    api.get("/api/v1/stats/job-trends", "Count jobs that ended on each of the last days", stats::job_trends);
    api.get("/api/v1/stats/issuance-rate", "Count versions that were issued on each of the last days", stats::issuance_rate);

    // Who one is
    api.get("/api/v1/auth/info", "How to log in", auth::info);
    api.get("/api/v1/auth/check", "Whether the credential is good", auth::check);
    api.get("/api/v1/auth/me", "Who one is and what one may do", auth::me);
    api.get("/api/v1/auth/bootstrap", "Whether the first administrator can be made with a token", auth::bootstrap_status);
    api.post("/api/v1/auth/bootstrap", "Make the first administrator with a token", auth::bootstrap)
        .problem(StatusCode::UNAUTHORIZED)
        .problem(StatusCode::CONFLICT)
        .problem(StatusCode::GONE);
    api.get("/api/v1/auth/permissions", "Everything that somebody may be allowed to do", auth::permissions);
    api.get("/api/v1/auth/runtime-config", "The settings in force, secrets redacted", auth::runtime_config);

    // Roles
    api.get("/api/v1/auth/roles", "List roles", roles::list);
    api.post("/api/v1/auth/roles", "Create a role with its permissions", roles::create);
    api.get("/api/v1/auth/roles/{id}", "Get a role", roles::get);
    api.put("/api/v1/auth/roles/{id}", "Replace a role; without permissions they stay", roles::replace);
    api.patch("/api/v1/auth/roles/{id}", "Change fields of a role", crud::patch::<Role, Named<Role>, perm::AuthRoleEdit>);
    api.delete("/api/v1/auth/roles/{id}", "Delete a role that nobody holds", crud::delete::<Role, Named<Role>, perm::AuthRoleDelete>);
    api.post("/api/v1/auth/roles/{id}/permissions", "Add a permission to a role", roles::allow);
    api.delete("/api/v1/auth/roles/{id}/permissions/{perm}", "Take a permission from a role", roles::disallow);

    // Actors
    api.crud_by_id::<Actor, perm::AuthKeyList, perm::AuthRoleAssign, perm::AuthRoleRevoke>("/api/v1/auth/actors");
    api.post("/api/v1/auth/actors/{id}/disable", "Keep an actor from acting", actors::disable);
    api.post("/api/v1/auth/actors/{id}/enable", "Let a disabled actor act again", actors::enable);
    api.get("/api/v1/auth/keys", "List actors with the roles that they hold", actors::holders);
    api.post("/api/v1/auth/keys/{id}/roles", "Give an actor a role", actors::assign);
    api.delete("/api/v1/auth/keys/{id}/roles/{role_id}", "Take a role from an actor", actors::unassign);

    // API keys
    api.get("/api/v1/auth/apikeys", "List API keys, without their values", api_keys::list);
    api.post("/api/v1/auth/apikeys", "Create an API key, whose value is shown this once", api_keys::create);
    api.get("/api/v1/auth/apikeys/{id}", "Get an API key, without its value", api_keys::get);
    api.delete("/api/v1/auth/apikeys/{id}", "Revoke an API key at once", api_keys::delete);
    api.post("/api/v1/auth/apikeys/{id}/rotate", "Replace an API key by a new one, with an overlap", api_keys::rotate);

    // The audit log
    api.get("/api/v1/audit", "List audit events, the newest first", audit::list);
    api.get("/api/v1/audit/export", "Export audit events, one a line", audit::export);
    api.get("/api/v1/audit/verify", "Prove that the audit log was not changed", audit::verify).within(Duration::from_secs(600));
    api.get("/api/v1/audit/{id}", "Get an audit event", audit::get);

    // Owners and what else is set up
    api.crud::<Owner, perm::OwnerRead, perm::OwnerEdit, perm::OwnerDelete>("/api/v1/owners");
    api.crud::<Team, perm::TeamRead, perm::TeamEdit, perm::TeamDelete>("/api/v1/teams");
    api.crud::<Profile, perm::ProfileRead, perm::ProfileEdit, perm::ProfileDelete>("/api/v1/profiles");
    api.crud::<RenewalPolicy, perm::PolicyRead, perm::PolicyEdit, perm::PolicyDelete>("/api/v1/renewal-policies");

    // Certificates
    api.get("/api/v1/certificates", "List certificates", crud::list::<Certificate, perm::CertRead>);
    api.post("/api/v1/certificates", "Request a certificate", certificates::create);
    api.post("/api/v1/certificates/bulk-renew", "Renew every certificate that fits", certificates::bulk_renew)
        .within(Duration::from_secs(600));
    api.post("/api/v1/certificates/bulk-revoke", "Revoke every certificate that fits", certificates::bulk_revoke)
        .within(Duration::from_secs(600));
    api.post("/api/v1/certificates/bulk-reassign", "Give certificates another owner", certificates::bulk_reassign)
        .within(Duration::from_secs(600));
    api.get("/api/v1/certificates/{id}", "Get a certificate", crud::get::<Certificate, Named<Certificate>, perm::CertRead>);
    api.put(
        "/api/v1/certificates/{id}",
        "Replace a certificate's record",
        crud::replace::<Certificate, Named<Certificate>, perm::CertEdit>,
    );
    api.patch(
        "/api/v1/certificates/{id}",
        "Change fields of a certificate's record",
        crud::patch::<Certificate, Named<Certificate>, perm::CertEdit>,
    );
    api.delete("/api/v1/certificates/{id}", "Archive a certificate", certificates::archive);
    api.get("/api/v1/certificates/{id}/versions", "List the versions of a certificate", certificates::versions);
    api.get("/api/v1/certificates/{id}/explain", "Say why a certificate is as it is", certificates::explain);
    api.get("/api/v1/certificates/{id}/deployments", "List the targets of a certificate", certificates::deployments);
    api.get("/api/v1/certificates/{id}/export/pem", "Get the newest version with its chain", certificates::export_pem);
    api.post(
        "/api/v1/certificates/{id}/export/pkcs12",
        "Get the newest version with its chain as a PKCS#12 file without a key",
        certificates::export_pkcs12,
    );
    api.post("/api/v1/certificates/{id}/renew", "Issue a new version now", certificates::renew).problem(StatusCode::CONFLICT);
    api.post("/api/v1/certificates/{id}/deploy", "Put the version in use on its targets again", certificates::deploy)
        .problem(StatusCode::CONFLICT);
    api.post("/api/v1/certificates/{id}/revoke", "Revoke a certificate or one of its versions", certificates::revoke)
        .problem(StatusCode::CONFLICT);
    api.post("/api/v1/certificates/{id}/csr", "Submit a CSR for a key that no agent holds", certificates::submit_csr)
        .problem(StatusCode::CONFLICT);

    // What relying parties fetch
    api.get("/.well-known/pki/crl/{issuer_id}", "Get the revocation list of an issuer's CA", pki::get::<Crl>);
    api.get("/.well-known/pki/crl/{issuer_id}/{list}", "Get the revocation list that a certificate names", pki::get::<Crl>);
    api.get("/.well-known/pki/ca/{issuer_id}", "Get the certificate of an issuer's CA", pki::get::<pki::Certificate>);
    api.get("/.well-known/pki/ca/{issuer_id}/{list}", "Get the certificate of the CA of a list", pki::get::<pki::Certificate>);
    api.post("/.well-known/pki/ocsp/{issuer_id}", "Ask for the status of certificates", pki::ocsp);
    api.get(
        "/.well-known/pki/ocsp/{issuer_id}/{serial}",
        "Ask for the status of a certificate by its serial number, or by an OCSP request in base64",
        pki::get::<OcspResponse>,
    );
    api.get("/api/v1/admin/crl/cache", "List the revocation lists that are published", pki::cache);

    // Issuers
    api.crud::<Issuer, perm::IssuerRead, perm::IssuerEdit, perm::IssuerDelete>("/api/v1/issuers");
    api.get("/api/v1/issuers/{id}/ca", "Get the CA certificates of an issuer", issuers::authorities);
    api.post("/api/v1/issuers/{id}/account-key", "Give the issuer's account at its CA a new key", issuers::roll_account_key);
    api.post("/api/v1/issuers/{id}/test", "Ask an issuer whether it would answer", issuers::test);
    api.get("/api/v1/issuer-kinds", "List the kinds of issuers with their settings", issuers::kinds);

    // Targets
    api.crud::<Target, perm::TargetRead, perm::TargetEdit, perm::TargetDelete>("/api/v1/targets");
    api.post("/api/v1/targets/{id}/test", "Look whether a target could be worked on", targets::test);
    api.get("/api/v1/target-kinds", "List the kinds of targets with their settings", targets::kinds);

    // Agents
    api.get("/api/v1/agents", "List agents", agents::list);
    api.post("/api/v1/agents", "Register an agent ahead of its host", agents::register).problem(StatusCode::CONFLICT);
    api.post("/api/v1/agents/enroll", "Enroll an agent with a one-time token", agents::enroll)
        .problem(StatusCode::UNAUTHORIZED)
        .problem(StatusCode::CONFLICT);
    api.get("/api/v1/agents/retired", "List retired agents", agents::retired);
    api.get("/api/v1/agents/enrollment-tokens", "List enrollment tokens, without their secrets", agents::list_tokens);
    api.post("/api/v1/agents/enrollment-tokens", "Create a one-time enrollment token, shown this once", agents::create_token);
    api.delete("/api/v1/agents/enrollment-tokens/{id}", "Take back an enrollment token that was not used", agents::delete_token);
    api.get("/api/v1/agents/{id}", "Get an agent", agents::get);
    api.delete("/api/v1/agents/{id}", "Retire an agent", agents::retire).problem(StatusCode::CONFLICT);
    api.get("/api/v1/agents/{id}/explain", "Say why an agent is as it is", agents::explain);
    api.post("/api/v1/agents/{id}/heartbeat", "Say that an agent lives", agents::heartbeat);
    api.get("/api/v1/agents/{id}/work", "Wait for work", agents::work).within(Duration::from_secs(90));
    api.get("/api/v1/agents/{id}/challenges", "Wait for challenges of ACME CAs to answer", agents::open_challenges)
        .within(Duration::from_secs(90));
    api.post("/api/v1/agents/{id}/challenges", "Report that a challenge is answered, or cannot be", agents::note_challenge);
    api.post("/api/v1/agents/{id}/csr", "Submit the CSR of a job", agents::submit_csr).problem(StatusCode::CONFLICT);
    api.get("/api/v1/agents/{id}/certificates/{cert_id}", "Get a certificate whose key the agent holds", agents::certificate);
    api.post("/api/v1/agents/{id}/jobs/{job_id}/status", "Report how a job goes", agents::report).problem(StatusCode::CONFLICT);

    // Jobs
    api.get("/api/v1/jobs", "List jobs", jobs::list);
    api.get("/api/v1/jobs/{id}", "Get a job, at once or when it changes", jobs::get).within(Duration::from_secs(90));
    api.get("/api/v1/jobs/{id}/explain", "Say why a job is as it is", jobs::explain);
    api.post("/api/v1/jobs/{id}/cancel", "Stop a job", jobs::cancel).problem(StatusCode::CONFLICT);
    api.post("/api/v1/jobs/{id}/approve", "Approve a job that somebody else asked for", jobs::approve).problem(StatusCode::CONFLICT);
    api.post("/api/v1/jobs/{id}/reject", "Reject a job", jobs::reject).problem(StatusCode::CONFLICT);
    api.post("/api/v1/jobs/{id}/verify", "Report what was seen at a target", jobs::verify);
    api.get("/api/v1/jobs/{id}/verification", "Get what the witnesses of a deployment saw", jobs::verification);

    api
}
