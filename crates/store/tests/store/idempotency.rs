//! `Idempotency-Key`.

use certctl_store::Store;
use certctl_store::db::sql;
use certctl_store::idempotency::{self, Answer, Begin, Request, Ticket};
use certctl_testkit::both_databases;

use crate::common::{TestStore, at};

const ONE: Request<'static> = Request { actor: "alice", key: "k", hash: "h" };

async fn begin(store: &Store, request: Request<'_>, seconds: i64) -> Begin {
    idempotency::begin(store, request, at(seconds)).await.unwrap()
}

async fn fresh(store: &Store, request: Request<'_>, seconds: i64) -> Ticket {
    match begin(store, request, seconds).await {
        Begin::Fresh(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn answer(body: &[u8]) -> Answer {
    Answer { status: 201, headers: vec![("etag".into(), "\"1\"".into()), ("location".into(), "/x".into())], body: body.to_vec() }
}

both_databases! {
    async fn the_same_request_gets_the_same_answer(store: TestStore) {
        let ticket = fresh(&store, ONE, 0).await;
        assert!(matches!(begin(&store, ONE, 1).await, Begin::InProgress));
        assert!(idempotency::finish(&store, &ticket, &answer(b"{\"key_value\":\"ck_hunter2\"}"), at(2)).await.unwrap());
        for seconds in [3, 86_399] {
            match begin(&store, ONE, seconds).await {
                Begin::Replay(kept) => assert_eq!(kept, answer(b"{\"key_value\":\"ck_hunter2\"}")),
                other => panic!("{other:?}"),
            }
        }
        let row = store.db().fetch_optional(sql("SELECT body FROM idempotency_keys")).await.unwrap().unwrap();
        assert!(!row.bytes("body").unwrap().windows(7).any(|part| part == b"hunter2"), "the answer is kept in the clear");
    }

    async fn another_request_under_the_same_key_is_noticed(store: TestStore) {
        let ticket = fresh(&store, ONE, 0).await;
        let other = Request { hash: "other", ..ONE };
        assert!(matches!(begin(&store, other, 1).await, Begin::Mismatch));
        idempotency::finish(&store, &ticket, &answer(b""), at(2)).await.unwrap();
        assert!(matches!(begin(&store, other, 3).await, Begin::Mismatch));
        fresh(&store, Request { actor: "bob", ..ONE }, 3).await;
        fresh(&store, Request { key: "k2", ..ONE }, 3).await;
    }

    async fn an_abandoned_request_can_be_sent_again(store: TestStore) {
        let ticket = fresh(&store, ONE, 0).await;
        idempotency::abandon(&store, &ticket, at(1)).await.unwrap();
        let again = fresh(&store, Request { hash: "other", ..ONE }, 2).await;
        idempotency::finish(&store, &again, &answer(b"x"), at(3)).await.unwrap();
        // What has an answer cannot be abandoned.
        idempotency::abandon(&store, &again, at(4)).await.unwrap();
        assert!(matches!(begin(&store, Request { hash: "other", ..ONE }, 5).await, Begin::Replay(_)));
    }

    async fn a_request_whose_process_died_is_taken_over(store: TestStore) {
        let dead = fresh(&store, ONE, 0).await;
        assert!(matches!(begin(&store, ONE, 899).await, Begin::InProgress));
        let ticket = fresh(&store, ONE, 900).await;
        assert!(!idempotency::finish(&store, &dead, &answer(b"late"), at(901)).await.unwrap());
        idempotency::abandon(&store, &dead, at(901)).await.unwrap();
        assert!(idempotency::finish(&store, &ticket, &answer(b"good"), at(902)).await.unwrap());
        assert!(matches!(begin(&store, ONE, 903).await, Begin::Replay(kept) if kept.body == b"good"));
    }

    async fn an_answer_is_kept_for_a_day(store: TestStore) {
        let ticket = fresh(&store, ONE, 0).await;
        idempotency::finish(&store, &ticket, &answer(b"old"), at(1)).await.unwrap();
        fresh(&store, Request { hash: "new", ..ONE }, 86_400).await;
    }

    async fn of_many_at_once_one_is_fresh(store: TestStore) {
        let begun = futures_util::future::join_all((0..8).map(|_| begin(&store, ONE, 0))).await;
        assert_eq!(begun.iter().filter(|begun| matches!(begun, Begin::Fresh(_))).count(), 1);
        assert_eq!(begun.iter().filter(|begun| matches!(begun, Begin::InProgress)).count(), 7);
    }
}
