//! CAs from outside: subordinate CAs as openssl makes them, and everything for which one is refused.

use certctl_domain::x509::{ExtendedKeyUsage, KeyAlgorithm};
use certctl_pki::authority::{ImportError, IssueError, IssuingCa, LeafRequest};
use certctl_pki::certificate::Certificate;
use certctl_pki::key::PrivateKey;
use certctl_pki::signer::SoftwareSigner;
use certctl_pki::verify::{Purpose, verify_chain};

use crate::openssl::Openssl;
use crate::world::{leaf, now};

/// A root and a subordinate CA made by openssl.
struct Outside {
    openssl: Openssl,
}

impl Outside {
    fn new() -> Self {
        let openssl = Openssl::new();
        openssl.put(
            "ext.conf",
            "[root]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\nsubjectKeyIdentifier = hash\n\
             [root0]\nbasicConstraints = critical, CA:TRUE, pathlen:0\nkeyUsage = critical, keyCertSign\nsubjectKeyIdentifier = hash\n\
             [sub]\nbasicConstraints = critical, CA:TRUE, pathlen:0\nkeyUsage = critical, keyCertSign, cRLSign\n\
             subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n\
             [not_ca]\nbasicConstraints = critical, CA:FALSE\n\
             [no_sign]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, cRLSign\n\
             [names]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\nnameConstraints = critical, permitted;DNS:corp.test\n\
             [directory]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\nnameConstraints = critical, permitted;dirName:dir\n\
             [dir]\nC = DE\n\
             [usage]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\nextendedKeyUsage = clientAuth\n\
             [strange]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n1.3.6.1.4.1.99999.1 = critical, ASN1:NULL\n",
        );
        let outside = Self { openssl };
        outside.root("root", "rsa:2048");
        outside
    }

    fn root(&self, section: &str, kind: &str) {
        self.openssl.run(&format!("req -new -nodes -newkey {kind} -subj /O=Outside/CN=Outside_Root -keyout root.key -out root.csr"));
        self.openssl
            .run(&format!("x509 -req -in root.csr -signkey root.key -days 36500 -extfile ext.conf -extensions {section} -out root.pem"));
    }

    fn sub(&self, section: &str, kind: &str) {
        self.openssl.run(&format!("req -new -nodes -newkey {kind} -subj /O=Outside/CN=Outside_Issuing -keyout sub.key -out sub.csr"));
        self.openssl.run(&format!(
            "x509 -req -in sub.csr -CA root.pem -CAkey root.key -CAcreateserial -days 36500 -extfile ext.conf -extensions {section} -out sub.pem"
        ));
    }

    fn chain(&self) -> String {
        format!("{}{}", self.openssl.get("sub.pem"), self.openssl.get("root.pem"))
    }

    fn key(&self) -> PrivateKey {
        PrivateKey::from_pem(&self.openssl.get("sub.key")).unwrap()
    }

    /// The instant just after openssl made the certificates, by the certificates themselves.
    fn now(&self) -> certctl_domain::time::Timestamp {
        Certificate::parse_pem(&self.openssl.get("sub.pem")).unwrap().not_before()
    }

    fn import(&self) -> Result<IssuingCa, ImportError> {
        IssuingCa::import(&self.chain(), &self.key(), self.now())
    }
}

#[tokio::test]
async fn every_kind_of_subordinate_ca_signs() {
    let outside = Outside::new();
    for kind in ["rsa:2048", "rsa:3072", "ec -pkeyopt ec_paramgen_curve:P-256", "ec -pkeyopt ec_paramgen_curve:P-384", "ed25519"] {
        outside.sub("sub", kind);
        let ca = outside.import().unwrap_or_else(|error| panic!("{kind}: {error}"));
        let signer = SoftwareSigner::new(outside.key());
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let at = outside.now();
        let validity = certctl_pki::authority::Validity::starting(at, time::Duration::days(30), time::Duration::ZERO).unwrap();
        let prepared = ca.prepare_leaf(&LeafRequest { validity, ..leaf(&key, &["web.test"]) }, at).unwrap();
        let chain = ca.chain_for(ca.sign_leaf(prepared.body(), &signer).await.unwrap());
        assert_eq!(chain.intermediates().len(), 1);
        verify_chain(&chain, std::slice::from_ref(ca.root().unwrap()), at, Purpose::Server).unwrap();

        outside.openssl.put("leaf.pem", &chain.leaf().to_pem());
        outside.openssl.run(&format!("verify -x509_strict -attime {} -CAfile root.pem -untrusted sub.pem leaf.pem", at.unix_seconds()));
    }
}

#[test]
fn a_link_of_a_change_of_keys_is_sent_and_is_no_root() {
    let outside = Outside::new();
    let openssl = &outside.openssl;
    openssl.run("req -new -nodes -newkey ed25519 -subj /O=Outside/CN=Outside_Root -keyout next.key -out next.csr");
    openssl.run(
        "x509 -req -in next.csr -CA root.pem -CAkey root.key -CAcreateserial -days 36500 -extfile ext.conf -extensions root -out next.pem",
    );
    openssl.run("req -new -nodes -newkey ed25519 -subj /O=Outside/CN=Outside_Issuing -keyout sub.key -out sub.csr");
    openssl.run(
        "x509 -req -in sub.csr -CA next.pem -CAkey next.key -CAcreateserial -days 36500 -extfile ext.conf -extensions sub -out sub.pem",
    );
    let (sub, next, root) = (openssl.get("sub.pem"), openssl.get("next.pem"), openssl.get("root.pem"));
    let import = |chain: &str| IssuingCa::import(chain, &outside.key(), outside.now()).unwrap();
    let whole = import(&format!("{sub}{next}{root}"));
    assert_eq!(whole.root(), Some(&Certificate::parse_pem(&root).unwrap()));
    let sent = whole.chain_for(whole.certificate().clone());
    assert_eq!(sent.intermediates(), [&sub, &next].map(|pem| Certificate::parse_pem(pem).unwrap()));
    assert_eq!(import(&format!("{sub}{next}")).root(), None);

    // Nobody asks how a root is signed.
    openssl.run("x509 -req -sha1 -in root.csr -signkey root.key -days 36500 -extfile ext.conf -extensions root -out root.pem");
    let old = import(&format!("{sub}{next}{}", openssl.get("root.pem")));
    assert!(old.root().is_some_and(|root| root.signature_algorithm().is_none()));
    assert_eq!(old.chain_for(old.certificate().clone()).intermediates().len(), 2);
}

#[test]
fn cas_without_the_right_to_sign_are_refused() {
    let outside = Outside::new();
    outside.sub("not_ca", "ed25519");
    assert!(matches!(outside.import(), Err(ImportError::NotCa(_))));
    outside.sub("no_sign", "ed25519");
    assert!(matches!(outside.import(), Err(ImportError::NoCertSign(_))));
    outside.sub("strange", "ed25519");
    assert!(matches!(outside.import(), Err(ImportError::CriticalExtension { .. })));
    outside.sub("directory", "ed25519");
    assert!(matches!(outside.import(), Err(ImportError::NameConstraints { .. })));
    outside.sub("sub", "ec -pkeyopt ec_paramgen_curve:P-521");
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    assert!(matches!(IssuingCa::import(&outside.chain(), &key, now()), Err(ImportError::Key(_))));
}

#[test]
fn key_time_and_order_are_checked() {
    let outside = Outside::new();
    outside.sub("sub", "ed25519");
    let other = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let error = IssuingCa::import(&outside.chain(), &other, outside.now()).unwrap_err();
    assert!(matches!(error, ImportError::KeyMismatch(_)) && error.hint().contains("comes first"), "{error:?}");

    let certificate = Certificate::parse_pem(&outside.openssl.get("sub.pem")).unwrap();
    let error = IssuingCa::import(&outside.chain(), &outside.key(), certificate.not_after()).unwrap_err();
    assert!(matches!(error, ImportError::Expired { .. }), "{error:?}");
    let before = certificate.not_before().saturating_sub(time::Duration::DAY);
    let error = IssuingCa::import(&outside.chain(), &outside.key(), before).unwrap_err();
    assert!(matches!(error, ImportError::NotYetValid { .. }), "{error:?}");
    // A second before its end it is still a CA. (The root, made a moment earlier, may end before it: leave it out.)
    let last = certificate.not_after().saturating_sub(time::Duration::SECOND);
    IssuingCa::import(&outside.openssl.get("sub.pem"), &outside.key(), last).unwrap();

    let reversed = format!("{}{}", outside.openssl.get("root.pem"), outside.openssl.get("sub.pem"));
    assert!(matches!(
        IssuingCa::import(&reversed, &outside.key(), outside.now()),
        Err(ImportError::PathLength { .. } | ImportError::Chain { .. })
    ));
    let unrelated = format!("{0}{0}", outside.openssl.get("sub.pem"));
    assert!(IssuingCa::import(&unrelated, &outside.key(), outside.now()).is_err());
    assert!(matches!(IssuingCa::import("nothing", &outside.key(), outside.now()), Err(ImportError::Certificate(_))));

    // The root may be missing.
    let alone = IssuingCa::import(&outside.openssl.get("sub.pem"), &outside.key(), outside.now()).unwrap();
    assert_eq!(alone.root(), None);
}

#[test]
fn a_root_that_allows_no_ca_below_is_seen() {
    let outside = Outside::new();
    outside.root("root0", "ed25519");
    outside.sub("sub", "ed25519");
    let error = outside.import().unwrap_err();
    assert!(matches!(error, ImportError::PathLength { allowed: 0, found: 1, .. }), "{error:?}");
}

#[test]
fn what_the_ca_may_not_issue_is_refused() {
    let outside = Outside::new();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let request = |names: &[&str], at| LeafRequest {
        validity: certctl_pki::authority::Validity::starting(at, time::Duration::days(30), time::Duration::ZERO).unwrap(),
        usages: vec![ExtendedKeyUsage::ServerAuth],
        ..leaf(&key, names)
    };

    outside.sub("names", "ed25519");
    let ca = outside.import().unwrap();
    let at = outside.now();
    assert!(ca.prepare_leaf(&request(&["web.corp.test"], at), at).is_ok());
    assert!(matches!(ca.prepare_leaf(&request(&["web.test"], at), at), Err(IssueError::NotPermitted(_))));

    outside.sub("usage", "ed25519");
    let ca = outside.import().unwrap();
    let at = outside.now();
    assert!(matches!(ca.prepare_leaf(&request(&["web.test"], at), at), Err(IssueError::UsageNotPermitted { .. })));
    let client = LeafRequest { usages: vec![ExtendedKeyUsage::ClientAuth], ..request(&["web.test"], at) };
    assert!(ca.prepare_leaf(&client, at).is_ok());
}
