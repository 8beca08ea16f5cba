//! The program itself: its command line, its exit codes, its signals.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Instant;

use certctl_connector_core::probe::{Question, probe};
use certctl_pki::certificate::Certificate;
use certctl_testkit::{wait_for, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::common::authority::Authority;
use crate::common::server::{deployment_item, request_item};
use crate::common::{FakeServer, Host, LONG, files_in, read};

/// The program with a clean environment, on a machine.
fn program(host: &Host, arguments: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the program under test is run as its users run it")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_certctl-agent"));
    command.env_clear().env("HOME", &host.root).env("CERTCTL_AGENT_STATE_DIR", host.state.path());
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

async fn output(mut command: Command) -> Output {
    tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), signal).unwrap();
}

fn enroll_arguments(host: &Host, server: &FakeServer) -> Vec<String> {
    let ca = host.path("server-ca.pem");
    certctl_agent::state::write_private(&ca, server.ca_pem().as_bytes()).unwrap();
    ["enroll", "--server", &server.url(), "--ca", ca.to_str().unwrap(), "--name", "web1"].map(str::to_owned).to_vec()
}

async fn enroll(host: &Host, server: &FakeServer) -> Output {
    let arguments = enroll_arguments(host, server);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut command = program(host, &arguments);
    command.env("CERTCTL_AGENT_TOKEN", server.token());
    output(command).await
}

#[tokio::test]
async fn help_shows_examples_and_wrong_usage_is_told() {
    let host = Host::new();
    let help = output(program(&host, &["--help"])).await;
    assert!(help.status.success() && out(&help).contains("certctl-agent enroll --server https://"));
    assert!(out(&output(program(&host, &["--version"])).await).starts_with("certctl-agent "));
    assert!(out(&output(program(&host, &["completions", "bash"])).await).contains("certctl-agent"));
    assert_eq!(output(program(&host, &["fly"])).await.status.code(), Some(2));
}

#[tokio::test]
async fn without_an_identity_every_command_says_how_to_get_one() {
    let host = Host::new();
    for (arguments, code) in [(&["run"][..], 78), (&["status"], 1), (&["unenroll", "--yes"], 1), (&["enroll"], 1)] {
        let output = output(program(&host, arguments)).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(
            err(&output).starts_with("error: ") && err(&output).contains("hint: ") && err(&output).contains("certctl"),
            "{}",
            err(&output)
        );
        assert_eq!(out(&output), "");
    }
}

#[tokio::test]
async fn enrolls_runs_tells_how_it_is_and_forgets() {
    let server = FakeServer::start().await;
    let host = Host::new();
    let enrolled = enroll(&host, &server).await;
    assert!(enrolled.status.success(), "{}", err(&enrolled));
    assert!(out(&enrolled).contains("Enrolled as web1 (ag-1)"));
    let again = enroll(&host, &server).await;
    assert!(err(&again).contains("enrolled already") && err(&again).contains("--replace"));

    let stopped = output(program(&host, &["status"])).await;
    assert!(stopped.status.code() == Some(1) && out(&stopped).contains("it does not run"), "{}", out(&stopped));
    let mut child = program(&host, &["run", "--log-format", "json"]).stderr(Stdio::piped()).spawn().unwrap();
    let well = wait_for("an agent that is well", LONG, async || {
        let status = output(program(&host, &["status", "--json"])).await;
        status.status.success().then(|| serde_json::from_str::<Value>(&out(&status)).unwrap())
    })
    .await;
    assert_eq!((&well["name"], &well["running_pid"], &well["problems"]), (&json!("web1"), &json!(child.id().unwrap()), &json!([])));
    let second = output(program(&host, &["run"])).await;
    assert!(second.status.code() == Some(1) && err(&second).contains(&format!("process {}", child.id().unwrap())), "{}", err(&second));
    let held = output(program(&host, &["unenroll", "--yes"])).await;
    assert!(err(&held).contains("another certctl-agent"));

    signal(&child, Signal::SIGTERM);
    let started = Instant::now();
    let ended = child.wait().await.unwrap();
    assert!(ended.success() && started.elapsed().as_secs() < 20);
    let mut log = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut child.stderr.take().unwrap(), &mut log).await.unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    let credential = read(&host.state.join("identity.json"));
    let credential = serde_json::from_str::<Value>(&credential).unwrap()["credential"].as_str().unwrap().to_owned();
    assert!(!log.contains(&credential) && log.contains("the agent has ended"));

    assert!(err(&output(program(&host, &["unenroll"])).await).contains("--yes"));
    let forgotten = output(program(&host, &["unenroll", "--yes"])).await;
    assert!(forgotten.status.success() && out(&forgotten).contains("certctl agents retire ag-1"), "{}", err(&forgotten));
    assert!(!host.state.join("identity.json").exists() && host.state.join("keys").exists());

    // Keys are in backups too.
    let kept = host.state.join("journal/targets/tgt-1/backups/1-job-1/0-web.key");
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    certctl_agent::state::write_private(&kept, b"a key").unwrap();
    assert!(enroll(&host, &server).await.status.success());
    let forgotten = output(program(&host, &["unenroll", "--yes", "--delete-keys"])).await;
    assert!(forgotten.status.success(), "{}", err(&forgotten));
    assert!(!kept.exists() && !host.state.join("keys").exists());
}

#[tokio::test]
async fn a_first_start_can_enroll_by_itself_and_a_token_can_come_from_a_file_or_standard_input() {
    let server = FakeServer::start().await;
    let host = Host::new();
    certctl_agent::state::write_private(&host.path("token"), server.token().as_bytes()).unwrap();
    let mut arguments = enroll_arguments(&host, &server);
    arguments[0] = "run".into();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut command = program(&host, &arguments);
    command.env("CERTCTL_AGENT_TOKEN_FILE", host.path("token"));
    let mut child = command.spawn().unwrap();
    wait_until("a heartbeat", LONG, async || server.script().heartbeats > 0).await;
    signal(&child, Signal::SIGINT);
    assert!(child.wait().await.unwrap().success());

    let mut arguments = enroll_arguments(&host, &server);
    arguments.extend(["--replace", "--token-file", "-"].map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    certctl_agent::state::write_private(&host.path("token"), server.token().as_bytes()).unwrap();
    let mut command = program(&host, &arguments);
    command.stdin(std::fs::File::open(host.path("token")).unwrap());
    let replaced = output(command).await;
    assert!(replaced.status.success(), "{}", err(&replaced));
    assert_eq!(server.script().enrollments.len(), 2);
}

#[tokio::test]
async fn commands_are_allowed_by_hand_and_listed() {
    let host = Host::new();
    assert!(output(program(&host, &["allow", "nginx"])).await.status.success());
    let other = output(program(&host, &["allow", "--", "systemctl", "reload", "nginx"])).await;
    assert!(out(&other).contains("allowed: systemctl reload nginx"), "{}", err(&other));
    let listed = out(&output(program(&host, &["allow"])).await);
    for line in
        [r#"argv = ["nginx", "-t", "-c", "*"]"#, r#"argv = ["nginx", "-s", "reload"]"#, r#"argv = ["systemctl", "reload", "nginx"]"#]
    {
        assert!(listed.lines().any(|listed| listed == line), "{line} in {listed}");
    }
}

/// A deployment that is cut by `how` while its service reloads; returns the machine for the next process.
async fn cut_by(how: Signal, server: &FakeServer) -> Host {
    let host = Host::new();
    assert!(enroll(&host, server).await.status.success());
    let script = format!("if [ -e {0}/once ]; then exit 0; fi; touch {0}/once; sleep 600", host.root.display());
    host.allow(&["sh", "-c", &script]);
    let mut child = program(&host, &["run"]).spawn().unwrap();
    let number = server.script().requests.len();
    server.hand_out(request_item("job-key", "mc-web"));
    let request = server.request(number).await;
    server.issue(&request, "ver-1");
    let mut config = host.files_target("web");
    config["reload_command"] = json!(["sh", "-c", script]);
    config["command_timeout"] = json!("10m");
    server.hand_out(deployment_item("job-1", "mc-web", "tgt-1", config));
    wait_until("the reload", LONG, async || host.path("once").exists()).await;
    let started = Instant::now();
    signal(&child, how);
    child.wait().await.unwrap();
    assert!(started.elapsed().as_secs() < 20, "ended after {:?}", started.elapsed());
    host
}

#[tokio::test]
async fn a_killed_program_finishes_its_deployment_at_the_next_start() {
    for how in [Signal::SIGKILL, Signal::SIGTERM] {
        let server = FakeServer::start().await;
        let host = cut_by(how, &server).await;
        assert_eq!(files_in(&host.state.join("jobs")), ["job-1.json"], "{how}");
        let mut child = program(&host, &["run"]).spawn().unwrap();
        let result = server.result_of("job-1").await;
        assert_eq!(result.status, "Completed", "{how}: {result:?}");
        certctl_pki::verify::pair_matches(&read(&host.path("web.pem")), &read(&host.path("web.key"))).unwrap();
        signal(&child, Signal::SIGTERM);
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn a_retired_agent_ends_with_success_so_that_it_is_not_started_again() {
    let server = FakeServer::start().await;
    let host = Host::enrolled(&server).await;
    server.script().refuse.push(("/work", 410));
    let ended = output(program(&host, &["run"])).await;
    assert!(ended.status.success() && err(&ended).contains("has retired this agent"), "{}", err(&ended));
    assert!(!err(&ended).contains('\u{1b}'), "no color in a file");
}

#[tokio::test]
async fn the_demo_listener_serves_what_is_in_its_files() {
    let host = Host::new();
    let authority = Authority::new("Demo CA");
    let write = |pair: &crate::common::authority::Pair| -> (PathBuf, PathBuf) {
        let (certificate, key) = (host.path("web.pem"), host.path("web.key"));
        certctl_agent::state::write_private(&key, pair.key_pem.as_bytes()).unwrap();
        certctl_agent::state::write_private(&certificate, pair.chain_pem.as_bytes()).unwrap();
        (certificate, key)
    };
    let (first, second) = (authority.server(), authority.server());
    let (certificate, key) = write(&first);
    let arguments =
        ["demo-listener", "--listen", "127.0.0.1:0", "--certificate", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let mut child = program(&host, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("listening on https://").unwrap().parse().unwrap();
    let question = Question { server_name: Some("localhost".into()), key_kind: None, timeout: LONG };
    let leaf = |pair: &crate::common::authority::Pair| Certificate::parse_pem(&pair.chain_pem).unwrap().fingerprint().clone();
    assert_eq!(probe(address, &question).await.unwrap().leaf_fingerprint, leaf(&first));
    write(&second);
    signal(&child, Signal::SIGHUP);
    wait_until("the new pair", LONG, async || probe(address, &question).await.unwrap().leaf_fingerprint == leaf(&second)).await;
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().await.unwrap().success());
    assert!(Path::new(&certificate).exists());
}
