//! A real process that is really killed (SIGKILL) at every step, in the middle of HAProxy's transaction too.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use certctl_domain::secret::Secret;
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use super::crash::points;
use super::process::{FILES, SSL, Scene};
use crate::TARGETS;
use crate::deploy::with_faults;
use crate::tests::support::{Issued, Stage, served};

const MARK: &str = "CERTCTL_TEST_HAPROXY_KILL_AT";
const NAME: &str = "tests::haproxy::kill::minus_nine_at_every_step";

#[tokio::test(flavor = "multi_thread")]
async fn minus_nine_at_every_step() {
    if let Some(task) = std::env::var_os(MARK) {
        return die(task.to_str().unwrap()).await;
    }
    let scene = Scene::start(FILES).await;
    let (target, worker) = (scene.target(json!({})), scene.worker());
    let n_points = points(&scene, &*target).await.len();
    std::fs::write(scene.stage.path("target.json"), scene.config(json!({})).to_string()).unwrap();

    for nth in 0..n_points {
        let new = scene.new_one();
        std::fs::write(scene.stage.path("new.pem"), &new.fullchain).unwrap();
        std::fs::write(scene.stage.path("new.key"), new.key.expose()).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(MARK, format!("{nth}:{}", scene.stage.root.display()))
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(9), "{nth}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(served(&scene.address(), "one.example.test").await.is_some(), "{nth}: something is served all the time");
        scene.stage.recover().await;
        // The next deployment, of the same material, ends served whatever had happened.
        let report = scene.stage.deploy(&*target, &new).await;
        assert!(report.succeeded(), "{nth}: {report:#?}");
        scene.assert_settled(&new, &format!("point {nth}")).await;
        assert_eq!(scene.known(), SSL, "{nth}");
    }
    assert_eq!((scene.worker(), scene.reloads()), (worker, 0));
}

/// The child: deploys and kills itself at the point with this number.
async fn die(task: &str) {
    let (nth, root) = task.split_once(':').unwrap();
    let nth: usize = nth.parse().unwrap();
    let stage = Stage::at(root.as_ref());
    let target = TARGETS.build("HAProxy", serde_json::from_str(&stage.read("target.json")).unwrap()).unwrap();
    let new = Issued { fullchain: stage.read("new.pem"), key: Secret::new(stage.read("new.key")) };
    let passed = AtomicUsize::new(0);
    let fault = move |_| {
        if passed.fetch_add(1, Ordering::AcqRel) == nth {
            kill(nix::unistd::getpid(), Signal::SIGKILL).unwrap();
        }
        false
    };
    with_faults(fault, stage.deploy(&*target, &new)).await;
}
