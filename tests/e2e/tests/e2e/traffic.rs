//! Under traffic: a certificate is renewed on a HAProxy that serves, and replicas are restarted one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use certctl_testkit::{Engine, wait_until};
use reqwest::{Certificate, Client};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Api, Haproxy, LONG, Server, Setup, World, read, served};

/// Clients that do the same again and again.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Load {
    /// So many at a time; `step` fails the test by itself when something goes wrong.
    pub(crate) fn start<F: Future<Output = ()> + Send>(clients: usize, step: impl Fn(usize) -> F + Clone + Send + 'static) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let (stop, done, step) = (Arc::clone(&stop), Arc::clone(&done), step.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    step(client).await;
                    done.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        Self { stop, done, tasks }
    }

    /// Four clients that read certificates, and write and read an owner each, as a client does that repeats idempotent calls once; with the number of
    /// calls that were repeated.
    pub(crate) async fn of_api_calls(api: &Api) -> (Self, Arc<AtomicUsize>) {
        const CLIENTS: usize = 4;
        for client in 0..CLIENTS {
            let owner = json!({"id": format!("o-{client}"), "name": format!("owner of {client}"), "email": "o@example.test"});
            api.post("/api/v1/owners", &owner).await.is(201);
        }
        let retries = Arc::new(AtomicUsize::new(0));
        let (api, again) = (api.clone(), Arc::clone(&retries));
        let load = Self::start(CLIENTS, move |client| {
            let (api, retries) = (api.clone(), Arc::clone(&again));
            async move {
                let path = format!("/api/v1/owners/o-{client}");
                let body = json!({"name": format!("owner of {client}"), "email": "o@example.test"}).to_string();
                for (method, path, body) in
                    [("GET", "/api/v1/certificates", None), ("PUT", path.as_str(), Some(body)), ("GET", path.as_str(), None)]
                {
                    let reply = match api.try_send(method, path, &[], body.clone()).await {
                        Ok(reply) if reply.status < 500 => reply,
                        _ => {
                            retries.fetch_add(1, Ordering::AcqRel);
                            api.send(method, path, &[], body).await
                        }
                    };
                    reply.is(200);
                }
            }
        });
        (load, retries)
    }

    /// Waits for so many further steps.
    pub(crate) async fn goes_on(&mut self, steps: usize) {
        let seen = self.done.load(Ordering::Acquire);
        wait_until("the traffic to go on", LONG, async || {
            while let Some(ended) = self.tasks.try_join_next() {
                ended.unwrap();
            }
            self.done.load(Ordering::Acquire) >= seen + steps
        })
        .await;
    }

    /// Ends it; fails when a client has failed.
    pub(crate) async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Release);
        self.tasks.join_all().await;
        self.done.load(Ordering::Acquire)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_while_a_haproxy_is_given_a_renewed_certificate() {
    let name = "web.example.test";
    let world = World::open(Engine::Sqlite).await;
    let agent = world.agent("proxy-host").await;
    let haproxy = Haproxy::terminating(&world.home, name).await;
    haproxy.allow(&agent).await;
    world.target("proxy", &agent, ("HAProxy", &haproxy.target())).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", name, "--target", "proxy", "--wait"]).await.ok();
    let first = world.cli.current_version("web").await;
    served(&world.home, haproxy.port, name, first["fingerprint_sha256"].as_str().unwrap()).await;

    // Each client makes a new connection each time, and trusts the CA alone.
    let root = Certificate::from_pem(world.cli.run(&["issuers", "ca", "iss-local"]).await.ok().as_bytes()).unwrap();
    let address = format!("127.0.0.1:{}", haproxy.port).parse().unwrap();
    let client = Client::builder().tls_certs_only([root]).resolve(name, address).pool_max_idle_per_host(0).timeout(LONG);
    let (client, url) = (client.build().unwrap(), format!("https://{name}:{}/", haproxy.port));
    let mut load = Load::start(4, move |_| {
        let asked = client.get(&url).send();
        async move {
            let status = asked.await.unwrap_or_else(|error| panic!("a request failed: {error}: {error:?}")).status();
            assert_eq!(status, 200);
        }
    });
    for _ in 0..3 {
        load.goes_on(20).await;
        world.cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
        let renewed = world.cli.current_version("web").await;
        served(&world.home, haproxy.port, name, renewed["fingerprint_sha256"].as_str().unwrap()).await;
        load.goes_on(20).await;
    }
    assert!(load.stop().await >= 120);
    assert_ne!(world.cli.current_version("web").await["id"], first["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_one_after_the_other_and_no_request_fails() {
    let mut world = World::open(Engine::Postgres).await;
    let database = world.database.as_ref().unwrap();
    let mut other = Server::start(&world.home, Setup::on(&world.home, "other", database)).await;
    let balancer = Haproxy::balancing(&world.home, &[world.server.setup.port, other.setup.port]).await;
    let both = format!("{}{}", read(&world.server.ca_file()), read(&other.ca_file()));
    let key = read(&world.server.first_key_file());
    let api = Api::new(&format!("https://127.0.0.1:{}", balancer.port), &both).with_token(key.trim());
    let (mut load, retries) = Load::of_api_calls(&api).await;
    for _ in 0..2 {
        for server in [&mut world.server, &mut other] {
            load.goes_on(30).await;
            let ended = server.stop(Duration::from_secs(30)).await;
            assert!(ended.success(), "{ended}");
            load.goes_on(30).await;
            server.start_again().await;
        }
    }
    load.goes_on(30).await;
    let (done, retries) = (load.stop().await, retries.load(Ordering::Acquire));
    assert!(retries * 20 < done, "a retry is the exception: {retries} in {done} rounds");
}
