//! A deployment that dies between any two steps, with a real nginx: what is served always belongs together, and the next
//! start brings it to an end.

use std::sync::{Arc, Mutex};

use certctl_connector_core::report::{Outcome, Step};
use certctl_connector_core::target::Target;
use serde_json::json;

use super::support::{Authority, Issued, Nginx, Stage, eventually, served};
use crate::deploy::{Point, with_faults};

const SERVERS: &str = "server { listen 127.0.0.1:{port} ssl; server_name one.example.test;\n\
    ssl_certificate {ssl}/cert.pem; ssl_certificate_key {ssl}/key.pem; return 200; }\n\
    server { listen 127.0.0.1:{port} ssl; server_name two.example.test;\n\
    ssl_certificate {ssl}/two.pem; ssl_certificate_key {ssl}/two.key; return 200; }\n";
const SSL: [&str; 4] = ["cert.pem", "key.pem", "two.key", "two.pem"];

pub(super) struct Scene {
    pub(super) stage: Stage,
    pub(super) nginx: Nginx,
    pub(super) authority: Authority,
    pub(super) old: Issued,
}

pub(super) async fn scene() -> Scene {
    let (stage, authority) = (Stage::new(), Authority::new());
    let old = authority.issue("one.example.test");
    old.install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    authority.issue("two.example.test").install(&stage.path("ssl/two.pem"), &stage.path("ssl/two.key"));
    let nginx = Nginx::start(&stage, SERVERS).await;
    Scene { stage, nginx, authority, old }
}

impl Scene {
    /// What is served is what is installed, and that is whole.
    pub(super) async fn assert_settled(&self, expected: &Issued, what: &str) {
        let installed = self.stage.installed();
        assert_eq!(installed.fingerprint(), expected.fingerprint(), "{what}: installed");
        // nginx may still be on its way when the journal knew that the reload had been asked for.
        let address = self.nginx.address();
        eventually(what, async || {
            served(&address, "one.example.test").await.is_some_and(|report| report.leaf_fingerprint == expected.fingerprint())
        })
        .await;
        self.stage.assert_clean(&SSL);
        assert_eq!(self.stage.recover().await, [], "{what}: nothing is left to recover");
    }

    /// A target that is rolled back, because it asks for the new certificate under a name that has another.
    fn doomed(&self) -> Box<dyn Target> {
        let observe = json!({"address": self.nginx.address(), "server_names": ["two.example.test"], "attempts": 1});
        self.nginx.target(&self.stage, json!({"observe": observe}))
    }
}

/// Every point that a deployment passes.
pub(super) async fn points(scene: &Scene, target: &dyn Target) -> Vec<Point> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let record = move |point| {
        note.lock().unwrap().push(point);
        false
    };
    let report = with_faults(record, scene.stage.deploy(target, &scene.authority.issue("one.example.test"))).await.unwrap();
    assert!(report.failure().is_none_or(|failure| failure.step == Step::Observe), "{report:#?}");
    seen.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_way_forward() {
    let scene = scene().await;
    let target = scene.nginx.target(&scene.stage, json!({}));
    let points = points(&scene, &*target).await;
    assert_eq!(points.len(), 18, "{points:?}");
    let begins_to_change = points.iter().position(|point| *point == Point::Swapping).unwrap();
    let mut old = scene.old.clone();
    old.install(&scene.stage.path("ssl/cert.pem"), &scene.stage.path("ssl/key.pem"));
    assert!(scene.stage.deploy(&*target, &old).await.succeeded());

    for (at, point) in points.iter().copied().enumerate() {
        let new = scene.authority.issue("one.example.test");
        let ended = with_faults(move |p| p == point, scene.stage.deploy(&*target, &new)).await;
        assert!(ended.is_none(), "{point:?} was not reached");
        assert!(served(&scene.nginx.address(), "one.example.test").await.is_some(), "{point:?}: something is served all the time");
        let recovered = scene.stage.recover().await;
        let expected = if at < begins_to_change { &old } else { &new };
        match recovered.as_slice() {
            // Before there is a journal, and after it is closed, there is nothing to do.
            [] => assert!(matches!(point, Point::Locked | Point::CleanedUp), "{point:?}"),
            [report] if at < begins_to_change => {
                assert!(matches!(&report.outcome, Outcome::RolledBack(f) if f.step == Step::Recover), "{point:?}: {report:#?}");
            }
            [report] => assert_eq!(report.outcome, Outcome::Deployed, "{point:?}: {report:#?}"),
            _ => panic!("{recovered:#?}"),
        }
        scene.assert_settled(expected, &format!("{point:?}")).await;
        if at >= begins_to_change {
            old = new;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_way_back() {
    let scene = scene().await;
    let target = scene.doomed();
    let points = points(&scene, &*target).await;
    let turn = points.iter().position(|point| *point == Point::RollingBack).unwrap();
    assert_eq!(points.len() - turn, 8, "{points:?}");
    for point in points.into_iter().skip(turn) {
        let ended = with_faults(move |p| p == point, scene.stage.deploy(&*target, &scene.authority.issue("one.example.test"))).await;
        assert!(ended.is_none(), "{point:?} was not reached");
        let recovered = scene.stage.recover().await;
        let [report] = recovered.as_slice() else { panic!("{point:?}: {recovered:#?}") };
        assert!(matches!(&report.outcome, Outcome::RolledBack(f) if f.step == Step::Observe), "{point:?}: {report:#?}");
        scene.assert_settled(&scene.old, &format!("{point:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_deployment_recovers_by_itself() {
    let scene = scene().await;
    let target = scene.nginx.target(&scene.stage, json!({}));
    for point in [Point::StagedFile(1), Point::SwappedFile(0), Point::Swapped] {
        let cut = scene.authority.issue("one.example.test");
        assert!(with_faults(move |p| p == point, scene.stage.deploy(&*target, &cut)).await.is_none());
        let new = scene.authority.issue("one.example.test");
        let report = scene.stage.deploy(&*target, &new).await;
        assert_eq!(report.outcome, Outcome::Deployed, "{report:#?}");
        assert!(report.events.iter().any(|event| event.step == Step::Recover), "{point:?}");
        scene.assert_settled(&new, &format!("{point:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn and_again_while_it_recovers() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let mut old = authority.issue("one.example.test");
    old.install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    let reload = stage.script("reload", "exit 0");
    let target = stage.files(json!({"reload_command": reload}));
    let all = {
        let mut all =
            vec![Point::Begun, Point::Staged, Point::Checked, Point::Swapping, Point::SwapDone, Point::Swapped, Point::ReloadDone];
        all.extend([Point::Reloaded, Point::Committed, Point::CleanedUp, Point::RolledBack]);
        all.extend((0..2).flat_map(|n| [Point::BackedUp(n), Point::StagedFile(n), Point::SwappedFile(n)]));
        all
    };
    let mut deaths_in_recovery = 0;
    for first in all.iter().copied() {
        for second in all.iter().copied() {
            let new = authority.issue("one.example.test");
            with_faults(move |p| p == first, stage.deploy(&*target, &new)).await;
            deaths_in_recovery += usize::from(with_faults(move |p| p == second, stage.recover()).await.is_none());
            stage.recover().await;
            let installed = stage.installed().fingerprint();
            assert!([&old, &new].iter().any(|pair| pair.fingerprint() == installed), "{first:?}, {second:?}");
            assert_eq!(stage.list("ssl"), ["cert.pem", "key.pem"], "{first:?}, {second:?}");
            stage.assert_clean(&["cert.pem", "key.pem"]);
            if installed == new.fingerprint() {
                old = new;
            }
        }
    }
    assert!(deaths_in_recovery > 50, "{deaths_in_recovery}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_journal_is_read_up_to_the_tear() {
    let scene = scene().await;
    let target = scene.nginx.target(&scene.stage, json!({}));
    let new = scene.authority.issue("one.example.test");
    assert!(with_faults(|p| p == Point::Swapped, scene.stage.deploy(&*target, &new)).await.is_none());
    let journal = scene.stage.path("state/targets/tgt-1/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.get(..text.len() - 5).unwrap()).unwrap();
    let recovered = scene.stage.recover().await;
    assert!(matches!(recovered.as_slice(), [report] if report.outcome == Outcome::Deployed), "{recovered:#?}");
    scene.assert_settled(&new, "torn").await;

    // Torn in its first record: nothing had been touched.
    std::fs::write(&journal, "{\"record\":\"beg").unwrap();
    assert_eq!(scene.stage.recover().await, []);
    scene.assert_settled(&new, "torn at once").await;

    // Damaged in the middle: a person must look, and is told where.
    std::fs::write(&journal, "nonsense\n{\"record\":\"staged\"}\n").unwrap();
    let error = scene.stage.try_deploy(&*target, &scene.old, "job-2").await.unwrap_err();
    assert!(error.to_string().contains("line 1") && error.advice().unwrap().contains("backups/"), "{error}");
}
