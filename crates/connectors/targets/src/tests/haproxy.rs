//! With a real HAProxy: changed while it runs, reloaded where that is not possible, asked by two names, refused, taken back.

mod crash;
mod kill;
mod process;
mod shared;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use certctl_connector_core::report::{Outcome, Proof, Step};
use serde_json::json;
use tokio::task::JoinSet;

use self::process::{DIRECTORY, FILES, LIST, SSL, Scene};
use super::support::{eventually, served};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_haproxy_takes_up_the_certificate_without_a_reload() {
    let scene = Scene::start(FILES).await;
    fs::set_permissions(scene.stage.path("ssl/one.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let (worker, new) = (scene.worker(), scene.new_one());
    let report = scene.stage.deploy(&*scene.target(json!({})), &new).await;

    assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{report:#?}");
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    assert_eq!((scene.worker(), scene.reloads()), (worker, 0));
    let told = report.events.iter().find(|event| event.step == Step::Reload).unwrap();
    assert_eq!(told.detail, format!("HAProxy took up {} while running", scene.stage.text("ssl/one.pem")));
    scene.assert_settled(&new, "runtime").await;
    assert_eq!(scene.known(), SSL);
    // Found in the configuration and in the certificate.
    let asked: Vec<_> = report.served.iter().map(|s| (s.address.clone(), s.server_name.clone().unwrap())).collect();
    assert_eq!(asked, [(scene.address(), "one.example.test".to_owned())]);
    // Leaf, chain, key; readable for its group as the old file was: HAProxy may read it so at its next start.
    let material = new.material();
    assert_eq!(scene.stage.read("ssl/one.pem"), format!("{}{}", material.fullchain_pem(), material.key_pem().expose()));
    assert_eq!(scene.stage.mode("ssl/one.pem").0, 0o640);
    // The replaced file is kept where HAProxy does not look.
    let backup = report.backup.unwrap();
    assert!(backup.starts_with(scene.stage.path("state")) && fs::read_to_string(backup.join("0-one.pem")).unwrap().contains("PRIVATE KEY"));

    // What was persisted is what a restart serves.
    let report = scene.stage.deploy(&*scene.target(json!({})), &new).await;
    assert_eq!((report.outcome, report.proof), (Outcome::AlreadyServed, Proof::Observed));
    scene.stage.script("restart", &format!("kill -USR2 $(cat {})", scene.stage.text("pid")));
    let worker = scene.worker();
    std::process::Command::new(scene.stage.path("restart")).status().unwrap();
    scene.reloaded(&worker).await;
    scene.assert_served(&new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_for_a_directory_a_list_and_a_tcp_socket() {
    for bind in [DIRECTORY, LIST] {
        let scene = Scene::start(bind).await;
        let (worker, new) = (scene.worker(), scene.new_one());
        let report = scene.stage.deploy(&*scene.target(json!({})), &new).await;
        assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{bind}: {report:#?}");
        assert_eq!((scene.worker(), scene.reloads(), scene.known()), (worker, 0, SSL.map(str::to_owned).to_vec()), "{bind}");
        scene.assert_settled(&new, bind).await;
    }
    let mut scene = Scene::prepare(FILES);
    let runtime = format!("127.0.0.1:{}", super::support::free_port());
    let text = scene.stage.read("haproxy.cfg").replace("global\n", &format!("global\n  stats socket ipv4@{runtime} level admin\n"));
    fs::write(scene.stage.path("haproxy.cfg"), text).unwrap();
    scene.run().await;
    let (worker, new) = (scene.worker(), scene.new_one());
    let report = scene.stage.deploy(&*scene.target(json!({"runtime": {"address": runtime}})), &new).await;
    assert_eq!(report.outcome, Outcome::Deployed, "{report:#?}");
    assert_eq!((scene.worker(), scene.reloads()), (worker, 0));
    scene.assert_settled(&new, "tcp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_be_told_it_is_reloaded() {
    let scene = Scene::start(FILES).await;
    let nowhere = scene.stage.text("nowhere.sock");
    for (settings, warning) in [
        (json!({"runtime": {"enabled": false}}), None),
        (json!({"runtime": {"address": nowhere}}), Some("cannot reach HAProxy's runtime API")),
        (json!({"runtime": {"address": scene.stage.text("operator.sock")}}), Some("level admin")),
    ] {
        let (worker, reloads, new) = (scene.worker(), scene.reloads(), scene.new_one());
        let report = scene.stage.deploy(&*scene.target(settings), &new).await;
        assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{report:#?}");
        assert_eq!(scene.reloads(), reloads + 1, "{report:#?}");
        scene.reloaded(&worker).await;
        match warning {
            None => assert!(report.warnings.is_empty(), "{:?}", report.warnings),
            Some(words) => assert!(report.warnings.iter().any(|warning| warning.contains(words)), "{:?}", report.warnings),
        }
        scene.assert_settled(&new, "reload").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_process_does_not_know_needs_a_reload() {
    let scene = Scene::start(FILES).await;
    scene.configure(&format!("{FILES} crt {{ssl}}/three.pem"));
    let pem_path = scene.stage.text("ssl/three.pem");
    let new = scene.authority.issue("three.example.test");

    // It is told so where there is none, and the file is gone again.
    let alone = scene.target(json!({"pem_path": pem_path, "reload_command": []}));
    let report = scene.stage.deploy(&*alone, &new).await;
    let failure = report.failure().unwrap();
    assert_eq!(failure.step, Step::Reload, "{report:#?}");
    assert!(failure.reason.contains("does not know") && failure.hint.as_ref().unwrap().contains("reload_command"), "{failure:?}");
    scene.stage.assert_clean(&SSL);

    // The check passes although the file that the configuration names is not there yet.
    let report = scene.stage.deploy(&*scene.target(json!({"pem_path": pem_path})), &new).await;
    assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{report:#?}");
    assert!(report.warnings.is_empty() && report.backup.is_none(), "{report:#?}");
    assert_eq!((scene.reloads(), scene.stage.mode("ssl/three.pem").0), (1, 0o600));
    let address = scene.address();
    let is_new = async || served(&address, "three.example.test").await.is_some_and(|r| r.leaf_fingerprint == new.fingerprint());
    eventually("the new name is served", is_new).await;
    scene.assert_served(&scene.old).await;

    // From now on it is known.
    eventually("the new worker answers", async || scene.known().len() == 3).await;
    let worker = scene.worker();
    let next = scene.authority.issue("three.example.test");
    let report = scene.stage.deploy(&*scene.target(json!({"pem_path": pem_path, "reload_command": []})), &next).await;
    assert_eq!((&report.outcome, scene.worker(), scene.reloads()), (&Outcome::Deployed, worker, 1), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_haproxy_refuses_leaves_every_byte() {
    let scene = Scene::start(FILES).await;
    scene.configure(&format!("{FILES}\n  no-such-keyword on"));
    let before = scene.stage.read("ssl/one.pem");
    let report = scene.stage.deploy(&*scene.target(json!({})), &scene.new_one()).await;
    let Outcome::RolledBack(failure) = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(failure.step, Step::Check);
    // The complaint names the file that a person can mend, not the copy that was tested.
    assert!(failure.reason.contains(&format!("{}:13", scene.stage.text("haproxy.cfg"))), "{failure:?}");
    assert!(failure.reason.contains("no-such-keyword") && failure.hint.is_some(), "{failure:?}");
    assert_eq!((scene.stage.read("ssl/one.pem"), scene.reloads()), (before, 0));
    scene.assert_settled(&scene.old, "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_taken_back_in_the_file_and_in_the_process() {
    let scene = Scene::start(FILES).await;
    let (worker, before) = (scene.worker(), scene.stage.read("ssl/one.pem"));
    let report = scene.stage.deploy(&*scene.doomed(), &scene.new_one()).await;
    let Outcome::RolledBack(failure) = &report.outcome else { panic!("{report:#?}") };
    assert_eq!((failure.step, &report.proof), (Step::Observe, &Proof::Observed), "{report:#?}");
    assert_eq!((scene.stage.read("ssl/one.pem"), scene.worker(), scene.reloads()), (before, worker, 0));
    let took = report.events.iter().filter(|event| event.detail.contains("while running")).map(|event| event.step).collect::<Vec<_>>();
    assert_eq!(took, [Step::Reload, Step::RollBack]);
    scene.assert_settled(&scene.old, "rolled back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_does_nothing_is_taken_back() {
    let scene = Scene::start(FILES).await;
    let reload = scene.stage.script("pretend", "exit 0");
    let target = scene.target(json!({"runtime": {"enabled": false}, "reload_command": reload, "observe": {"attempts": 2}}));
    let report = scene.stage.deploy(&*target, &scene.new_one()).await;
    let failure = report.failure().unwrap();
    assert!(failure.step == Step::Observe && failure.reason.contains("still serves the old certificate"), "{failure:?}");
    scene.assert_settled(&scene.old, "pretended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_no_line_uses_is_told_and_observed_names_follow_the_file() {
    let scene = Scene::start(FILES).await;
    let seen = scene.target(json!({})).observe().await.unwrap();
    let seen: Vec<_> = seen.into_iter().map(|s| (s.server_name.unwrap(), s.fingerprint.unwrap())).collect();
    assert_eq!(seen, [("one.example.test".to_owned(), scene.old.fingerprint())]);
    let unused = scene.target(json!({"pem_path": scene.stage.text("unused.pem")}));
    let report = scene.stage.deploy(&*unused, &scene.new_one()).await;
    assert!(report.warnings.iter().any(|warning| warning.contains("no line of the HAProxy configuration")), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_handshake_is_lost_and_no_key_is_seen() {
    let scene = Arc::new(Scene::start(FILES).await);
    let (stop, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for name in ["one.example.test", "two.example.test"] {
        let (scene, stop, handshakes) = (Arc::clone(&scene), Arc::clone(&stop), Arc::clone(&handshakes));
        load.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                assert!(served(&scene.address(), name).await.is_some(), "a handshake was lost");
                handshakes.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
    let (target, worker) = (scene.target(json!({})), scene.worker());
    let mut last = scene.old.clone();
    for _ in 0..5 {
        let seen = handshakes.load(Ordering::Acquire);
        last = scene.new_one();
        let report = scene.stage.deploy(&*target, &last).await;
        assert_eq!(report.outcome, Outcome::Deployed, "{report:#?}");
        let text =
            format!("{report:?} {}{}", serde_json::to_string(&report).unwrap(), scene.stage.read("state/targets/tgt-1/last-journal.jsonl"));
        assert!(!text.contains(last.key.expose().lines().nth(1).unwrap()));
        eventually("the load goes on", async || handshakes.load(Ordering::Acquire) > seen).await;
    }
    stop.store(true, Ordering::Release);
    load.join_all().await;
    assert_eq!((scene.worker(), scene.reloads()), (worker, 0));
    scene.assert_settled(&last, "load").await;
}
