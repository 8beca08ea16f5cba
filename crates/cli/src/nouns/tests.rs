//! Every noun as it is printed, from documents of the real types; and every flag against the fields of those types.

use certctl_domain::agent::{Agent, EnrollmentToken};
use certctl_domain::audit::AuditEvent;
use certctl_domain::auth::{Actor, ActorDraft, ApiKey, Role, RoleDraft};
use certctl_domain::certificate::{Certificate, CertificateDraft, Version};
use certctl_domain::issuer::{Issuer, IssuerDraft};
use certctl_domain::job::Job;
use certctl_domain::owner::{Owner, OwnerDraft};
use certctl_domain::profile::{Profile, ProfileDraft};
use certctl_domain::renewal::{RenewalPolicy, RenewalPolicyDraft};
use certctl_domain::target::{Target, TargetDraft};
use certctl_domain::team::{Team, TeamDraft};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::doc::{self, Doc};
use crate::noun::{Known, Noun, Show, Takes};
use crate::nouns::actors::Actors;
use crate::nouns::agents::Agents;
use crate::nouns::agents::token::Tokens;
use crate::nouns::audit::Audit;
use crate::nouns::certs::Certs;
use crate::nouns::certs::versions::Issued;
use crate::nouns::issuers::Issuers;
use crate::nouns::jobs::Jobs;
use crate::nouns::keys::Keys;
use crate::nouns::owners::Owners;
use crate::nouns::policies::Policies;
use crate::nouns::profiles::Profiles;
use crate::nouns::roles::Roles;
use crate::nouns::targets::Targets;
use crate::nouns::teams::Teams;
use crate::output::{Format, Look, Output};

fn output(format: Format, columns: Option<u16>, color: bool) -> Output {
    let look = Look { now: "2026-01-01T00:00:00Z".parse().unwrap(), columns, color };
    Output { format, look, quiet: false, live: false }
}

/// The document as the server writes it: through the real type, which refuses what it does not know.
fn real<T: Serialize + DeserializeOwned>(value: Value) -> Doc {
    let typed: T = serde_json::from_value(value).unwrap();
    serde_json::from_str(&serde_json::to_string(&typed).unwrap()).unwrap()
}

fn page(rows: Vec<Doc>) -> Doc {
    let mut page: Doc = serde_json::from_str(r#"{"data": [], "total": 2, "page": 1, "per_page": 50}"#).unwrap();
    page["data"] = Doc::Sequence(rows);
    page
}

/// The table, the wide one, one object, and the names.
fn printed(noun: &Noun, rows: &[Doc]) -> String {
    let list = page(rows.to_vec());
    for column in noun.columns.iter().chain(noun.details) {
        let has = |row: &Doc| column.path.split('.').try_fold(row, |doc, field| doc.get(field)).is_some();
        assert!(rows.iter().any(has), "{}: {} has no field {}", noun.command, column.header, column.path);
        let each = |field| rows.iter().filter_map(|row| doc::at(row, column.path)).any(|list| list[0].get(field).is_some());
        assert!(!matches!(column.show, Show::Each(field) if !each(field)), "{}: {}", noun.command, column.header);
    }
    let part = |name: &str, text: String| format!("---- {name}\n{text}");
    part("table", output(Format::Table, Some(100), false).page_text(noun, &list).unwrap())
        + &part("wide", output(Format::Wide, None, false).page_text(noun, &list).unwrap())
        + &part("one", output(Format::Table, Some(100), false).one_text(noun, &rows[0]).unwrap())
        + &part("name", output(Format::Name, None, false).page_text(noun, &list).unwrap())
}

fn certificate() -> Doc {
    real::<Certificate>(json!({
        "id": "mc-web", "name": "web", "common_name": "web.example.test", "sans": ["web.example.test", "10.0.0.7"],
        "environment": "production", "owner_id": "o-web", "team_id": null, "issuer_id": "iss-local",
        "target_ids": ["tgt-nginx-1", "tgt-nginx-2"], "renewal_policy_id": "rp-default", "certificate_profile_id": "prof-default",
        "key_algorithm": "ECDSA-P256", "status": "Active", "reason": "in use", "hint": null, "next_try_at": "2026-01-21T00:00:00Z",
        "expires_at": "2026-01-30T12:00:00Z", "tags": {"tier": "edge"}, "failures": 0, "last_failure_at": null,
        "last_renewal_at": "2025-12-31T12:00:00Z", "last_deployment_at": "2025-12-31T12:00:05Z", "revoked_at": null,
        "revocation_reason": null, "source": "API", "revision": 3, "created_at": "2025-12-01T00:00:00Z", "updated_at": "2025-12-31T12:00:05Z",
    }))
}

fn failed_certificate() -> Doc {
    real::<Certificate>(json!({
        "id": "mc-api", "name": "api\u{1b}[2J", "common_name": "api.example.test", "sans": ["api.example.test"], "environment": "",
        "owner_id": null, "team_id": null, "issuer_id": "iss-local", "target_ids": [], "renewal_policy_id": "rp-default",
        "certificate_profile_id": "prof-default", "key_algorithm": null, "status": "Failed",
        "reason": "the CA did not answer within ten seconds, twice", "hint": "look whether the CA runs", "next_try_at": "2026-01-01T00:05:00Z",
        "expires_at": null, "tags": {}, "failures": 2, "last_failure_at": "2025-12-31T23:59:00Z", "last_renewal_at": null,
        "last_deployment_at": null, "revoked_at": null, "revocation_reason": null, "source": "API", "revision": 1,
        "created_at": "2025-12-31T23:00:00Z", "updated_at": "2025-12-31T23:59:00Z",
    }))
}

fn job() -> Doc {
    real::<Job>(json!({
        "id": "job-2", "type": "Deployment", "certificate_id": "mc-web", "target_id": "tgt-nginx-1", "agent_id": "ag-web-1",
        "version_id": "ver-1", "status": "Pending", "reason": "attempt 1 failed: nginx refused the new pair", "hint": "run nginx -t on web-1",
        "scheduled_at": "2026-01-01T00:00:30Z", "attempts": 1, "max_attempts": 3, "last_error": "nginx refused the new pair",
        "progress": [{"step": "stage", "detail": "", "at": "2025-12-31T23:59:58Z"}, {"step": "check", "detail": "", "at": "2025-12-31T23:59:59Z"}],
        "verification": {"expected_fingerprint": "ab", "agent": {"verified": false, "actual_fingerprint": "cd", "at": "2025-12-31T23:59:59Z", "error": null}, "server": {"verified": true, "actual_fingerprint": "ab", "at": "2025-12-31T23:59:59Z", "error": null}},
        "requested_by": "actor-admin", "fence": 2, "created_at": "2025-12-31T23:59:00Z", "started_at": "2025-12-31T23:59:57Z",
        "completed_at": null, "updated_at": "2025-12-31T23:59:59Z",
    }))
}

#[test]
fn certificates() {
    insta::assert_snapshot!(printed(Certs::NOUN, &[certificate(), failed_certificate()]));
}

#[test]
fn versions() {
    let version = real::<Version>(json!({
        "id": "ver-1", "certificate_id": "mc-web", "agent_id": "ag-web-1", "issuer_id": "iss-local", "serial_number": "5f3a09c1",
        "fingerprint_sha256": "ab".repeat(32), "not_before": "2025-12-31T12:00:00Z", "not_after": "2026-01-30T12:00:00Z",
        "pem_chain": "-----BEGIN CERTIFICATE-----", "csr_pem": "-----BEGIN CERTIFICATE REQUEST-----", "key_algorithm": "ECDSA", "key_size": 256,
        "state": "superseded", "issuer_ref": {}, "ari": null, "revoked_at": "2026-01-01T00:00:00Z", "revocation_reason": "superseded",
        "created_at": "2025-12-31T12:00:00Z",
    }));
    insta::assert_snapshot!(printed(Issued::NOUN, &[version]));
}

#[test]
fn jobs() {
    insta::assert_snapshot!(printed(Jobs::NOUN, &[job()]));
}

#[test]
fn agents_and_tokens() {
    let agent = real::<Agent>(json!({
        "id": "ag-web-1", "name": "web-1", "hostname": "web-1.example.test", "status": "Offline", "last_heartbeat_at": "2025-12-31T22:00:00Z",
        "registered_at": "2025-12-01T00:00:00Z", "os": "linux", "architecture": "x86_64", "ip_address": "10.0.0.7", "version": "0.1.0",
        "labels": {"rack": "7"}, "clock_skew_ms": 12, "retired_at": null, "retired_reason": null, "revision": 1, "updated_at": "2025-12-31T22:00:00Z",
    }));
    let token = real::<EnrollmentToken>(json!({
        "id": "et-1", "agent_name": "web-1", "labels": {"rack": "7"}, "expires_at": "2026-01-01T01:00:00Z", "used_at": null, "used_by": null,
        "created_by": "actor-admin", "created_at": "2026-01-01T00:00:00Z",
    }));
    insta::assert_snapshot!(printed(Agents::NOUN, &[agent]) + &printed(Tokens::NOUN, &[token]));
}

#[test]
fn issuers_and_targets() {
    let at = "2025-12-01T00:00:00Z";
    let issuer = real::<Issuer>(json!({
        "id": "iss-local", "name": "local", "type": "GenericCA", "config": {"ca": "ca-1", "token": "[redacted]"}, "enabled": true,
        "last_tested_at": at, "test_status": "ok", "revision": 1, "created_at": at, "updated_at": at,
    }));
    let target = real::<Target>(json!({
        "id": "tgt-nginx-1", "name": "nginx-1", "type": "NGINX", "agent_id": "ag-web-1", "config": {"cert_path": "/etc/nginx/web.pem"},
        "enabled": true, "revision": 1, "created_at": at, "updated_at": at,
    }));
    insta::assert_snapshot!(printed(Issuers::NOUN, &[issuer]) + &printed(Targets::NOUN, &[target]));
}

#[test]
fn profiles_and_policies() {
    let at = "2025-12-01T00:00:00Z";
    let profile = real::<Profile>(json!({
        "id": "prof-default", "name": "default", "description": "TLS servers", "allowed_key_algorithms": [{"algorithm": "ECDSA", "min_size": 256}, {"algorithm": "RSA", "min_size": 2048}],
        "max_ttl_seconds": 7776000, "allowed_ekus": ["serverAuth"], "required_san_patterns": ["*.example.test"], "spiffe_uri_pattern": null,
        "allow_short_lived": false, "must_staple": false, "requires_approval": false, "enabled": true, "revision": 1, "created_at": at, "updated_at": at,
    }));
    let policy = real::<RenewalPolicy>(json!({
        "id": "rp-default", "name": "default", "renewal_window_days": 30, "auto_renew": true, "max_retries": 3, "retry_interval_seconds": 3600,
        "alert_thresholds_days": [30, 14, 7, 0], "certificate_profile_id": null, "revision": 1, "created_at": at, "updated_at": at,
    }));
    insta::assert_snapshot!(printed(Profiles::NOUN, &[profile]) + &printed(Policies::NOUN, &[policy]));
}

#[test]
fn owners_and_teams() {
    let at = "2025-12-01T00:00:00Z";
    let owner = real::<Owner>(
        json!({"id": "o-web", "name": "web ops", "email": "web@example.test", "team_id": "t-1", "revision": 1, "created_at": at, "updated_at": at}),
    );
    let team = real::<Team>(json!({"id": "t-1", "name": "platform", "description": "", "revision": 1, "created_at": at, "updated_at": at}));
    insta::assert_snapshot!(printed(Owners::NOUN, &[owner]) + &printed(Teams::NOUN, &[team]));
}

#[test]
fn actors_roles_and_keys() {
    let at = "2025-12-01T00:00:00Z";
    let actor = real::<Actor>(json!({
        "id": "actor-prometheus", "type": "APIKey", "name": "Prometheus scrape", "roles": [{"role_id": "r-metrics-read", "scope_type": "global", "expires_at": null}],
        "disabled_at": null, "revision": 1, "created_at": at, "updated_at": at,
    }));
    let role = real::<Role>(json!({
        "id": "r-metrics-read", "tenant_id": "t-default", "name": "metrics-read", "description": "Scrapes metrics", "system": true,
        "permissions": [{"permission": "metrics.read", "scope_type": "global"}, {"permission": "stats.read", "scope_type": "global"}],
        "revision": 1, "created_at": at, "updated_at": at,
    }));
    let key = real::<ApiKey>(json!({
        "id": "ak-1", "actor_id": "actor-prometheus", "name": "scrape", "prefix": "ck_0123456789ab", "created_at": at, "created_by": "actor-admin",
        "expires_at": "2026-03-01T00:00:00Z", "revoked_at": null, "last_used_at": "2025-12-31T23:59:00Z", "rotated_to": null,
    }));
    insta::assert_snapshot!(printed(Actors::NOUN, &[actor]) + &printed(Roles::NOUN, &[role]) + &printed(Keys::NOUN, &[key]));
}

#[test]
fn audit() {
    let event = real::<AuditEvent>(json!({
        "id": "audit-1", "actor": "actor-admin", "actor_type": "APIKey", "action": "certificate.create", "resource_type": "certificate",
        "resource_id": "mc-web", "details": {"name": "web"}, "timestamp": "2025-12-31T23:00:00Z", "event_category": "cert_lifecycle",
        "request_id": "req-1", "sequence": 7, "row_hash": "ab".repeat(32),
    }));
    insta::assert_snapshot!(printed(Audit::NOUN, &[event]));
}

#[test]
fn json_and_yaml_are_the_servers_document() {
    let list = page(vec![certificate()]);
    insta::assert_snapshot!("json", output(Format::Json, None, false).page_text(Certs::NOUN, &list).unwrap());
    insta::assert_snapshot!("yaml", output(Format::Yaml, None, false).page_text(Certs::NOUN, &list).unwrap());
    let planted = output(Format::Yaml, None, false).one_text(Certs::NOUN, &failed_certificate()).unwrap();
    assert!(!planted.contains('\u{1b}'), "{planted}");
    let lines = output(Format::Ndjson, None, false).page_text(Certs::NOUN, &page(vec![certificate(), failed_certificate()])).unwrap();
    assert_eq!(
        lines.lines().map(|line| serde_json::from_str::<Certificate>(line).unwrap().name).collect::<Vec<_>>(),
        ["web", "api\u{1b}[2J"]
    );
}

#[test]
fn csv_has_every_column_and_the_servers_times() {
    let text = output(Format::Csv, None, false).page_text(Certs::NOUN, &page(vec![certificate(), failed_certificate()])).unwrap();
    insta::assert_snapshot!(text.replace("\r\n", "\n"));
}

#[test]
fn a_narrow_terminal_wraps_and_loses_nothing() {
    insta::assert_snapshot!(
        output(Format::Table, Some(60), false).page_text(Certs::NOUN, &page(vec![certificate(), failed_certificate()])).unwrap()
    );
}

#[test]
fn colors_mark_what_the_words_say_anyway() {
    let rows = page(vec![certificate(), failed_certificate()]);
    let colored = output(Format::Table, Some(100), true).page_text(Certs::NOUN, &rows).unwrap();
    assert!(colored.contains("\u{1b}[") && colored.contains("Failed"));
    let without = console::strip_ansi_codes(&colored).lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    assert_eq!(without.trim_end(), output(Format::Table, Some(100), false).page_text(Certs::NOUN, &rows).unwrap().trim_end());
}

#[test]
fn an_empty_list_prints_nothing() {
    for format in [Format::Table, Format::Wide, Format::Name, Format::Ndjson] {
        assert_eq!(output(format, None, false).page_text(Certs::NOUN, &page(vec![])).unwrap(), "", "{format:?}");
    }
}

#[test]
fn every_field_flag_fills_a_field_of_the_draft() {
    fn check<D: DeserializeOwned>(noun: &Noun) {
        let body: Value =
            noun.fields.iter().map(|flag| (flag.field.to_owned(), sample(flag.takes))).collect::<serde_json::Map<_, _>>().into();
        let read = serde_json::from_value::<D>(body);
        assert!(read.is_ok(), "{}: {}", noun.command, read.err().unwrap());
    }
    check::<CertificateDraft>(Certs::NOUN);
    check::<ProfileDraft>(Profiles::NOUN);
    check::<RenewalPolicyDraft>(Policies::NOUN);
    check::<IssuerDraft>(Issuers::NOUN);
    check::<TargetDraft>(Targets::NOUN);
    check::<OwnerDraft>(Owners::NOUN);
    check::<TeamDraft>(Teams::NOUN);
    check::<ActorDraft>(Actors::NOUN);
    check::<RoleDraft>(Roles::NOUN);
}

fn sample(takes: Takes) -> Value {
    match takes {
        Takes::Text | Takes::One(_) => json!("x"),
        Takes::Sans => json!(["web.example.test", "10.0.0.7"]),
        Takes::Choice(words) => json!(words[0]),
        Takes::Choices(words) => json!(words),
        // The only list of free texts that is checked by its type is that of permissions.
        Takes::Texts => json!(["metrics.read"]),
        Takes::Many(_) => json!(["x"]),
        Takes::Number | Takes::Seconds => json!(7),
        Takes::Numbers => json!([7]),
        Takes::Bool => json!(true),
        Takes::FromNow | Takes::Past => json!("2026-01-01T00:00:00Z"),
        Takes::Labels | Takes::Settings => json!({"k": "v"}),
        Takes::KeyRules => json!([{"algorithm": "RSA", "min_size": 3072}]),
    }
}
