//! Lists: paging by key, filters, search, order, and what is refused.

use std::collections::BTreeSet;

use certctl_domain::audit::AuditEvent;
use certctl_domain::auth::Reach;
use certctl_domain::list::{ListQuery, Page};
use certctl_domain::team::Team;
use certctl_store::db::sql;
use certctl_store::table::{self, Kind, Scoped, Table, equals};
use certctl_store::{StoreError, audit};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, entry, insert, run, team};

async fn list(store: &TestStore, query: &ListQuery) -> Result<Page<Team>, StoreError> {
    table::list::<Team>(store.db(), query, &Reach::everywhere()).await
}

async fn names(store: &TestStore, query: &ListQuery) -> Vec<String> {
    list(store, query).await.unwrap().data.into_iter().map(|team| team.name).collect()
}

fn search(q: &str) -> ListQuery {
    ListQuery { q: Some(q.into()), ..ListQuery::default() }
}

fn filter(name: &str, value: &str) -> ListQuery {
    ListQuery { filters: vec![(name.into(), value.into())], ..ListQuery::default() }
}

fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>) -> (String, String) {
    match result.unwrap_err() {
        StoreError::Query { field, message } => (field, message),
        other => panic!("{other:?}"),
    }
}

/// A table with all that a real one can have, over a table that has it.
const JOBS: Table = Table {
    name: "outbox",
    columns: &[("id", Kind::Text), ("type", Kind::Text), ("payload", Kind::Json), ("created_at", Kind::Time), ("done_at", Kind::Time)],
    search: &["id", "lower(message) LIKE $q ESCAPE '\\'"],
    filters: &[
        equals("status", Kind::Text, "type = $?"),
        equals("done", Kind::Bool, "(done_at IS NOT NULL) = $?"),
        equals("created_after", Kind::Time, "created_at > $?"),
        equals("length", Kind::Int, "length(message) = $?"),
        equals("payload", Kind::Json, "payload = $?"),
    ],
    sorts: &["created_at", "type", "done_at?"],
    scope: Scoped { profile: Some("type"), issuer: Some("certificate_id") },
    counter: Some("outbox"),
};

async fn ids(store: &TestStore, query: &ListQuery) -> Vec<String> {
    page(store, query, &Reach::everywhere()).await.data
}

async fn page(store: &TestStore, query: &ListQuery, reach: &Reach) -> Page<String> {
    table::list_rows(store.db(), &JOBS, query, reach, |_, row| row.text("id")).await.unwrap()
}

/// Row `n-i` is of type `T{i % 3}`, was made at second i / 2, and every third is not done.
async fn fill(store: &TestStore, rows: i64) {
    for i in 0..rows {
        let done = (i % 3 != 0).then(|| crate::common::at(100 - i / 4));
        let statement = sql("INSERT INTO outbox (id, type, certificate_id, message, payload, dedup_key, created_at, done_at)
                             VALUES ($1, $2, $3, $4, $5, $1, $6, $7)")
        .bind(format!("n-{i:02}"))
        .bind(format!("T{}", i % 3))
        .bind(format!("mc-{}", i % 2))
        .bind(format!("Message {i}"))
        .bind(serde_json::json!({ "i": i }))
        .bind(crate::common::at(i / 2))
        .bind(done);
        run(store, statement).await.unwrap();
    }
}

/// All ids in the order of the pages.
async fn walk(store: &TestStore, query: &ListQuery) -> Vec<String> {
    let mut query = query.clone();
    let mut seen = Vec::new();
    loop {
        let page = page(store, &query, &Reach::everywhere()).await;
        assert!(page.data.len() <= usize::try_from(query.per_page).unwrap());
        seen.extend(page.data);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return seen,
        }
    }
}

both_databases! {
    async fn pages_by_key_show_each_row_once_in_every_order(store: TestStore) {
        fill(&store, 20).await;
        let key = |i: usize| format!("n-{i:02}");
        let all: Vec<usize> = (0..20).collect();
        let by = |sort: fn(&usize) -> (bool, i64, usize), descending: bool| {
            let mut order = all.clone();
            order.sort_by(|a, b| {
                let ((null_a, value_a, id_a), (null_b, value_b, id_b)) = (sort(a), sort(b));
                let (a, b) = ((value_a, id_a), (value_b, id_b));
                null_a.cmp(&null_b).then(if descending { b.cmp(&a) } else { a.cmp(&b) })
            });
            order.into_iter().map(key).collect::<Vec<_>>()
        };
        let created: fn(&usize) -> (bool, i64, usize) = |i| (false, (*i / 2).try_into().unwrap(), *i);
        let kind: fn(&usize) -> (bool, i64, usize) = |i| (false, (*i % 3).try_into().unwrap(), *i);
        let done: fn(&usize) -> (bool, i64, usize) = |i| (*i % 3 == 0, if *i % 3 == 0 { 0 } else { 100 - i64::try_from(*i / 4).unwrap() }, *i);
        let orders = [
            (None, by(created, true)),
            (Some("created_at"), by(created, false)),
            (Some("-created_at"), by(created, true)),
            (Some("type"), by(kind, false)),
            (Some("-type"), by(kind, true)),
            (Some("done_at"), by(done, false)),
            (Some("-done_at"), by(done, true)),
        ];
        for (sort, expected) in orders {
            for per_page in [1, 3, 7, 13, 20, 50] {
                let query = ListQuery { sort: sort.map(Into::into), per_page, ..ListQuery::default() };
                assert_eq!(walk(&store, &query).await, expected, "{sort:?} by {per_page}");
                let mut numbered = Vec::new();
                for page in 1..=(20 + per_page - 1) / per_page {
                    numbered.extend(ids(&store, &ListQuery { page, ..query.clone() }).await);
                }
                assert_eq!(numbered, expected, "{sort:?} by {per_page}, numbered");
            }
        }
    }

    async fn rows_that_come_meanwhile_disturb_no_page(store: TestStore) {
        for i in 0..30 {
            insert(&store, &team(&format!("t-{i:02}"), &format!("old {i:02}"))).await.unwrap();
        }
        let mut query = ListQuery { per_page: 4, ..ListQuery::default() };
        let mut seen = Vec::new();
        for round in 0.. {
            // One that sorts before everything and one that sorts after.
            insert(&store, &team(&format!("t-a{round}"), &format!("a {round}"))).await.unwrap();
            insert(&store, &team(&format!("t-z{round}"), &format!("z {round:04}"))).await.unwrap();
            let page = list(&store, &query).await.unwrap();
            seen.extend(page.data.into_iter().map(|team| team.name));
            // New rows at the end would make it endless.
            if seen.last().is_some_and(|name| name.starts_with('z')) || page.next_cursor.is_none() {
                break;
            }
            query.cursor = page.next_cursor;
        }
        let old: Vec<_> = seen.iter().filter(|name| name.starts_with("old")).collect();
        assert_eq!(old.len(), 30);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "a row was seen twice");
    }

    async fn totals_count_all_pages(store: TestStore) {
        fill(&store, 9).await;
        let everywhere = Reach::everywhere();
        let first = page(&store, &ListQuery { per_page: 2, filters: vec![("status".into(), "T1".into())], ..ListQuery::default() }, &everywhere).await;
        assert_eq!((first.total, first.total_is_estimate, first.page, first.per_page), (3, false, 1, 2));
        let second = ListQuery { per_page: 2, filters: vec![("status".into(), "T1".into())], cursor: first.next_cursor, ..ListQuery::default() };
        assert_eq!(page(&store, &second, &everywhere).await.total, 3);
        // Without filters it is the counter that says it.
        assert_eq!(page(&store, &ListQuery::default(), &everywhere).await.total, 0);
        let mut tx = store.write(alice()).await.unwrap();
        tx.count("outbox", 9);
        tx.commit(entry()).await.unwrap();
        assert_eq!(page(&store, &ListQuery::default(), &everywhere).await.total, 9);
    }

    async fn filters_narrow(store: TestStore) {
        fill(&store, 9).await;
        assert_eq!(ids(&store, &filter("status", "T1")).await, ["n-07", "n-04", "n-01"]);
        assert_eq!(ids(&store, &filter("status", "T1,T2")).await.len(), 6);
        assert_eq!(ids(&store, &filter("status", "t1")).await.len(), 0);
        assert_eq!(ids(&store, &filter("done", "false")).await, ["n-06", "n-03", "n-00"]);
        assert_eq!(ids(&store, &filter("length", "9")).await.len(), 9);
        assert_eq!(ids(&store, &filter("created_after", &crate::common::at(3).to_string())).await, ["n-08"]);
        let both = ListQuery { filters: vec![("status".into(), "T1".into()), ("done".into(), "true".into())], q: Some("7".into()), ..ListQuery::default() };
        assert_eq!(ids(&store, &both).await, ["n-07"]);
    }

    async fn scoped_grants_narrow(store: TestStore) {
        fill(&store, 6).await;
        let reach = |profiles: &[&str], issuers: &[&str]| Reach {
            everywhere: false,
            profiles: profiles.iter().map(ToString::to_string).collect(),
            issuers: issuers.iter().map(ToString::to_string).collect(),
        };
        let seen = async |reach: Reach| {
            let page = page(&store, &ListQuery::default(), &reach).await;
            assert_eq!(usize::try_from(page.total).unwrap(), page.data.len());
            page.data
        };
        assert_eq!(seen(reach(&[], &[])).await.len(), 0);
        assert_eq!(seen(reach(&["T1"], &[])).await, ["n-04", "n-01"]);
        assert_eq!(seen(reach(&[], &["mc-0"])).await, ["n-04", "n-02", "n-00"]);
        assert_eq!(seen(reach(&["T1"], &["mc-0"])).await, ["n-04", "n-02", "n-01", "n-00"]);
    }

    async fn search_takes_every_character_as_it_is(store: TestStore) {
        for (i, name) in ["100% done", "100 done", "a_b", "axb", "back\\slash", "Quote'd", "STRASSE", "ÉCOLE"].iter().enumerate() {
            insert(&store, &team(&format!("t-{i}"), name)).await.unwrap();
        }
        assert_eq!(names(&store, &search("100%")).await, ["100% done"]);
        assert_eq!(names(&store, &search("a_b")).await, ["a_b"]);
        assert_eq!(names(&store, &search("back\\s")).await, ["back\\slash"]);
        assert_eq!(names(&store, &search("\\")).await, ["back\\slash"]);
        assert_eq!(names(&store, &search("'d")).await, ["Quote'd"]);
        assert_eq!(names(&store, &search("strasse")).await, ["STRASSE"]);
        assert_eq!(names(&store, &search("StRaSsE")).await, ["STRASSE"]);
        assert_eq!(names(&store, &search("ÉCO")).await, ["ÉCOLE"]);
        assert_eq!(names(&store, &search("  ÉCO  ")).await, ["ÉCOLE"]);
        assert_eq!(names(&store, &search(" ")).await.len(), 8);
        assert_eq!(names(&store, &search("nothing like it")).await.len(), 0);
        fill(&store, 3).await;
        assert_eq!(ids(&store, &search("MESSAGE 2")).await, ["n-02"]);
    }

    async fn what_the_table_does_not_offer_is_refused(store: TestStore) {
        let field = async |query: ListQuery| refused(list(&store, &query).await).0;
        let of_outbox = async |query: ListQuery| {
            refused(table::list_rows(store.db(), &JOBS, &query, &Reach::everywhere(), |_, row| row.text("id")).await).0
        };
        assert_eq!(field(filter("colour", "red")).await, "colour");
        assert_eq!(field(ListQuery { sort: Some("name; DROP TABLE teams".into()), ..ListQuery::default() }).await, "sort");
        for per_page in [0, -1, 501] {
            assert_eq!(field(ListQuery { per_page, ..ListQuery::default() }).await, "per_page");
        }
        for page in [0, -1, 10_001] {
            assert_eq!(field(ListQuery { page, ..ListQuery::default() }).await, "page");
        }
        assert_eq!(field(search(&"x".repeat(201))).await, "q");
        assert_eq!(field(search("a\0b")).await, "q");
        assert_eq!(field(filter("name", "a\0b")).await, "name");
        assert_eq!(of_outbox(filter("done", "perhaps")).await, "done");
        assert_eq!(of_outbox(filter("length", "long")).await, "length");
        assert_eq!(of_outbox(filter("created_after", "yesterday")).await, "created_after");
        assert_eq!(of_outbox(filter("payload", "{}")).await, "payload");
        let (_, message) = refused(list(&store, &ListQuery { sort: Some("x".into()), ..ListQuery::default() }).await);
        assert_eq!(message, "`x` is not one of: name, id");
    }

    async fn a_cursor_is_good_for_its_own_order_only(store: TestStore) {
        fill(&store, 6).await;
        let sorted = |sort: &str, cursor: Option<String>| ListQuery { sort: Some(sort.into()), per_page: 2, cursor, ..ListQuery::default() };
        let by_type = page(&store, &sorted("type", None), &Reach::everywhere()).await.next_cursor.unwrap();
        let bad = [by_type.clone(), "!".into(), String::new(), "bnVsbA".into(), format!("{by_type}AAAA")];
        for cursor in bad {
            let query = sorted("created_at", Some(cursor));
            let result = table::list_rows(store.db(), &JOBS, &query, &Reach::everywhere(), |_, row| row.text("id")).await;
            assert_eq!(refused(result).0, "cursor");
        }
        // Without a value: only where a row may have none.
        use base64::Engine as _;
        let without = |column: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("[\"{column}\",null,\"n-00\"]"));
        let query = sorted("created_at", Some(without("created_at")));
        assert_eq!(refused(table::list_rows(store.db(), &JOBS, &query, &Reach::everywhere(), |_, row| row.text("id")).await).0, "cursor");
        assert_eq!(ids(&store, &sorted("done_at", Some(without("done_at")))).await, ["n-03"]);
    }

    async fn the_audit_log_is_a_list_like_any_other(store: TestStore) {
        for i in 0..5 {
            let mut who = alice();
            (who.at, who.actor) = (crate::common::at(i), if i < 3 { "alice".into() } else { "bob".into() });
            let tx = store.write(who).await.unwrap();
            tx.commit(entry().with("i", i)).await.unwrap();
        }
        audit::seal_batch(&store, crate::common::at(9), 3).await.unwrap();
        let list = async |query: ListQuery| audit::list(store.db(), &query).await.unwrap();
        let all = list(ListQuery::default()).await;
        assert_eq!(all.total, 5);
        let numbers: Vec<Option<i64>> = all.data.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, [None, None, Some(3), Some(2), Some(1)]);
        assert_eq!(all.data[4].details["i"], 0);
        assert_eq!(list(filter("actor", "bob")).await.total, 2);
        assert_eq!(list(filter("category", "config")).await.total, 5);
        assert_eq!(list(filter("category", "auth")).await.total, 0);
        assert_eq!(list(filter("action", "test.change")).await.total, 5);
        assert_eq!(list(filter("resource_id", "2")).await.total, 0);
        assert_eq!(list(filter("since", &crate::common::at(3).to_string())).await.total, 2);
        assert_eq!(list(filter("until", &crate::common::at(3).to_string())).await.total, 3);
        assert_eq!(list(search("BOB")).await.total, 2);
        assert_eq!(refused(audit::list(store.db(), &filter("since", "soon")).await).0, "since");
        let first = list(ListQuery { per_page: 2, ..ListQuery::default() }).await;
        let rest = list(ListQuery { per_page: 3, cursor: first.next_cursor, ..ListQuery::default() }).await;
        let walked: Vec<AuditEvent> = first.data.into_iter().chain(rest.data).collect();
        assert_eq!(walked, all.data);
        assert_eq!(audit::get(store.db(), &all.data[2].id).await.unwrap().as_ref(), Some(&all.data[2]));
        assert_eq!(audit::get(store.db(), &crate::common::id("audit-0")).await.unwrap(), None);
    }
}
