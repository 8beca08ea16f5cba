//! The right method, path, query, body and credential for each command, and what is printed of the answer.

use serde_json::{Value, json};

use crate::support::{Server, program, put};

fn list(rows: &[Value]) -> Value {
    json!({"data": rows, "total": rows.len(), "page": 1, "per_page": 50})
}

fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_call_bears_the_key_and_names_the_program() {
    let server = Server::start();
    server.on("GET /api/v1/owners?per_page=50", 200, list(&[json!({"id": "o-1", "name": "web ops"})]));
    assert_eq!(server.run(&["owners", "list", "-o", "name"]).ok(), "web ops\n");
    let request = server.requests().remove(0);
    assert_eq!(request.headers["authorization"], "Bearer ck_1_secret");
    assert!(request.headers["user-agent"].starts_with("certctl/"));
    assert_eq!(request.headers["accept"], "application/json");
}

#[test]
fn each_common_command_makes_its_call() {
    let server = Server::start();
    let owner = json!({"id": "o-1", "name": "web/ops"});
    server.on("GET /api/v1/owners/web%2Fops", 200, &owner);
    server.on("POST /api/v1/owners", 201, &owner);
    server.on("PATCH /api/v1/owners/web%2Fops", 200, &owner);
    server.on("DELETE /api/v1/owners/web%2Fops", 204, "");
    server.on("GET /api/v1/teams/platform", 200, json!({"id": "t-1", "name": "platform"}));
    server.run(&["owners", "get", "web/ops"]).ok();
    assert_eq!(server.lines(), ["GET /api/v1/owners/web%2Fops"]);

    server.run(&["owners", "create", "--name", "web/ops", "--email", "a@example.test", "--team", "platform"]).ok();
    let sent = server.requests();
    assert_eq!(sent.iter().map(|one| one.line.as_str()).collect::<Vec<_>>(), ["GET /api/v1/teams/platform", "POST /api/v1/owners"]);
    assert_eq!(body(&sent[1].body), json!({"name": "web/ops", "email": "a@example.test", "team_id": "t-1"}));
    assert_eq!(sent[1].headers["content-type"], "application/json");

    server.run(&["owners", "edit", "web/ops", "--set", "name=123", "--unset", "team_id"]).ok();
    assert_eq!(body(&server.requests()[0].body), json!({"name": "123", "team_id": null}));

    let refused = server.run(&["owners", "delete", "web/ops"]).fails(2);
    assert!(refused.contains("hint: add --yes"), "{refused}");
    assert!(server.lines().is_empty(), "nothing is deleted without a yes");
    assert_eq!(server.run(&["owners", "delete", "web/ops", "--yes"]).ok(), "");
    assert_eq!(server.lines(), ["DELETE /api/v1/owners/web%2Fops"]);
}

#[test]
fn a_file_and_flags_make_one_body() {
    let server = Server::start();
    let file = server.home.path().join("target.yaml");
    put(&file, "name: from-file\ntype: NGINX\nagent_id: ag-1\nconfig:\n  cert_path: /a\n  key_path: /b\n");
    server.on("POST /api/v1/targets", 201, json!({"id": "tgt-1", "name": "nginx-1"}));
    let file = file.display().to_string();
    server
        .run(&[
            "targets",
            "create",
            "-f",
            &file,
            "--name",
            "nginx-1",
            "--config",
            "key_path=/c",
            "--config",
            "ports=[443]",
            "--enabled=false",
        ])
        .ok();
    let expected = json!({"name": "nginx-1", "type": "NGINX", "agent_id": "ag-1", "config": {"cert_path": "/a", "key_path": "/c", "ports": [443]}, "enabled": false});
    assert_eq!(body(&server.requests()[0].body), expected);
}

#[test]
fn filters_search_and_sorting_go_into_the_query() {
    let server = Server::start();
    server.on("GET /api/v1/auth/roles/r-admin", 200, json!({"id": "r-admin"}));
    server.on("GET /api/v1/auth/actors?x=1&type=User&role_id=r-admin&q=ann&sort=-id&per_page=7", 200, list(&[]));
    let arguments =
        ["actors", "list", "--type", "user", "--role", "r-admin", "--filter", "x=1", "-q", "ann", "--sort", "-id", "--limit", "7"];
    let ran = server.run(&arguments);
    assert!(ran.err.contains("no actors match"), "{ran:?}");
    assert_eq!(ran.ok(), "");
    let empty = Server::start();
    empty.on("GET /api/v1/auth/actors?per_page=50", 200, list(&[]));
    assert!(empty.run(&["actors", "list"]).err.contains("no actors yet; make one: certctl actors create"));
}

#[test]
fn all_pages_are_fetched_and_a_limit_is_kept() {
    let server = Server::start();
    let page = |ids: &[&str], next: Option<&str>| {
        let rows: Vec<Value> = ids.iter().map(|id| json!({"id": id, "name": id})).collect();
        json!({"data": rows, "total": 3, "page": 1, "per_page": 500, "next_cursor": next})
    };
    server.on("GET /api/v1/teams?per_page=500", 200, page(&["a", "b"], Some("c1")));
    server.on("GET /api/v1/teams?cursor=c1&per_page=500", 200, page(&["c"], None));
    assert_eq!(server.run(&["teams", "list", "--all", "-o", "name"]).ok(), "a\nb\nc\n");
    let whole = body(&server.run(&["teams", "list", "--all", "-o", "json"]).ok());
    assert_eq!((whole["data"].as_array().unwrap().len(), whole.get("next_cursor")), (3, None));
    server.on("GET /api/v1/teams?per_page=2", 200, page(&["a", "b"], Some("c1")));
    let limited = server.run(&["teams", "list", "--limit", "2", "-o", "csv"]);
    assert!(limited.err.contains("2 of 3 teams"), "{limited:?}");
    assert_eq!(limited.ok(), "name,description,id,created_at\r\na,,a,\r\nb,,b,\r\n");
}

#[test]
fn renew_and_deploy_say_what_they_begin() {
    let server = Server::start();
    let job = json!({"id": "job-1", "type": "Renewal", "status": "Pending", "certificate_id": "mc-web", "reason": "asked for by hand"});
    server.on("GET /api/v1/certificates/web", 200, json!({"id": "mc-web"}));
    server.on("GET /api/v1/targets/nginx-1", 200, json!({"id": "tgt-1"}));
    server.on("POST /api/v1/certificates/mc-web/renew", 202, json!({"status": "accepted", "job_id": "job-1", "jobs": [job]}));
    server.on("POST /api/v1/certificates/mc-web/deploy", 202, json!({"status": "already_running", "job_id": "job-1", "jobs": [job]}));
    let table = server.run(&["certs", "renew", "web", "--force"]).ok();
    assert!(table.contains("job-1") && table.contains("asked for by hand"), "{table}");
    assert_eq!(body(&server.requests()[1].body), json!({"force": true}));
    let ran = server.run(&["certs", "deploy", "web", "--target", "nginx-1", "-o", "json"]);
    assert!(ran.err.contains("goes on already"), "{ran:?}");
    assert_eq!(body(&ran.ok())["jobs"][0]["id"], "job-1");
    assert_eq!(body(&server.requests()[2].body), json!({"target_id": "tgt-1"}));
}

#[test]
fn revoking_needs_a_yes_and_sends_reason_and_version() {
    let server = Server::start();
    let version = json!({"id": "ver-1", "serial_number": "5f3a09c1", "state": "superseded"});
    server.on("POST /api/v1/certificates/web/revoke", 200, json!({"status": "revoked", "versions": [version]}));
    server.run(&["certs", "revoke", "web", "--reason", "superseded"]).fails(2);
    assert!(server.lines().is_empty());
    let ran = server.run(&["certs", "revoke", "web", "--reason", "key_compromise", "--serial", "5F:3A:09:C1", "--yes", "-o", "name"]);
    assert_eq!(ran.ok(), "ver-1\n");
    assert_eq!(body(&server.requests()[0].body), json!({"reason": "keyCompromise", "serial_number": "5f3a09c1", "version_id": null}));
}

#[test]
fn bulk_work_that_fails_in_part_is_failed_work() {
    let server = Server::start();
    server.on("GET /api/v1/agents/web-1", 200, json!({"id": "ag-1"}));
    let answer = json!({"total_matched": 2, "total_revoked": 1, "total_skipped": 0, "total_failed": 1, "errors": [{"certificate_id": "mc-2", "error": "archived"}]});
    server.on("POST /api/v1/certificates/bulk-revoke", 200, answer);
    let ran = server.run(&["certs", "bulk-revoke", "--agent", "web-1", "--reason", "ca-compromise", "--yes"]);
    assert!(ran.out.contains("mc-2: archived"), "{ran:?}");
    ran.fails(8);
    assert_eq!(body(&server.requests()[1].body), json!({"agent_id": "ag-1", "reason": "caCompromise"}));
}

#[test]
fn agents_are_retired_with_a_reason() {
    let server = Server::start();
    server.on("DELETE /api/v1/agents/web-1", 409, json!({"status": 409, "detail": "2 targets depend on it", "hint": "add --force"}));
    server.on(
        "DELETE /api/v1/agents/web-1?force=true&reason=host+is+gone",
        200,
        json!({"retired_at": "2026-01-01T00:00:00Z", "already_retired": false, "cascade": true, "counts": {}}),
    );
    server.on("DELETE /api/v1/agents/old", 204, "");
    server.on("DELETE /api/v1/agents/none", 404, json!({"status": 404, "detail": "there is none"}));
    server.on("DELETE /api/v1/agents/self", 403, json!({"status": 403, "detail": "you lack agent.retire"}));
    assert!(server.run(&["agents", "retire", "web-1", "-y"]).fails(5).contains("2 targets depend on it\nhint: add --force"));
    assert_eq!(server.run(&["agents", "retire", "web-1", "-y", "--force", "--reason", "host is gone"]).ok(), "agent web-1 retired\n");
    assert_eq!(server.run(&["agents", "retire", "old", "-y"]).ok(), "agent old was retired before\n");
    server.run(&["agents", "retire", "none", "-y"]).fails(4);
    server.run(&["agents", "retire", "self", "-y"]).fails(3);
}

#[test]
fn secrets_are_shown_once_on_standard_output_alone() {
    let server = Server::start();
    server.on("GET /api/v1/auth/actors/ci", 200, json!({"id": "actor-ci"}));
    server.on("POST /api/v1/auth/apikeys", 201, json!({"id": "ak-1", "actor_id": "actor-ci", "key_value": "ck_9_planted"}));
    server.on("POST /api/v1/auth/apikeys/ak-1/rotate", 201, json!({"id": "ak-2", "actor_id": "actor-ci", "key_value": "ck_9_planted"}));
    server.on(
        "POST /api/v1/agents/enrollment-tokens",
        201,
        json!({"id": "et-1", "token_value": "ce_9_planted", "command": "certctl-agent enroll --token ce_9_planted"}),
    );
    for arguments in [
        &["keys", "create", "--actor", "ci", "--expires-in", "90d"][..],
        &["keys", "rotate", "ak-1", "--overlap", "2h"],
        &["agents", "token", "create", "--name", "web-1", "--label", "rack=7"],
    ] {
        let ran = server.run(arguments);
        assert!(ran.err.contains("only time") && !ran.err.contains("planted"), "{ran:?}");
        assert!(ran.ok().trim_end().ends_with("_9_planted"));
    }
    let bodies: Vec<Value> = server.requests().iter().filter(|one| !one.body.is_empty()).map(|one| body(&one.body)).collect();
    assert_eq!(bodies[0]["actor_id"], "actor-ci");
    assert!(bodies[0]["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert_eq!(bodies[1], json!({"overlap": "7200s"}));
    assert_eq!(bodies[2], json!({"agent_name": "web-1", "labels": {"rack": "7"}, "expires_in_seconds": 3600}));
}

#[test]
fn a_secret_that_nobody_saw_is_a_failure_that_says_how_to_be_rid_of_it() {
    let server = Server::start();
    server.on("GET /api/v1/auth/actors/ci", 200, json!({"id": "actor-ci"}));
    server.on("POST /api/v1/auth/apikeys", 201, json!({"id": "ak-1", "actor_id": "actor-ci", "key_value": "ck_9_planted"}));
    server.on("POST /api/v1/agents/enrollment-tokens", 201, json!({"id": "et-1", "token_value": "ce_9_planted"}));
    let ca = server.ca();
    let variables = [("CERTCTL_SERVER_URL", server.url.as_str()), ("CERTCTL_API_KEY", "k"), ("CERTCTL_CA_FILE", &ca)];
    for (arguments, undo) in [
        (&["keys", "create", "--actor", "ci"][..], "certctl keys delete ak-1"),
        (&["agents", "token", "create"], "certctl agents token delete et-1"),
    ] {
        // The reading end is closed before the program starts.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = program(server.home.path(), &variables).args(arguments).stdout(writer).output().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{err}");
        assert!(err.contains(undo) && !err.contains("planted"), "{err}");
    }
}

#[test]
fn export_and_ca_print_pem_as_it_is() {
    let server = Server::start();
    server.on(
        "GET /api/v1/certificates/web/export/pem",
        200,
        json!({"cert_pem": "LEAF\n", "chain_pem": "CHAIN\n", "full_pem": "LEAF\nCHAIN\n"}),
    );
    server.on("GET /api/v1/issuers/iss-local/ca", 200, "-----BEGIN CERTIFICATE-----\n");
    assert_eq!(server.run(&["certs", "export", "web"]).ok(), "LEAF\nCHAIN\n");
    let file = server.home.path().join("chain.pem");
    assert_eq!(server.run(&["certs", "export", "web", "--part", "chain", "--out", &file.display().to_string()]).ok(), "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "CHAIN\n");
    assert_eq!(server.run(&["issuers", "ca", "iss-local"]).ok(), "-----BEGIN CERTIFICATE-----\n");
}

#[test]
fn a_csr_goes_in_from_standard_input() {
    let server = Server::start();
    server.on("GET /api/v1/certificates/printer", 200, json!({"id": "mc-1"}));
    server.on("POST /api/v1/certificates/mc-1/csr", 202, json!({"status": "accepted", "jobs": []}));
    let variables = [("CERTCTL_SERVER_URL", server.url.as_str()), ("CERTCTL_API_KEY", "k"), ("CERTCTL_CA_FILE", &server.ca())];
    server.run_with(&["certs", "csr", "printer", "-"], &variables, "-----BEGIN CERTIFICATE REQUEST-----\n").ok();
    assert_eq!(body(&server.requests()[1].body), json!({"csr_pem": "-----BEGIN CERTIFICATE REQUEST-----\n"}));
}

#[test]
fn the_audit_log_is_exported_and_verified() {
    let server = Server::start();
    let export = "GET /api/v1/audit/export?from=2026-01-01T00%3A00%3A00Z&to=2026-02-01T00%3A00%3A00Z&category=auth";
    server.on(export, 200, "{\"id\":\"audit-1\"}\n{\"id\":\"audit-2\"}\n");
    let file = server.home.path().join("audit.ndjson");
    let arguments = ["audit", "export", "--from", "2026-01-01T00:00:00Z", "--to", "2026-02-01T00:00:00Z", "--category", "auth"];
    assert_eq!(server.run(&arguments).ok().lines().count(), 2);
    let path = file.display().to_string();
    let to_file = [&arguments[..], &["--out", &path]].concat();
    assert!(server.run(&to_file).err.contains("2 events"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    server.on("GET /api/v1/audit/verify", 200, json!({"intact": true, "checked": 7, "broken_at": null}));
    assert!(server.run(&["audit", "verify"]).ok().contains("checked: 7"));
    let broken = Server::start();
    broken.on("GET /api/v1/audit/verify", 200, json!({"intact": false, "checked": 3, "broken_at": 4, "broken": "the hash differs"}));
    assert!(broken.run(&["audit", "verify"]).fails(8).contains("event 4: the hash differs"));
}

#[test]
fn a_name_that_nobody_has_is_told_with_where_to_look() {
    let server = Server::start();
    let err = server.run(&["certs", "request", "--name", "web", "--san", "web.example.test", "--target", "nginx-9"]).fails(4);
    assert_eq!(err, "error: there is no target `nginx-9`\nhint: see which there are: certctl targets list\n");
}

#[test]
fn what_may_not_be_looked_at_is_taken_for_an_id() {
    let server = Server::start();
    server.on("GET /api/v1/targets/tgt-1", 403, json!({"status": 403, "detail": "no"}));
    server.on("POST /api/v1/certificates", 201, json!({"id": "mc-1", "name": "web"}));
    server.run(&["certs", "request", "--name", "web", "--san", "web.example.test", "--target", "tgt-1", "--tag", "tier=edge"]).ok();
    let sent = body(&server.requests()[1].body);
    assert_eq!(sent, json!({"name": "web", "sans": ["web.example.test"], "target_ids": ["tgt-1"], "tags": {"tier": "edge"}}));
}

#[test]
fn status_tells_health_counts_and_what_needs_attention() {
    let server = Server::start();
    server.on("GET /health", 200, json!({"status": "ok"})).on("GET /ready", 200, json!({"status": "ready"}));
    server.on("GET /api/v1/version", 200, json!({"version": "0.1.0"}));
    server.on("GET /api/v1/stats/summary", 200, json!({"total_certificates": 12, "expiring_certificates": 1, "expired_certificates": 0, "revoked_certificates": 2, "total_agents": 4, "active_agents": 3, "offline_agents": 1, "pending_jobs": 0, "failed_jobs": 0}));
    for status in ["Expired", "Failed", "Expiring"] {
        server.on(&format!("GET /api/v1/certificates?status={status}&per_page=10"), 200, list(&[]));
    }
    server.on("GET /api/v1/agents?status=Offline&per_page=10", 200, list(&[json!({"name": "web-1", "status": "Offline"})]));
    server.on("GET /api/v1/agents?status=Degraded&per_page=10", 403, json!({"status": 403, "detail": "no"}));
    server.on("GET /api/v1/jobs?status=AwaitingApproval&per_page=10", 200, list(&[]));
    let out = server.run(&["status"]).ok();
    insta::assert_snapshot!(out.replace(&server.url, "https://SERVER"));
    let document = body(&server.run(&["status", "-o", "json"]).ok());
    assert_eq!((&document["ready"], &document["attention"][0]["name"]), (&json!("ready"), &json!("web-1")));
}

#[test]
fn a_server_that_is_not_ready_fails_the_status() {
    let server = Server::start();
    server.on("GET /health", 200, json!({"status": "ok"}));
    server.on("GET /ready", 503, json!({"status": 503, "detail": "the database is not reached"}));
    server.on("GET /api/v1/version", 200, json!({"version": "0.1.0"}));
    let ran = server.run(&["status"]);
    assert!(ran.out.contains("ready    the database is not reached"), "{ran:?}");
    ran.fails(8);
}
