//! Create, read, change and delete, the same for every noun.

use certctl_domain::ids::{OwnerId, TeamId};
use certctl_domain::noun::Noun as _;
use certctl_domain::owner::{Owner, OwnerDraft};
use certctl_domain::team::{Team, TeamDraft};
use certctl_store::{StoreError, table};
use certctl_testkit::both_databases;

use crate::common::{TestStore, alice, at, entry, id, insert, team};

fn owner(owner_id: &str, name: &str, team_id: Option<&str>) -> Owner {
    let draft = OwnerDraft { id: None, name: name.into(), email: Some("a@example.test".into()), team_id: team_id.map(id) };
    Owner::create(id(owner_id), draft, at(1)).unwrap()
}

both_databases! {
    async fn what_is_written_is_read_back(store: TestStore) {
        let team = team("t-1", "Platform");
        insert(&store, &team).await.unwrap();
        let owner = owner("o-1", "Ünïcode & <b>", Some("t-1"));
        insert(&store, &owner).await.unwrap();
        assert_eq!(table::get::<Team>(store.db(), team.id()).await.unwrap(), Some(team.clone()));
        assert_eq!(table::get::<Owner>(store.db(), owner.id()).await.unwrap(), Some(owner.clone()));
        assert_eq!(table::get::<Owner>(store.db(), &id("o-2")).await.unwrap(), None);
        assert_eq!(table::resolve::<Team>(store.db(), "t-1").await.unwrap(), Some(id("t-1")));
        assert_eq!(table::resolve::<Team>(store.db(), "Platform").await.unwrap(), Some(id("t-1")));
        assert_eq!(table::resolve::<Team>(store.db(), "platform").await.unwrap(), None);
        let mut tx = store.write(alice()).await.unwrap();
        assert_eq!(table::get_for_update::<Owner>(&mut tx, owner.id()).await.unwrap(), Some(owner));
    }

    async fn a_name_that_looks_like_an_id_does_not_hide_that_id(store: TestStore) {
        insert(&store, &team("t-1", "t-2")).await.unwrap();
        insert(&store, &team("t-2", "other")).await.unwrap();
        assert_eq!(table::resolve::<Team>(store.db(), "t-2").await.unwrap(), Some(id("t-2")));
    }

    async fn names_and_ids_are_unique(store: TestStore) {
        insert(&store, &team("t-1", "Platform")).await.unwrap();
        let error = insert(&store, &team("t-2", "Platform")).await.unwrap_err();
        assert_eq!(error.to_string(), "the name of this team is taken");
        let error = insert(&store, &team("t-1", "Other")).await.unwrap_err();
        assert_eq!(error.to_string(), "the id of this team is taken");
        assert_eq!(table::resolve::<Team>(store.db(), "Other").await.unwrap(), None);
    }

    async fn a_reference_must_hold(store: TestStore) {
        let error = insert(&store, &owner("o-1", "A", Some("t-1"))).await.unwrap_err();
        assert!(matches!(error, StoreError::Reference(_)), "{error:?}");
        insert(&store, &team("t-1", "Platform")).await.unwrap();
        insert(&store, &owner("o-1", "A", Some("t-1"))).await.unwrap();
        let mut tx = store.write(alice()).await.unwrap();
        let error = table::delete::<Team>(&mut tx, &id::<TeamId>("t-1")).await.unwrap_err();
        assert!(matches!(error, StoreError::Reference(_)), "{error:?}");
    }

    async fn a_stale_change_is_refused(store: TestStore) {
        let read = team("t-1", "Platform");
        insert(&store, &read).await.unwrap();
        let change = |name: &str| read.replace(TeamDraft { id: None, name: name.into(), description: "d".into() }, at(5)).unwrap();
        let mut tx = store.write(alice()).await.unwrap();
        table::update(&mut tx, &change("First")).await.unwrap();
        tx.commit(entry()).await.unwrap();
        let mut tx = store.write(alice()).await.unwrap();
        assert!(matches!(table::update(&mut tx, &change("Second")).await, Err(StoreError::Stale)));
        drop(tx);
        let kept = table::get::<Team>(store.db(), read.id()).await.unwrap().unwrap();
        assert_eq!((kept.name.as_str(), kept.revision, kept.created_at, kept.updated_at), ("First", 2, at(0), at(5)));
    }

    async fn of_two_changes_at_the_same_time_one_wins(store: TestStore) {
        let read = team("t-1", "Platform");
        insert(&store, &read).await.unwrap();
        let change = async |name: &'static str| {
            let mut tx = store.write(alice()).await.unwrap();
            table::update(&mut tx, &read.replace(TeamDraft { id: None, name: name.into(), description: String::new() }, at(5)).unwrap()).await?;
            tx.commit(entry()).await
        };
        let (one, other) = tokio::join!(change("One"), change("Other"));
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        assert!(matches!(one.and(other), Err(StoreError::Stale)));
    }

    async fn what_is_deleted_is_gone(store: TestStore) {
        insert(&store, &owner("o-1", "A", None)).await.unwrap();
        let mut tx = store.write(alice()).await.unwrap();
        assert!(table::delete::<Owner>(&mut tx, &id::<OwnerId>("o-1")).await.unwrap());
        assert!(!table::delete::<Owner>(&mut tx, &id::<OwnerId>("o-1")).await.unwrap());
        tx.commit(entry()).await.unwrap();
        assert_eq!(table::get::<Owner>(store.db(), &id("o-1")).await.unwrap(), None);
    }

    async fn a_transaction_that_is_not_committed_changes_nothing(store: TestStore) {
        let mut tx = store.write(alice()).await.unwrap();
        table::insert(&mut tx, &team("t-1", "Platform")).await.unwrap();
        tx.count("teams", 1);
        drop(tx);
        assert_eq!(table::get::<Team>(store.db(), &id("t-1")).await.unwrap(), None);
        assert_eq!(certctl_store::counters::read(store.db(), "teams").await.unwrap(), 0);
    }
}
