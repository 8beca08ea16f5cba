//! Loading, refusing and replacing pairs; noticing that they were replaced.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use certctl_engine::clock::FakeClock;
use nix::sys::signal::{Signal, raise};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fixture::{PairDirectory, TestPair, eventually, now, soon};

const OPTIONS: TlsOptions = TlsOptions { min_version: TlsVersion::Tls13, client_certificates: None };

fn load(directory: &PairDirectory) -> Result<ReloadingTls, TlsError> {
    ReloadingTls::load(directory.files(), OPTIONS, now())
}

fn fingerprint(pair: &TestPair) -> Fingerprint {
    certctl_pki::certificate::Certificate::parse_pem(&pair.cert_pem).unwrap().fingerprint().clone()
}

/// A watcher that never looks by itself, so that only what the test does can have an effect.
struct Watched {
    tls: Arc<ReloadingTls>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Watched {
    fn new(directory: &PairDirectory, poll_interval: Duration) -> Self {
        let tls = Arc::new(load(directory).unwrap());
        let stop = CancellationToken::new();
        let watcher = TlsWatcher::start(Arc::clone(&tls), Arc::new(FakeClock::at(now())), poll_interval).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(watcher.run(stop.clone()));
        Self { tls, stop, tasks }
    }

    async fn uses(&self, pair: &TestPair) {
        let wanted = fingerprint(pair);
        eventually("the new pair is in use", || self.tls.status().fingerprint == wanted).await;
    }

    async fn end(mut self) {
        self.stop.cancel();
        soon("the watcher ends", self.tasks.join_next()).await;
    }
}

const NEVER: Duration = Duration::from_secs(86_400);

#[test]
fn bad_pairs_are_refused_with_reason_and_hint() {
    let pair = TestPair::new();
    let other = TestPair::new();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAMCAQE=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (cert, key, why, has_hint) in [
        (pair.cert_pem.as_str(), other.key_pem.as_str(), "does not belong to", true),
        (pair.key_pem.as_str(), pair.cert_pem.as_str(), "swapped", true),
        ("", pair.key_pem.as_str(), "no certificate in", true),
        (pair.cert_pem.as_str(), "", "no private key in", true),
        (pair.cert_pem.as_str(), encrypted, "is encrypted", true),
        ("-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n", pair.key_pem.as_str(), "cannot be read", false),
        ("-----BEGIN CERTIFICATE-----\nMAMC", pair.key_pem.as_str(), "not good PEM", false),
        (pair.cert_pem.as_str(), "-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n-----END PRIVATE KEY-----\n", "cannot be used", false),
    ] {
        let directory = PairDirectory::with(&pair);
        directory.write("tls.crt", cert);
        directory.write("tls.key", key);
        let error = load(&directory).expect_err(why);
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(error.hint().is_some(), has_hint, "{error}");
        assert!(!format!("{error:?}").contains(pair.key_pem.lines().nth(1).unwrap()));
    }
    let directory = PairDirectory::with(&pair);
    std::fs::remove_file(directory.path().join("tls.key")).unwrap();
    assert!(load(&directory).unwrap_err().to_string().contains("cannot read"));
}

#[test]
fn a_good_pair_replaces_the_old_one_and_a_bad_one_does_not() {
    let (first, second) = (TestPair::new(), TestPair::new());
    let directory = PairDirectory::with(&first);
    let tls = load(&directory).unwrap();
    assert_eq!(tls.reload(now()).unwrap(), ReloadOutcome::Unchanged);

    directory.write("tls.crt", &second.cert_pem);
    let later = now().saturating_add(time::Duration::minutes(1));
    assert!(tls.reload(now()).is_err());
    assert!(tls.reload(later).is_err(), "still");
    let status = tls.status();
    assert_eq!((status.fingerprint, status.failed, status.replaced), (fingerprint(&first), 1, 0));
    let problem = status.problem.unwrap();
    assert_eq!(problem.since, now());
    assert!(problem.why.contains("does not belong to") && problem.hint.is_some());

    directory.write("tls.key", &second.key_pem);
    let outcome = tls.reload(later).unwrap();
    assert!(matches!(outcome, ReloadOutcome::Replaced { fingerprint: new, .. } if new == fingerprint(&second)));
    let status = tls.status();
    assert_eq!((status.fingerprint, status.loaded_at, status.replaced), (fingerprint(&second), later, 1));
    assert_eq!(status.problem, None);
}

#[test]
fn going_back_to_the_old_files_ends_the_problem() {
    let pair = TestPair::new();
    let directory = PairDirectory::with(&pair);
    let tls = load(&directory).unwrap();
    directory.write("tls.key", "");
    assert!(tls.reload(now()).is_err() && tls.status().problem.is_some());
    directory.put(&pair);
    assert_eq!(tls.reload(now()).unwrap(), ReloadOutcome::Unchanged);
    assert_eq!(tls.status().problem, None);
}

#[test]
fn an_expired_pair_is_taken_only_when_there_is_no_better() {
    let expired = TestPair::valid("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let future = TestPair::valid("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z");
    let directory = PairDirectory::with(&expired);
    let tls = load(&directory).unwrap();

    directory.put(&future);
    assert!(matches!(tls.reload(now()), Ok(ReloadOutcome::Replaced { .. })), "neither is valid");
    let good = TestPair::new();
    directory.put(&good);
    assert!(matches!(tls.reload(now()), Ok(ReloadOutcome::Replaced { .. })));
    directory.put(&expired);
    let error = tls.reload(now()).unwrap_err();
    assert!(error.to_string().contains("not valid now, only from 2024-01-01T00:00:00Z to 2025-01-01T00:00:00Z"), "{error}");
    assert_eq!(tls.status().fingerprint, fingerprint(&good));
}

#[tokio::test]
async fn replaced_files_are_noticed() {
    let (first, second) = (TestPair::new(), TestPair::new());
    let directory = PairDirectory::with(&first);
    let watched = Watched::new(&directory, NEVER);
    directory.put(&second);
    watched.uses(&second).await;
    // Written in place, as careless tools do.
    let third = TestPair::new();
    for (name, text) in [("tls.crt", &third.cert_pem), ("tls.key", &third.key_pem)] {
        std::io::Write::write_all(&mut std::fs::File::create(directory.path().join(name)).unwrap(), text.as_bytes()).unwrap();
    }
    watched.uses(&third).await;
    watched.end().await;
}

#[tokio::test]
async fn links_that_change_both_at_once_are_noticed() {
    // The layout of a secret volume in Kubernetes: tls.crt -> ..data/tls.crt, ..data -> a directory of one version.
    let (first, second) = (TestPair::new(), TestPair::new());
    let directory = PairDirectory::with(&first);
    let root = directory.path();
    for (version, pair) in [("..1", &first), ("..2", &second)] {
        std::fs::create_dir(root.join(version)).unwrap();
        directory.write(&format!("{version}/tls.crt"), &pair.cert_pem);
        directory.write(&format!("{version}/tls.key"), &pair.key_pem);
    }
    symlink("..1", root.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        std::fs::remove_file(root.join(name)).unwrap();
        symlink(format!("..data/{name}"), root.join(name)).unwrap();
    }
    let watched = Watched::new(&directory, NEVER);
    symlink("..2", root.join("..data_tmp")).unwrap();
    std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    watched.uses(&second).await;
    watched.end().await;
}

#[tokio::test]
async fn a_bad_new_pair_is_reported_and_the_watcher_goes_on() {
    let (first, second) = (TestPair::new(), TestPair::new());
    let directory = PairDirectory::with(&first);
    let watched = Watched::new(&directory, NEVER);
    directory.write("tls.crt", &second.cert_pem);
    eventually("the problem is seen", || watched.tls.status().problem.is_some()).await;
    assert_eq!(watched.tls.status().fingerprint, fingerprint(&first));
    directory.write("tls.key", &second.key_pem);
    watched.uses(&second).await;
    assert_eq!(watched.tls.status().problem, None);
    watched.end().await;
}

#[tokio::test]
async fn hang_up_and_polling_find_what_no_event_tells() {
    // The link is changed outside the directory that is watched.
    let (first, second, third) = (TestPair::new(), TestPair::new(), TestPair::new());
    let (outside, directory) = (PairDirectory::with(&first), PairDirectory::with(&first));
    for name in ["tls.crt", "tls.key"] {
        std::fs::remove_file(directory.path().join(name)).unwrap();
        symlink(outside.path().join(name), directory.path().join(name)).unwrap();
    }
    let watched = Watched::new(&directory, NEVER);
    outside.put(&second);
    raise(Signal::SIGHUP).unwrap();
    watched.uses(&second).await;
    watched.end().await;

    let polling = Watched::new(&directory, Duration::from_millis(20));
    outside.put(&third);
    polling.uses(&third).await;
    polling.end().await;
}
