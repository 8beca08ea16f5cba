//! The server's certificate comes from another CA while agents are in place, and then from certctl itself.

use certctl_testkit::{Engine, wait_until};

use crate::harness::{LONG, Openssl, Operator, Site, World, blocks, fingerprint_of, read, served};

const NAME: &str = "web.example.test";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ca_changes_with_agents_in_place() {
    let quick = |setup: crate::harness::Setup| {
        setup
            .with("CERTCTL_AGENTS_HEARTBEAT_INTERVAL", "1s")
            .with("CERTCTL_AGENTS_OFFLINE_AFTER", "3s")
            .with("CERTCTL_AGENTS_POLL_WAIT", "1s")
    };
    let mut world = World::with(Engine::Sqlite, quick).await;
    let mut page = blocks("docs/operator/tls.md", "sh");
    let mut site = Site::open(&world, NAME).await;
    let mut forgotten = world.agent("forgotten").await;
    let port = world.server.setup.port;
    let operator = Operator::new(&world.home, &world.cli)
        .beside(&world.server.setup)
        .reading("certctl.example.test:8443", &format!("127.0.0.1:{port}"))
        .reading("/var/lib/certctl-agent/", &format!("{}/", site.agent.state.display()));
    let look = page.next_with("s_client");
    assert!(operator.runs(&look).await.ok().contains("DNS:localhost"));

    // A pair of another CA.
    let openssl = Openssl::new(&world.home);
    let (first, _) = pair(&openssl, "first").await;
    let ca = world.home.write("new-ca.pem", openssl.get("ca.pem"));
    let sums = operator.runs(&page.next_with("sha256sum")).await.ok();
    let sums: Vec<&str> = sums.lines().collect();
    assert!(sums.len() == 2 && sums[0] == sums[1], "{sums:?}");
    let install = page.next_with("install -m 0600 new.key");
    operator.runs(&install).await.ok();

    // The new CA first, on the host of one agent and not on the other.
    operator.runs(&page.next_with("cat new-ca.pem >>")).await.ok();
    assert!(site.agent.stop(LONG).await.success());
    site.agent.start();
    site.agent.online(&world.cli).await;
    let settings = world.home.write("etc/server.toml", operator.here(&blocks("docs/operator/tls.md", "toml").next_with("cert_file")));
    let both = format!("{}{}", read(&world.server.ca_file()), read(&ca));
    let both = world.home.write("both.pem", both);
    let token = world.server.first_key_file();
    let login = ["login", "--server", &world.server.url(), "--ca", both.to_str().unwrap(), "--token-file", token.to_str().unwrap()];
    world.cli.run(&login).await.ok();
    world.server.setup.variables.insert("CERTCTL_CONFIG".to_owned(), settings.to_str().unwrap().to_owned());
    world.server.setup.trusted = Some(ca);
    assert!(world.server.stop(LONG).await.success());
    world.server.start_again().await;
    served(&world.home, port, "localhost", &first).await;
    assert!(operator.runs(&look).await.ok().contains("a CA of the test"));

    // One agent goes on, the other is found, and comes back when it is told.
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    let offline = page.next_with("agents list --status Offline");
    wait_until("an agent that is found missing", LONG, async || operator.runs(&offline).await.ok().trim() == "forgotten").await;
    let log = forgotten.process().log();
    assert!(log.contains("certificate"), "the agent says what is wrong: {log}");
    let catch_up = operator.clone().reading("/var/lib/certctl-agent/", &format!("{}/", forgotten.state.display()));
    let alone = page.next_with("install -m 0600 new-ca.pem");
    catch_up.runs(&alone).await.ok();
    assert!(forgotten.stop(LONG).await.success());
    forgotten.start();
    wait_until("nobody to be missing", LONG, async || operator.runs(&offline).await.ok().is_empty()).await;

    // Without the old CA.
    operator.runs(&alone).await.ok();
    assert!(site.agent.stop(LONG).await.success());
    site.agent.start();
    site.agent.online(&world.cli).await;
    world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();

    // Another pair is taken up without a restart.
    let (second, _) = pair(&openssl, "second").await;
    operator.runs(&install).await.ok();
    served(&world.home, port, "localhost", &second).await;

    // Managed by certctl itself: its CA is trusted first.
    let root = world.cli.run(&["issuers", "ca", "local"]).await.ok();
    for agent in [&mut site.agent, &mut forgotten] {
        let trusted = agent.state.join("ca.pem");
        crate::harness::write(&trusted, format!("{}{root}", read(&trusted)));
        assert!(agent.stop(LONG).await.success());
        agent.start();
        agent.online(&world.cli).await;
    }
    let all = world.home.write("both.pem", format!("{}{root}", read(&both)));
    let login = ["login", "--server", &world.server.url(), "--ca", all.to_str().unwrap(), "--token-file", token.to_str().unwrap()];
    world.cli.run(&login).await.ok();
    operator.clone().reading("server-host", "forgotten").runs(&page.next_with("targets create")).await.ok();
    let managed = world.cli.current_version("certctl-server").await["fingerprint_sha256"].as_str().unwrap().to_owned();
    served(&world.home, port, "localhost", &managed).await;
    world.cli.run(&["certs", "renew", "certctl-server", "--wait"]).await.ok();
    let renewed = world.cli.current_version("certctl-server").await["fingerprint_sha256"].as_str().unwrap().to_owned();
    served(&world.home, port, "localhost", &renewed).await;
    site.agent.online(&world.cli).await;
}

/// A pair for the server as `new.pem` and `new.key`, from a CA of the test's own; gives its fingerprint.
async fn pair(openssl: &Openssl, name: &str) -> (String, String) {
    if !openssl.path("ca.pem").exists() {
        openssl.key("ca.key", "ECDSA-P256").await;
        openssl
            .attempt_words(&["req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=a CA of the test", "-days", "30", "-out", "ca.pem"])
            .await
            .ok();
    }
    let key = format!("{name}.key");
    openssl.key(&key, "ECDSA-P256").await;
    openssl.put("san.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    openssl.attempt_words(&["req", "-new", "-key", &key, "-subj", "/CN=localhost", "-out", "server.csr"]).await.ok();
    openssl.run("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile san.ext -out server.pem").await;
    let pem = openssl.get("server.pem");
    openssl.home().write("new.pem", &pem);
    openssl.home().write("new.key", openssl.get(&key));
    (fingerprint_of(openssl.home(), &pem).await, pem)
}
