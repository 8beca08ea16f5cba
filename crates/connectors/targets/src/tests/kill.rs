//! A real process that is really killed (SIGKILL) at every step.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use certctl_domain::secret::Secret;
use serde_json::json;

use super::crash::{points, scene};
use super::support::{Issued, Stage, served};
use crate::TARGETS;
use crate::deploy::with_faults;

const MARK: &str = "CERTCTL_TEST_KILL_AT";
const NAME: &str = "tests::kill::minus_nine_at_every_step";

#[tokio::test(flavor = "multi_thread")]
async fn minus_nine_at_every_step() {
    if let Some(task) = std::env::var_os(MARK) {
        return die("NGINX", task.to_str().unwrap()).await;
    }
    let scene = scene().await;
    let target = scene.nginx.target(&scene.stage, json!({}));
    let n_points = points(&scene, &*target).await.len();
    let config = scene.nginx.config(&scene.stage, json!({}));
    std::fs::write(scene.stage.path("target.json"), config.to_string()).unwrap();

    for nth in 0..n_points {
        let new = scene.authority.issue("one.example.test");
        killed(NAME, MARK, &scene.stage, &new, nth);
        assert!(served(&scene.nginx.address(), "one.example.test").await.is_some(), "{nth}: something is served all the time");
        scene.stage.recover().await;
        let installed = scene.stage.installed().fingerprint();
        // The next deployment, of the same material, ends served whatever had happened.
        let report = scene.stage.deploy(&*target, &new).await;
        assert!(report.succeeded(), "{nth}: {installed} {report:#?}");
        scene.assert_settled(&new, &format!("point {nth}")).await;
    }
}

/// Deploys in a child process, the same test again, which is killed at the point with this number.
pub(super) fn killed(test: &str, mark: &str, stage: &Stage, new: &Issued, nth: usize) {
    std::fs::write(stage.path("new.pem"), &new.fullchain).unwrap();
    std::fs::write(stage.path("new.key"), new.key.expose()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(mark, format!("{nth}:{}", stage.root.display()))
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(9), "{nth}: {}", String::from_utf8_lossy(&output.stdout));
}

/// The child: deploys to a target of this kind and kills itself at the point with this number.
pub(super) async fn die(kind: &str, task: &str) {
    let (nth, root) = task.split_once(':').unwrap();
    let nth: usize = nth.parse().unwrap();
    let stage = Stage::at(root.as_ref());
    let target = TARGETS.build(kind, serde_json::from_str(&stage.read("target.json")).unwrap()).unwrap();
    let new = Issued { fullchain: stage.read("new.pem"), key: Secret::new(stage.read("new.key")) };
    let passed = AtomicUsize::new(0);
    let fault = move |_| {
        if passed.fetch_add(1, Ordering::AcqRel) == nth {
            nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        false
    };
    with_faults(fault, stage.deploy(&*target, &new)).await;
}
