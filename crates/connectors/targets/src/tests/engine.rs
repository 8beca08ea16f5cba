//! The deploy engine, with scripts in the place of a service's tools.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use certctl_connector_core::report::{Outcome, Proof, Step};
use certctl_connector_core::target::Target;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::support::{Authority, Issued, Stage, eventually, now, some_owner};
use crate::TARGETS;
use crate::deploy::{Point, with_faults};

/// A scene with an installed pair.
fn scene() -> (Stage, Authority, Issued) {
    let (stage, authority) = (Stage::new(), Authority::new());
    let old = authority.issue("old.example.test");
    old.install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    (stage, authority, old)
}

/// An nginx target whose tools only write down that they were called; `test` and `reload` are appended to their scripts.
fn scripted(stage: &Stage, test: &str, reload: &str) -> Box<dyn Target> {
    fs::write(stage.path("nginx.conf"), "events {}\n").unwrap();
    let log = stage.text("log");
    let mut test = stage.script("test.sh", &format!("echo test >> {log}; {test}"));
    test.push("{config}".to_owned());
    stage.allow(&[test[0].clone(), "*".to_owned()]);
    let reload = stage.script("reload.sh", &format!("echo reload >> {log}; {reload}"));
    let config = json!({"config_path": stage.text("nginx.conf"), "test_command": test, "reload_command": reload});
    TARGETS.build("NGINX", stage.pair(config)).unwrap()
}

fn failed(report: &certctl_connector_core::report::DeployReport) -> (Step, String) {
    let failure = report.failure().unwrap_or_else(|| panic!("{report:#?}"));
    (failure.step, failure.reason.clone())
}

#[tokio::test]
async fn test_then_reload_are_called_once_each() {
    let (stage, authority, old) = scene();
    let new = authority.issue("new.example.test");
    let target = scripted(&stage, "exit 0", "exit 0");
    let report = stage.deploy(&*target, &new).await;
    assert_eq!(report.outcome, Outcome::Deployed);
    assert_eq!(stage.read("log"), "test\nreload\n");
    assert_eq!(stage.installed().fingerprint(), new.fingerprint());
    assert!(matches!(report.proof, Proof::NotObserved { .. }) && report.warnings.iter().any(|w| w.contains("not looked at")));

    // Again: nobody looked whether the service took it up, so it is told again.
    let report = stage.deploy(&*target, &new).await;
    assert_eq!((report.outcome, stage.read("log").as_str()), (Outcome::Deployed, "test\nreload\ntest\nreload\n"));
    fs::write(stage.path("log"), "").unwrap();

    // One of the files differs: the whole again.
    fs::write(stage.path("ssl/cert.pem"), old.material().fullchain_pem()).unwrap();
    let report = stage.deploy(&*target, &new).await;
    assert_eq!((report.outcome, stage.read("log").as_str()), (Outcome::Deployed, "test\nreload\n"));
    stage.assert_clean(&["cert.pem", "key.pem"]);
}

#[tokio::test]
async fn a_failing_test_changes_nothing() {
    let (stage, authority, old) = scene();
    let report = stage.deploy(&*scripted(&stage, "echo no way >&2; exit 1", "exit 0"), &authority.issue("new.example.test")).await;
    let (step, reason) = failed(&report);
    assert_eq!(step, Step::Check);
    assert!(reason.contains("no way"), "{reason}");
    assert_eq!((stage.installed().fingerprint(), stage.read("log").as_str()), (old.fingerprint(), "test\n"));
    stage.assert_clean(&["cert.pem", "key.pem"]);
    assert!(stage.list("state/targets/tgt-1/backups").is_empty());
}

#[tokio::test]
async fn a_failing_reload_restores_the_bytes_and_reloads_again() {
    let (stage, authority, old) = scene();
    let once = format!("[ -e {0} ] && exit 0; touch {0}; exit 1", stage.text("failed-once"));
    let report = stage.deploy(&*scripted(&stage, "exit 0", &once), &authority.issue("new.example.test")).await;
    assert!(matches!(&report.outcome, Outcome::RolledBack(f) if f.step == Step::Reload), "{report:#?}");
    assert_eq!((stage.installed().fingerprint(), stage.read("log").as_str()), (old.fingerprint(), "test\nreload\nreload\n"));
    stage.assert_clean(&["cert.pem", "key.pem"]);
}

#[tokio::test]
async fn a_rollback_that_fails_too_is_told_apart_and_tried_again_later() {
    let (stage, authority, old) = scene();
    let broken = format!("[ -e {} ]", stage.text("mended"));
    let target = scripted(&stage, "exit 0", &broken);
    let report = stage.deploy(&*target, &authority.issue("new.example.test")).await;
    let Outcome::RollbackFailed { failure, rollback } = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(failure.step, Step::Reload);
    assert!(rollback.contains("reload.sh"), "{rollback}");
    assert_eq!(stage.installed().fingerprint(), old.fingerprint(), "the bytes are back all the same");
    assert!(report.backup.as_ref().unwrap().join("0-key.pem").exists());

    fs::write(stage.path("mended"), "").unwrap();
    let recovered = stage.recover().await;
    assert!(matches!(&recovered[..], [report] if matches!(report.outcome, Outcome::RolledBack(_))), "{recovered:#?}");
    assert_eq!(stage.recover().await, []);
    stage.assert_clean(&["cert.pem", "key.pem"]);
}

#[tokio::test]
async fn a_failed_rollback_does_not_block_the_next_deployment() {
    let (stage, authority, _) = scene();
    let new = authority.issue("new.example.test");
    // The service refuses the old pair: only going forward helps.
    let wants_new = format!("cmp -s {} {}", stage.text("ssl/cert.pem"), stage.text("wanted.pem"));
    let target = scripted(&stage, "exit 0", &wants_new);
    let report = stage.deploy(&*target, &authority.issue("other.example.test")).await;
    assert!(matches!(report.outcome, Outcome::RollbackFailed { .. }));
    fs::write(stage.path("wanted.pem"), new.material().fullchain_pem()).unwrap();
    let report = stage.deploy(&*target, &new).await;
    assert_eq!(report.outcome, Outcome::Deployed, "{report:#?}");
    assert!(report.events.iter().any(|e| e.step == Step::Recover && e.detail.contains("given up")), "{:#?}", report.events);
    stage.assert_clean(&["cert.pem", "key.pem"]);
}

#[tokio::test]
async fn owner_and_mode_are_kept_without_a_wish_and_set_with_one() {
    let (stage, authority, _) = scene();
    let (uid, gid) = some_owner();
    chown(stage.path("ssl/key.pem"), Some(uid), Some(gid)).unwrap();
    fs::set_permissions(stage.path("ssl/key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    stage.deploy(&*stage.files(json!({})), &authority.issue("new.example.test")).await;
    assert_eq!(stage.mode("ssl/key.pem"), (0o640, uid, gid));

    let wish = json!({"key_mode": "0400", "certificate_mode": "0640", "owner": uid.to_string(), "group": gid.to_string()});
    let new = authority.issue("new.example.test");
    stage.deploy(&*stage.files(wish.clone()), &new).await;
    assert_eq!((stage.mode("ssl/key.pem"), stage.mode("ssl/cert.pem")), ((0o400, uid, gid), (0o640, uid, gid)));

    // The bytes are the same, the mode is not: that counts as a difference.
    fs::set_permissions(stage.path("ssl/key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let report = stage.deploy(&*stage.files(wish), &new).await;
    assert_eq!((report.outcome, stage.mode("ssl/key.pem").0), (Outcome::Deployed, 0o400));
}

#[tokio::test]
async fn new_files_get_the_defaults() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let report = stage.deploy(&*stage.files(json!({})), &authority.issue("new.example.test")).await;
    assert_eq!((report.outcome, report.backup), (Outcome::Deployed, None));
    assert_eq!((stage.mode("ssl/key.pem").0, stage.mode("ssl/cert.pem").0), (0o600, 0o644));
}

#[tokio::test]
async fn a_file_that_was_not_there_is_removed_again() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let report = stage.deploy(&*scripted(&stage, "exit 0", "exit 1"), &authority.issue("new.example.test")).await;
    assert!(matches!(&report.outcome, Outcome::RolledBack(f) if f.step == Step::Reload), "{report:#?}");
    stage.assert_clean(&[]);
}

#[tokio::test]
async fn combined_and_split_layouts_hold_what_they_should() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let issued = authority.issue("web.example.test");
    let material = issued.material();
    let combined = TARGETS.build("Files", json!({"combined_path": stage.text("ssl/all.pem")})).unwrap();
    assert!(stage.deploy(&*combined, &issued).await.succeeded());
    assert_eq!(stage.read("ssl/all.pem"), format!("{}{}", material.fullchain_pem(), material.key_pem().expose()));
    assert_eq!(stage.mode("ssl/all.pem").0, 0o600);

    let split = stage.files(json!({"chain_path": stage.text("ssl/chain.pem")}));
    assert!(stage.deploy(&*split, &issued).await.succeeded());
    assert_eq!((stage.read("ssl/cert.pem"), stage.read("ssl/chain.pem")), (material.leaf_pem(), material.intermediates_pem()));
}

#[tokio::test]
async fn links_to_the_files_stay_links() {
    let (stage, authority) = (Stage::new(), Authority::new());
    fs::create_dir(stage.path("archive")).unwrap();
    authority.issue("old.example.test").install(&stage.path("archive/cert1.pem"), &stage.path("archive/key1.pem"));
    symlink("../archive/cert1.pem", stage.path("ssl/cert.pem")).unwrap();
    symlink("../archive/key1.pem", stage.path("ssl/key.pem")).unwrap();
    let new = authority.issue("new.example.test");
    assert!(stage.deploy(&*stage.files(json!({})), &new).await.succeeded());
    assert!(["cert.pem", "key.pem"].iter().all(|n| fs::symlink_metadata(stage.path("ssl").join(n)).unwrap().is_symlink()));
    assert_eq!((stage.installed().fingerprint(), stage.list("archive")), (new.fingerprint(), vec!["cert1.pem".into(), "key1.pem".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_of_one_file_take_turns_and_others_do_not_wait() {
    let (stage, authority, _) = scene();
    // Each reload writes down its begin and its end; two at once would be seen between.
    let turn = stage.script("turn", &format!("echo begin >> {0}; sleep 0.1; echo end >> {0}", stage.text("log")));
    let stage = Arc::new(stage);
    let deploy = |id: &'static str, config: Value| {
        let (stage, issued) = (Arc::clone(&stage), authority.issue("new.example.test"));
        tokio::spawn(async move {
            let target = TARGETS.build("Files", config).unwrap();
            let (allow_list, state_dir) = (stage.allow_list.lock().unwrap().clone(), stage.path("state"));
            let scene = certctl_connector_core::target::Scene {
                deployment: "job-1",
                target: id,
                state_dir: &state_dir,
                allow_list: &allow_list,
                now: now(),
                progress: &|_| {},
            };
            target.deploy(&issued.material(), scene).await.unwrap()
        })
    };
    // The same target twice, and another target that names one of the same files.
    let config = stage.pair(json!({"reload_command": turn}));
    let mut other = config.clone();
    other["key_path"] = json!(stage.text("ssl/other.key"));
    let (a, b, c) = (deploy("tgt-1", config.clone()), deploy("tgt-1", config), deploy("tgt-2", other));
    for task in [a, b, c] {
        assert!(task.await.unwrap().succeeded());
    }
    assert_eq!(stage.read("log"), "begin\nend\n".repeat(3));

    // A target with files of its own is done while another one waits in its reload.
    let (held, release) = (stage.text("held"), stage.text("release"));
    let hold = stage.script("hold", &format!("touch {held}; while [ ! -e {release} ]; do sleep 0.02; done"));
    let waiting = deploy("tgt-3", stage.pair(json!({"reload_command": hold})));
    eventually("the first is in its reload", async || stage.path("held").exists()).await;
    let free = deploy("tgt-4", json!({"combined_path": stage.text("ssl/free.pem")})).await.unwrap();
    assert!(free.succeeded() && !waiting.is_finished());
    fs::write(&release, "").unwrap();
    assert!(waiting.await.unwrap().succeeded());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_old_file_or_the_new() {
    let (stage, authority, old) = scene();
    let pair = [old, authority.issue("new.example.test")];
    let whole: Vec<_> = pair.iter().map(|p| p.material().fullchain_pem()).collect();
    let (path, stop) = (stage.path("ssl/cert.pem"), Arc::new(AtomicBool::new(false)));
    let reader = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut seen = 0;
            while !stop.load(Ordering::Acquire) {
                assert!(whole.contains(&fs::read_to_string(&path).unwrap()), "neither old nor new");
                seen += 1;
            }
            seen
        })
    };
    let target = stage.files(json!({}));
    for round in 1..=20 {
        assert_eq!(stage.deploy(&*target, &pair[round % 2]).await.outcome, Outcome::Deployed);
    }
    stop.store(true, Ordering::Release);
    assert!(reader.join().unwrap() > 0);
}

/// Deploys while `meddle` is called at every point.
async fn deploy_with(
    stage: &Stage,
    target: &dyn Target,
    issued: &Issued,
    meddle: impl Fn(Point) + Send + Sync + 'static,
) -> certctl_connector_core::report::DeployReport {
    let fault = move |point| {
        meddle(point);
        false
    };
    with_faults(fault, stage.deploy(target, issued)).await.unwrap()
}

#[tokio::test]
async fn a_swap_that_fails_midway_puts_the_first_file_back() {
    let (stage, authority, old) = scene();
    let directory = stage.path("ssl");
    let report = deploy_with(&stage, &*stage.files(json!({})), &authority.issue("new.example.test"), move |point| {
        if point == Point::SwappedFile(0) {
            // The staged certificate vanishes between the two renames.
            for entry in fs::read_dir(&directory).unwrap().flatten() {
                if entry.file_name().to_str().unwrap().starts_with('.') {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        }
    })
    .await;
    assert!(matches!(&report.outcome, Outcome::RolledBack(f) if f.step == Step::Swap && f.reason.contains("gone")), "{report:#?}");
    assert_eq!(stage.installed().fingerprint(), old.fingerprint());
    stage.assert_clean(&["cert.pem", "key.pem"]);
}

#[tokio::test]
async fn a_file_that_somebody_else_changes_meanwhile_is_not_overwritten() {
    let (stage, authority, old) = scene();
    let foreign = authority.issue("foreign.example.test").material().fullchain_pem();
    for (point, step) in [(Point::Staged, Step::Swap), (Point::Begun, Step::Stage)] {
        old.install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
        let (path, text) = (stage.path("ssl/cert.pem"), foreign.clone());
        let report = deploy_with(&stage, &*stage.files(json!({})), &authority.issue("new.example.test"), move |at| {
            if at == point {
                fs::write(&path, &text).unwrap();
            }
        })
        .await;
        let (failed_step, reason) = failed(&report);
        assert_eq!(failed_step, step);
        assert!(reason.contains("changed by another program"), "{reason}");
        assert_eq!(stage.read("ssl/cert.pem"), foreign);
        assert_eq!(stage.read("ssl/key.pem"), *old.material().key_pem().expose());
    }
}

#[tokio::test]
async fn a_lost_or_damaged_backup_is_a_failed_rollback() {
    for damage in ["remove", "spoil"] {
        let (stage, authority, _) = scene();
        let backups = stage.path("state/targets/tgt-1/backups");
        let target = scripted(&stage, "exit 0", "exit 1");
        let report = deploy_with(&stage, &*target, &authority.issue("new.example.test"), move |point| {
            if point == Point::Swapped {
                let file = fs::read_dir(&backups).unwrap().next().unwrap().unwrap().path().join("0-key.pem");
                if damage == "remove" { fs::remove_file(file).unwrap() } else { fs::write(file, "spoilt").unwrap() }
            }
        })
        .await;
        let Outcome::RollbackFailed { rollback, .. } = &report.outcome else { panic!("{report:#?}") };
        assert!(rollback.contains("gone or damaged") && rollback.contains("0-key.pem"), "{rollback}");
    }
}

#[tokio::test]
async fn a_rollback_that_cannot_put_both_files_back_touches_neither() {
    let (stage, authority, _) = scene();
    let backups = stage.path("state/targets/tgt-1/backups");
    let new = authority.issue("new.example.test");
    let report = deploy_with(&stage, &*scripted(&stage, "exit 0", "exit 1"), &new, move |point| {
        if point == Point::Swapped {
            let backup = fs::read_dir(&backups).unwrap().next().unwrap().unwrap().path();
            fs::remove_file(backup.join("1-cert.pem")).unwrap();
        }
    })
    .await;
    assert!(matches!(report.outcome, Outcome::RollbackFailed { .. }), "{report:#?}");
    assert_eq!(stage.installed().fingerprint(), new.fingerprint(), "half a pair is worse than the wrong one");
    assert_eq!(stage.list("ssl"), ["cert.pem", "key.pem"]);
}

#[tokio::test]
async fn the_last_pairs_are_kept_where_no_service_looks() {
    for (setting, kept) in [(json!({}), 3), (json!({"backups": 1}), 1), (json!({"backups": 0}), 0)] {
        let (stage, authority, _) = scene();
        for _ in 0..5 {
            assert!(stage.deploy(&*stage.files(setting.clone()), &authority.issue("new.example.test")).await.succeeded());
        }
        assert_eq!(stage.list("state/targets/tgt-1/backups").len(), kept);
        stage.assert_clean(&["cert.pem", "key.pem"]);
        assert_eq!((stage.mode("state/targets").0, stage.mode("state/targets/tgt-1/backups").0), (0o700, 0o700));
    }
}

#[tokio::test]
async fn what_is_dropped_before_it_began_does_nothing() {
    let (stage, authority, old) = scene();
    let target = stage.files(json!({}));
    drop(stage.try_deploy(&*target, &authority.issue("new.example.test"), "job-1"));
    assert!(!stage.path("state").exists());
    assert_eq!(stage.installed().fingerprint(), old.fingerprint());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_respected_and_ends_with_its_holder() {
    let (stage, authority, _) = scene();
    let target = stage.files(json!({}));
    stage.deploy(&*target, &authority.issue("new.example.test")).await;
    // Another process holds the lock.
    let lock = stage.path("state/targets/tgt-1/lock");
    let mut holder = std::process::Command::new("flock")
        .arg(&lock)
        .args(["sh", "-c", "echo held; exec sleep 300"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("flock (package util-linux) must be installed");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut String::new()).unwrap();
    assert!(stage.recover().await.is_empty(), "recovery leaves a living deployment alone");

    let new = authority.issue("new.example.test");
    let started = Arc::new((Notify::new(), Mutex::new(false)));
    let deploy = async {
        let report = stage.deploy(&*target, &new).await;
        *started.1.lock().unwrap() = true;
        report
    };
    tokio::pin!(deploy);
    tokio::select! {
        biased;
        _ = &mut deploy => panic!("went on without the lock"),
        () = tokio::task::yield_now() => {}
    }
    // `flock` passed the lock on to the program that it became; its death releases the lock.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(holder.id().cast_signed()), nix::sys::signal::Signal::SIGKILL).unwrap();
    holder.wait().unwrap();
    kill_children_holding(&lock);
    assert!(deploy.await.succeeded());
}

/// The shell that `flock` started keeps the lock's descriptor.
fn kill_children_holding(lock: &std::path::Path) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let holds = fs::read_dir(entry.path().join("fd"))
            .is_ok_and(|fds| fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == lock)));
        if holds && pid != std::process::id().cast_signed() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
}
