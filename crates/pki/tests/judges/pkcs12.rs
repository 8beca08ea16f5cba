//! PKCS#12 files without a key, as openssl and a reader of Java's mark see them.

use certctl_pki::chain::Chain;
use certctl_pki::pkcs12::{self, MAX_PASSWORD, Pkcs12Error};
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};

use crate::openssl::Openssl;

fn chain() -> Chain {
    let made = ["leaf.test", "issuing.test", "root.test"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert);
    Chain::parse_pem(&made.map(|certificate| certificate.pem()).concat()).unwrap()
}

fn read(openssl: &Openssl, file: &[u8], password: &str) -> (bool, String) {
    openssl.put_bytes("it.p12", file);
    openssl.put("password", password);
    openssl.attempt("pkcs12 -info -nodes -in it.p12 -passin file:password")
}

#[test]
fn openssl_reads_the_chain_and_finds_no_key() {
    let (openssl, chain) = (Openssl::new(), chain());
    for password in ["s3cret pass", "", "Größe"] {
        let file = pkcs12::trust_store(&chain, "web", password).unwrap();
        // An empty first line stands for an empty password.
        let (read_it, text) = read(&openssl, &file, &format!("{password}\n"));
        assert!(read_it, "{text}");
        assert_eq!(Chain::parse_pem(&text).unwrap(), chain, "leaf first, nothing missing");
        assert!(text.contains("friendlyName: web\n") && text.contains("AES-256-CBC") && !text.contains("PRIVATE KEY"), "{text}");
        let (read_it, text) = read(&openssl, &file, "other\n");
        assert!(!read_it && text.contains("invalid password"), "{text}");
    }
}

#[test]
fn every_certificate_is_marked_as_trusted() {
    let file = pkcs12::trust_store(&chain(), "web", "changeit").unwrap();
    // The strict reader takes a certificate without a key only with the mark that Java sets.
    let store = KeyStore::from_pkcs12(&file, "changeit", Pkcs12ImportPolicy::Strict).unwrap();
    assert_eq!(store.entries().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["web", "web chain 01", "web chain 02"]);
}

#[test]
fn a_name_beyond_the_format_loses_letters_and_such_a_password_is_refused() {
    let file = pkcs12::trust_store(&chain(), "web \u{1f600}", "x").unwrap();
    let (read_it, text) = read(&Openssl::new(), &file, "x\n");
    assert!(read_it && text.contains("friendlyName: web"), "{text}");
    for password in ["\u{1f600}", "a\0b", &"x".repeat(MAX_PASSWORD + 1)] {
        assert!(matches!(pkcs12::trust_store(&chain(), "web", password), Err(Pkcs12Error::Password)));
    }
}
