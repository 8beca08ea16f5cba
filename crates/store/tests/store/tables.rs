//! Every list that the store offers: each filter, order, search and scope is run on both databases, and held against the schema.

use std::collections::BTreeSet;

use certctl_domain::auth::{Actor, Reach, Role};
use certctl_domain::certificate::Certificate;
use certctl_domain::issuer::Issuer;
use certctl_domain::list::ListQuery;
use certctl_domain::owner::Owner;
use certctl_domain::profile::Profile;
use certctl_domain::renewal::RenewalPolicy;
use certctl_domain::target::Target;
use certctl_domain::team::Team;
use certctl_store::db::sql;
use certctl_store::table::{self, Filter, Kind, Stored, Table};
use certctl_store::{StoreError, agents, api_keys, audit, certificates, jobs};
use certctl_testkit::both_databases;

use crate::common::TestStore;

const ALL: [Table; 15] = [
    Actor::TABLE,
    Certificate::TABLE,
    Issuer::TABLE,
    Owner::TABLE,
    Profile::TABLE,
    RenewalPolicy::TABLE,
    Role::TABLE,
    Target::TABLE,
    Team::TABLE,
    agents::AGENTS,
    agents::ENROLLMENT_TOKENS,
    api_keys::TABLE,
    audit::EVENTS,
    certificates::VERSIONS,
    jobs::JOBS,
];

async fn ask(store: &TestStore, table: &Table, query: ListQuery) {
    let everything = Reach::everywhere();
    let scoped = Reach { everywhere: false, profiles: vec!["prof-1".into()], issuers: vec!["iss-1".into()] };
    for reach in [everything, scoped] {
        for page in [1, 2] {
            let query = ListQuery { page, ..query.clone() };
            let asked = table::list_rows(store.db(), table, &query, &reach, |_, row| row.text("id")).await;
            asked.unwrap_or_else(|error| panic!("{} by {query:?}: {error:?}", table.name));
        }
    }
}

fn sample(filter: &Filter) -> String {
    let sample = match filter.kind {
        Kind::Text if !filter.words.is_empty() => return filter.words.join(","),
        Kind::Text => "a,b",
        Kind::Int => "7",
        Kind::Bool => "true",
        Kind::Time => "2026-01-31T12:00:00Z",
        Kind::Json => panic!("nobody can filter by something nested"),
    };
    sample.to_owned()
}

/// Columns that may be NULL, of a table on either database.
async fn nullable(store: &TestStore, table: &str) -> BTreeSet<String> {
    let statement = if store.db().is_shared() {
        sql("SELECT column_name::text AS c FROM information_schema.columns WHERE table_name = $1 AND is_nullable = 'YES'")
    } else {
        sql("SELECT name AS c FROM pragma_table_info($1) WHERE \"notnull\" = 0 AND pk = 0")
    };
    store.db().fetch_all(statement.bind(table)).await.unwrap().iter().map(|row| row.text("c").unwrap()).collect()
}

both_databases! {
    async fn every_filter_order_and_search_is_understood(store: TestStore) {
        for table in ALL {
            ask(&store, &table, ListQuery { q: Some("100%_\\'".into()), ..ListQuery::default() }).await;
            for filter in table.filters {
                let filters = vec![(filter.name.to_owned(), sample(filter))];
                ask(&store, &table, ListQuery { filters, ..ListQuery::default() }).await;
            }
            for name in table.sort_names() {
                for sort in [name.to_owned(), format!("-{name}")] {
                    ask(&store, &table, ListQuery { sort: Some(sort), ..ListQuery::default() }).await;
                }
            }
            let all = table.filters.iter().map(|filter| (filter.name.to_owned(), sample(filter))).collect();
            ask(&store, &table, ListQuery { q: Some("x".into()), filters: all, ..ListQuery::default() }).await;
        }
    }

    async fn a_word_that_no_row_can_have_is_refused_with_those_that_there_are(store: TestStore) {
        let mut closed = 0;
        for table in ALL {
            for filter in table.filters.iter().filter(|filter| !filter.words.is_empty()) {
                closed += 1;
                for text in ["Splendid".to_owned(), format!("{},Splendid", filter.words[0]), filter.words[0].to_ascii_uppercase() + "X", String::new()] {
                    let query = ListQuery { filters: vec![(filter.name.to_owned(), text)], ..ListQuery::default() };
                    let refused = table::list_rows(store.db(), &table, &query, &Reach::everywhere(), |_, row| row.text("id")).await.unwrap_err();
                    let StoreError::Query { field, message } = &refused else { panic!("{refused:?}") };
                    assert_eq!(field, filter.name);
                    assert!(message.contains(&filter.words.join(", ")), "{message}");
                }
            }
        }
        assert!(closed >= 8, "{closed}");
    }

    async fn an_order_by_what_may_be_missing_says_so(store: TestStore) {
        for table in ALL {
            let nullable = nullable(&store, table.name.split(' ').next().unwrap()).await;
            for sort in table.sorts {
                let name = sort.trim_end_matches('?');
                assert!(table.columns.iter().any(|(column, _)| *column == name), "{} is no column of {}", name, table.name);
                assert_eq!(sort.ends_with('?'), nullable.contains(name), "{name} of {}", table.name);
            }
        }
    }
}
