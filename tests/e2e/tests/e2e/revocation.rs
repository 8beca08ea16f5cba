//! Revocation as relying parties see it: openssl and curl ask every replica over plain HTTP, nginx staples what it was told, zlint reads
//! what was published.

use certctl_testkit::{Engine, require_program, wait_until};

use crate::harness::{LONG, Openssl, Server, Setup, Site, World, command, free_port, lint, read, run, write};

const NAME: &str = "web.example.test";

/// The relying parties' port of one replica.
struct Published {
    openssl: Openssl,
    base: String,
}

/// With a port for relying parties, and lists that follow soon. What certificates name is the port of the first replica.
fn publishing(setup: Setup, port: u16, named: u16) -> Setup {
    setup
        .with("CERTCTL_PKI_HTTP_LISTEN", &format!("127.0.0.1:{port}"))
        .with("CERTCTL_PKI_PUBLIC_URL", &format!("http://127.0.0.1:{named}"))
        .with("CERTCTL_PKI_CRL_DELAY", "5s")
}

impl Published {
    fn of(world: &World, port: u16) -> Self {
        Self { openssl: Openssl::new(&world.home), base: format!("http://127.0.0.1:{port}/.well-known/pki") }
    }

    /// What openssl believes of the leaf: by POST, the signature of the answer checked up to the root.
    async fn post(&self, digest: &str, nonce: &str) -> String {
        let url = format!("{}/ocsp/iss-local", self.base);
        let line =
            format!("ocsp -{digest} -issuer issuing.pem -cert leaf.pem {nonce} -url {url} -CAfile root.pem -verify_other issuing.pem");
        let said = self.openssl.attempt(&line).await;
        let both = format!("{}{}", said.stdout, said.stderr);
        assert!(said.code == Some(0) && both.contains("Response verify OK"), "{both}");
        assert!(!both.contains("no nonce in response"), "{both}");
        both
    }

    /// The same by GET, with curl, in the form of RFC 6960 appendix A.1.
    async fn get(&self, digest: &str) -> String {
        self.openssl.run(&format!("ocsp -{digest} -issuer issuing.pem -cert leaf.pem -no_nonce -reqout req.der")).await;
        let encoded = self.openssl.run("base64 -A -in req.der").await;
        let encoded = encoded.trim().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        self.fetch(&format!("ocsp/iss-local/{encoded}"), "resp.der").await;
        let said = self
            .openssl
            .attempt(&format!(
                "ocsp -{digest} -issuer issuing.pem -cert leaf.pem -no_nonce -respin resp.der -CAfile root.pem -verify_other issuing.pem"
            ))
            .await;
        format!("{}{}", said.stdout, said.stderr)
    }

    async fn is(&self, status: &str) -> bool {
        self.post("sha256", "").await.contains(&format!("leaf.pem: {status}"))
    }

    /// Every way to ask says the same.
    async fn says(&self, status: &str) {
        for digest in ["sha1", "sha256"] {
            for said in [self.post(digest, "").await, self.post(digest, "-no_nonce").await, self.get(digest).await] {
                assert!(said.contains(&format!("leaf.pem: {status}")) && said.contains("Response verify OK"), "{said}");
            }
        }
    }

    /// The list that the leaf names, its signature checked.
    async fn list(&self) -> String {
        self.fetch("crl/iss-local", "crl.der").await;
        let said = self.openssl.attempt("crl -inform DER -in crl.der -CAfile issuing.pem -noout -text").await;
        let both = format!("{}{}", said.stdout, said.stderr);
        assert!(both.contains("verify OK"), "{both}");
        both
    }

    async fn has_list(&self) -> bool {
        let mut curl = command(self.openssl.home(), require_program("curl"));
        run(curl.args(["-fsS", "-o", "/dev/null", &format!("{}/crl/iss-local", self.base)])).await.code == Some(0)
    }

    async fn fetch(&self, path: &str, file: &str) {
        let url = format!("{}/{path}", self.base);
        let mut curl = command(self.openssl.home(), require_program("curl"));
        run(curl.args(["-fsS", "-o"]).arg(self.openssl.path(file)).arg(url)).await.ok();
    }
}

/// Issues a certificate for a key that openssl holds; `leaf.pem`, `issuing.pem` and `root.pem` lie in its folder.
async fn issued(world: &World) {
    let openssl = Openssl::new(&world.home);
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME]).await.ok();
    openssl.key("web.key", "ECDSA-P256").await;
    let csr = openssl.put("web.csr", openssl.request("web.key", NAME, &format!("DNS:{NAME}")).await);
    world.cli.run(&["certs", "csr", "web", csr.to_str().unwrap(), "--wait"]).await.ok();
    openssl.put("leaf.pem", world.cli.run(&["certs", "export", "web", "--part", "cert"]).await.ok());
    openssl.put("issuing.pem", world.cli.run(&["certs", "export", "web", "--part", "chain"]).await.ok());
    openssl.put("root.pem", world.cli.run(&["issuers", "ca", "iss-local"]).await.ok());
}

#[tokio::test]
async fn what_is_revoked_on_one_replica_is_refused_by_the_answers_of_both() {
    let ports = [free_port(), free_port()];
    let world = World::with(Engine::Postgres, |setup| publishing(setup, ports[0], ports[0])).await;
    let database = world.database.as_ref().unwrap();
    let _other = Server::start(&world.home, publishing(Setup::on(&world.home, "replica", database), ports[1], ports[0])).await;
    issued(&world).await;
    let replicas = ports.map(|port| Published::of(&world, port));
    let leaf = replicas[0].openssl.run("x509 -in leaf.pem -noout -text").await;
    let [ocsp, crl] = ["ocsp", "crl"].map(|kind| format!("URI:{}/{kind}/iss-local", replicas[0].base));
    assert!(leaf.contains(&format!("OCSP - {ocsp}")) && leaf.contains(&crl), "{leaf}");
    let serial = world.cli.current_version("web").await["serial_number"].as_str().unwrap().to_uppercase();
    for replica in &replicas {
        wait_until("a first list", LONG, async || replica.has_list().await).await;
        replica.says("good").await;
        assert!(!replica.list().await.contains(&serial));
    }
    world.cli.run(&["certs", "revoke", "web", "--reason", "keyCompromise", "--yes"]).await.ok();
    for replica in &replicas {
        wait_until("an answer that it is revoked", LONG, async || replica.is("revoked").await).await;
        wait_until("a list that names it", LONG, async || replica.list().await.contains(&serial)).await;
        replica.says("revoked").await;
        assert!(replica.post("sha256", "").await.contains("Reason: keyCompromise"));
        assert!(replica.list().await.contains("Key Compromise"));
    }
    // Once more with what a relying party does by itself.
    let openssl = &replicas[1].openssl;
    openssl.run("crl -inform DER -in crl.der -out crl.pem").await;
    let refused = openssl.attempt("verify -crl_check -CAfile root.pem -untrusted issuing.pem -CRLfile crl.pem leaf.pem").await.ends(2);
    assert!(refused.stderr.contains("certificate revoked"), "{}", refused.stderr);
    // And what was published keeps the rules.
    assert!(lint(&world.home, "crl.pem", &openssl.get("crl.pem")).await > 0);
    openssl.put("resp.txt", openssl.run("ocsp -respin resp.der -noverify -resp_text").await);
    openssl.run("x509 -in resp.txt -out responder.pem").await;
    assert!(lint(&world.home, "responder.pem", &openssl.get("responder.pem")).await > 20);
}

#[tokio::test]
async fn nginx_staples_what_it_was_told() {
    let port = free_port();
    let world = World::with(Engine::Sqlite, |setup| publishing(setup, port, port)).await;
    let site = Site::open(&world, NAME).await;
    let whole = read(&site.nginx.config());
    write(&site.nginx.config(), whole.replace("http {", "http {\n    ssl_stapling on;"));
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    let root = world.home.write("ca.pem", world.cli.run(&["issuers", "ca", "iss-local"]).await.ok());
    let address = format!("127.0.0.1:{}", site.nginx.port);
    // nginx asks when the first client wants to know, and staples for the next one.
    wait_until("a stapled answer", LONG, async || {
        let mut client = command(&world.home, require_program("openssl"));
        client.args(["s_client", "-connect", &address, "-servername", NAME, "-status", "-CAfile"]).arg(&root);
        let said = run(&mut client).await.stdout;
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good")
    })
    .await;
}
