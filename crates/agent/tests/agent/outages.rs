//! When the server is away, refuses, or is back: nothing is lost, nothing is done twice, and trouble is told.

use std::time::Duration;

use certctl_agent::agent::{Agent, HostSettings, Timing};
use certctl_agent::run::Ended;
use certctl_agent::vitals::{TroubleKind, Vitals};
use certctl_testkit::{wait_for, wait_until};
use serde_json::json;

use crate::common::server::{deployment_item, request_item, with};
use crate::common::{FakeServer, Host, LONG, files_in, quick};

async fn vitals(host: &Host, what: &str, fits: impl Fn(&Vitals) -> bool) -> Vitals {
    wait_for(what, LONG, async || Vitals::load(&host.state).unwrap().filter(&fits)).await
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_is_sent_when_the_server_is_back_even_by_the_next_process() {
    let mut server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    server.script().refuse.push(("/csr", 503));
    let running = host.start().await;
    server.hand_out(request_item("job-1", "mc-web"));
    wait_until("a letter", LONG, async || files_in(&host.state.join("outbox")) == ["job-1~request.json"]).await;
    server.down().await;
    running.kill().await;
    server.script().refuse.clear();
    // The next process begins while the server is still away, and has nothing but the outbox.
    let running = host.start().await;
    vitals(&host, "trouble", |vitals| vitals.trouble.as_ref().is_some_and(|t| t.kind == TroubleKind::Unreachable)).await;
    server.up().await;
    assert_eq!(server.request(0).await.fence, Some(1));
    wait_until("an empty outbox", LONG, async || files_in(&host.state.join("outbox")).is_empty()).await;
    assert_eq!(server.script().requests.len(), 1, "sent once");
    vitals(&host, "the end of the trouble", |vitals| vitals.trouble.is_none()).await;
    assert_eq!(running.stop().await, Ended::Stopped);
}

#[tokio::test]
async fn a_result_waits_for_the_server_while_the_certificate_is_already_in_place() {
    let mut server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    server.has_issued_one().await;
    server.script().refuse.push(("/status", 503));
    server.hand_out(deployment_item("job-1", "mc-web", "tgt-1", host.files_target("web")));
    wait_until("a letter", LONG, async || files_in(&host.state.join("outbox")) == ["job-1~report.json"]).await;
    assert!(host.path("web.pem").exists());
    server.down().await;
    server.script().refuse.clear();
    server.up().await;
    assert_eq!(server.result_of("job-1").await.status, "Completed");
    running.stop().await;
}

#[tokio::test]
async fn a_deployment_that_was_cut_short_is_finished_by_the_next_process_and_told_under_its_fence() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    server.has_issued_one().await;
    // The first reload hangs; the second, after the crash, ends at once.
    let script = format!("if [ -e {0}/once ]; then exit 0; fi; touch {0}/once; sleep 600", host.root.display());
    host.allow(&["sh", "-c", &script]);
    let mut config = host.files_target("web");
    config["reload_command"] = json!(["sh", "-c", script]);
    server.hand_out(deployment_item("job-1", "mc-web", "tgt-1", config));
    wait_until("the reload", LONG, async || host.path("once").exists()).await;
    running.kill().await;
    assert_eq!(files_in(&host.state.join("jobs")), ["job-1.json"]);
    assert!(server.result("job-1").is_none());
    let running = host.start().await;
    let result = server.result_of("job-1").await;
    assert_eq!((result.status.as_str(), result.fence), ("Completed", Some(1)), "{result:?}");
    assert!(result.steps.iter().any(|step| step.step == "recover"), "{:?}", result.steps);
    wait_until("nothing in hand", LONG, async || files_in(&host.state.join("jobs")).is_empty()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_retired_agent_ends_for_good() {
    let server = FakeServer::start().await;
    for path in ["/heartbeat", "/work"] {
        let host = Host::enrolled(&server).await;
        server.script().refuse = vec![(path, 410)];
        let running = host.start().await;
        assert_eq!(running.ended().await, Ended::Retired, "{path}");
        let vitals = Vitals::load(&host.state).unwrap().unwrap();
        assert!(vitals.stopped_at.is_some() && vitals.trouble.is_some_and(|trouble| trouble.kind == TroubleKind::Retired));
        server.script().refuse.clear();
    }
}

#[tokio::test]
async fn what_a_proxy_says_retires_nobody_and_drops_no_result() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    server.script().proxy = vec![("/csr", 404), ("/heartbeat", 410)];
    server.hand_out(request_item("job-1", "mc-web"));
    wait_until("a letter", LONG, async || files_in(&host.state.join("outbox")) == ["job-1~request.json"]).await;
    let before = server.script().heartbeats;
    vitals(&host, "trouble", |vitals| vitals.trouble.is_some()).await;
    server.script().proxy.clear();
    server.request(0).await;
    wait_until("heartbeats", LONG, async || server.script().heartbeats > before).await;
    assert_eq!(running.stop().await, Ended::Stopped);
}

#[tokio::test]
async fn a_letter_that_cannot_be_read_for_now_is_kept_and_one_that_is_none_is_given_up() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    server.script().proxy = vec![("/csr", 404)];
    let running = host.start().await;
    server.hand_out(request_item("job-1", "mc-web"));
    let outbox = host.state.join("outbox");
    wait_until("a letter", LONG, async || files_in(&outbox) == ["job-1~request.json"]).await;
    running.kill().await;
    // A link cannot be opened as ours: an error of the file system, as a failing disk gives.
    let (letter, aside) = (outbox.join("job-1~request.json"), host.path("aside"));
    std::fs::rename(&letter, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &letter).unwrap();
    certctl_agent::state::write_private(&outbox.join("job-2~report.json"), b"{").unwrap();
    server.script().proxy.clear();
    let running = host.start().await;
    wait_until("the damaged one to be given up", LONG, async || files_in(&outbox) == ["job-1~request.json"]).await;
    let before = server.script().heartbeats;
    wait_until("more rounds", LONG, async || server.script().heartbeats > before + 5).await;
    std::fs::rename(&aside, &letter).unwrap();
    assert!(server.request(0).await.job_id.is_some_and(|job| job.to_string() == "job-1"));
    running.stop().await;
}

#[tokio::test]
async fn a_deployment_that_hangs_is_given_up_and_tried_again() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start_with(Timing { deployment: Duration::from_secs(2), ..quick() }).await;
    server.has_issued_one().await;
    let script = format!("if [ -e {0}/once ]; then exit 0; fi; touch {0}/once; sleep 600", host.root.display());
    host.allow(&["sh", "-c", &script]);
    let mut config = host.files_target("web");
    config["reload_command"] = json!(["sh", "-c", script]);
    config["command_timeout"] = json!("10m");
    let item = deployment_item("job-1", "mc-web", "tgt-1", config);
    server.hand_out(item.clone());
    let result = server.result_of("job-1").await;
    assert_eq!((result.status.as_str(), result.permanent, result.fence), ("Failed", false, Some(1)), "{result:?}");
    assert!(result.error.unwrap().contains("did not end within"), "{:?}", result.hint);
    let told = server.script().reports.len();
    let before = server.script().heartbeats;
    wait_until("some time", LONG, async || server.script().heartbeats > before + 10).await;
    assert_eq!(server.script().reports.len(), told, "the lease is not renewed any more");
    // The next try finishes what was begun.
    server.hand_out(with(item, "fence", json!(2)));
    wait_until("the end of the second try", LONG, async || server.result("job-1").is_some_and(|r| r.fence == Some(2))).await;
    assert_eq!(server.result("job-1").unwrap().status, "Completed");
    running.stop().await;
}

#[tokio::test]
async fn a_deployment_that_hangs_while_it_is_finished_does_not_keep_others_waiting() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    server.has_issued_one().await;
    // The reload hangs until it may go, also after the crash.
    let script = format!("while [ ! -e {0}/go ]; do echo >> {0}/tried; sleep 0.05; done", host.root.display());
    host.allow(&["sh", "-c", &script]);
    let mut config = host.files_target("web");
    config["reload_command"] = json!(["sh", "-c", script]);
    config["command_timeout"] = json!("10m");
    server.hand_out(deployment_item("job-1", "mc-web", "tgt-1", config));
    wait_until("the reload", LONG, async || host.path("tried").exists()).await;
    running.kill().await;
    let running = host.start_with(Timing { patience: Duration::from_millis(200), ..quick() }).await;
    server.hand_out(deployment_item("job-2", "mc-web", "tgt-2", host.files_target("other")));
    assert_eq!(server.result_of("job-2").await.status, "Completed");
    assert!(server.result("job-1").is_none());
    certctl_agent::state::write_private(&host.path("go"), b"").unwrap();
    assert_eq!(server.result_of("job-1").await.status, "Completed");
    running.stop().await;
}

#[tokio::test]
async fn a_refused_credential_is_told_with_what_to_do_and_forgiven_when_it_is_accepted_again() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    server.script().refuse = vec![("/heartbeat", 401), ("/work", 403)];
    let running = host.start().await;
    let refused = vitals(&host, "the refusal", |vitals| vitals.trouble.is_some()).await.trouble.unwrap();
    assert_eq!(refused.kind, TroubleKind::Refused);
    assert!(refused.hint.unwrap().contains("certctl-agent enroll --replace"));
    server.script().refuse.clear();
    vitals(&host, "the end of the refusal", |vitals| vitals.trouble.is_none()).await;
    running.stop().await;
}

#[tokio::test]
async fn failures_are_not_answered_with_a_storm() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    server.script().refuse = vec![("/work", 500)];
    let running = host.start().await;
    let beats = async || server.script().heartbeats;
    wait_until("heartbeats in spite of it", LONG, async || beats().await >= 3).await;
    server.script().refuse.clear();
    wait_until("questions", LONG, async || server.script().questions > 0).await;
    // A server that answers at once without work is asked at a pace: 20 ms here, and the server holds each question besides.
    let before = server.script().questions;
    let from = beats().await;
    wait_until("some time", LONG, async || beats().await >= from + 10).await;
    assert!(server.script().questions - before < 60);
    running.stop().await;
}

#[tokio::test]
async fn the_clock_is_told_and_not_corrected() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    server.script().skew_ms = 45_000;
    let running = host.start().await;
    assert!(vitals(&host, "the skew", |vitals| vitals.clock_skew_ms == Some(45_000)).await.clock_is_off());
    server.script().skew_ms = -5;
    assert!(!vitals(&host, "the right time", |vitals| vitals.clock_skew_ms == Some(-5)).await.clock_is_off());
    running.stop().await;
}

#[tokio::test]
async fn two_agents_do_not_share_a_state_directory() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    let running = host.start().await;
    let error = host.state.lock().await.unwrap_err();
    assert!(error.to_string().contains("another certctl-agent") && error.advice().unwrap().contains("--state-dir"));
    running.stop().await;
    host.state.lock().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_not_enrolled_says_how() {
    let host = Host::new();
    let error = Agent::open(&host.state, HostSettings::default(), quick()).unwrap_err();
    assert!(error.to_string().contains("not enrolled") && error.advice().unwrap().contains("certctl-agent enroll"));
}
