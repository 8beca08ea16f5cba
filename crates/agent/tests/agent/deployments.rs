//! Deployments to plain files, from the request to the report.

use std::path::Path;

use certctl_pki::certificate::Certificate;
use certctl_testkit::wait_until;
use serde_json::{Value, json};

use crate::common::server::{deployment_item, request_item, with};
use crate::common::{FakeServer, Host, LONG, Running, files_in, read};

/// An agent that holds the key of an issued certificate.
struct Ready {
    server: FakeServer,
    host: Host,
    running: Running,
    fingerprint: String,
}

async fn ready() -> Ready {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    server.hand_out(request_item("job-key", "mc-web"));
    let request = server.request(0).await;
    let fingerprint = server.issue(&request, "ver-1");
    Ready { server, host, running, fingerprint }
}

fn fingerprint_in(path: &Path) -> String {
    Certificate::parse_pem(&read(path)).unwrap().fingerprint().as_str().to_owned()
}

#[tokio::test]
async fn a_certificate_is_requested_issued_and_put_in_place() {
    let Ready { server, host, running, fingerprint } = ready().await;
    server.hand_out(deployment_item("job-1", "mc-web", "tgt-1", host.files_target("web")));
    let result = server.result_of("job-1").await;
    assert_eq!((result.status.as_str(), result.fence, result.error.as_deref()), ("Completed", Some(1), None));
    assert_eq!(fingerprint_in(&host.path("web.pem")), fingerprint);
    certctl_pki::verify::pair_matches(&read(&host.path("web.pem")), &read(&host.path("web.key"))).unwrap();
    let told: Vec<String> = {
        let script = server.script();
        script.reports.iter().filter(|(job, _)| job == "job-1").flat_map(|(_, r)| r.steps.iter().map(|s| s.step.clone())).collect()
    };
    for step in ["fetch", "stage", "swap", "commit"] {
        assert!(told.iter().any(|known| known == step), "{step} in {told:?}");
    }
    wait_until("nothing in hand", LONG, async || {
        files_in(&host.state.join("jobs")).is_empty() && files_in(&host.state.join("outbox")).is_empty()
    })
    .await;
    // The same again is found in place.
    server.hand_out(with(deployment_item("job-2", "mc-web", "tgt-1", host.files_target("web")), "fence", json!(7)));
    assert_eq!(server.result_of("job-2").await.fence, Some(7));
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_deployed_fails_with_what_to_do() {
    let Ready { server, host, running, .. } = ready().await;
    let item = |job: &str| deployment_item(job, "mc-web", "tgt-1", host.files_target("web"));
    let stranger = {
        // A certificate of the same name for a key that is elsewhere.
        let other = certctl_pki::key::PrivateKey::generate(certctl_domain::x509::KeyAlgorithm::EcdsaP256).unwrap();
        let sans = certctl_domain::x509::SanSet::parse(["web.example.test"]).unwrap();
        let pem = server.authority().issue(&certctl_pki::csr::Csr::build(&other, None, &sans).unwrap());
        let fingerprint = Certificate::parse_pem(&pem).unwrap().fingerprint().as_str().to_owned();
        json!({"certificate_pem": pem, "version_id": "ver-1", "fingerprint_sha256": fingerprint, "key_job_id": "job-key"})
    };
    let announced = with(server.script().issued["mc-web"].clone(), "fingerprint_sha256", json!("00".repeat(32)));
    server.script().issued.extend([("mc-stranger".to_owned(), stranger), ("mc-announced".to_owned(), announced)]);
    let unknown_type = with(item("job-1"), "target_type", json!("Teapot"));
    let unknown_setting = with(item("job-2"), "target_config", json!({"certificate_path": "/x", "key_path": "/y", "colour": "red"}));
    let no_target = with(item("job-3"), "target_id", Value::Null);
    let no_certificate = with(item("job-4"), "certificate_id", json!("mc-none"));
    let no_key = with(item("job-5"), "certificate_id", json!("mc-stranger"));
    let other_version = with(item("job-6"), "version_id", json!("ver-9"));
    let other_certificate = with(item("job-7"), "certificate_id", json!("mc-announced"));
    let not_allowed = {
        let mut config = host.files_target("web");
        config["reload_command"] = json!(["touch", "/tmp/never"]);
        with(item("job-8"), "target_config", config)
    };
    let no_directory = with(item("job-9"), "target_config", json!({"certificate_path": "/nowhere/x.pem", "key_path": "/nowhere/x.key"}));
    let cases = [
        ("job-1", unknown_type, "no target kind `Teapot`", "known kinds"),
        ("job-2", unknown_setting, "unknown field `colour`", "Files"),
        ("job-3", no_target, "names no target", ""),
        ("job-4", no_certificate, "cannot be fetched from the server: nothing was issued", "hint for 404"),
        ("job-5", no_key, "not on this machine", "certctl certs renew mc-stranger"),
        ("job-6", other_version, "it is version ver-1", ""),
        ("job-7", other_certificate, "its fingerprint is", ""),
        ("job-8", not_allowed, "not among the commands", "argv = [\"touch\", \"/tmp/never\"]"),
        ("job-9", no_directory, "/nowhere", ""),
    ];
    for (job, item, why, hint) in cases {
        server.hand_out(item);
        let result = server.result_of(job).await;
        assert_eq!(result.status, "Failed");
        let error = result.error.unwrap();
        assert!(error.contains(why), "{job}: {error}");
        assert!(result.hint.clone().unwrap_or_default().contains(hint), "{job}: {:?}", result.hint);
    }
    assert_eq!(files_in(&host.root), ["state"], "nothing was put anywhere");
    running.stop().await;
}

#[tokio::test]
async fn a_reload_command_runs_when_this_machine_allows_it() {
    let Ready { server, host, running, .. } = ready().await;
    let marker = host.path("reloaded");
    let marker = marker.to_str().unwrap();
    let mut config = host.files_target("web");
    config["reload_command"] = json!(["touch", marker]);
    server.hand_out(deployment_item("job-1", "mc-web", "tgt-1", config.clone()));
    assert_eq!(server.result_of("job-1").await.status, "Failed");
    assert!(!host.path("web.pem").exists(), "refused before anything was changed");
    // The list is read at each deployment.
    host.allow(&["touch", marker]);
    server.hand_out(deployment_item("job-2", "mc-web", "tgt-1", config));
    assert_eq!(server.result_of("job-2").await.status, "Completed");
    assert!(Path::new(marker).exists());
    running.stop().await;
}

/// A reload that writes when it begins, and ends when a file appears.
fn gate(host: &Host, name: &str, gate: &str) -> Value {
    let script =
        format!("echo {name} >> {0}/begun; while [ ! -e {0}/{gate} ]; do sleep 0.02; done; echo {name} >> {0}/ended", host.root.display());
    host.allow(&["sh", "-c", &script]);
    let mut config = host.files_target(name);
    config["reload_command"] = json!(["sh", "-c", script]);
    config
}

fn lines(path: &Path) -> Vec<String> {
    if path.exists() { read(path).lines().map(str::to_owned).collect() } else { Vec::new() }
}

fn open(path: &Path) {
    std::fs::File::create(path).unwrap();
}

#[tokio::test]
async fn one_target_takes_turns_and_others_do_not_wait_for_it() {
    let Ready { server, host, running, .. } = ready().await;
    for (job, name, target) in [("job-1", "a", "tgt-1"), ("job-2", "b", "tgt-1"), ("job-3", "c", "tgt-2")] {
        let config = gate(&host, name, &format!("gate-{name}"));
        server.hand_out(deployment_item(job, "mc-web", target, config));
        // Handed out one after another, so that the order of the turns is known.
        wait_until("the job to be taken", LONG, async || server.script().work.is_empty()).await;
    }
    let begun = || lines(&host.path("begun"));
    wait_until("two targets at work", LONG, async || begun().len() == 2).await;
    assert_eq!(
        {
            let mut sorted = begun();
            sorted.sort();
            sorted
        },
        ["a", "c"],
        "the second job of the first target waits"
    );
    // Its lease is kept alive while it waits, and the heart beats.
    let alive = |job: &str| server.script().reports.iter().filter(|(id, report)| id == job && report.status == "Running").count();
    let (before, beats) = (alive("job-2"), server.script().heartbeats);
    wait_until("the waiting job to be kept alive", LONG, async || alive("job-2") > before + 1).await;
    wait_until("the heart to beat", LONG, async || server.script().heartbeats > beats).await;
    // Handed out again meanwhile, it is not begun twice.
    server.hand_out(deployment_item("job-1", "mc-web", "tgt-1", gate(&host, "a", "gate-a")));
    wait_until("the job to be taken", LONG, async || server.script().work.is_empty()).await;
    open(&host.path("gate-c"));
    server.result_of("job-3").await;
    assert_eq!(begun().len(), 2);
    open(&host.path("gate-a"));
    wait_until("the turn of the second", LONG, async || begun().len() == 3).await;
    assert_eq!(begun()[2], "b");
    open(&host.path("gate-b"));
    for job in ["job-1", "job-2"] {
        assert_eq!(server.result_of(job).await.status, "Completed");
    }
    running.stop().await;
    assert_eq!(begun().len(), 3);
}

#[tokio::test]
async fn a_lost_lease_drops_the_result_but_not_the_work() {
    let Ready { server, host, running, fingerprint } = ready().await;
    server.hand_out(deployment_item("job-1", "mc-web", "tgt-1", gate(&host, "web", "gate")));
    wait_until("the reload", LONG, async || !lines(&host.path("begun")).is_empty()).await;
    server.script().refuse.push(("/jobs/job-1/status", 409));
    open(&host.path("gate"));
    wait_until("the end", LONG, async || files_in(&host.state.join("jobs")).is_empty()).await;
    wait_until("an empty outbox", LONG, async || files_in(&host.state.join("outbox")).is_empty()).await;
    assert!(server.result("job-1").is_none());
    assert_eq!(fingerprint_in(&host.path("web.pem")), fingerprint, "what was begun was finished");
    // Under a new fence the answer is taken.
    server.script().refuse.clear();
    server.hand_out(with(deployment_item("job-1", "mc-web", "tgt-1", host.files_target("web")), "fence", json!(2)));
    assert_eq!(server.result_of("job-1").await.fence, Some(2));
    running.stop().await;
}

#[tokio::test]
async fn old_keys_go_when_two_newer_ones_are_in_use() {
    let Ready { server, host, running, .. } = ready().await;
    for round in 1..=3 {
        if round > 1 {
            server.hand_out(request_item(&format!("job-key{round}"), "mc-web"));
            let request = server.request(round - 1).await;
            server.issue(&request, "ver-1");
        }
        let job = format!("job-{round}");
        server.hand_out(deployment_item(&job, "mc-web", "tgt-1", host.files_target("web")));
        assert_eq!(server.result_of(&job).await.status, "Completed");
    }
    wait_until("nothing in hand", LONG, async || files_in(&host.state.join("jobs")).is_empty()).await;
    assert_eq!(files_in(&host.state.join("keys/mc-web")), ["in-use.json", "job-key2.key", "job-key3.key"]);
    running.stop().await;
}

#[tokio::test]
async fn work_of_a_newer_server_is_declined_and_the_rest_is_done() {
    let Ready { server, host, running, .. } = ready().await;
    server.script().work.extend([
        with(deployment_item("job-1", "mc-web", "tgt-1", Value::Null), "type", json!("Teleportation")),
        with(deployment_item("job-2", "mc-web", "tgt-1", Value::Null), "type", json!("Validation")),
    ]);
    server.hand_out(deployment_item("job-3", "mc-web", "tgt-1", host.files_target("web")));
    assert_eq!(server.result_of("job-3").await.status, "Completed");
    let declined = server.result_of("job-1").await;
    assert!(declined.error.unwrap().contains("Teleportation") && declined.hint.unwrap().contains("upgrade") && declined.permanent);
    assert!(server.result_of("job-2").await.error.unwrap().contains("nothing to do for a Validation"));
    running.stop().await;
}
