use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use certctl_domain::ids::VersionId;
use certctl_domain::time::Timestamp;
use certctl_domain::x509::{Fingerprint, SanSet};
use certctl_pki::csr::Csr;

use super::*;

struct Bench {
    _temporary: tempfile::TempDir,
    state: StateDir,
    keys: Keys,
    certificate: CertificateId,
}

fn bench() -> Bench {
    let temporary = tempfile::tempdir().unwrap();
    let state = StateDir::create(temporary.path()).unwrap();
    let keys = Keys::open(&state).unwrap();
    Bench { _temporary: temporary, state, keys, certificate: CertificateId::parse("mc-web").unwrap() }
}

impl Bench {
    fn make(&self, id: &str) -> PrivateKey {
        self.keys.make_or_reuse(&self.certificate, &job(id), KeyAlgorithm::EcdsaP256).unwrap()
    }

    fn deploy(&self, target: &str, id: &str) {
        let fingerprint = Fingerprint::from_bytes(&[u8::try_from(id.len()).unwrap() ^ id.as_bytes()[id.len() - 1]; 32]);
        let in_use = Use { key_job_id: job(id), version_id: VersionId::parse("ver-1").unwrap(), fingerprint, at: Timestamp::UNIX_EPOCH };
        self.keys.deployed(&self.certificate, target, in_use).unwrap();
    }

    /// The file system's clock is coarse: ages are set, not waited for.
    fn aged(&self, id: &str, seconds: u64) {
        let file = std::fs::File::options().write(true).open(self.path(id)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)).unwrap();
    }

    fn path(&self, id: &str) -> PathBuf {
        self.state.join("keys").join(self.certificate.as_str()).join(format!("{id}.key"))
    }

    fn names(&self) -> Vec<String> {
        let all = entries(&self.state.join("keys/mc-web")).unwrap();
        all.iter().filter(|path| is_key(path)).map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

fn job(id: &str) -> JobId {
    JobId::parse(id).unwrap()
}

/// A certificate for a key, made elsewhere from its request.
fn issue(key: &PrivateKey) -> Certificate {
    let csr = Csr::build(key, Some("web.example.test"), &SanSet::parse(["web.example.test"]).unwrap()).unwrap();
    let request = rcgen::CertificateSigningRequestParams::from_pem(&csr).unwrap();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::new(vec![]).unwrap(), ca_key);
    Certificate::parse_pem(&request.signed_by(&issuer).unwrap().pem()).unwrap()
}

#[test]
fn a_key_is_private_whole_and_the_same_for_the_same_job() {
    let bench = bench();
    let first = bench.make("job-1");
    let path = bench.path("job-1");
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(path.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(bench.make("job-1").spki(), first.spki());
    assert_ne!(bench.make("job-2").spki(), first.spki());
    assert_eq!(Keys::count(&bench.state).unwrap(), KeyCount { keys: 2, certificates: 1 });
}

#[test]
fn every_algorithm_can_be_asked_for_and_another_one_moves_the_first_aside() {
    let bench = bench();
    for algorithm in KeyAlgorithm::ALL {
        let id = format!("job-{algorithm}");
        assert_eq!(bench.keys.make_or_reuse(&bench.certificate, &job(&id), algorithm).unwrap().algorithm(), algorithm);
    }
    let first = bench.make("job-1");
    let second = bench.keys.make_or_reuse(&bench.certificate, &job("job-1"), KeyAlgorithm::Ed25519).unwrap();
    assert_eq!(second.algorithm(), KeyAlgorithm::Ed25519);
    // A certificate that was issued for the first after all still finds its key.
    let found = bench.keys.find(&bench.certificate, &job("job-1"), &issue(&first)).unwrap();
    assert_eq!(PrivateKey::from_pem(found.expose()).unwrap().spki(), first.spki());
}

#[test]
fn a_missing_or_wrong_key_is_told_with_what_to_do() {
    let bench = bench();
    bench.make("job-1");
    let foreign = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let error = bench.keys.find(&bench.certificate, &job("job-1"), &issue(&foreign)).unwrap_err();
    assert!(
        error.to_string().contains("not on this machine") && error.advice().unwrap().contains("certctl certs renew mc-web"),
        "{error:?}"
    );
    write_private(&bench.path("job-1"), b"broken").unwrap();
    let error = bench.keys.find(&bench.certificate, &job("job-1"), &issue(&foreign)).unwrap_err();
    assert!(error.explain().contains("job-1.key cannot be read"), "{}", error.explain());
}

#[test]
fn a_damaged_key_is_not_replaced_in_silence() {
    let bench = bench();
    bench.make("job-1");
    write_private(&bench.path("job-1"), b"broken").unwrap();
    assert!(bench.keys.make_or_reuse(&bench.certificate, &job("job-1"), KeyAlgorithm::EcdsaP256).is_err());
}

#[test]
fn identifiers_cannot_lead_out_of_the_directory() {
    for text in ["../../etc/x", "..", ".", "a/b", "a\\b\0", "", "/etc/passwd", "~root", &"a".repeat(200)] {
        assert!(CertificateId::parse(text).is_err() && JobId::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn keys_in_use_and_those_before_are_kept_and_older_ones_go() {
    let bench = bench();
    for id in ["job-1", "job-2", "job-3", "job-4"] {
        bench.make(id);
    }
    bench.deploy("tgt-a", "job-1");
    assert_eq!(bench.names(), ["job-1", "job-2", "job-3", "job-4"], "what is newer than what is in use may still be asked for");
    bench.deploy("tgt-a", "job-2");
    assert_eq!(bench.names().len(), 4, "the one before is kept");
    bench.deploy("tgt-a", "job-3");
    assert_eq!(bench.names(), ["job-2", "job-3", "job-4"]);
    // Another target still serves the second: its key stays until it is replaced there too.
    bench.deploy("tgt-b", "job-2");
    bench.deploy("tgt-a", "job-4");
    assert_eq!(bench.names(), ["job-2", "job-3", "job-4"]);
    bench.deploy("tgt-b", "job-3");
    bench.deploy("tgt-b", "job-4");
    assert_eq!(bench.names(), ["job-3", "job-4"]);
    // The same version again pushes nothing out.
    bench.deploy("tgt-a", "job-4");
    bench.deploy("tgt-a", "job-4");
    assert_eq!(bench.names(), ["job-3", "job-4"]);
}

#[test]
fn a_key_that_was_never_in_use_stays_however_old_it_is() {
    let bench = bench();
    for (age, id) in ["job-slow", "job-1", "job-2", "job-3"].iter().enumerate() {
        bench.make(id);
        bench.aged(id, age as u64);
    }
    // Restored from a backup, the key in use is the newest file.
    bench.aged("job-1", 1_000);
    for id in ["job-1", "job-2", "job-3"] {
        bench.deploy("tgt-a", id);
    }
    // The CA took its time over the first job of all: its certificate comes now.
    assert_eq!(bench.names(), ["job-2", "job-3", "job-slow"]);
    bench.deploy("tgt-a", "job-slow");
    assert_eq!(bench.names(), ["job-3", "job-slow"]);
    // What was rolled back to is in use again.
    bench.deploy("tgt-a", "job-3");
    bench.deploy("tgt-b", "job-slow");
    assert_eq!(bench.names(), ["job-3", "job-slow"]);
}

#[test]
fn what_a_crash_left_behind_is_swept() {
    let bench = bench();
    bench.make("job-1");
    let left = bench.state.join("keys/mc-web/.certctl-0123456789abcdef.new");
    write_private(&left, b"half a key").unwrap();
    bench.deploy("tgt-a", "job-1");
    assert!(!left.exists());
    assert_eq!(bench.names(), ["job-1"]);
}
