//! Waking, in one process and between replicas.

use std::time::Duration;

use certctl_domain::ids::AgentId;
use certctl_store::{Store, Topic};
use certctl_testkit::{Engine, both_databases, wait_for};
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::common::{TestStore, alice, entry, id, run};

const SOON: Duration = Duration::from_secs(20);

/// Waits until the topic comes; others may come before.
async fn hear(listener: &mut Receiver<Topic>, topic: &Topic) {
    let listening = async { while listener.recv().await.unwrap() != *topic {} };
    tokio::time::timeout(SOON, listening).await.unwrap_or_else(|_| panic!("{topic} was not heard"));
}

/// Runs the bridge of a store until the returned token is cancelled, and waits until it listens.
async fn bridge(tasks: &mut JoinSet<()>, store: &Store) -> CancellationToken {
    let shutdown = CancellationToken::new();
    let mut listener = store.wake().listen();
    let (store, token) = (store.clone(), shutdown.clone());
    tasks.spawn(async move { store.run_wake(token).await.unwrap() });
    // When it begins to listen, everybody looks once.
    hear(&mut listener, &Topic::Issuers).await;
    shutdown
}

both_databases! {
    async fn a_commit_wakes_and_a_rollback_does_not(store: TestStore) {
        let mut listener = store.wake().listen();
        let mut tx = store.write(alice()).await.unwrap();
        tx.wake(Topic::Issuers);
        drop(tx);
        let mut tx = store.write(alice()).await.unwrap();
        tx.wake(Topic::Jobs);
        tx.wake(Topic::Jobs);
        assert!(listener.is_empty());
        tx.commit(entry()).await.unwrap();
        assert_eq!(listener.recv().await.unwrap(), Topic::Jobs);
        assert_eq!(listener.recv().await.unwrap(), Topic::Audit);
        assert!(listener.is_empty());
        run(&store, "DELETE FROM meta").await.unwrap();
        assert!(listener.is_empty());
    }

    async fn the_bridge_ends_when_it_is_told_to(store: TestStore) {
        let shutdown = CancellationToken::new();
        let running = store.run_wake(shutdown.clone());
        shutdown.cancel();
        tokio::time::timeout(SOON, running).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_wakes_another_replica_and_oneself_once() {
    let store = TestStore::open(Engine::Postgres).await;
    let other = store.replica().await;
    let mut tasks = JoinSet::new();
    let stops = [bridge(&mut tasks, &store).await, bridge(&mut tasks, &other).await];
    let (mut here, mut there) = (store.wake().listen(), other.wake().listen());
    let agent = Topic::Agent(id::<AgentId>("ag-1"));
    let mut tx = store.write(alice()).await.unwrap();
    tx.wake(agent.clone());
    tx.commit(entry()).await.unwrap();
    hear(&mut there, &agent).await;
    // And back; by then what was sent first has come around, if it ever does.
    other.wake().send(Topic::Progress);
    let mut heard = Vec::new();
    while heard.last() != Some(&Topic::Progress) {
        heard.push(tokio::time::timeout(SOON, here.recv()).await.unwrap().unwrap());
    }
    assert_eq!(heard.iter().filter(|topic| **topic == agent).count(), 1, "{heard:?}");
    stops.iter().for_each(CancellationToken::cancel);
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bridge_is_rebuilt_when_its_connection_is_cut() {
    let store = TestStore::open(Engine::Postgres).await;
    let other = store.replica().await;
    let mut tasks = JoinSet::new();
    let stops = [bridge(&mut tasks, &store).await, bridge(&mut tasks, &other).await];
    let cut =
        "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(crate::common::number(&store, cut).await, 2);
    let mut there = other.wake().listen();
    // It listens again when everybody is asked to look.
    hear(&mut there, &Topic::Issuers).await;
    wait_for("a topic to cross the new bridge", SOON, async || {
        store.wake().send(Topic::Agent(id("ag-9")));
        std::iter::from_fn(|| there.try_recv().ok()).any(|topic| topic == Topic::Agent(id("ag-9"))).then_some(())
    })
    .await;
    stops.iter().for_each(CancellationToken::cancel);
    tasks.join_all().await;
}
