//! The judge from outside: openssl, which shares no code with certctl.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Home, Ran, command, run, run_with_input};
use certctl_testkit::require_program;

/// openssl in a folder of its own.
pub(crate) struct Openssl {
    home: Arc<Home>,
    folder: PathBuf,
}

impl Openssl {
    pub(crate) fn new(home: &Arc<Home>) -> Self {
        let folder = home.join("openssl");
        std::fs::create_dir_all(&folder).unwrap();
        Self { home: Arc::clone(home), folder }
    }

    /// Whose folder it is in.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file into its folder.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        super::write(&self.path(name), content)
    }

    /// The text of a file in its folder.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> String {
        super::read(&self.path(name))
    }

    /// Runs it with the words of the line.
    pub(crate) async fn attempt(&self, line: &str) -> Ran {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.attempt_words(&words).await
    }

    /// Runs it with these words.
    pub(crate) async fn attempt_words(&self, words: &[&str]) -> Ran {
        run(command(&self.home, require_program("openssl")).args(words).current_dir(&self.folder)).await
    }

    /// As [`Openssl::attempt`]; it must succeed.
    pub(crate) async fn run(&self, line: &str) -> String {
        self.attempt(line).await.ok()
    }

    /// A new key, of one of the kinds that certctl knows.
    pub(crate) async fn key(&self, name: &str, algorithm: &str) -> PathBuf {
        let options = match algorithm {
            "RSA-1024" => "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            "RSA-2048" => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "ECDSA-P256" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            "ECDSA-P384" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            "ECDSA-P521" => "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            "Ed25519" => "-algorithm ED25519",
            other => panic!("no such key: {other}"),
        };
        self.run(&format!("genpkey {options} -out {name}")).await;
        self.path(name)
    }

    /// A request for a common name and names such as `DNS:web.example.test,IP:10.0.0.1`, signed by the key in a file of the folder.
    pub(crate) async fn request(&self, key: &str, common_name: &str, names: &str) -> String {
        let (subject, extension) = (format!("/CN={common_name}"), format!("subjectAltName={names}"));
        let mut words = vec!["req", "-new", "-key", key, "-subj", &subject];
        if !names.is_empty() {
            words.extend(["-addext", &extension]);
        }
        self.attempt_words(&words).await.ok()
    }
}

/// SHA-256 of the first certificate in a PEM text, as certctl writes it.
pub(crate) async fn fingerprint_of(home: &Home, pem: &str) -> String {
    let mut openssl = command(home, require_program("openssl"));
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256"]);
    let said = run_with_input(&mut openssl, pem).await.ok();
    said.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}
