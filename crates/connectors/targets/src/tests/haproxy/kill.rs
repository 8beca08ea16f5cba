//! A real process that is really killed (SIGKILL) at every step, in the middle of HAProxy's transaction too.

use serde_json::json;

use super::crash::points;
use super::process::{FILES, SSL, Scene};
use crate::tests::kill::{die, killed};
use crate::tests::support::served;

const MARK: &str = "CERTCTL_TEST_HAPROXY_KILL_AT";
const NAME: &str = "tests::haproxy::kill::minus_nine_at_every_step";

#[tokio::test(flavor = "multi_thread")]
async fn minus_nine_at_every_step() {
    if let Some(task) = std::env::var_os(MARK) {
        return die("HAProxy", task.to_str().unwrap()).await;
    }
    let scene = Scene::start(FILES).await;
    let (target, worker) = (scene.target(json!({})), scene.worker());
    let n_points = points(&scene, &*target).await.len();
    std::fs::write(scene.stage.path("target.json"), scene.config(json!({})).to_string()).unwrap();

    for nth in 0..n_points {
        let new = scene.new_one();
        killed(NAME, MARK, &scene.stage, &new, nth);
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
