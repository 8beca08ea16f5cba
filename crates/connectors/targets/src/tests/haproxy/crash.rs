//! A deployment that dies between any two steps, in the middle of HAProxy's transaction too: what is served always belongs
//! together, and the next start brings file and process to one end.

use std::sync::{Arc, Mutex};

use certctl_connector_core::report::{Outcome, Step};
use certctl_connector_core::target::Target;
use serde_json::json;

use super::process::{DIRECTORY, FILES, SSL, Scene};
use crate::deploy::{Point, with_faults};
use crate::tests::support::served;

/// Every point that a deployment passes.
pub(super) async fn points(scene: &Scene, target: &dyn Target) -> Vec<Point> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let record = move |point| {
        note.lock().unwrap().push(point);
        false
    };
    with_faults(record, scene.stage.deploy(target, &scene.new_one())).await.unwrap();
    seen.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_way_forward() {
    let scene = Scene::start(FILES).await;
    let (target, worker) = (scene.target(json!({})), scene.worker());
    let points = points(&scene, &*target).await;
    assert_eq!(points.len(), 17, "{points:?}");
    assert!(points.contains(&Point::LiveSet) && points.contains(&Point::LiveGiven), "{points:?}");
    let begins_to_change = points.iter().position(|point| *point == Point::Swapping).unwrap();
    let mut old = scene.old.clone();
    assert!(scene.stage.deploy(&*target, &old).await.succeeded());

    for (at, point) in points.iter().copied().enumerate() {
        let new = scene.new_one();
        assert!(with_faults(move |p| p == point, scene.stage.deploy(&*target, &new)).await.is_none(), "{point:?} was not reached");
        assert!(served(&scene.address(), "one.example.test").await.is_some(), "{point:?}: something is served all the time");
        let recovered = scene.stage.recover().await;
        match recovered.as_slice() {
            // Before there is a journal, and after it is closed, there is nothing to do.
            [] => assert!(matches!(point, Point::Locked | Point::CleanedUp), "{point:?}"),
            [report] if at < begins_to_change => {
                assert!(matches!(&report.outcome, Outcome::RolledBack(f) if f.step == Step::Recover), "{point:?}: {report:#?}");
            }
            [report] => assert_eq!(report.outcome, Outcome::Deployed, "{point:?}: {report:#?}"),
            _ => panic!("{recovered:#?}"),
        }
        if at >= begins_to_change {
            old = new;
        }
        scene.assert_settled(&old, &format!("{point:?}")).await;
        assert_eq!(scene.known(), SSL, "{point:?}: no transaction is left open");
    }
    assert_eq!((scene.worker(), scene.reloads()), (worker, 0), "all that without a reload");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_way_back() {
    let scene = Scene::start(FILES).await;
    let (target, worker) = (scene.doomed(), scene.worker());
    let points = points(&scene, &*target).await;
    let turn = points.iter().position(|point| *point == Point::RollingBack).unwrap();
    let back = &points[turn..];
    assert!(back.contains(&Point::LiveSet) && back.len() == 9, "{points:?}");
    for point in back.iter().copied() {
        // What is passed twice dies the second time: on the way back.
        let passes = points[..turn].contains(&point);
        let passed = Mutex::new(false);
        let fault = move |p| p == point && (!passes || std::mem::replace(&mut *passed.lock().unwrap(), true));
        assert!(with_faults(fault, scene.stage.deploy(&*target, &scene.new_one())).await.is_none(), "{point:?} was not reached");
        let recovered = scene.stage.recover().await;
        let [report] = recovered.as_slice() else { panic!("{point:?}: {recovered:#?}") };
        assert!(matches!(&report.outcome, Outcome::RolledBack(f) if f.step == Step::Observe), "{point:?}: {report:#?}");
        scene.assert_settled(&scene.old, &format!("{point:?}")).await;
        assert_eq!(scene.known(), SSL, "{point:?}: no transaction is left open");
    }
    assert_eq!((scene.worker(), scene.reloads()), (worker, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_deployment_recovers_by_itself() {
    let scene = Scene::start(FILES).await;
    let target = scene.target(json!({}));
    for point in [Point::Staged, Point::SwapDone, Point::LiveSet, Point::LiveGiven] {
        let cut = scene.new_one();
        assert!(with_faults(move |p| p == point, scene.stage.deploy(&*target, &cut)).await.is_none());
        let new = scene.new_one();
        let report = scene.stage.deploy(&*target, &new).await;
        assert_eq!(report.outcome, Outcome::Deployed, "{report:#?}");
        assert!(report.events.iter().any(|event| event.step == Step::Recover), "{point:?}");
        scene.assert_settled(&new, &format!("{point:?}")).await;
    }
    assert_eq!(scene.reloads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_haproxy_that_starts_in_between_loads_no_staged_file_and_no_backup() {
    let scene = Scene::start(DIRECTORY).await;
    let target = scene.target(json!({}));
    for point in [Point::Staged, Point::Checked, Point::SwapDone, Point::Committed] {
        let new = scene.new_one();
        assert!(with_faults(move |p| p == point, scene.stage.deploy(&*target, &new)).await.is_none());
        let worker = scene.worker();
        std::process::Command::new(scene.stage.path("reload")).status().unwrap();
        scene.reloaded(&worker).await;
        assert_eq!(scene.known(), SSL, "{point:?}");
        scene.stage.recover().await;
        assert!(scene.stage.deploy(&*target, &new).await.succeeded());
        scene.assert_settled(&new, &format!("{point:?}")).await;
        assert!(!scene.stage.list("state/targets/tgt-1/backups").is_empty());
    }
}
