//! What a scrape reads beside the counters: as many as it may name, the right ones, and the ends of what there is.

use certctl_domain::agent::AgentStatus;
use certctl_store::agents;
use certctl_store::db::sql;
use certctl_store::gauges::{self, Edges, MOST_AGENTS, MOST_ISSUERS};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, at, entry, id, run};
use crate::heartbeats::add;

both_databases! {
    async fn of_many_silent_agents_those_are_named_that_were_heard_of_last(store: TestStore) {
        for n in 0..MOST_AGENTS + 5 {
            let name = format!("ag-{n:03}");
            add(&store, &name, AgentStatus::Offline).await;
            run(&store, sql("UPDATE agents SET last_heartbeat_at = $2 WHERE id = $1").bind(name.as_str()).bind(at(n))).await.unwrap();
        }
        add(&store, "ag-never", AgentStatus::Offline).await;
        add(&store, "ag-online", AgentStatus::Online).await;
        let mut tx = store.write(alice()).await.unwrap();
        assert!(agents::retire(&mut tx, &id("ag-054"), "its host is gone").await.unwrap());
        tx.commit(entry()).await.unwrap();
        let named = gauges::agents_in(store.db(), AgentStatus::Offline).await.unwrap();
        let names: Vec<&str> = named.iter().map(|agent| agent.name.as_str()).collect();
        let wanted: Vec<String> = (4..54).rev().map(|n| format!("ag-{n:03}")).collect();
        assert_eq!(names, wanted);
        assert_eq!((named[0].heard_at, named[0].clock_skew_ms), (at(53), None));
    }

    async fn where_there_is_nothing_nothing_is_oldest(store: TestStore) {
        assert_eq!(gauges::edges(store.db(), at(0)).await.unwrap(), Edges::default());
        assert_eq!(gauges::issuers(store.db()).await.unwrap(), []);
    }

    async fn no_more_issuers_are_named_than_may_be(store: TestStore) {
        for n in 0..MOST_ISSUERS + 1 {
            let name = format!("iss-{n:04}");
            let statement = sql("INSERT INTO issuers (id, name, type, config, enabled, test_status, revision, created_at, updated_at)
                                 VALUES ($1, $1, 'GenericCA', $2, $3, '', 1, $4, $4)");
            let statement = statement.bind(name.as_str()).bind(serde_json::json!({})).bind(n != 1).bind(at(0));
            run(&store, statement).await.unwrap();
        }
        let named = gauges::issuers(store.db()).await.unwrap();
        assert_eq!(named.len() as i64, MOST_ISSUERS);
        assert_eq!(named[..2], [(id("iss-0000"), true), (id("iss-0001"), false)]);
    }
}
