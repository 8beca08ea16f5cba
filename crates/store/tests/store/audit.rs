//! The chain of the audit log: gapless, in spite of concurrent writers; tamper-evident; prunable.

use std::sync::Arc;

use certctl_domain::audit::{Audit, AuditCategory};
use certctl_store::audit::{self, CheckpointKey, Export, Verify, VerifyReport};
use certctl_store::db::{Sql, sql};
use certctl_store::{Store, StoreError, Who};
use certctl_testkit::{Engine, both_databases};
use tokio::task::JoinSet;

use crate::common::{TestStore, alice, at, number, run};

/// Commits `n` events, all at the same instant.
async fn write(store: &Store, n: usize) {
    for i in 0..n {
        let tx = store.write(alice()).await.unwrap();
        let details = serde_json::json!({ "z": [1, 2.5, null], "a": { "text": "\u{e9} \"quoted\" \\ \n" }, "i": i });
        tx.commit(Audit::new(AuditCategory::Auth, "role.edit", "role", i).with("change", details)).await.unwrap();
    }
}

async fn seal(store: &Store) -> u64 {
    audit::seal_batch(store, at(1), 10_000).await.unwrap()
}

async fn verify(store: &Store) -> VerifyReport {
    audit::verify(store.db(), &Verify::default(), |_| {}).await.unwrap()
}

fn key() -> CheckpointKey {
    CheckpointKey::generate().unwrap().0
}

async fn checkpoint(store: &Store, key: &CheckpointKey, seconds: i64) -> i64 {
    audit::checkpoint(store, key, at(seconds)).await.unwrap().unwrap().sequence
}

/// Lets an attacker with full access to the database do what the triggers forbid.
async fn without_triggers(store: &TestStore, statements: impl IntoIterator<Item = Sql>) {
    let tables = ["audit_events", "audit_seals", "audit_checkpoints"];
    let off: Vec<String> = match store.database().engine() {
        Engine::Sqlite => {
            tables.iter().flat_map(|table| [format!("DROP TRIGGER {table}_no_update"), format!("DROP TRIGGER {table}_no_delete")]).collect()
        }
        Engine::Postgres => tables.iter().map(|table| format!("ALTER TABLE {table} DISABLE TRIGGER ALL")).collect(),
    };
    let off: Vec<String> = match store.database().engine() {
        Engine::Sqlite => off,
        // Without superuser the triggers of foreign keys stay; there are none here.
        Engine::Postgres => off.into_iter().map(|statement| statement.replace("ALL", "USER")).collect(),
    };
    for statement in off {
        run(store, sql(statement)).await.unwrap();
    }
    for statement in statements {
        assert!(run(store, statement).await.unwrap() > 0, "the attack did not touch anything");
    }
}

async fn broken(store: &TestStore, attack: impl IntoIterator<Item = Sql>) -> (i64, String) {
    without_triggers(store, attack).await;
    let found = verify(store).await.first_break.expect("the attack was not noticed");
    (found.sequence, found.what)
}

both_databases! {
    async fn every_change_leaves_an_entry_and_every_entry_gets_a_number(store: TestStore) {
        assert_eq!(verify(&store).await, VerifyReport::default());
        let mut tx = store.write(alice()).await.unwrap();
        tx.audit(Audit::new(AuditCategory::CertLifecycle, "certificate.create", "certificate", "mc-1"));
        tx.commit(Audit::new(AuditCategory::Config, "job.create", "job", "job-1")).await.unwrap();
        write(&store, 3).await;
        assert_eq!(audit::unsealed(store.db()).await.unwrap(), 5);
        assert_eq!(verify(&store).await, VerifyReport { unsealed: 5, ..VerifyReport::default() });
        assert_eq!(audit::seal_batch(&store, at(1), 2).await.unwrap(), 2);
        assert_eq!(audit::seal_batch(&store, at(1), 2).await.unwrap(), 2);
        assert_eq!(audit::seal_batch(&store, at(1), 2).await.unwrap(), 1);
        assert_eq!(audit::seal_batch(&store, at(1), 2).await.unwrap(), 0);
        let report = verify(&store).await;
        assert_eq!((report.checked, report.unsealed, report.holds()), (5, 0, true));
        assert_eq!(report.head.unwrap().sequence, 5);
    }

    async fn eight_writers_and_two_sealers_make_one_chain(store: TestStore) {
        let store = Arc::new(store);
        let mut writers = JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(&store);
            writers.spawn(async move { write(&store, 20).await });
        }
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut sealers = JoinSet::new();
        for _ in 0..2 {
            let (store, stopped) = (Arc::clone(&store), stopped.clone());
            sealers.spawn(async move {
                let mut sealed = 0;
                while !*stopped.borrow() {
                    sealed += audit::seal_batch(&store, at(1), 7).await.unwrap();
                    let report = verify(&store).await;
                    assert!(report.holds(), "{report:?}");
                }
                sealed
            });
        }
        writers.join_all().await;
        stop.send(true).unwrap();
        let sealed: u64 = sealers.join_all().await.into_iter().sum();
        assert_eq!(sealed + seal(&store).await, 160);
        let report = verify(&store).await;
        assert_eq!((report.checked, report.unsealed, report.first_break), (160, 0, None));
    }

    async fn rows_are_append_only(store: TestStore) {
        write(&store, 2).await;
        audit::seal_batch(&store, at(1), 1).await.unwrap();
        checkpoint(&store, &key(), 2).await;
        for statement in [
            "UPDATE audit_events SET actor = 'mallory'",
            "DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_seals)",
            "DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_unsealed)",
            "UPDATE audit_seals SET row_hash = ''",
            "DELETE FROM audit_seals",
            "UPDATE audit_checkpoints SET row_hash = ''",
            "DELETE FROM audit_checkpoints",
        ] {
            let error = run(&store, statement).await.expect_err(statement);
            assert!(matches!(&error, StoreError::Database(source) if source.to_string().contains("append-only")), "{statement}: {error:?}");
        }
        assert!(verify(&store).await.holds());
    }

    async fn a_changed_event_is_found(store: TestStore) {
        write(&store, 5).await;
        seal(&store).await;
        let changes = [
            "actor = 'mallory'", "actor_type = 'Nobody'", "action = 'x'", "resource_type = 'x'", "resource_id = 'x'", "event_category = 'x'",
            "request_id = NULL", "timestamp = (SELECT min(sealed_at) FROM audit_seals)", "details = '{}'",
        ];
        without_triggers(&store, []).await;
        assert!(verify(&store).await.holds());
        for change in changes {
            // Each on a fresh event, so that each is the first break once the others are put back.
            let keep = "CREATE TABLE kept AS SELECT * FROM audit_events WHERE id = (SELECT event_id FROM audit_seals WHERE sequence = 3)";
            run(&store, keep).await.unwrap();
            run(&store, sql(format!("UPDATE audit_events SET {change} WHERE id = (SELECT id FROM kept)"))).await.unwrap();
            let found = verify(&store).await.first_break.expect(change);
            assert_eq!((found.sequence, found.what.as_str()), (3, "was changed after it was sealed"), "{change}");
            run(&store, "DELETE FROM audit_events WHERE id = (SELECT id FROM kept)").await.unwrap();
            run(&store, "INSERT INTO audit_events SELECT * FROM kept").await.unwrap();
            run(&store, "DROP TABLE kept").await.unwrap();
            assert!(verify(&store).await.holds(), "{change}");
        }
    }

    async fn a_removed_event_is_found(store: TestStore) {
        write(&store, 5).await;
        seal(&store).await;
        let delete = sql("DELETE FROM audit_events WHERE id = (SELECT event_id FROM audit_seals WHERE sequence = 3)");
        assert_eq!(broken(&store, [delete]).await, (3, "was taken away".to_owned()));
        run(&store, "DELETE FROM audit_seals WHERE sequence = 3").await.unwrap();
        assert_eq!(verify(&store).await.first_break.unwrap().to_string(), "event 3: is missing");
        // Closing the gap does not help.
        run(&store, "UPDATE audit_seals SET sequence = 3 WHERE sequence = 4").await.unwrap();
        assert_eq!(verify(&store).await.first_break.unwrap().to_string(), "event 3: does not follow the event before it");
    }

    async fn a_removed_end_is_found_by_the_checkpoint(store: TestStore) {
        write(&store, 5).await;
        seal(&store).await;
        checkpoint(&store, &key(), 2).await;
        let attack = [
            sql("DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_seals WHERE sequence > 3)"),
            sql("DELETE FROM audit_seals WHERE sequence > 3"),
        ];
        assert_eq!(broken(&store, attack).await, (4, "is missing, and a checkpoint says that there were 5".to_owned()));
    }

    async fn a_chain_that_was_computed_anew_is_found_by_the_checkpoint(store: TestStore) {
        write(&store, 5).await;
        seal(&store).await;
        checkpoint(&store, &key(), 2).await;
        let attack = [
            sql("UPDATE audit_events SET actor = 'mallory' WHERE id = (SELECT event_id FROM audit_seals WHERE sequence = 5)"),
            sql("INSERT INTO audit_unsealed (event_id) SELECT event_id FROM audit_seals WHERE sequence = 5"),
            sql("DELETE FROM audit_seals WHERE sequence = 5"),
        ];
        without_triggers(&store, attack).await;
        assert_eq!(seal(&store).await, 1);
        assert_eq!(verify(&store).await.first_break.unwrap().to_string(), "event 5: is not what its checkpoint says");
    }

    async fn a_forged_checkpoint_is_found(store: TestStore) {
        write(&store, 3).await;
        seal(&store).await;
        let ours = key();
        checkpoint(&store, &ours, 2).await;
        let trusted = [ours.public_key()];
        let options = Verify { from: None, trusted_keys: &trusted };
        let report = audit::verify(store.db(), &options, |_| {}).await.unwrap();
        assert_eq!((report.checkpoints, report.keys.iter().next()), (1, Some(&hex::encode(&trusted[0]))));
        without_triggers(&store, [sql("DELETE FROM audit_checkpoints")]).await;
        // Signed with another key, it is right in itself but not ours.
        checkpoint(&store, &key(), 2).await;
        assert!(verify(&store).await.holds());
        let found = audit::verify(store.db(), &options, |_| {}).await.unwrap().first_break.unwrap();
        assert_eq!(found.to_string(), "event 3: its checkpoint was signed with a key that is not trusted");
        run(&store, sql("UPDATE audit_checkpoints SET signature = $1").bind(vec![0_u8; 64])).await.unwrap();
        assert_eq!(verify(&store).await.first_break.unwrap().to_string(), "event 3: the signature of its checkpoint is wrong");
    }

    async fn an_event_beside_the_chain_is_found(store: TestStore) {
        write(&store, 2).await;
        seal(&store).await;
        run(&store, sql("INSERT INTO audit_events (id, actor, actor_type, action, resource_type, resource_id, details, timestamp, event_category)
                         VALUES ('audit-x', 'bob', 'User', 'a', 'b', 'c', $1, $2, 'auth')")
            .bind(serde_json::json!({}))
            .bind(at(0)))
        .await
        .unwrap();
        assert_eq!(verify(&store).await.first_break.unwrap().to_string(), "event 3: audit-x was put beside the chain");
        run(&store, "INSERT INTO audit_unsealed (event_id) VALUES ('audit-x')").await.unwrap();
        assert!(verify(&store).await.holds());
        without_triggers(&store, [sql("DELETE FROM audit_events WHERE id = 'audit-x'")]).await;
        assert_eq!(verify(&store).await.first_break.unwrap().to_string(), "event 3: audit-x was taken away before it had a number");
    }

    async fn what_came_after_an_event_is_verified_without_what_was_before(store: TestStore) {
        let key = key();
        write(&store, 5).await;
        seal(&store).await;
        checkpoint(&store, &key, 2).await;
        write(&store, 3).await;
        seal(&store).await;
        let known = verify(&store).await.head.unwrap();
        let since = async || audit::verify_since(store.db(), &known, &[key.public_key()]).await.unwrap();
        // From the checkpoint on, although nothing is new.
        let report = since().await;
        assert_eq!((report.holds(), report.checked, report.head.as_ref()), (true, 3, Some(&known)));
        write(&store, 2).await;
        seal(&store).await;
        let report = since().await;
        assert_eq!((report.holds(), report.checked, report.head.unwrap().sequence), (true, 5, 10));
        let other = audit::verify_since(store.db(), &known, &[self::key().public_key()]).await.unwrap();
        assert_eq!(other.first_break.unwrap().sequence, 5, "the checkpoint is of another key");
        // The end is cut off: no checkpoint tells, but it was there.
        without_triggers(&store, [sql("DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_seals WHERE sequence >= 8)"), sql("DELETE FROM audit_seals WHERE sequence >= 8")]).await;
        assert_eq!(verify(&store).await.first_break, None);
        let found = since().await.first_break.unwrap();
        assert_eq!((found.sequence, found.what.as_str()), (8, "is missing, and was there when it was last verified"));
    }

    async fn an_end_that_was_written_anew_is_found_by_who_knew_the_old_one(store: TestStore) {
        write(&store, 3).await;
        seal(&store).await;
        let known = verify(&store).await.head.unwrap();
        without_triggers(&store, [
            sql("DELETE FROM audit_events WHERE id = (SELECT event_id FROM audit_seals WHERE sequence = 3)"),
            sql("DELETE FROM audit_seals WHERE sequence = 3"),
        ])
        .await;
        write(&store, 1).await;
        seal(&store).await;
        assert_eq!(verify(&store).await.first_break, None);
        let found = audit::verify_since(store.db(), &known, &[]).await.unwrap().first_break.unwrap();
        assert_eq!((found.sequence, found.what.as_str()), (3, "is another one than when it was last verified"));
    }

    async fn what_was_pruned_since_is_not_missed(store: TestStore) {
        let key = key();
        write(&store, 4).await;
        seal(&store).await;
        let known = verify(&store).await.head.unwrap();
        write(&store, 4).await;
        seal(&store).await;
        let through = checkpoint(&store, &key, 3).await;
        audit::prune(&store, alice(), through).await.unwrap();
        let report = audit::verify_since(store.db(), &known, &[]).await.unwrap();
        assert_eq!((report.first_break, report.checked), (None, 0));
    }

    async fn it_is_remembered_how_the_chain_was(store: TestStore) {
        assert_eq!(audit::watched(store.db()).await.unwrap(), None);
        let broken = audit::Break { sequence: 3, what: "is missing".to_owned() };
        let watch = audit::Watch { through: None, verified_at: at(5), whole_at: at(4), broken: Some(broken) };
        for watch in [&watch, &audit::Watch { broken: None, ..watch.clone() }] {
            audit::remember(&store, at(6), watch).await.unwrap();
            assert_eq!(audit::watched(store.db()).await.unwrap().as_ref(), Some(watch));
        }
    }

    async fn checkpoints_cover_the_chain_stretch_by_stretch(store: TestStore) {
        let key = key();
        assert_eq!(audit::checkpoint(&store, &key, at(1)).await.unwrap(), None);
        for (i, n) in [1, 2, 7].into_iter().enumerate() {
            write(&store, n).await;
            seal(&store).await;
            let seconds = i64::try_from(i).unwrap() + 2;
            checkpoint(&store, &key, seconds).await;
            assert_eq!(audit::checkpoint(&store, &key, at(seconds)).await.unwrap(), None);
        }
        write(&store, 1).await;
        seal(&store).await;
        let report = verify(&store).await;
        assert_eq!((report.checked, report.checkpoints, report.first_break), (11, 3, None));
        let last = audit::last_checkpoint(store.db()).await.unwrap().unwrap();
        assert_eq!((last.after_sequence, last.sequence, last.created_at, last.is_signed()), (3, 10, at(4), true));
        // From the middle it begins at the checkpoint before.
        for (from, checked) in [(0, 11), (1, 11), (2, 10), (3, 10), (4, 8), (11, 1), (12, 1), (99, 1)] {
            let options = Verify { from: Some(from), trusted_keys: &[] };
            let report = audit::verify(store.db(), &options, |_| {}).await.unwrap();
            assert_eq!((report.checked, report.first_break), (checked, None), "from {from}");
        }
    }

    async fn pruned_events_go_and_the_chain_goes_on(store: TestStore) {
        let key = key();
        let system = |seconds| Who::task("retention", at(seconds));
        write(&store, 4).await;
        seal(&store).await;
        checkpoint(&store, &key, 10).await;
        write(&store, 3).await;
        seal(&store).await;
        checkpoint(&store, &key, 20).await;
        write(&store, 2).await;
        seal(&store).await;
        assert!(matches!(audit::prune(&store, system(30), 5).await, Err(StoreError::Query { .. })));
        assert_eq!(audit::prunable(store.db(), at(10)).await.unwrap(), None);
        assert_eq!(audit::prunable(store.db(), at(11)).await.unwrap(), Some(4));
        assert_eq!(audit::prunable(store.db(), at(99)).await.unwrap(), Some(7));
        assert_eq!(audit::prune(&store, system(30), 4).await.unwrap(), 4);
        assert_eq!(audit::prune(&store, system(30), 4).await.unwrap(), 0);
        assert_eq!(number(&store, "SELECT min(sequence) AS n FROM audit_seals").await, 5);
        seal(&store).await;
        let report = verify(&store).await;
        assert_eq!((report.checked, report.first_break), (6, None));
        assert_eq!(report.head.unwrap().sequence, 10, "the pruning itself is an event");
        checkpoint(&store, &key, 40).await;
        // All that there is: the next event follows the checkpoint that stays.
        assert_eq!(audit::prune(&store, system(50), 10).await.unwrap(), 6);
        assert!(verify(&store).await.holds());
        seal(&store).await;
        let report = verify(&store).await;
        assert_eq!((report.checked, report.head.unwrap().sequence, report.first_break), (1, 11, None));
        run(&store, "DELETE FROM audit_events").await.expect_err("what was not pruned stays append-only");
    }

    async fn a_horizon_that_was_moved_by_hand_is_found(store: TestStore) {
        write(&store, 4).await;
        seal(&store).await;
        checkpoint(&store, &key(), 10).await;
        write(&store, 2).await;
        seal(&store).await;
        run(&store, "UPDATE audit_horizon SET pruned_through = 5, pruned_hash = (SELECT row_hash FROM audit_seals WHERE sequence = 5)").await.unwrap();
        assert_eq!(verify(&store).await.first_break.unwrap().to_string(), "event 5: events through it were removed without a checkpoint");
        run(&store, "UPDATE audit_horizon SET pruned_through = 4").await.unwrap();
        assert_eq!(verify(&store).await.first_break.unwrap().to_string(), "event 4: the record of what was pruned was changed");
        run(&store, "DELETE FROM audit_horizon").await.unwrap();
        assert!(!verify(&store).await.holds());
    }

    async fn pruning_under_a_walk_is_no_break(store: TestStore) {
        let key = key();
        write(&store, 30).await;
        seal(&store).await;
        checkpoint(&store, &key, 10).await;
        write(&store, 5).await;
        seal(&store).await;
        let (verified, pruned) = tokio::join!(async { for _ in 0..20 { let report = verify(&store).await; assert!(report.holds(), "{report:?}"); } }, async {
            audit::prune(&store, Who::task("retention", at(20)), 30).await.unwrap()
        });
        assert_eq!((verified, pruned), ((), 30));
    }

    async fn long_chains_are_read_in_pages(store: TestStore) {
        let mut tx = store.write(alice()).await.unwrap();
        for i in 0..2_499 {
            tx.audit(Audit::new(AuditCategory::Config, "a", "b", i));
        }
        tx.commit(Audit::new(AuditCategory::Config, "a", "b", "last")).await.unwrap();
        assert_eq!(audit::seal_batch(&store, at(1), 2_000).await.unwrap(), 2_000);
        assert_eq!(audit::seal_batch(&store, at(1), 2_000).await.unwrap(), 500);
        checkpoint(&store, &key(), 2).await;
        let mut told = Vec::new();
        let report = audit::verify(store.db(), &Verify::default(), |checked| told.push(checked)).await.unwrap();
        assert_eq!((report.checked, report.checkpoints, report.first_break), (2_500, 1, None));
        assert_eq!(told, [1_000, 2_000, 2_500]);
        assert_eq!(audit::prune(&store, Who::task("retention", at(9)), 2_500).await.unwrap(), 2_500);
        assert!(verify(&store).await.holds());
    }

    async fn an_export_is_complete_and_in_order(store: TestStore) {
        let mut tx = store.write(alice()).await.unwrap();
        for i in 0..2_099 {
            tx.audit(Audit::new(AuditCategory::Config, "a", "b", i));
        }
        tx.commit(Audit::new(AuditCategory::Auth, "a", "b", "last")).await.unwrap();
        let tx = store.write(Who { at: at(60), ..alice() }).await.unwrap();
        tx.commit(Audit::new(AuditCategory::Config, "a", "b", "later")).await.unwrap();
        seal(&store).await;
        let export = async |from, to, category| {
            let export = Export { from: at(from), to: at(to), category };
            let mut events = Vec::new();
            loop {
                let part = audit::export(store.db(), &export, events.last()).await.unwrap();
                if part.is_empty() {
                    return events;
                }
                assert!(part.len() <= 1_000);
                events.extend(part);
            }
        };
        let all = export(0, 61, None).await;
        assert_eq!(all.len(), 2_101);
        assert!(all.is_sorted_by_key(|event| (event.timestamp, event.id.to_string())));
        assert!(all.iter().all(|event| event.sequence.is_some()));
        assert_eq!(export(0, 60, None).await.len(), 2_100);
        assert_eq!(export(1, 61, None).await.len(), 1);
        assert_eq!(export(0, 61, Some(AuditCategory::Auth)).await.len(), 1);
        assert_eq!(export(61, 99, None).await.len(), 0);
    }
}
