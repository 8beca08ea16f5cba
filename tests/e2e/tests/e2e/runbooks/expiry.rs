//! A certificate that nobody renews: an agent that is gone, a CA that is off, files that are not as they should be, a host that is lost.

use certctl_testkit::{Engine, wait_until};

use crate::harness::{LONG, Nginx, Operator, Site, World, blocks, verified, write};

const NAME: &str = "web.example.test";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_renewed_is_found_and_helped() {
    let quick = |setup: crate::harness::Setup| {
        setup
            .with("CERTCTL_AGENTS_HEARTBEAT_INTERVAL", "1s")
            .with("CERTCTL_AGENTS_OFFLINE_AFTER", "3s")
            .with("CERTCTL_AGENTS_POLL_WAIT", "1s")
    };
    let world = World::with(Engine::Sqlite, quick).await;
    let mut page = blocks("docs/operator/runbooks/expiry-alerts.md", "sh");
    let mut site = Site::open(&world, NAME).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    world.cli.run(&["issuers", "create", "--name", "spare", "--type", "GenericCA"]).await.ok();
    let operator = Operator::new(&world.home, &world.cli).reading("web.example.test:443", &format!("127.0.0.1:{}", site.nginx.port));

    // The agent is gone while a renewal is due.
    site.agent.kill().await;
    wait_until("an agent that is offline", LONG, async || world.cli.json(&["agents", "get", "web-host"]).await["status"] == "Offline")
        .await;
    world.cli.run(&["certs", "renew", "web"]).await.ok();
    operator.runs(&page.next_with("certs list --status Expired")).await.ok();
    let explained = operator.runs(&page.next_with("certs explain web")).await.ok();
    assert!(explained.contains("agent web-host is offline") && explained.contains("look whether it runs"), "{explained}");
    let steps = operator.runs(&page.next_with("jobs list --cert web")).await.ok();
    assert!(steps.contains("AwaitingCSR") && steps.contains("web-host"), "{steps}");
    site.agent.start();
    site.agent.online(&world.cli).await;
    world.cli.run(&["certs", "wait", "web"]).await.ok();
    let act = page.next_with("certs renew web --wait");
    operator.runs(&act).await.ok();

    // The CA is off; another one takes its place.
    world.cli.run(&["issuers", "edit", "local", "--enabled=false"]).await.ok();
    operator.runs(&page.next_with("--issuer spare")).await.ok();
    let root = world.home.write("spare.pem", world.cli.run(&["issuers", "ca", "spare"]).await.ok());
    wait_until("the certificate of the spare CA", LONG, async || verified(&world.home, site.nginx.port, NAME, &root).await.is_ok()).await;

    // Somebody overwrote the files.
    let stranger = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    write(&site.nginx.key(NAME), stranger.signing_key.serialize_pem());
    write(&site.nginx.certificate(NAME), stranger.cert.pem());
    site.nginx.reload().await;
    site.nginx.serves(NAME, &site.nginx.placed(NAME).await).await;
    assert!(verified(&world.home, site.nginx.port, NAME, &root).await.is_err());
    operator.runs(&page.next_with("certs deploy web --wait")).await.ok();
    wait_until("what was deployed again", LONG, async || verified(&world.home, site.nginx.port, NAME, &root).await.is_ok()).await;

    // The host is gone: another agent has the name.
    site.agent.kill().await;
    drop(site);
    let agent = world.agent("new-host").await;
    let nginx = Nginx::start(&world.home, &[NAME]).await;
    nginx.allow(&agent).await;
    world.target("new-place", &agent, ("NGINX", &nginx.target(NAME))).await;
    operator.runs(&page.next_with("--target new-place")).await.ok();
    wait_until("the name on the new host", LONG, async || verified(&world.home, nginx.port, NAME, &root).await.is_ok()).await;

    // By hand.
    world.cli.run(&["issuers", "edit", "local", "--enabled=true"]).await.ok();
    operator.runs(&page.next_with("by-hand")).await.ok();
    let checked = operator.runs("openssl x509 -in by-hand.pem -noout -checkhost www.example.test").await.ok();
    assert!(checked.contains("does match"), "{checked}");
    let here = operator.reading("web.example.test:443", &format!("127.0.0.1:{}", nginx.port));
    assert!(here.runs(&page.next_with("s_client")).await.ok().contains("will not expire"));
}
