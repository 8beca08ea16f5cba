//! Signs of life and last uses.

use certctl_domain::agent::{Agent, AgentStatus};
use certctl_domain::challenge::ChallengeKind;
use certctl_domain::ids::{AgentId, ApiKeyId};
use certctl_store::db::sql;
use certctl_store::heartbeats::{Beat, Flushed, Heartbeats};
use certctl_store::{Store, agents, counters};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, at, entry, id, number, run};

fn beat(seconds: i64) -> Beat {
    Beat {
        at: at(seconds),
        hostname: "host".into(),
        os: "linux".into(),
        architecture: "x86_64".into(),
        version: "1.0.0".into(),
        ip_address: "192.0.2.1".into(),
        clock_skew_ms: Some(5),
        challenges: vec![ChallengeKind::Http01],
    }
}

pub(crate) async fn add(store: &Store, agent_id: &str, status: AgentStatus) {
    let agent = Agent {
        id: id(agent_id),
        name: agent_id.into(),
        hostname: "host".into(),
        status,
        last_heartbeat_at: None,
        registered_at: at(0),
        os: "linux".into(),
        architecture: "x86_64".into(),
        ip_address: "192.0.2.1".into(),
        version: "1.0.0".into(),
        labels: [("site".to_owned(), "lab".to_owned())].into(),
        clock_skew_ms: None,
        challenges: Some(vec![ChallengeKind::Http01]),
        retired_at: None,
        retired_reason: None,
        revision: 1,
        updated_at: at(0),
    };
    let mut tx = store.write(alice()).await.unwrap();
    agents::insert(&mut tx, &agent, "hash").await.unwrap();
    tx.commit(entry()).await.unwrap();
}

async fn agent(store: &Store, id: &str) -> Agent {
    agents::get(store.db(), &crate::common::id(id)).await.unwrap().unwrap()
}

async fn key(store: &Store, key_id: &str) {
    run(
        store,
        sql("INSERT INTO actors (id, type, name, roles, revision, created_at, updated_at) VALUES ($1, 'User', $1, $2, 1, $3, $3)")
            .bind(key_id)
            .bind(serde_json::json!([]))
            .bind(at(0)),
    )
    .await
    .unwrap();
    run(
        store,
        sql(
            "INSERT INTO api_keys (id, actor_id, name, prefix, secret_hash, created_at, created_by) VALUES ($1, $1, 'k', $1, 'x', $2, 'x')",
        )
        .bind(key_id)
        .bind(at(0)),
    )
    .await
    .unwrap();
}

async fn last_used(store: &Store, id: &str) -> Option<certctl_domain::time::Timestamp> {
    let row = store.db().fetch_optional(sql("SELECT last_used_at FROM api_keys WHERE id = $1").bind(id)).await.unwrap();
    row.unwrap().opt_time("last_used_at").unwrap()
}

both_databases! {
    async fn beats_are_written_together(store: TestStore) {
        add(&store, "ag-1", AgentStatus::Online).await;
        add(&store, "ag-2", AgentStatus::Offline).await;
        let heartbeats = Heartbeats::default();
        heartbeats.beat(id("ag-1"), beat(3));
        heartbeats.beat(id("ag-1"), beat(5));
        heartbeats.beat(id("ag-2"), beat(6));
        heartbeats.beat(id("ag-none"), beat(6));
        let flushed = heartbeats.flush(&store, at(7)).await.unwrap();
        assert_eq!(flushed, Flushed { agents: 2, keys: 0, changed: vec![(id("ag-2"), AgentStatus::Online)] });
        let one = agent(&store, "ag-1").await;
        assert_eq!((one.last_heartbeat_at, one.clock_skew_ms, one.revision, one.updated_at), (Some(at(5)), Some(5), 1, at(0)));
        let two = agent(&store, "ag-2").await;
        assert_eq!((two.status, two.revision, two.updated_at), (AgentStatus::Online, 2, at(6)));
        assert_eq!(two.labels["site"], "lab");
        let counted = counters::read_all(store.db(), "agents.status.").await.unwrap();
        assert_eq!((counted["agents.status.Online"], counted["agents.status.Offline"]), (2, 0));
        assert_eq!(heartbeats.flush(&store, at(8)).await.unwrap(), Flushed::default());
    }

    async fn facts_change_and_unknown_ones_stay(store: TestStore) {
        add(&store, "ag-1", AgentStatus::Online).await;
        let heartbeats = Heartbeats::default();
        heartbeats.beat(id("ag-1"), Beat { version: "2.0.0".into(), hostname: String::new(), clock_skew_ms: None, ..beat(3) });
        heartbeats.flush(&store, at(4)).await.unwrap();
        let one = agent(&store, "ag-1").await;
        assert_eq!((one.version.as_str(), one.hostname.as_str(), one.revision, one.clock_skew_ms), ("2.0.0", "host", 2, None));
        // What it can answer is what it said last.
        assert_eq!(one.challenges, Some(vec![ChallengeKind::Http01]));
        heartbeats.beat(id("ag-1"), Beat { challenges: Vec::new(), version: "2.0.0".into(), ..beat(4) });
        heartbeats.flush(&store, at(4)).await.unwrap();
        let one = agent(&store, "ag-1").await;
        assert_eq!((one.challenges, one.revision), (Some(Vec::new()), 3));
        // One that is late, from another replica.
        heartbeats.beat(id("ag-1"), Beat { version: "1.0.0".into(), ..beat(2) });
        assert_eq!(heartbeats.flush(&store, at(5)).await.unwrap().agents, 0);
        assert_eq!(agent(&store, "ag-1").await.version, "2.0.0");
    }

    async fn a_clock_that_is_off_degrades(store: TestStore) {
        add(&store, "ag-1", AgentStatus::Online).await;
        let heartbeats = Heartbeats::default();
        heartbeats.beat(id("ag-1"), Beat { clock_skew_ms: Some(-45_000), ..beat(3) });
        assert_eq!(heartbeats.flush(&store, at(4)).await.unwrap().changed, [(id("ag-1"), AgentStatus::Degraded)]);
        assert_eq!(agent(&store, "ag-1").await.status, AgentStatus::Degraded);
        assert_eq!(counters::read(store.db(), "agents.status.Degraded").await.unwrap(), 1);
    }

    async fn a_retired_agent_does_not_come_back(store: TestStore) {
        add(&store, "ag-1", AgentStatus::Online).await;
        let mut tx = store.write(alice()).await.unwrap();
        agents::retire(&mut tx, &id("ag-1"), "gone").await.unwrap();
        tx.commit(entry()).await.unwrap();
        let heartbeats = Heartbeats::default();
        heartbeats.beat(id("ag-1"), beat(3));
        assert_eq!(heartbeats.flush(&store, at(4)).await.unwrap(), Flushed::default());
        assert_eq!(agent(&store, "ag-1").await.status, AgentStatus::Offline);
    }

    async fn a_fleet_is_written_in_chunks(store: TestStore) {
        let mut insert = sql("INSERT INTO agents (id, name, hostname, status, registered_at, os, architecture, ip_address, version, labels, secret_hash, revision, updated_at) VALUES ");
        insert.push_rows((0..2_100).map(|i| {
            let id = format!("ag-{i}");
            vec![id.clone().into(), id.into(), "".into(), "Online".into(), at(0).into(), "".into(), "".into(), "".into(), "".into(), serde_json::json!({}).into(), "h".into(), 1_i64.into(), at(0).into()]
        }));
        run(&store, insert).await.unwrap();
        let heartbeats = Heartbeats::default();
        for i in 0..2_100 {
            heartbeats.beat(id::<AgentId>(&format!("ag-{i}")), beat(9));
        }
        assert_eq!(heartbeats.flush(&store, at(10)).await.unwrap().agents, 2_100);
        let heard = sql("SELECT count(*) AS n FROM agents WHERE last_heartbeat_at = $1").bind(at(9));
        assert_eq!(number(&store, heard).await, 2_100);
    }

    async fn last_uses_are_coarse(store: TestStore) {
        key(&store, "ak-1").await;
        let (here, there) = (Heartbeats::default(), Heartbeats::default());
        let used = async |replica: &Heartbeats, seconds: i64| {
            replica.used(id::<ApiKeyId>("ak-1"), at(seconds));
            replica.flush(&store, at(seconds)).await.unwrap().keys
        };
        assert_eq!(used(&here, 0).await, 1);
        assert_eq!(used(&here, 30).await, 0);
        assert_eq!(used(&there, 59).await, 0);
        assert_eq!(last_used(&store, "ak-1").await, Some(at(0)));
        assert_eq!(used(&there, 60).await, 0, "it remembers that it has just asked");
        assert_eq!(used(&here, 60).await, 1);
        assert_eq!(last_used(&store, "ak-1").await, Some(at(60)));
    }

    async fn what_could_not_be_written_is_written_later(store: TestStore) {
        add(&store, "ag-1", AgentStatus::Online).await;
        key(&store, "ak-1").await;
        let closed = store.replica().await;
        closed.db().close().await;
        let heartbeats = Heartbeats::default();
        heartbeats.beat(id("ag-1"), beat(3));
        heartbeats.used(id("ak-1"), at(3));
        heartbeats.flush(&closed, at(4)).await.unwrap_err();
        heartbeats.beat(id("ag-1"), beat(8));
        let flushed = heartbeats.flush(&store, at(9)).await.unwrap();
        assert_eq!((flushed.agents, flushed.keys), (1, 1));
        assert_eq!(agent(&store, "ag-1").await.last_heartbeat_at, Some(at(8)));
    }
}
