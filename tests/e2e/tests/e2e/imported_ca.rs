//! A CA that was made elsewhere: imported with its key, which goes in and never comes out again.

use certctl_testkit::both_databases;
use serde_json::{Value, json};

use crate::harness::{Openssl, World, fields_of, read};

both_databases! {
    async fn an_imported_sub_ca_issues_and_its_key_is_never_shown(world: World) {
        let openssl = Openssl::new(&world.home);
        let ca = Imported::make(&openssl, &world).await;
        let settings = ca.settings();
        let file = world.home.write("issuer.json", settings.to_string());
        let made = world.cli.json(&["issuers", "create", "--from-file", file.to_str().unwrap()]).await;
        assert_eq!(made["config"]["ca_key_pem"], "[redacted]");
        assert_eq!(made["config"]["ca_certificate_pem"], ca.chain_pem);
        issue(&world, &openssl, "first").await;

        // Nowhere in what the API tells is the key.
        let id = made["id"].as_str().unwrap();
        let path = format!("/api/v1/issuers/{id}");
        for path in [path.as_str(), "/api/v1/issuers", &format!("{path}/ca"), "/api/v1/audit?per_page=500"] {
            let answer = world.api.get(path).await.is(200);
            assert!(!answer.text.contains("PRIVATE KEY") && ca.key_lines.iter().all(|line| !answer.text.contains(line)), "{path}");
        }

        let exported = world.cli.run(&["audit", "export", "--from", "1h"]).await.ok();
        assert!(exported.contains("issuer.create") && ca.key_lines.iter().all(|line| !exported.contains(line)), "{exported}");

        // What was read can be written back: the key stays what it was.
        let mut whole = settings.clone();
        whole["config"] = made["config"].clone();
        whole["config"]["validity_days"] = json!(30);
        let put = world.api.put(&path, &whole).await.is(200).json();
        assert_eq!((&put["config"]["ca_key_pem"], &put["config"]["validity_days"]), (&json!("[redacted]"), &json!(30)));
        let patched = world.api.patch(&path, &json!({"config": put["config"]})).await.is(200).json();
        assert_eq!(patched["config"]["ca_key_pem"], "[redacted]");
        let days = issue(&world, &openssl, "second").await;
        assert!((29..=30).contains(&days), "the change holds: {days}");

        // Another CA is not silently left aside, nor put in the place of the one that signed.
        let other = Imported::make(&openssl, &world).await;
        let problem = world.api.put(&path, &other.settings()).await.fails_with(400, "invalid_field");
        assert!(problem["hint"].as_str().unwrap().contains("make another issuer"), "{problem}");
        assert_eq!(world.api.get(&path).await.json(), patched);

        // The key is at rest in no file as it was given.
        if world.database.is_none() {
            let file = std::fs::read(world.server.setup.data.join("certctl.db-wal")).unwrap();
            let text = String::from_utf8_lossy(&file);
            assert!(ca.key_lines.iter().all(|line| !text.contains(line)), "a key lies in the clear in the database");
        }
    }

    async fn a_ca_that_cannot_issue_is_refused_and_nothing_is_kept(world: World) {
        let openssl = Openssl::new(&world.home);
        let ca = Imported::make(&openssl, &world).await;
        openssl.key("other.key", "ECDSA-P256").await;
        let other = read(&openssl.path("other.key"));
        world.home.plant(other.lines().nth(1).unwrap());
        let of = |change: &dyn Fn(&mut Value)| {
            let mut settings = ca.settings();
            change(&mut settings["config"]);
            settings
        };
        for (name, settings) in [
            (
                "certificate without key",
                of(&|config| {
                    config.as_object_mut().unwrap().remove("ca_key_pem");
                }),
            ),
            ("no PEM", of(&|config| config["ca_certificate_pem"] = json!("no certificate"))),
            ("key of another", of(&|config| config["ca_key_pem"] = json!(other))),
            ("nothing to keep", of(&|config| config["ca_key_pem"] = json!("[redacted]"))),
            ("unknown setting", of(&|config| config["colour"] = json!("red"))),
            ("wrong type", of(&|config| config["validity_days"] = json!("ninety"))),
            ("out of range", of(&|config| config["validity_days"] = json!(0))),
        ] {
            let problem = world.api.post("/api/v1/issuers", &settings).await.is(400).problem();
            let field = fields_of(&problem).first().copied().unwrap_or_default().to_owned();
            assert!(field.starts_with("config"), "{name}: {problem}");
            let said = problem.to_string();
            assert!(!said.contains("PRIVATE KEY") && ca.key_lines.iter().all(|line| !said.contains(line)), "{name}");
        }
        assert_eq!(world.api.get("/api/v1/issuers").await.json()["total"], 1, "only the built-in one is there");
    }
}

/// A sub-CA that openssl made, below a root of openssl's.
pub(crate) struct Imported {
    chain_pem: String,
    key_pem: String,
    key_lines: Vec<String>,
}

impl Imported {
    /// Makes it, in the folder of openssl.
    pub(crate) async fn make(openssl: &Openssl, world: &World) -> Self {
        openssl.key("root.key", "ECDSA-P384").await;
        openssl.key("sub.key", "ECDSA-P256").await;
        let ca =
            "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -addext subjectKeyIdentifier=hash";
        openssl.run(&format!("req -x509 -new -key root.key -subj /CN=Root -days 3650 {ca} -out root.pem")).await;
        openssl.run("req -new -key sub.key -subj /CN=Issuing -out sub.csr").await;
        openssl.put(
            "sub.ext",
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n",
        );
        openssl.run("x509 -req -in sub.csr -CA root.pem -CAkey root.key -days 1000 -extfile sub.ext -out sub.pem").await;
        let key_pem = openssl.get("sub.key");
        let key_lines: Vec<String> = key_pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect();
        key_lines.iter().filter(|line| line.len() > 20).for_each(|line| world.home.plant(line));
        Self { chain_pem: format!("{}{}", openssl.get("sub.pem"), openssl.get("root.pem")), key_pem, key_lines }
    }

    /// As an issuer.
    pub(crate) fn settings(&self) -> Value {
        let config = json!({"ca_certificate_pem": self.chain_pem, "ca_key_pem": self.key_pem});
        json!({"name": "imported", "type": "GenericCA", "config": config})
    }
}

/// Issues a certificate that openssl accepts below the root alone; gives its life in days.
async fn issue(world: &World, openssl: &Openssl, name: &str) -> i64 {
    let host = format!("{name}.example.test");
    world.cli.run(&["certs", "request", "--name", name, "--san", &host, "--issuer", "imported"]).await.ok();
    let key = format!("{name}.key");
    openssl.key(&key, "ECDSA-P256").await;
    let csr = openssl.put("leaf.csr", openssl.request(&key, &host, "").await);
    world.cli.run(&["certs", "csr", name, csr.to_str().unwrap(), "--wait"]).await.ok();
    openssl.put("leaf.pem", world.cli.run(&["certs", "export", name]).await.ok());
    openssl
        .run(&format!("verify -x509_strict -purpose sslserver -verify_hostname {host} -CAfile root.pem -untrusted leaf.pem leaf.pem"))
        .await;
    let version = world.cli.current_version(name).await;
    let at = |field: &str| -> certctl_domain::time::Timestamp { version[field].as_str().unwrap().parse().unwrap() };
    at("not_before").until(at("not_after")).whole_days()
}
