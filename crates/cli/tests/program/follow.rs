//! Waiting for work: what is shown on the way, how it ends, and with which exit code.

use serde_json::{Value, json};

use crate::support::{Ran, Server};

const JOBS: &str = "GET /api/v1/jobs?certificate_id=mc-web&sort=-created_at&per_page=500";
const REQUEST: [&str; 7] = ["certs", "request", "--name", "web", "--san", "web.example.test", "--wait"];

fn job(id: &str, kind: &str, status: &str, more: Value) -> Value {
    let mut job = json!({
        "id": id, "type": kind, "certificate_id": "mc-web", "target_id": null, "agent_id": "ag-1", "version_id": null, "status": status,
        "reason": "as it should be", "hint": null, "scheduled_at": "2026-01-01T00:00:00Z", "attempts": 1, "max_attempts": 3, "last_error": null,
        "progress": [], "verification": null, "requested_by": "actor-admin", "fence": 1, "created_at": "2026-01-01T00:00:00Z", "started_at": null,
        "completed_at": null, "updated_at": "2026-01-01T00:00:00Z",
    });
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    job
}

fn page(jobs: &[Value]) -> Value {
    json!({"data": jobs, "total": jobs.len(), "page": 1, "per_page": 500})
}

fn certificate(status: &str, more: Value) -> Value {
    let mut certificate = json!({
        "id": "mc-web", "name": "web", "common_name": "web.example.test", "sans": ["web.example.test"], "environment": "", "owner_id": null,
        "team_id": null, "issuer_id": "iss-local", "target_ids": ["tgt-1"], "renewal_policy_id": "rp-default", "certificate_profile_id": "prof-default",
        "key_algorithm": null, "status": status, "reason": "in use", "hint": null, "next_try_at": "2026-01-01T00:00:00Z", "expires_at": null, "tags": {},
        "failures": 0, "last_failure_at": null, "last_renewal_at": null, "last_deployment_at": null, "revoked_at": null, "revocation_reason": null,
        "source": "API", "revision": 1, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    certificate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    certificate
}

fn version() -> Value {
    json!({
        "id": "ver-1", "certificate_id": "mc-web", "agent_id": "ag-1", "issuer_id": "iss-local", "serial_number": "5f3a09c1", "fingerprint_sha256": "ab".repeat(32),
        "not_before": "2026-01-01T00:00:00Z", "not_after": "2999-01-01T00:00:00Z", "pem_chain": "", "csr_pem": "", "key_algorithm": "ECDSA", "key_size": 256,
        "state": "current", "issuer_ref": {}, "ari": null, "revoked_at": null, "revocation_reason": null, "created_at": "2026-01-01T00:00:00Z",
    })
}

/// A server with the certificate, its agent and its target, which holds no call open.
fn server(status: &str, more: Value) -> Server {
    let server = Server::start();
    server.on("POST /api/v1/certificates", 201, certificate("Pending", json!({})));
    server.on("GET /api/v1/certificates/web", 200, certificate(status, more.clone()));
    server.on("GET /api/v1/certificates/mc-web", 200, certificate(status, more));
    server.on("GET /api/v1/certificates/mc-web/versions?state=current", 200, page(&[version()]));
    server.on("GET /api/v1/agents/ag-1", 200, json!({"id": "ag-1", "name": "web-1"}));
    server.on("GET /api/v1/targets/tgt-1", 200, json!({"id": "tgt-1", "name": "nginx-1"}));
    server
}

fn without_age(text: &str) -> String {
    text.lines().map(|line| line.split(" (in ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_request_is_followed_until_it_is_served() {
    let server = server("Active", json!({}));
    let issuance = |status| job("job-1", "Issuance", status, json!({}));
    let steps = json!([{"step": "stage", "detail": "/etc/nginx/web.pem", "at": "2026-01-01T00:00:00Z"}, {"step": "reload", "detail": "", "at": "2026-01-01T00:00:01Z"}]);
    let deployment = |status, more| {
        job("job-2", "Deployment", status, {
            let mut all = json!({"target_id": "tgt-1", "created_at": "2026-01-01T00:00:01Z"});
            all.as_object_mut().unwrap().extend::<serde_json::Map<_, _>>(serde_json::from_value(more).unwrap());
            all
        })
    };
    let witness = json!({"verified": true, "actual_fingerprint": "ab".repeat(32), "at": "2026-01-01T00:00:02Z", "error": null});
    let seen = json!({"progress": steps, "verification": {"expected_fingerprint": "ab".repeat(32), "agent": witness, "server": witness}});
    server.on(JOBS, 200, page(&[]));
    server.on(JOBS, 200, page(&[issuance("AwaitingCSR")]));
    server.on(JOBS, 503, json!({"status": 503, "detail": "restarting"}));
    server.on(JOBS, 200, page(&[deployment("Running", json!({"progress": steps})), issuance("Completed")]));
    server.on(JOBS, 200, page(&[deployment("Completed", seen), issuance("Completed")]));
    let Ran { code, out, err } = server.run(&REQUEST);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!(err);
    insta::assert_snapshot!("outcome", without_age(&out));
    let polled: Vec<String> = server.lines().into_iter().filter(|line| line.contains("wait=")).collect();
    assert_eq!(
        polled,
        ["GET /api/v1/jobs/job-1?wait=25&since=2026-01-01T00%3A00%3A00Z", "GET /api/v1/jobs/job-2?wait=25&since=2026-01-01T00%3A00%3A00Z"]
    );
    // For programs there is the certificate alone.
    server.on(JOBS, 200, page(&[issuance("Completed")]));
    let ran = server.run(&[&REQUEST[..], &["-o", "json", "--quiet"]].concat());
    assert_eq!(ran.err, "");
    assert_eq!(serde_json::from_str::<Value>(&ran.ok()).unwrap()["status"], "Active");
}

#[test]
fn a_failed_job_ends_the_wait_with_its_reason_and_hint() {
    let server = server("Failed", json!({}));
    let more =
        json!({"target_id": "tgt-1", "reason": "rolled back: nginx served the old pair", "hint": "look at nginx's log", "last_error": "x"});
    server.on(JOBS, 200, page(&[job("job-2", "Deployment", "Failed", more)]));
    let err = server.run(&REQUEST).fails(8);
    assert!(
        err.ends_with("error: deployment to nginx-1: Failed: rolled back: nginx served the old pair\nhint: look at nginx's log\n"),
        "{err}"
    );
}

#[test]
fn a_server_that_restarts_while_nothing_has_begun_is_waited_for() {
    let server = Server::start();
    let path = "GET /api/v1/certificates/mc-web";
    server.on("POST /api/v1/certificates", 201, certificate("Pending", json!({})));
    server.on(path, 503, json!({"status": 503, "detail": "restarting"}));
    server.on(path, 200, certificate("Active", json!({})));
    server.on("GET /api/v1/certificates/mc-web/versions?state=current", 200, page(&[version()]));
    server.on("GET /api/v1/agents/ag-1", 200, json!({"id": "ag-1", "name": "web-1"}));
    server.on(JOBS, 200, page(&[]));
    server.on(JOBS, 200, page(&[job("job-1", "Issuance", "Completed", json!({}))]));
    let ran = server.run(&REQUEST);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_next_try_beyond_the_deadline_is_not_waited_for() {
    let server = server("Failed", json!({}));
    let more =
        json!({"reason": "attempt 1 failed: the CA is away", "last_error": "the CA is away", "scheduled_at": "2999-01-01T00:00:00Z"});
    server.on(JOBS, 200, page(&[job("job-1", "Issuance", "Pending", more)]));
    let err = server.run(&REQUEST).fails(8);
    assert!(err.contains("the CA is away; next try in ") && err.contains("hint: certctl jobs explain job-1"), "{err}");
}

#[test]
fn a_blocked_certificate_says_what_is_in_the_way() {
    let server = server("Pending", json!({"reason": "its issuer is disabled", "hint": "enable the issuer", "next_try_at": null}));
    server.on(JOBS, 200, page(&[]));
    let err = server.run(&REQUEST).fails(8);
    assert!(err.ends_with("error: web is Pending: its issuer is disabled\nhint: enable the issuer\n"), "{err}");
}

#[test]
fn work_that_takes_too_long_goes_on_and_says_so() {
    let server = server("Pending", json!({}));
    server.on(JOBS, 200, page(&[job("job-1", "Issuance", "AwaitingCSR", json!({"agent_id": null}))]));
    let err = server.run(&[&REQUEST[..], &["--timeout", "1s"]].concat()).fails(9);
    assert!(err.contains("error: not done within 1s: issuance is AwaitingCSR"), "{err}");
    assert!(err.contains("certctl certs csr mc-web FILE; the work goes on, see it through: certctl certs wait mc-web"), "{err}");
}

#[test]
fn a_renewal_is_followed_from_its_first_job_on() {
    let server = server("Active", json!({}));
    let renewal = |status| job("job-9", "Renewal", status, json!({}));
    server.on(
        "POST /api/v1/certificates/mc-web/renew",
        202,
        json!({"status": "accepted", "job_id": "job-9", "jobs": [renewal("Pending")]}),
    );
    let since = "GET /api/v1/jobs?certificate_id=mc-web&sort=-created_at&per_page=500&created_after=2025-12-31T23%3A59%3A59.999999Z";
    server.on(since, 200, page(&[renewal("Completed")]));
    let out = server.run(&["certs", "renew", "web", "--wait"]).ok();
    assert!(out.contains("serial   5f3a09c1"), "{out}");
}

#[test]
fn nothing_to_wait_for_is_an_answer_too() {
    let server = server("Active", json!({}));
    server.on(JOBS, 200, page(&[job("job-1", "Issuance", "Completed", json!({}))]));
    assert!(server.run(&["certs", "wait", "web"]).ok().starts_with("web is valid until 2999-01-01T00:00:00Z"));
}

#[test]
fn one_job_can_be_waited_for() {
    let server = server("Active", json!({}));
    for status in ["Pending", "Running", "Completed"] {
        server.on("GET /api/v1/jobs/job-1", 200, job("job-1", "Issuance", status, json!({})));
    }
    let ran = server.run(&["jobs", "wait", "job-1"]);
    assert!(ran.err.contains("issuance for web-1: Running"), "{ran:?}");
    assert!(ran.ok().contains("STATUS        Completed"));
    server.on("GET /api/v1/jobs/job-2", 200, job("job-2", "Issuance", "Cancelled", json!({"reason": "cancelled by admin"})));
    assert!(server.run(&["jobs", "wait", "job-2"]).fails(8).contains("issuance for web-1: Cancelled: cancelled by admin"));
}
