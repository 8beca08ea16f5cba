//! What grows is pruned.

use certctl_store::audit::{self, CheckpointKey};
use certctl_store::db::sql;
use certctl_store::idempotency::{self, Answer, Begin, Request};
use certctl_store::retention::{self, RetentionPolicy};
use certctl_store::{Store, counters};
use certctl_testkit::both_databases;
use serde_json::json;
use time::Duration;

use crate::common::{TestStore, alice, at, entry, number, run};

const DAY: i64 = 86_400;

/// A certificate and all that it needs.
pub(crate) async fn certificate(store: &Store, id: &str) {
    let once = number(store, "SELECT count(*) AS n FROM issuers").await == 0;
    if once {
        run(
            store,
            sql("INSERT INTO issuers (id, name, type, config, enabled, test_status, revision, created_at, updated_at)
                        VALUES ('iss-1', 'x', 'GenericCA', $1, $2, 'untested', 1, $3, $3)")
            .bind(json!({}))
            .bind(true)
            .bind(at(0)),
        )
        .await
        .unwrap();
        run(
            store,
            sql(
                "INSERT INTO profiles (id, name, description, allowed_key_algorithms, max_ttl_seconds, allowed_ekus, required_san_patterns,
                            allow_short_lived, must_staple, requires_approval, enabled, revision, created_at, updated_at)
                        VALUES ('prof-1', 'x', '', $1, 1, $1, $1, $2, $2, $2, $2, 1, $3, $3)",
            )
            .bind(json!([]))
            .bind(false)
            .bind(at(0)),
        )
        .await
        .unwrap();
        run(
            store,
            sql("INSERT INTO renewal_policies (id, name, renewal_window_days, auto_renew, max_retries, retry_interval_seconds,
                            alert_thresholds_days, revision, created_at, updated_at)
                        VALUES ('rp-1', 'x', 1, $2, 1, 1, $1, 1, $3, $3)")
            .bind(json!([]))
            .bind(false)
            .bind(at(0)),
        )
        .await
        .unwrap();
    }
    run(
        store,
        sql("INSERT INTO certificates (id, name, common_name, sans, environment, issuer_id, target_ids, renewal_policy_id,
                        certificate_profile_id, status, reason, tags, failures, source, revision, created_at, updated_at)
                    VALUES ($1, $1, 'x', $2, '', 'iss-1', $2, 'rp-1', 'prof-1', 'Active', '', $3, 0, 'api', 1, $4, $4)")
        .bind(id)
        .bind(json!([]))
        .bind(json!({}))
        .bind(at(0)),
    )
    .await
    .unwrap();
}

/// A job that was made on a day and ended on the same day, if `over`.
pub(crate) async fn job(store: &Store, id: &str, certificate: &str, day: i64, over: Option<&str>) {
    let mut tx = store.write(alice()).await.unwrap();
    let status = over.unwrap_or("Running");
    tx.execute(
        sql("INSERT INTO jobs (id, type, certificate_id, status, reason, scheduled_at, attempts, max_attempts, progress, requested_by, fence,
                 created_at, completed_at, updated_at, worker)
             VALUES ($1, 'Renewal', $2, $3, '', $4, 1, 1, $5, 'alice', 1, $4, $6, $4, 'server')")
        .bind(id)
        .bind(certificate)
        .bind(status)
        .bind(at(day * DAY))
        .bind(json!([]))
        .bind(over.map(|_| at(day * DAY))),
    )
    .await
    .unwrap();
    tx.execute(
        sql("INSERT INTO issuances (job_id, issuer_id, state, created_at, updated_at) VALUES ($1, 'iss-1', 'issued', $2, $2)")
            .bind(id)
            .bind(at(day * DAY)),
    )
    .await
    .unwrap();
    tx.count("jobs", 1);
    tx.count(&format!("jobs.status.{status}"), 1);
    tx.commit(entry()).await.unwrap();
}

async fn texts(store: &Store, statement: &'static str) -> Vec<String> {
    store.db().fetch_all(sql(statement)).await.unwrap().iter().map(|row| row.text("t").unwrap()).collect()
}

both_databases! {
    async fn old_jobs_go_and_the_last_of_each_certificate_stays(store: TestStore) {
        for id in ["mc-1", "mc-2", "mc-3"] {
            certificate(&store, id).await;
        }
        job(&store, "job-1a", "mc-1", 1, Some("Failed")).await;
        job(&store, "job-1b", "mc-1", 2, Some("Completed")).await;
        job(&store, "job-1c", "mc-1", 3, Some("Completed")).await;
        job(&store, "job-2a", "mc-2", 1, Some("Completed")).await;
        job(&store, "job-2b", "mc-2", 95, Some("Completed")).await;
        job(&store, "job-3a", "mc-3", 1, None).await;
        let now = at(100 * DAY);
        assert_eq!(retention::jobs(&store, now, Duration::days(90)).await.unwrap(), 3);
        assert_eq!(texts(&store, "SELECT id AS t FROM jobs ORDER BY id").await, ["job-1c", "job-2b", "job-3a"]);
        assert_eq!(texts(&store, "SELECT job_id AS t FROM issuances ORDER BY job_id").await, ["job-1c", "job-2b", "job-3a"]);
        let counted = counters::read_all(store.db(), "jobs").await.unwrap();
        assert_eq!((counted["jobs"], counted["jobs.status.Completed"], counted["jobs.status.Failed"], counted["jobs.status.Running"]), (3, 2, 0, 1));
        assert_eq!(retention::jobs(&store, now, Duration::days(90)).await.unwrap(), 0);
        assert_eq!(retention::issuances(&store, now, Duration::days(7)).await.unwrap(), 1);
        assert_eq!(texts(&store, "SELECT job_id AS t FROM issuances ORDER BY job_id").await, ["job-2b", "job-3a"]);
    }

    async fn many_jobs_go_in_batches(store: TestStore) {
        certificate(&store, "mc-1").await;
        let mut tx = store.write(alice()).await.unwrap();
        for part in 0..3 {
            let mut insert = sql("INSERT INTO jobs (id, type, certificate_id, status, reason, scheduled_at, attempts, max_attempts, progress,
                                      requested_by, fence, created_at, completed_at, updated_at, worker) VALUES ");
            insert.push_rows((0..900).map(|i| {
                let at = at(part * 900 + i);
                vec![format!("job-{part}-{i}").into(), "Renewal".into(), "mc-1".into(), "Completed".into(), "".into(), at.into(), 1_i64.into(),
                     1_i64.into(), json!([]).into(), "alice".into(), 1_i64.into(), at.into(), at.into(), at.into(), "server".into()]
            }));
            tx.execute(insert).await.unwrap();
        }
        tx.commit(entry()).await.unwrap();
        assert_eq!(retention::jobs(&store, at(100 * DAY), Duration::days(90)).await.unwrap(), 2_699);
        assert_eq!(texts(&store, "SELECT id AS t FROM jobs").await, ["job-2-899"]);
    }

    async fn what_was_told_ended_or_answered_goes(store: TestStore) {
        for (id, written, done) in [("n-1", 0, Some(1)), ("n-2", 0, Some(80)), ("n-3", 0, None), ("n-4", 80, None)] {
            run(&store, sql("INSERT INTO outbox (id, type, message, payload, dedup_key, created_at, done_at) VALUES ($1, 'x', '', $2, $1, $3, $4)")
                .bind(id).bind(json!({})).bind(at(written * DAY)).bind(done.map(|day| at(day * DAY)))).await.unwrap();
        }
        for (id, ends) in [("et-1", 1), ("et-2", 80), ("et-3", 200)] {
            run(&store, sql("INSERT INTO enrollment_tokens (id, secret_hash, labels, expires_at, created_by, created_at) VALUES ($1, 'x', $2, $3, 'alice', $4)")
                .bind(id).bind(json!({})).bind(at(ends * DAY)).bind(at(0))).await.unwrap();
        }
        for (key, hours) in [("old", 0), ("new", 99 * 24 + 1)] {
            let request = Request { actor: "alice", key, hash: "h" };
            match idempotency::begin(&store, request, at(hours * 3_600)).await.unwrap() {
                Begin::Fresh(ticket) => {
                    let answer = Answer { status: 200, headers: vec![], body: vec![] };
                    idempotency::finish(&store, &ticket, &answer, at(hours * 3_600)).await.unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
        let now = at(100 * DAY);
        let pruned = retention::prune_all(&store, now, &RetentionPolicy::default()).await.unwrap();
        let pruned: Vec<_> = pruned.into_iter().collect();
        assert_eq!(pruned, [("enrollment_tokens", 1), ("idempotency_keys", 1), ("issuances", 0), ("jobs", 0), ("outbox", 2), ("secrets", 0)]);
        assert_eq!(texts(&store, "SELECT id AS t FROM outbox ORDER BY id").await, ["n-2", "n-4"]);
        assert_eq!(texts(&store, "SELECT id AS t FROM enrollment_tokens ORDER BY id").await, ["et-2", "et-3"]);
        assert_eq!(texts(&store, "SELECT key AS t FROM idempotency_keys").await, ["new"]);
    }

    async fn audit_events_go_only_when_they_are_signed_and_old(store: TestStore) {
        let (key, _) = CheckpointKey::generate().unwrap();
        let write = async || store.write(alice()).await.unwrap().commit(entry()).await.unwrap();
        write().await;
        write().await;
        audit::seal_batch(&store, at(1), 10).await.unwrap();
        let keep = |days| RetentionPolicy { audit: Some(Duration::days(days)), ..RetentionPolicy::default() };
        let pruned = async |days| retention::prune_all(&store, at(100 * DAY), &keep(days)).await.unwrap()["audit_events"];
        assert_eq!(pruned(90).await, 0, "nothing is signed");
        audit::checkpoint(&store, &key, at(5 * DAY)).await.unwrap();
        write().await;
        audit::seal_batch(&store, at(1), 10).await.unwrap();
        audit::checkpoint(&store, &key, at(50 * DAY)).await.unwrap();
        assert_eq!(pruned(99).await, 0, "nothing is old enough");
        assert_eq!(pruned(90).await, 2);
        assert_eq!(pruned(90).await, 0);
        assert_eq!(number(&store, "SELECT count(*) AS n FROM audit_events").await, 2, "the third, and that something was pruned");
        audit::seal_batch(&store, at(1), 10).await.unwrap();
        let report = audit::verify(store.db(), &audit::Verify::default(), |_| {}).await.unwrap();
        assert_eq!((report.checked, report.first_break), (2, None));
    }
}
