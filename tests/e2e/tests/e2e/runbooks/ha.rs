//! Two servers behind the balancer that the page configures, and one of them is lost.

use certctl_testkit::{Engine, free_port, require_program, wait_until};
use nix::sys::signal::Signal;

use crate::harness::{Agent, Api, LONG, Operator, Process, Server, Setup, World, blocks, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_less_behind_the_balancer_of_the_page() {
    let mut world = World::open(Engine::Postgres).await;
    let database = world.database.as_ref().unwrap();
    let other = Server::start(&world.home, Setup::on(&world.home, "other", database)).await;
    let mut page = blocks("docs/operator/ha.md", "sh");
    let port = free_port();
    let one = format!("127.0.0.1:{}", world.server.setup.port);
    let two = format!("127.0.0.1:{}", other.setup.port);
    let operator = Operator::new(&world.home, &world.cli)
        .reading("server-1.example.test:8443", &one)
        .reading("server-2.example.test:8443", &two)
        .reading("bind :8443", &format!("bind 127.0.0.1:{port}"));
    world.home.write("etc/ca.pem", read(&other.ca_file()));

    let configured = operator.here(&blocks("docs/operator/ha.md", "haproxy").next_with("backend certctl"));
    let file = world.home.write("balancer.cfg", format!("{configured}\n"));
    let haproxy = require_program("haproxy");
    let mut balancer =
        Process::start(&world.home, "balancer", &[haproxy.to_str().unwrap(), "-db", "-f", file.to_str().unwrap()], Signal::SIGTERM, |_| {});
    let key = read(&world.server.first_key_file());
    let through = Api::new(&format!("https://127.0.0.1:{port}"), &read(&other.ca_file())).with_token(key.trim());
    let answers = async || through.try_send("GET", "/api/v1/certificates", &[], None).await.is_ok_and(|reply| reply.status == 200);
    balancer.must_run();
    wait_until("the balancer", LONG, answers).await;
    let mut agent = Agent::new(&world.home, "behind");
    let url = format!("https://127.0.0.1:{port}");
    agent.enroll_at(&url, &other, &world.token("behind").await).await.ok();
    agent.start();
    agent.online(&world.cli).await;

    let look = page.next_with("/ready");
    let shown = operator.runs(&look).await.ok();
    assert_eq!(shown.lines().collect::<Vec<_>>(), [r#"{"status":"ready","failing":[]}"#; 2]);

    // One is lost: whoever asks the balancer is answered, and the agent comes by way of the other one.
    world.server.kill().await;
    wait_until("an answer of the other server", LONG, answers).await;
    let token = world.home.write("token", key.trim());
    let ca = other.ca_file();
    let login = ["login", "--server", &url, "--ca", ca.to_str().unwrap(), "--token-file", token.to_str().unwrap()];
    world.cli.run(&login).await.ok();
    agent.online(&world.cli).await;
    super::issues(&through, "meanwhile").await;
    let well = page.next_with("agents list --status Offline");
    let shown = operator.runs(&well).await.ok();
    assert!(!shown.contains("behind"), "{shown}");

    world.server.start_again().await;
    assert_eq!(operator.runs(&look).await.ok().lines().filter(|line| line.contains("\"ready\"")).count(), 2);
}
