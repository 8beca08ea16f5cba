//! A certificate as files: PEM, and PKCS#12 without a key.

use certctl_testkit::both_databases;
use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use serde_json::json;

use crate::support::TestServer;

both_databases! {
    async fn the_chain_comes_out_of_every_form_the_same(server: TestServer) {
        server.seed().await;
        let id = server.issue("web").await;
        let admin = server.admin();
        let pem = admin.get(&format!("/api/v1/certificates/{id}/export/pem")).await.is(200).json();
        assert_eq!(pem["full_pem"], format!("{}{}", pem["cert_pem"].as_str().unwrap(), pem["chain_pem"].as_str().unwrap()));
        let path = format!("/api/v1/certificates/{id}/export/pkcs12");
        for (body, password) in [(Some(json!({"password": "Gr\u{f6}\u{df}e 1"})), "Gr\u{f6}\u{df}e 1"), (Some(json!({})), ""), (None, "")] {
            let reply = admin.send("POST", &path, &[], body.map(|body| body.to_string())).await.is(200);
            assert_eq!(reply.header("content-type"), "application/x-pkcs12");
            assert_eq!(reply.header("content-disposition"), format!("attachment; filename=\"{id}.p12\""));
            let store = KeyStore::from_pkcs12(&reply.bytes, password, Pkcs12ImportPolicy::Raw).unwrap();
            let held: Vec<_> = store.entries().filter_map(|(_, entry)| certificate(entry)).collect();
            assert_eq!(held.len(), store.entries_len(), "there is a key in it");
            assert_eq!(held, blocks(pem["full_pem"].as_str().unwrap()));
        }
    }

    async fn without_a_version_or_with_a_bad_password_it_is_refused(server: TestServer) {
        server.seed().await;
        let admin = server.admin();
        let waiting = admin.post("/api/v1/certificates", &json!({"name": "w", "sans": ["w.example.test"]})).await.is(201).json();
        let path = |id: &str| format!("/api/v1/certificates/{id}/export/pkcs12");
        admin.post(&path(waiting["id"].as_str().unwrap()), &json!({})).await.fails_with(404, "not_found");
        admin.post(&path("mc-none"), &json!({})).await.fails_with(404, "not_found");
        let id = server.issue("web").await;
        for password in ["\u{1f600}".to_owned(), "x".repeat(257)] {
            let refused = admin.post(&path(&id), &json!({"password": password})).await.fails_with(400, "invalid_field");
            assert_eq!(refused["errors"][0]["field"], "password");
            assert!(!refused.to_string().contains(&password), "a password is in an answer");
        }
        admin.post(&path(&id), &json!({"passwort": "x"})).await.is(400);
        admin.post(&path(&id), &json!({"password": 1})).await.is(400);
    }
}

fn certificate(entry: &KeyStoreEntry) -> Option<Vec<u8>> {
    match entry {
        KeyStoreEntry::Certificate(certificate) => Some(certificate.as_der().to_vec()),
        _ => None,
    }
}

fn blocks(text: &str) -> Vec<Vec<u8>> {
    certctl_pki::pem::blocks(text).unwrap().iter().map(|block| block.der().to_vec()).collect()
}
