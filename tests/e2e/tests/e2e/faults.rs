//! Power cuts: server and agent die right after each step of a renewal became durable, and before anybody heard of it. Each time the
//! renewal comes to its end, once.

use certctl_testkit::{Engine, wait_until};

use crate::harness::{LONG, Site, World, names_in, read};

const NAME: &str = "web.example.test";
const FAULT: &str = "FAULT_AT";

/// A world with a certificate in place, whose leases are short, so that what a dead server held is free soon.
async fn in_place(engine: Engine) -> (World, Site) {
    let world = World::with(engine, |setup| setup.with("CERTCTL_SCHEDULER_JOB_LEASE", "5s")).await;
    let site = Site::open(&world, NAME).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    (world, site)
}

/// The renewal is done, once, and everybody agrees on it.
async fn ended(world: &World, site: &Site, versions: u64, point: &str) {
    wait_until(&format!("{point}: version {versions}"), LONG, async || {
        world.cli.json(&["certs", "versions", "web"]).await["total"] == versions
    })
    .await;
    world.cli.run(&["certs", "wait", "web", "--timeout", "2m"]).await.ok();
    let current = world.cli.current_version("web").await;
    site.nginx.serves(NAME, current["fingerprint_sha256"].as_str().unwrap()).await;
    assert_eq!(site.nginx.placed(NAME).await, current["fingerprint_sha256"], "{point}");
    wait_until(&format!("{point}: no open job"), LONG, async || {
        world.cli.jobs("web").await.iter().all(|job| ["Completed", "Cancelled"].contains(&job["status"].as_str().unwrap()))
    })
    .await;
    let jobs = world.cli.jobs("web").await;
    let renewals = jobs.iter().filter(|job| job["type"] == "Renewal").count();
    assert_eq!(u64::try_from(renewals).unwrap(), versions - 1, "{point}: {jobs:#?}");
    // The key in place is the agent's own, and the one of this version.
    let keys = site.agent.state.join("keys");
    let of_certificate = keys.join(&names_in(&keys)[0]);
    let placed = read(&site.nginx.key(NAME));
    assert!(names_in(&of_certificate).iter().any(|name| read(&of_certificate.join(name)) == placed), "{point}");
    assert_eq!(world.cli.json(&["audit", "verify"]).await["intact"], true, "{point}");
}

async fn kill_the_server(engine: Engine) {
    let (mut world, site) = in_place(engine).await;
    let points = [
        "renew.asked",
        "csr.taken",
        "job.claimed",
        "issue.intended",
        "issue.signed",
        "issue.stored",
        "deployment.noted",
        "deployment.seen",
    ];
    for (number, point) in points.into_iter().enumerate() {
        assert!(world.server.stop(LONG).await.success());
        world.server.setup.variables.insert(FAULT.to_owned(), point.to_owned());
        world.server.start_again().await;
        // Whoever asks is not answered when the server dies over it; all the same it is done.
        let asked = world.cli.run(&["certs", "renew", "web"]).await;
        assert_eq!(asked.code == Some(0), point != "renew.asked", "{point}: {asked:?}");
        let died = world.server.ended(LONG).await;
        assert!(!died.success(), "{point}: {died}");
        world.server.setup.variables.remove(FAULT);
        world.server.start_again().await;
        ended(&world, &site, u64::try_from(number).unwrap() + 2, point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_after_every_step_finishes_each_renewal_once_on_sqlite() {
    kill_the_server(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_after_every_step_finishes_each_renewal_once_on_postgres() {
    kill_the_server(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_after_every_step_finishes_each_renewal_once() {
    let (world, mut site) = in_place(Engine::Sqlite).await;
    for (number, point) in ["key.kept", "csr.sent", "deployment.done", "report.written", "report.sent"].into_iter().enumerate() {
        assert!(site.agent.stop(LONG).await.success());
        site.agent.start_with(&[(FAULT, point)]);
        world.cli.run(&["certs", "renew", "web"]).await.ok();
        let died = site.agent.process().ended(LONG).await;
        assert!(!died.success(), "{point}: {died}");
        site.agent.start();
        ended(&world, &site, u64::try_from(number).unwrap() + 2, point).await;
    }
}
