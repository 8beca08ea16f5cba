//! Everything is lost and comes back on another machine; then the data directory, the encryption key and a CA are lost, too.

use std::time::{Duration, Instant};

use certctl_testkit::both_databases;
use serde_json::json;

use crate::backups::Kept;
use crate::harness::{Blocks, Cli, LONG, Operator, Server, Setup, Site, blocks, read, verified};

const NAME: &str = "web.example.test";

both_databases! {
    async fn what_is_lost_comes_back(kept: Kept) {
        let mut kept = kept;
        let mut page = blocks("docs/operator/runbooks/disaster-recovery.md", "sh");
        let mut site = Site::open(&kept.world, NAME).await;
        kept.world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
        let first = kept.world.cli.current_version("web").await;
        kept.create().await;
        let jobs = kept.world.cli.jobs("web").await.len();
        let credential = site.agent.credential();

        // 1. The machine is gone, with everything on it but the agent's host; the key lay elsewhere.
        let setup = kept.world.server.setup.clone();
        kept.world.server.kill().await;
        let kept_key = setup.variables.get("CERTCTL_ENCRYPTION_KEY_FILE").map_or_else(|| setup.data.join("encryption.key"), Into::into);
        kept.world.home.write("safe/encryption.key", read(&kept_key));
        let began = Instant::now();
        std::fs::remove_dir_all(&setup.data).unwrap();
        let place = kept.elsewhere(&setup).await;
        let etc = kept.world.home.join("etc/encryption.key");
        let place = place.with("CERTCTL_ENCRYPTION_KEY_FILE", etc.to_str().unwrap());
        let safe = format!("{}/", kept.world.home.join("safe").display());
        let operator = Operator::new(&kept.world.home, &kept.world.cli).beside(&place).reading("/media/safe/", &safe);
        operator.runs(&page.next_with("install -m 0600")).await.ok();
        assert!(operator.runs(&page.next_with("backup list")).await.ok().contains("whole"));
        assert!(operator.runs(&page.next_with("backup restore")).await.ok().contains("restored"));
        kept.world.server = Server::start(&kept.world.home, place.clone()).await;
        let shown = operator.runs(&page.next_with("audit verify")).await.ok();
        assert!(!shown.lines().any(|line| line == "web"), "nothing has failed: {shown}");

        // The agent comes back by itself, with what it had.
        site.agent.online(&kept.world.cli).await;
        assert_eq!(operator.runs(&page.next_with("agents list --status Offline")).await.ok(), "");
        assert_eq!(site.agent.credential(), credential, "nobody enrolled again");
        assert_eq!(kept.world.cli.jobs("web").await.len(), jobs, "nothing is ordered again");
        site.nginx.serves(NAME, first["fingerprint_sha256"].as_str().unwrap()).await;
        operator.runs(&page.next_with("certs renew web --wait")).await.ok();
        let again = kept.world.cli.current_version("web").await;
        site.nginx.serves(NAME, again["fingerprint_sha256"].as_str().unwrap()).await;
        operator.runs(&page.next_with("backup create")).await.ok();
        assert!(began.elapsed() < Duration::from_secs(120), "the page promises two minutes, it took {:?}", began.elapsed());

        // 2. The data directory alone.
        let look = page.next_with("certctl status");
        if kept.world.database.is_some() {
            kept.world.server.kill().await;
            std::fs::remove_dir_all(&place.data).unwrap();
            kept.world.server.start_again().await;
            site.agent.online(&kept.world.cli).await;
            let shown = operator.runs(&look).await.ok();
            assert!(!shown.contains("web-host"), "{shown}");
        }

        the_encryption_key_is_lost(&mut kept, &mut site, &mut page, &safe).await;
    }
}

/// The installation cannot be opened: another one takes its place, and then a CA of that one is given up.
async fn the_encryption_key_is_lost(kept: &mut Kept, site: &mut Site, page: &mut Blocks, safe: &str) {
    let mut next = |words: &str| page.next_with(words);
    let home = std::sync::Arc::clone(&kept.world.home);
    let old = kept.world.server.setup.clone();
    assert!(kept.world.server.stop(LONG).await.success());
    let other = home.write("other.key", "b3RoZXIga2V5IG9mIHRoaXJ0eS10d28gYnl0ZXMhISE=");
    let keyless = old.clone().with("CERTCTL_ENCRYPTION_KEY_FILE", other.to_str().unwrap());
    let refused = keyless.run(&home, &["serve"]).await.ends(1).says(&["sealed under encryption keys that are not given", "hint: "]);
    let operator = Operator::new(&home, &kept.world.cli).beside(&old).reading("/media/safe/", safe);
    let fingerprint = operator.runs(&next("sha256sum")).await.ok();
    assert!(refused.stderr.contains(fingerprint.trim()), "{} names {fingerprint}", refused.stderr);
    let read_the_old = next("psql");
    if let Some(url) = old.variables.get("CERTCTL_DATABASE_URL") {
        assert!(operator.clone().with("OLD_DATABASE_URL", url).runs(&read_the_old).await.ok().contains("web"));
    }

    // A new installation, at the address of the old one.
    let empty = match &kept.world.database {
        None => None,
        Some(_) => Some(certctl_testkit::database::postgres().await),
    };
    let mut setup = Setup { port: old.port, ..Setup::plain(&home, "anew") };
    if let Some(empty) = &empty {
        setup = setup.with("CERTCTL_DATABASE_URL", empty.url()).with("CERTCTL_ENCRYPTION_KEY_FILE", other.to_str().unwrap());
    }
    let server = Server::start(&home, setup.clone()).await;
    let key = read(&server.first_key_file());
    home.plant_key(&key);
    let cli = Cli::new(&home, "cli-anew");
    let (ca, token) = (server.ca_file(), server.first_key_file());
    cli.run(&["login", "--server", &server.url(), "--ca", ca.to_str().unwrap(), "--token-file", token.to_str().unwrap()]).await.ok();
    let operator = Operator::new(&home, &cli)
        .beside(&setup)
        .reading("https://certctl.example.test:8443", &server.url())
        .reading("web.example.test:443", &format!("127.0.0.1:{}", site.nginx.port));
    home.write("ca.pem", read(&ca));
    operator.runs(&next("agents token create")).await.ok();
    assert!(site.agent.stop(LONG).await.success());
    let on_the_host = operator.clone().with("CERTCTL_AGENT_STATE_DIR", site.agent.state.to_str().unwrap());
    on_the_host.runs(&next("unenroll")).await.ok();
    site.agent.start();
    site.agent.online(&cli).await;
    let target = json!({"name": "web", "type": "NGINX", "agent_id": site.agent.id(), "config": site.nginx.target(NAME)});
    home.write("target.json", target.to_string());
    operator.runs(&next("targets create")).await.ok();
    site.nginx.serves(NAME, served(&cli).await.as_str()).await;

    // A CA key is known to others.
    operator.runs(&next("issuers create")).await.ok();
    operator.runs(&next("bulk-renew")).await.ok();
    cli.run(&["certs", "wait", "web"]).await.ok();
    let root = home.join("local-2.pem");
    site.nginx.serves(NAME, served(&cli).await.as_str()).await;
    operator.runs(&next("test -z")).await.ok();
    assert!(verified(&home, site.nginx.port, NAME, &root).await.is_ok());
    operator.runs(&next("--enabled=false")).await.ok();
    let api = server.api().with_token(key.trim());
    assert_eq!(api.get("/api/v1/issuers/iss-local").await.is(200).json()["enabled"], false);
    drop(server);
    drop(empty);
}

async fn served(cli: &Cli) -> String {
    cli.current_version("web").await["fingerprint_sha256"].as_str().unwrap().to_owned()
}

impl Kept {
    /// Settings for another machine: nothing is there yet.
    async fn elsewhere(&mut self, old: &Setup) -> Setup {
        let mut setup = Setup { name: "elsewhere".to_owned(), data: self.world.home.join("elsewhere"), ..old.clone() };
        std::fs::create_dir(&setup.data).unwrap();
        if self.world.database.is_some() {
            let second = certctl_testkit::database::postgres().await;
            setup = setup.with("CERTCTL_DATABASE_URL", second.url());
            self.second = Some(second);
        }
        setup
    }
}
