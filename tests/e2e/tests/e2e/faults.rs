//! Power cuts: server and agent die right after each step of a renewal became durable, and before anybody heard of it. Each time the
//! renewal comes to its end, once.

use certctl_testkit::{Engine, require_program, wait_until};

use crate::harness::{Agent, Cut, LONG, Nginx, Openssl, Site, Wire, World, command, free_port, names_in, read, run};

const NAME: &str = "web.example.test";
const FAULT: &str = "FAULT_AT";
/// Where the scheduler has started what is due.
const SCHEDULER: &str = "renewal.started";

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
        SCHEDULER,
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
        if point == SCHEDULER {
            // Nobody asks for a renewal: the version in use is revoked, and the scheduler sees that.
            let current = world.cli.current_version("web").await;
            let version = current["id"].as_str().unwrap();
            world.cli.run(&["certs", "revoke", "web", "--version", version, "--reason", "superseded", "--yes"]).await;
        } else {
            let asked = world.cli.run(&["certs", "renew", "web"]).await;
            assert_eq!(asked.code == Some(0), point != "renew.asked", "{point}: {asked:?}");
        }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_is_cut_in_a_request_or_its_answer_costs_nothing() {
    let world = World::open(Engine::Sqlite).await;
    let wire = Wire::to(world.server.setup.port).await;
    let mut agent = Agent::new(&world.home, "far-host");
    let token = world.token("far-host").await;
    agent.enroll_at(&format!("https://127.0.0.1:{}", wire.port), &world.server, &token).await.ok();
    agent.start();
    agent.online(&world.cli).await;
    let nginx = Nginx::start(&world.home, &[NAME]).await;
    nginx.allow(&agent).await;
    world.target("web", &agent, ("NGINX", &nginx.target(NAME))).await;
    let site = Site { agent, nginx };
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    for (number, cut) in [Cut::Upload, Cut::Answer].into_iter().enumerate() {
        wire.cut(cut);
        world.cli.run(&["certs", "renew", "web"]).await.ok();
        wait_until("the wire to be cut", LONG, async || wire.cuts() == number + 1).await;
        ended(&world, &site, u64::try_from(number).unwrap() + 2, &format!("{cut:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_clock_is_an_hour_off_works_and_is_told_of() {
    let world = World::open(Engine::Sqlite).await;
    let mut site = Site::open(&world, NAME).await;
    // The program itself would stand between the agent and its signals.
    let mut asked = command(&world.home, require_program("faketime"));
    let library = run(asked.args(["-f", "+0", "printenv", "LD_PRELOAD"])).await.ok();
    let off = |by: &'static str| [("LD_PRELOAD", library.trim()), ("FAKETIME", by), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    assert!(site.agent.stop(LONG).await.success());
    site.agent.start_with(&off("+3600"));
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    ended(&world, &site, 1, "ahead").await;
    wait_until("the server to know how far off it is", LONG, async || {
        let skew = world.cli.json(&["agents", "get", "web-host"]).await["clock_skew_ms"].as_i64().unwrap_or_default();
        (skew - 3_600_000).abs() < 60_000
    })
    .await;
    // Behind, the server's new certificate is not valid yet for it. It says so, and does what waits when its clock is right.
    assert!(site.agent.stop(LONG).await.success());
    site.agent.start_with(&off("-3600"));
    world.cli.run(&["certs", "renew", "web"]).await.ok();
    let process = site.agent.process();
    wait_until("the agent to say what it sees", LONG, async || process.log().contains("certificate not valid yet")).await;
    assert!(site.agent.stop(LONG).await.success());
    site.agent.start();
    ended(&world, &site, 2, "behind").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_yesterdays_database_is_restored_nothing_is_ordered_and_no_number_is_used_again() {
    let port = free_port();
    let mut world = World::with(Engine::Sqlite, |setup| {
        let url = format!("http://127.0.0.1:{port}");
        let setup = setup.with("CERTCTL_PKI_HTTP_LISTEN", &format!("127.0.0.1:{port}")).with("CERTCTL_PKI_PUBLIC_URL", &url);
        setup.with("CERTCTL_PKI_CRL_DELAY", "5s")
    })
    .await;
    let site = Site::open(&world, NAME).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", NAME, "--target", "web", "--wait"]).await.ok();
    let first = world.cli.current_version("web").await;
    assert!(world.server.stop(LONG).await.success());
    let (data, kept) = (world.server.setup.data.clone(), world.home.join("yesterday"));
    let copy = async |from: &std::path::Path, to: &std::path::Path| {
        run(command(&world.home, require_program("cp")).arg("-a").arg(from).arg(to)).await.ok();
    };
    copy(&data, &kept).await;

    world.server.start_again().await;
    world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
    let lost = world.cli.current_version("web").await;
    let serial = first["serial_number"].as_str().unwrap();
    world.cli.run(&["certs", "revoke", "web", "--serial", serial, "--reason", "superseded", "--yes"]).await.ok();
    wait_until("a list that names it", LONG, async || {
        list(&world, port).await.is_some_and(|(_, text)| text.contains(&serial.to_uppercase()))
    })
    .await;
    let (number, _) = list(&world, port).await.unwrap();
    assert!(world.server.stop(LONG).await.success());
    std::fs::remove_dir_all(&data).unwrap();
    copy(&kept, &data).await;

    world.server.start_again().await;
    wait_until("a list", LONG, async || list(&world, port).await.is_some()).await;
    let jobs = world.cli.jobs("web").await;
    assert!(jobs.iter().all(|job| job["status"] == "Completed" && job["type"] != "Renewal"), "nothing is ordered: {jobs:#?}");
    assert_eq!(world.cli.current_version("web").await["id"], first["id"]);
    // What is done from now on has other numbers than what was forgotten.
    world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
    let again = world.cli.current_version("web").await;
    assert!(again["serial_number"] != lost["serial_number"] && again["serial_number"] != first["serial_number"]);
    ended(&world, &site, 2, "restored").await;
    world.cli.run(&["certs", "revoke", "web", "--serial", serial, "--reason", "superseded", "--yes"]).await.ok();
    wait_until("a newer list", LONG, async || {
        list(&world, port).await.is_some_and(|(newer, text)| newer > number && text.contains(&serial.to_uppercase()))
    })
    .await;
}

/// The number of the list that is published, and its text; `None` when there is none yet.
pub(crate) async fn list(world: &World, port: u16) -> Option<(u64, String)> {
    let openssl = Openssl::new(&world.home);
    let url = format!("http://127.0.0.1:{port}/.well-known/pki/crl/iss-local");
    let mut curl = command(&world.home, require_program("curl"));
    let fetched = run(curl.args(["-fsS", "-o"]).arg(openssl.path("list.der")).arg(url)).await;
    if fetched.code != Some(0) {
        return None;
    }
    let text = openssl.run("crl -inform DER -in list.der -noout -text -crlnumber").await;
    let number = text.lines().find_map(|line| line.strip_prefix("crlNumber=")).unwrap().trim().trim_start_matches("0x").to_owned();
    Some((u64::from_str_radix(&number, 16).unwrap(), text))
}
