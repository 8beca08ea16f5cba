//! openssl as the relying party.

use std::process::Command;

use certctl_domain::certificate::Version;
use certctl_domain::time::Timestamp;

use crate::house::House;

/// A relying party: it trusts the root, and sees what is fetched.
pub(crate) struct RelyingParty {
    directory: tempfile::TempDir,
    now: Timestamp,
}

impl RelyingParty {
    /// Trusts the root of the built-in CA.
    pub(crate) async fn new(house: &House) -> Self {
        certctl_testkit::require_program("openssl");
        let directory = tempfile::TempDir::new().unwrap();
        let pem = certctl_engine::issuers::authorities(&house.admin(), &super::issuer()).await.unwrap();
        let certificates: Vec<&str> = pem.split_inclusive("-----END CERTIFICATE-----\n").collect();
        std::fs::write(directory.path().join("ca.pem"), certificates[0]).unwrap();
        std::fs::write(directory.path().join("root.pem"), certificates[1]).unwrap();
        Self { directory, now: house.engine.now() }
    }

    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.directory.path().join(name), bytes).unwrap();
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(name)).unwrap()
    }

    /// A leaf under its name.
    pub(crate) fn holds(&self, name: &str, version: &Version) {
        self.put(name, super::chain(version).leaf().to_pem());
    }

    /// Whether the leaf is accepted with this list; and what openssl says.
    pub(crate) fn accepts(&self, leaf: &str, list: &[u8]) -> Result<(), String> {
        self.put("crl.der", list);
        self.run("crl -inform DER -in crl.der -out crl.pem");
        let at = self.now.unix_seconds();
        let (fine, said) =
            self.attempt(&format!("verify -attime {at} -crl_check -CAfile root.pem -untrusted ca.pem -CRLfile crl.pem {leaf}"));
        if fine { Ok(()) } else { Err(said) }
    }

    /// What a list says.
    pub(crate) fn list(&self, list: &[u8]) -> String {
        self.put("crl.der", list);
        self.run("crl -inform DER -in crl.der -noout -text")
    }

    /// Asks about a leaf; gives the request.
    pub(crate) fn ask(&self, leaf: &str, options: &str) -> Vec<u8> {
        self.run(&format!("ocsp -issuer ca.pem {options} -cert {leaf} -reqout req.der"));
        self.bytes("req.der")
    }

    /// What a relying party that asked about the leaf with these options makes of the answer, its signature checked.
    pub(crate) fn believes(&self, leaf: &str, options: &str, response: &[u8]) -> String {
        self.put("resp.der", response);
        let at = self.now.unix_seconds();
        let said = self.run(&format!(
            "ocsp -issuer ca.pem {options} -cert {leaf} -no_nonce -reqin req.der -respin resp.der -CAfile root.pem -verify_other ca.pem -attime {at} -validity_period 3153600000"
        ));
        assert!(said.contains("Response verify OK"), "{said}");
        said
    }

    /// What an answer says, whoever signed it.
    pub(crate) fn read(&self, response: &[u8]) -> String {
        self.put("resp.der", response);
        self.attempt("ocsp -respin resp.der -resp_text -noverify").1
    }

    pub(crate) fn run(&self, line: &str) -> String {
        let (fine, said) = self.attempt(line);
        assert!(fine, "openssl {line}: {said}");
        said
    }

    fn attempt(&self, line: &str) -> (bool, String) {
        let done = Command::new("openssl").args(line.split_whitespace()).current_dir(self.directory.path()).output().unwrap();
        (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    }
}
