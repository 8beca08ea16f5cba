//! Bad files and bad directories: each a clear error with a hint, and nothing changed.

use std::fs;
use std::os::unix::fs::symlink;

use certctl_connector_core::Retry;
use certctl_connector_core::report::{Failure, Outcome, Step};
use serde_json::{Value, json};

use super::support::{Authority, Issued, Stage, in_own_mounts, mount};
use crate::TARGETS;

/// Deploys, expects to fail while staging, and returns why; every byte below `ssl/` must be as before.
async fn refused(stage: &Stage, config: Value, issued: &Issued) -> Failure {
    let snapshot = || {
        let text = |name: &String| fs::read_to_string(stage.path("ssl").join(name)).unwrap_or_default();
        stage.list("ssl").into_iter().map(|name| (text(&name), name)).collect::<Vec<_>>()
    };
    let before = snapshot();
    let report = stage.deploy(&*TARGETS.build("Files", config).unwrap(), issued).await;
    let Outcome::RolledBack(failure) = report.outcome else { panic!("{report:#?}") };
    assert_eq!(failure.step, Step::Stage, "{failure:?}");
    assert_eq!(snapshot(), before, "something changed");
    assert_eq!(stage.recover().await, []);
    failure
}

fn scene() -> (Stage, Issued) {
    let (stage, authority) = (Stage::new(), Authority::new());
    authority.issue("old.example.test").install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    (stage, authority.issue("new.example.test"))
}

#[tokio::test]
async fn a_missing_owner() {
    let (stage, new) = scene();
    let failure = refused(&stage, stage.pair(json!({"owner": "no-such-user"})), &new).await;
    assert!(failure.reason.contains("no-such-user") && failure.hint.unwrap().contains("useradd"));
}

#[tokio::test]
async fn a_directory_that_is_a_link_or_missing_or_a_file() {
    let (stage, new) = scene();
    symlink(stage.path("ssl"), stage.path("link")).unwrap();
    let mut config = stage.pair(json!({}));
    for (path, why, hint) in [
        ("link/cert.pem", "symbolic link", stage.text("ssl")),
        ("missing/cert.pem", "does not exist", "mkdir".to_owned()),
        ("ssl/key.pem/cert.pem", "not a directory", String::new()),
    ] {
        config["certificate_path"] = json!(stage.text(path));
        let failure = refused(&stage, config.clone(), &new).await;
        assert!(failure.reason.contains(why), "{failure:?}");
        assert!(failure.hint.unwrap_or_default().contains(&hint), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_holds_something_else() {
    let (stage, new) = scene();
    fs::write(stage.path("ssl/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    fs::create_dir(stage.path("ssl/directory")).unwrap();
    fs::write(stage.path("ssl/empty"), "").unwrap();
    for (path, why) in [("ssl/passwd", "not a PEM file"), ("ssl/directory", "not a regular file")] {
        let mut config = stage.pair(json!({}));
        config["certificate_path"] = json!(stage.text(path));
        let failure = refused(&stage, config, &new).await;
        assert!(failure.reason.contains(why) && failure.hint.is_some(), "{failure:?}");
    }
    let mut config = stage.pair(json!({}));
    config["certificate_path"] = json!(stage.text("ssl/empty"));
    assert!(stage.deploy(&*TARGETS.build("Files", config).unwrap(), &new).await.succeeded(), "an empty file is nobody's loss");
}

#[tokio::test]
async fn two_paths_that_lead_to_one_file() {
    let (stage, new) = scene();
    symlink("cert.pem", stage.path("ssl/same.pem")).unwrap();
    let mut config = stage.pair(json!({}));
    config["key_path"] = json!(stage.text("ssl/same.pem"));
    let failure = refused(&stage, config, &new).await;
    assert!(failure.reason.contains("two files") && failure.hint.unwrap().contains("combined"));
}

#[tokio::test]
async fn a_full_disk() {
    if !in_own_mounts("tests::bad_input::a_full_disk") {
        return;
    }
    let (stage, new) = scene();
    mount(&["-t", "tmpfs", "-o", "size=16k", "tmpfs"], &stage.path("ssl"));
    Authority::new().issue("old.example.test").install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    // Leaves one page, which is less than the pair needs.
    fs::write(stage.path("ssl/ballast"), vec![b'x'; 4096]).unwrap();
    let failure = refused(&stage, stage.pair(json!({})), &new).await;
    assert!(failure.reason.contains("disk is full") && failure.hint.unwrap().contains("df "));
    assert_eq!(failure.retry, Retry::Transient);
    // With space again, the same deployment goes through.
    fs::remove_file(stage.path("ssl/ballast")).unwrap();
    assert!(stage.deploy(&*stage.files(json!({})), &new).await.succeeded());
}

#[tokio::test]
async fn a_read_only_directory() {
    if !in_own_mounts("tests::bad_input::a_read_only_directory") {
        return;
    }
    let (stage, new) = scene();
    mount(&["--bind", &stage.text("ssl")], &stage.path("ssl"));
    mount(&["-o", "remount,bind,ro"], &stage.path("ssl"));
    let failure = refused(&stage, stage.pair(json!({})), &new).await;
    assert!(failure.reason.contains("read-only") && failure.hint.is_some(), "{failure:?}");
    assert_eq!(failure.retry, Retry::Permanent);
}

#[tokio::test]
async fn a_full_disk_under_the_state_directory() {
    if !in_own_mounts("tests::bad_input::a_full_disk_under_the_state_directory") {
        return;
    }
    let (stage, new) = scene();
    fs::create_dir(stage.path("state")).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], &stage.path("state"));
    let fill = fs::write(stage.path("state/ballast"), vec![b'x'; 128 * 1024]);
    assert!(fill.is_err(), "the disk is full now");
    let before = stage.read("ssl/cert.pem");
    let ended = stage.try_deploy(&*stage.files(json!({})), &new, "job-1").await;
    let explained = match ended {
        Err(error) => error.explain(),
        Ok(report) => report.failure().unwrap().reason.clone(),
    };
    assert!(explained.contains("disk is full"), "{explained}");
    assert_eq!((stage.read("ssl/cert.pem"), stage.list("ssl")), (before, vec!["cert.pem".to_owned(), "key.pem".to_owned()]));
}

#[tokio::test]
async fn ids_that_would_lead_elsewhere() {
    let (stage, new) = scene();
    let target = stage.files(json!({}));
    for id in ["", "..", "a/b", ".hidden", "a\0b", "ü"] {
        assert!(stage.try_deploy(&*target, &new, id).await.is_err(), "{id:?}");
    }
    assert!(!stage.path("state").exists());
}
