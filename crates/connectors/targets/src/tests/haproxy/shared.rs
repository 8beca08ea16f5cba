//! HAProxy has one transaction for everybody: other targets, people, and what a refused pair leaves behind.

use std::time::Duration;

use certctl_connector_core::files::{Attributes, FileMode};
use certctl_connector_core::report::{DeployEvent, Outcome, Proof, Step};
use certctl_connector_core::target::Scene as Surroundings;
use certctl_domain::secret::Secret;
use serde_json::json;

use super::process::{FILES, SSL, Scene};
use crate::deploy::{LiveUpdate, Plan, PlannedFile, deploy};
use crate::haproxy::Runtime;
use crate::observation::Observation;
use crate::tests::support::{now, served};

fn set(scene: &Scene, below: &str, pem: &str) -> String {
    scene.ask(&format!("set ssl cert {} <<\n{pem}", scene.stage.text(below)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_open_transaction_is_neither_taken_over_nor_broken() {
    let scene = Scene::start(FILES).await;
    let theirs = scene.authority.issue("two.example.test").material();
    let said = set(&scene, "ssl/two.pem", &format!("{}{}", theirs.fullchain_pem(), theirs.key_pem().expose()));
    assert!(said.contains("Transaction created"), "{said}");

    // Without a reload it fails, and says whose it is.
    let alone = scene.target(json!({"reload_command": [], "runtime": {"timeout": "100ms"}}));
    let report = scene.stage.deploy(&*alone, &scene.new_one()).await;
    let Outcome::RolledBack(failure) = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(report.proof, Proof::Observed, "{report:#?}");
    assert!(failure.reason.contains("two.pem") && failure.hint.as_ref().unwrap().contains("abort ssl cert"), "{failure:?}");
    assert_eq!(scene.installed(), scene.old.fingerprint());

    // Their transaction is as they left it.
    let said = scene.ask(&format!("commit ssl cert {}", scene.stage.text("ssl/two.pem")));
    assert!(said.contains("Success!"), "{said}");
    let two = served(&scene.address(), "two.example.test").await.unwrap();
    assert_eq!(two.leaf_fingerprint, theirs.fingerprint());
    // Now the way is free.
    let new = scene.new_one();
    assert!(scene.stage.deploy(&*alone, &new).await.succeeded());
    assert_eq!(served(&scene.address(), "one.example.test").await.unwrap().leaf_fingerprint, new.fingerprint());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_transaction_stays_open_a_reload_ends_it() {
    let scene = Scene::start(FILES).await;
    let theirs = scene.authority.issue("two.example.test").material();
    set(&scene, "ssl/two.pem", &format!("{}{}", theirs.fullchain_pem(), theirs.key_pem().expose()));
    let new = scene.new_one();
    let report = scene.stage.deploy(&*scene.target(json!({"runtime": {"timeout": "100ms"}})), &new).await;
    assert_eq!((&report.outcome, scene.reloads()), (&Outcome::Deployed, 1), "{report:#?}");
    assert!(report.warnings.iter().any(|warning| warning.contains("somebody else is changing")), "{:?}", report.warnings);
    scene.assert_settled(&new, "reloaded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_of_one_process_take_turns() {
    let scene = Scene::start(FILES).await;
    let worker = scene.worker();
    let (one, two) = (
        scene.target(json!({"reload_command": []})),
        scene.target(json!({"pem_path": scene.stage.text("ssl/two.pem"), "reload_command": []})),
    );
    let (state_dir, allow_list) = (scene.stage.path("state"), scene.stage.allow_list.lock().unwrap().clone());
    let quiet = |_: &DeployEvent| {};
    for _ in 0..8 {
        let new = [scene.authority.issue("one.example.test").material(), scene.authority.issue("two.example.test").material()];
        let around = |target| Surroundings {
            deployment: "job-1",
            target,
            state_dir: &state_dir,
            allow_list: &allow_list,
            now: now(),
            progress: &quiet,
        };
        let (first, second) = tokio::join!(one.deploy(&new[0], around("tgt-1")), two.deploy(&new[1], around("tgt-2")));
        for report in [first.unwrap(), second.unwrap()] {
            assert_eq!(report.outcome, Outcome::Deployed, "{report:#?}");
        }
        for (name, new) in [("one.example.test", &new[0]), ("two.example.test", &new[1])] {
            assert_eq!(served(&scene.address(), name).await.unwrap().leaf_fingerprint, new.fingerprint(), "{name}");
        }
    }
    assert_eq!((scene.worker(), scene.known()), (worker, SSL.map(str::to_owned).to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pair_is_refused_by_haproxy_itself() {
    let scene = Scene::start(FILES).await;
    let (worker, before, new) = (scene.worker(), scene.stage.read("ssl/one.pem"), scene.new_one());
    // Past our own check: the certificate of one pair with the key of another.
    let wrong = format!("{}{}", new.material().fullchain_pem(), scene.new_one().material().key_pem().expose());
    let reload = certctl_connector_core::exec::Command::new(&[scene.stage.text("reload")], Duration::from_secs(30)).unwrap();
    let plan = Plan {
        files: vec![PlannedFile {
            path: scene.stage.path("ssl/one.pem"),
            contents: Secret::new(wrong.into_bytes()),
            attributes: Attributes::keep_or(FileMode::PRIVATE),
        }],
        check: None,
        live: Some(LiveUpdate::Haproxy(Runtime {
            address: scene.stage.text("admin.sock").parse().unwrap(),
            timeout: Duration::from_secs(10),
        })),
        reload: Some(reload),
        observation: Observation::None { reason: "refused before".to_owned() },
        backups: 3,
        warnings: Vec::new(),
    };
    let (state_dir, allow_list) = (scene.stage.path("state"), scene.stage.allow_list.lock().unwrap().clone());
    let around = Surroundings {
        deployment: "job-1",
        target: "tgt-1",
        state_dir: &state_dir,
        allow_list: &allow_list,
        now: now(),
        progress: &|_| {},
    };
    let report = deploy(plan, &new.material(), around).await.unwrap();
    let Outcome::RolledBack(failure) = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(failure.step, Step::Reload);
    assert!(failure.reason.contains("inconsistencies between private key and certificate"), "{failure:?}");
    // No reload was tried with it, nothing is left open, file and process are as before.
    assert_eq!((scene.stage.read("ssl/one.pem"), scene.worker(), scene.reloads()), (before, worker, 0));
    assert_eq!(scene.known(), SSL);
    scene.assert_settled(&scene.old, "wrong pair").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_is_left_open_by_what_is_refused() {
    let scene = Scene::start(FILES).await;
    let runtime = Runtime { address: scene.stage.text("admin.sock").parse().unwrap(), timeout: Duration::from_secs(10) };
    let one = scene.stage.path("ssl/one.pem");
    let [new, other] = [scene.new_one().material(), scene.new_one().material()];
    let wrong = format!("{}{}", new.fullchain_pem(), other.key_pem().expose());
    for (pem, kind) in [
        // HAProxy sees it at the commit,
        (wrong.as_str(), "Refused"),
        // also that there is no key;
        (new.fullchain_pem().as_str(), "Refused"),
        // at once.
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "Refused"),
        // Larger than its buffer: it hangs up.
        (new.fullchain_pem().repeat(40).as_str(), "Unavailable"),
    ] {
        let error = format!("{:?}", runtime.give(&[&one], pem.as_bytes()).await.unwrap_err());
        assert!(error.starts_with(kind), "{error}");
        assert_eq!(kind == "Unavailable", error.contains("tune.bufsize"), "{error}");
        assert_eq!(scene.known(), SSL, "{error}");
    }
    scene.assert_served(&scene.old).await;
}
