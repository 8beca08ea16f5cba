//! Files that are in place already, and what is kept of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use certctl_connector_core::report::Outcome;
use serde_json::json;

use super::support::{Authority, Stage};

#[tokio::test]
async fn files_that_another_target_wrote_still_reach_the_service() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let issued = authority.issue("web.example.test");
    let tell = |name: &str| stage.script(name, &format!("echo {name} >> {}", stage.text("log")));
    let (first, second) = (tell("first"), tell("second"));
    // The pair was there without anybody being told, then one service is told, then another.
    assert_eq!(stage.deploy(&*stage.files(json!({})), &issued).await.outcome, Outcome::Deployed);
    for (reload, log) in [(first, "first\n"), (second, "first\nsecond\n")] {
        let report = stage.deploy(&*stage.files(json!({"reload_command": reload})), &issued).await;
        assert_eq!((report.outcome, stage.read("log").as_str()), (Outcome::Deployed, log));
    }
    assert_eq!(stage.deploy(&*stage.files(json!({})), &issued).await.outcome, Outcome::AlreadyServed);
    stage.assert_clean(&["cert.pem", "key.pem"]);
}

#[tokio::test]
async fn a_key_is_closed_to_others_and_stays_open_to_its_group() {
    let (stage, authority) = (Stage::new(), Authority::new());
    authority.issue("old.example.test").install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    for (before, after, told) in [(0o644, 0o640, true), (0o640, 0o640, false), (0o400, 0o400, false)] {
        fs::set_permissions(stage.path("ssl/key.pem"), fs::Permissions::from_mode(before)).unwrap();
        let report = stage.deploy(&*stage.files(json!({})), &authority.issue("new.example.test")).await;
        assert!(report.succeeded(), "{report:#?}");
        assert_eq!((stage.mode("ssl/key.pem").0, stage.mode("ssl/cert.pem").0), (after, 0o644));
        assert_eq!(report.warnings.iter().any(|warning| warning.contains("open to everybody")), told, "{:?}", report.warnings);
    }
    // Who wants it open says so.
    let open = stage.deploy(&*stage.files(json!({"key_mode": "0644"})), &authority.issue("new.example.test")).await;
    assert!(open.succeeded() && stage.mode("ssl/key.pem").0 == 0o644);
}
