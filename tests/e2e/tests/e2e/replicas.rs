//! Several servers on one PostgreSQL: one is killed and one is frozen in the middle of the work, and all of it is done once. It takes a
//! minute, the time after which a lease ends.

use std::sync::Arc;

use certctl_testkit::{Engine, wait_until};
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::harness::{Api, LONG, Server, Setup, World, read};

const FLEET: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_renewals_are_done_once_though_one_replica_dies_and_one_sleeps_past_its_leases() {
    let world = World::open(Engine::Postgres).await;
    let database = world.database.as_ref().unwrap();
    let mut dies = Server::start(&world.home, Setup::on(&world.home, "dies", database)).await;
    let mut sleeps = Server::start(&world.home, Setup::on(&world.home, "sleeps", database)).await;
    let fleet = Fleet::new(&world.api).await;
    fleet.submit().await;
    wait_until("every certificate to be issued", LONG, async || fleet.count("/api/v1/certificates?status=Active").await == FLEET).await;

    world.api.post("/api/v1/certificates/bulk-renew", &json!({"issuer_id": "iss-local"})).await.is(200);
    let trouble = async {
        wait_until("a quarter of the renewals", LONG, async || fleet.renewed().await >= FLEET / 4).await;
        sleeps.signal(Signal::SIGSTOP);
        wait_until("half of the renewals", LONG, async || fleet.renewed().await >= FLEET / 2).await;
        dies.kill().await;
    };
    tokio::join!(fleet.submit(), trouble);
    // What the two held is taken up when its lease has ended, and not before.
    wait_until("every renewal", LONG, async || fleet.renewed().await == FLEET).await;
    sleeps.signal(Signal::SIGCONT);
    dies.start_again().await;
    sleeps.ready().await;
    // The sleeper is back at work: it finishes what it was in the middle of, or is told that it is too late.
    let key = read(&world.server.first_key_file());
    fleet.renew_one(&sleeps.api().with_token(key.trim())).await;

    assert_eq!(fleet.count("/api/v1/jobs?type=Renewal").await, FLEET + 1, "nothing was renewed twice");
    assert_eq!(fleet.count("/api/v1/jobs?status=Running").await + fleet.count("/api/v1/jobs?status=Pending").await, 0);
    for (number, id) in fleet.ids.iter().enumerate() {
        let versions = world.api.get(&format!("/api/v1/certificates/{id}/versions")).await.is(200).json();
        assert_eq!(versions["total"], if number == 0 { 3 } else { 2 }, "{versions}");
        let current = versions["data"].as_array().unwrap().iter().filter(|version| version["state"] == "current").count();
        assert_eq!(current, 1, "{versions}");
    }
    let verification = world.cli.json(&["audit", "verify"]).await;
    assert_eq!(verification["intact"], true, "{verification}");
    for (server, log) in [("dies", dies.log()), ("sleeps", sleeps.log()), ("server", world.server.log())] {
        assert!(!log.contains("panicked"), "{server}: {log}");
    }
}

/// Certificates whose keys the test holds.
struct Fleet {
    api: Api,
    ids: Vec<String>,
    requests: Vec<String>,
}

impl Fleet {
    async fn new(api: &Api) -> Self {
        let (mut ids, mut requests) = (Vec::new(), Vec::new());
        for number in 0..FLEET {
            let name = format!("host-{number}.example.test");
            let made = api.post("/api/v1/certificates", &json!({"name": format!("host-{number}"), "sans": [name]})).await.is(201).json();
            ids.push(made["id"].as_str().unwrap().to_owned());
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name]).unwrap();
            params.distinguished_name = DistinguishedName::new();
            requests.push(params.serialize_request(&key).unwrap().pem().unwrap());
        }
        Self { api: api.clone(), ids, requests }
    }

    /// Submits a CSR for each certificate, several at a time.
    async fn submit(&self) {
        let (mut tasks, places) = (JoinSet::new(), Arc::new(Semaphore::new(8)));
        for (id, csr) in self.ids.iter().zip(&self.requests) {
            let (api, places, path, body) =
                (self.api.clone(), Arc::clone(&places), format!("/api/v1/certificates/{id}/csr"), json!({"csr_pem": csr}));
            tasks.spawn(async move {
                let _place = places.acquire().await.unwrap();
                api.post(&path, &body).await.is(202);
            });
        }
        tasks.join_all().await;
    }

    /// Has the first one renewed by way of another replica.
    async fn renew_one(&self, replica: &Api) {
        replica.post(&format!("/api/v1/certificates/{}/renew", self.ids[0]), &json!({})).await.is(202);
        replica.post(&format!("/api/v1/certificates/{}/csr", self.ids[0]), &json!({"csr_pem": self.requests[0]})).await.is(202);
        wait_until("one renewal more", LONG, async || self.renewed().await == FLEET + 1).await;
    }

    async fn renewed(&self) -> usize {
        self.count("/api/v1/jobs?type=Renewal&status=Completed").await
    }

    async fn count(&self, path: &str) -> usize {
        let page: Value = self.api.get(&format!("{path}&per_page=1")).await.is(200).json();
        usize::try_from(page["total"].as_u64().unwrap()).unwrap()
    }
}
