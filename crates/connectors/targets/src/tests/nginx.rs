//! A real nginx.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use certctl_connector_core::report::{Outcome, Proof, Step};
use rcgen::KeyPair;
use serde_json::json;

use super::support::{Authority, Issued, Nginx, Stage, eventually, served};
use crate::TARGETS;

const TWO_NAMES: &str = "\
    server { listen 127.0.0.1:{port} ssl; listen 127.0.0.2:{port} ssl; server_name one.example.test;\n\
      ssl_certificate {ssl}/cert.pem; ssl_certificate_key {ssl}/key.pem; return 200; }\n\
    server { listen 127.0.0.1:{port} ssl; server_name two.example.test;\n\
      ssl_certificate {ssl}/two.pem; ssl_certificate_key {ssl}/two.key; return 200; }\n";

struct Scene {
    stage: Stage,
    nginx: Nginx,
    authority: Authority,
    old: Issued,
    two: Issued,
}

async fn scene() -> Scene {
    let (stage, authority) = (Stage::new(), Authority::new());
    let (old, two) = (authority.issue("one.example.test"), authority.issue("two.example.test"));
    old.install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    two.install(&stage.path("ssl/two.pem"), &stage.path("ssl/two.key"));
    let nginx = Nginx::start(&stage, TWO_NAMES).await;
    Scene { stage, nginx, authority, old, two }
}

impl Scene {
    async fn assert_served(&self, one: &Issued) {
        for (name, issued) in [("one.example.test", one), ("two.example.test", &self.two)] {
            // With its intermediate; a slow machine may still have an old worker that answers.
            let chain = issued.material().chain_fingerprints();
            let address = self.nginx.address();
            eventually(name, async || served(&address, name).await.is_some_and(|report| report.chain_fingerprints == chain)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_name_is_served_its_own_certificate_at_every_address() {
    let scene = scene().await;
    let new = scene.authority.issue("one.example.test");
    let target = scene.nginx.target(&scene.stage, json!({}));
    let report = scene.stage.deploy(&*target, &new).await;

    assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{report:#?}");
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    // Both addresses were found in the configuration.
    let port = scene.nginx.port;
    let asked: Vec<_> = report.served.iter().map(|s| (s.address.clone(), s.server_name.clone().unwrap())).collect();
    assert_eq!(asked, ["127.0.0.1", "127.0.0.2"].map(|ip| (format!("{ip}:{port}"), "one.example.test".to_owned())));
    scene.assert_served(&new).await;
    scene.stage.assert_clean(&["cert.pem", "key.pem", "two.key", "two.pem"]);
    assert_eq!(scene.stage.installed().fingerprint(), new.fingerprint());
    // The replaced pair is kept, out of the served directory and closed to others.
    let backup = report.backup.unwrap();
    assert_eq!(fs::read_to_string(backup.join("1-cert.pem")).unwrap(), scene.old.material().fullchain_pem());
    assert_eq!(scene.stage.mode("state").0, 0o700);
    let steps: Vec<_> = report.events.iter().map(|event| event.step).collect();
    assert_eq!(steps, [Step::Stage, Step::Check, Step::Swap, Step::Reload, Step::Observe, Step::Commit]);
    assert_eq!(report.events, *scene.stage.events.lock().unwrap(), "told while it happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_time_nothing_is_written_but_it_is_still_proved() {
    let scene = scene().await;
    let new = scene.authority.issue("one.example.test");
    let target = scene.nginx.target(&scene.stage, json!({}));
    scene.stage.deploy(&*target, &new).await;
    let inode = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(scene.stage.path(path)).unwrap());
    let before = (inode("ssl/cert.pem"), inode("ssl/key.pem"), fs::read_to_string(scene.nginx.prefix.join("error.log")).unwrap());

    let report = scene.stage.deploy(&*target, &new).await;
    assert_eq!((report.outcome, report.proof), (Outcome::AlreadyServed, Proof::Observed));
    assert_eq!(report.served.len(), 2);
    let reconfigured = |log: &str| log.matches("reconfiguring").count();
    let log = fs::read_to_string(scene.nginx.prefix.join("error.log")).unwrap();
    assert_eq!((inode("ssl/cert.pem"), inode("ssl/key.pem"), reconfigured(&log)), (before.0, before.1, reconfigured(&before.2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_place_that_are_not_served_are_reloaded() {
    let scene = scene().await;
    let new = scene.authority.issue("one.example.test");
    // As after a crash between rename and reload without a journal, or by a human hand.
    new.install(&scene.stage.path("ssl/cert.pem"), &scene.stage.path("ssl/key.pem"));
    let target = scene.nginx.target(&scene.stage, json!({}));
    let report = scene.stage.deploy(&*target, &new).await;
    assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{report:#?}");
    assert!(report.events.iter().any(|e| e.detail.contains("not what is served")));
    scene.assert_served(&new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_nginx_refuses_leaves_every_byte() {
    let scene = scene().await;
    scene.nginx.site(&scene.stage, &format!("{TWO_NAMES}\n no_such_directive on;\n"));
    let before = (scene.stage.read("ssl/cert.pem"), scene.stage.read("ssl/key.pem"));
    let new = scene.authority.issue("one.example.test");
    let target = scene.nginx.target(&scene.stage, json!({}));
    let report = scene.stage.deploy(&*target, &new).await;

    let Outcome::RolledBack(failure) = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(failure.step, Step::Check);
    assert!(failure.reason.contains("unknown directive \"no_such_directive\"") && failure.hint.is_some(), "{failure:?}");
    // The complaint names the file that a person can mend, not the copy that was tested.
    assert!(failure.reason.contains(&format!("{}/conf/sites/web.conf:6", scene.nginx.prefix.display())), "{failure:?}");
    assert_eq!((scene.stage.read("ssl/cert.pem"), scene.stage.read("ssl/key.pem")), before);
    scene.assert_served(&scene.old).await;
    scene.stage.assert_clean(&["cert.pem", "key.pem", "two.key", "two.pem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_is_run_against_the_new_pair() {
    let scene = scene().await;
    // This server uses our certificate with a key of its own: fine with the old certificate, broken with the new.
    fs::copy(scene.stage.path("ssl/key.pem"), scene.stage.path("ssl/own.key")).unwrap();
    scene.nginx.site(&scene.stage, &TWO_NAMES.replace("{ssl}/key.pem", "{ssl}/own.key"));
    let new = scene.authority.issue("one.example.test");
    let target = scene.nginx.target(&scene.stage, json!({}));
    let report = scene.stage.deploy(&*target, &new).await;
    let failure = report.failure().unwrap();
    assert_eq!(failure.step, Step::Check, "{report:#?}");
    assert!(failure.reason.contains("key values mismatch"), "{failure:?}");
    assert!(report.warnings.iter().any(|w| w.contains("not the key")), "{:?}", report.warnings);
    scene.assert_served(&scene.old).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_keeps_the_old_pair_is_rolled_back() {
    let scene = scene().await;
    let reload = scene.stage.script("pretend", "exit 0");
    let target = scene.nginx.target(&scene.stage, json!({"reload_command": reload, "observe": {"attempts": 2}}));
    let report = scene.stage.deploy(&*target, &scene.authority.issue("one.example.test")).await;
    let Outcome::RolledBack(failure) = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(failure.step, Step::Observe);
    assert!(failure.reason.contains("still serves the old certificate"), "{failure:?}");
    assert!(failure.hint.as_ref().unwrap().contains("reload command"), "{failure:?}");
    assert_eq!(report.proof, Proof::Observed, "the old pair was seen again");
    assert_eq!(scene.stage.installed().fingerprint(), scene.old.fingerprint());
    scene.assert_served(&scene.old).await;
    scene.stage.assert_clean(&["cert.pem", "key.pem", "two.key", "two.pem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reload_is_waited_for() {
    let scene = scene().await;
    let reload = scene.nginx.argv(&["-s", "reload", "-c", &scene.nginx.conf()]).join(" ");
    // Returns at once; nginx takes up the files only later, when the first looks have seen the old certificate.
    let later = scene.stage.script("later", &format!("(sleep 0.5; PATH=/usr/sbin:$PATH {reload}) >/dev/null 2>&1 &"));
    let target = scene.nginx.target(&scene.stage, json!({"reload_command": later}));
    let new = scene.authority.issue("one.example.test");
    let report = scene.stage.deploy(&*target, &new).await;
    assert_eq!(report.outcome, Outcome::Deployed, "{report:#?}");
    scene.assert_served(&new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deployment_makes_the_files_and_a_failed_one_removes_them() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let servers = "server { listen 127.0.0.1:{port} ssl; server_name one.example.test;\n\
                   ssl_certificate {ssl}/cert.pem; ssl_certificate_key {ssl}/key.pem; }";
    let mut nginx = Nginx::prepare(&stage, "server { listen 127.0.0.1:{port}; }");
    nginx.run().await;
    nginx.site(&stage, servers);
    let new = authority.issue("one.example.test");

    // The configuration names files that are not there yet; the test passes because it is run against the staged ones.
    let broken = stage.script("broken", "exit 1");
    let report = stage.deploy(&*nginx.target(&stage, json!({"reload_command": broken})), &new).await;
    let Outcome::RolledBack(failure) = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(failure.step, Step::Reload);
    assert!(report.warnings.iter().any(|w| w.contains("no complete pair before")), "{:?}", report.warnings);
    stage.assert_clean(&[]);

    let report = stage.deploy(&*nginx.target(&stage, json!({})), &new).await;
    assert_eq!((&report.outcome, &report.proof, &report.backup), (&Outcome::Deployed, &Proof::Observed, &None), "{report:#?}");
    assert_eq!((stage.mode("ssl/key.pem").0, stage.mode("ssl/cert.pem").0), (0o600, 0o644));
    let is_new = async || served(&nginx.address(), "one.example.test").await.is_some_and(|r| r.leaf_fingerprint == new.fingerprint());
    eventually("the new certificate is served", is_new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_no_server_uses_is_told() {
    let scene = scene().await;
    let mut config = scene.nginx.config(&scene.stage, json!({}));
    config["certificate_path"] = json!(scene.stage.text("ssl/unused.pem"));
    let target = TARGETS.build("nginx", config).unwrap();
    let report = scene.stage.deploy(&*target, &scene.authority.issue("three.example.test")).await;
    assert!(report.warnings.iter().any(|w| w.contains("no server block")), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_served_by_another_server_is_rolled_back() {
    let scene = scene().await;
    let observe = json!({"address": scene.nginx.address(), "server_names": ["one.example.test", "two.example.test"], "attempts": 4});
    let target = scene.nginx.target(&scene.stage, json!({"observe": observe}));
    let report = scene.stage.deploy(&*target, &scene.authority.issue("one.example.test")).await;
    let failure = report.failure().unwrap();
    assert_eq!(failure.step, Step::Observe);
    assert!(failure.reason.contains("two.example.test") && failure.reason.contains("another certificate"), "{failure:?}");
    scene.assert_served(&scene.old).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_certificates_the_one_with_the_right_kind_of_key_is_looked_at() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let rsa = || KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let (ecdsa, old) = (authority.issue("one.example.test"), authority.issue_for("one.example.test", &rsa()));
    ecdsa.install(&stage.path("ssl/ec.pem"), &stage.path("ssl/ec.key"));
    old.install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    let nginx = Nginx::start(
        &stage,
        "server { listen 127.0.0.1:{port} ssl; server_name one.example.test;\n\
         ssl_certificate {ssl}/ec.pem; ssl_certificate_key {ssl}/ec.key;\n\
         ssl_certificate {ssl}/cert.pem; ssl_certificate_key {ssl}/key.pem; }",
    )
    .await;
    let new = authority.issue_for("one.example.test", &rsa());
    let report = stage.deploy(&*nginx.target(&stage, json!({})), &new).await;
    assert_eq!((&report.outcome, &report.proof), (&Outcome::Deployed, &Proof::Observed), "{report:#?}");
    assert_eq!(served(&nginx.address(), "one.example.test").await.unwrap().leaf_fingerprint, ecdsa.fingerprint(), "what most clients get");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_this_machine_does_not_allow_are_named_at_once() {
    let scene = scene().await;
    fs::write(scene.stage.path("commands.toml"), "").unwrap();
    *scene.stage.allow_list.lock().unwrap() = certctl_connector_core::exec::AllowList::load(&scene.stage.path("commands.toml")).unwrap();
    let before = scene.stage.read("ssl/cert.pem");
    let target = scene.nginx.target(&scene.stage, json!({}));
    let error = scene.stage.try_deploy(&*target, &scene.authority.issue("one.example.test"), "job-1").await.unwrap_err();
    let hint = error.advice().unwrap().to_owned();
    assert!(error.to_string().contains("commands.toml"), "{error}");
    assert_eq!(scene.stage.read("ssl/cert.pem"), before);
    assert!(!scene.stage.path("state").exists(), "nothing was begun");
    // What the hint says is enough for both commands.
    fs::write(scene.stage.path("commands.toml"), hint.split_once("\n\n").unwrap().1).unwrap();
    *scene.stage.allow_list.lock().unwrap() = certctl_connector_core::exec::AllowList::load(&scene.stage.path("commands.toml")).unwrap();
    assert!(scene.stage.deploy(&*target, &scene.authority.issue("one.example.test")).await.succeeded());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_handshake_is_lost_while_certificates_change() {
    let scene = Arc::new(scene().await);
    let (stop, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = {
        let (scene, stop, handshakes) = (Arc::clone(&scene), Arc::clone(&stop), Arc::clone(&handshakes));
        tokio::spawn(async move {
            while !stop.load(Ordering::Acquire) {
                assert!(served(&scene.nginx.address(), "one.example.test").await.is_some(), "a handshake was lost");
                handshakes.fetch_add(1, Ordering::AcqRel);
            }
        })
    };
    let target = scene.nginx.target(&scene.stage, json!({}));
    for _ in 0..10 {
        let seen = handshakes.load(Ordering::Acquire);
        let report = scene.stage.deploy(&*target, &scene.authority.issue("one.example.test")).await;
        assert_eq!(report.outcome, Outcome::Deployed, "{report:#?}");
        eventually("the load goes on", async || handshakes.load(Ordering::Acquire) > seen || load.is_finished()).await;
    }
    stop.store(true, Ordering::Release);
    load.await.unwrap();
    assert_eq!(scene.stage.list("state/targets/tgt-1/backups").len(), 3, "the last three pairs are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_seen_in_logs_reports_or_journals() {
    let scene = scene().await;
    let new = scene.authority.issue("one.example.test");
    let report = scene.stage.deploy(&*scene.nginx.target(&scene.stage, json!({})), &new).await;
    let secrets: Vec<_> = [&new, &scene.old].iter().map(|i| i.key.expose().lines().nth(1).unwrap().to_owned()).collect();
    let mut texts = vec![format!("{report:?} {}", serde_json::to_string(&report).unwrap())];
    texts.push(scene.stage.read("state/targets/tgt-1/last-journal.jsonl"));
    texts.extend(["error.log", "access.log"].map(|log| fs::read_to_string(scene.nginx.prefix.join(log)).unwrap()));
    for text in texts {
        assert!(!secrets.iter().any(|secret| text.contains(secret)));
    }
}
