//! Numbers about the installation are exact: they follow what happens, day by day, on both databases.

use certctl_domain::time::Timestamp;
use certctl_testkit::both_databases;
use serde_json::{Value, json};

use crate::support::{TestServer, start};

both_databases! {
    async fn numbers_follow_the_life_of_certificates(server: TestServer) {
        server.seed().await;
        let web = server.issue("web").await;
        let mail = server.issue("mail").await;
        server.admin().post("/api/v1/certificates", &json!({"name": "late", "sans": ["late.example.test"]})).await.is(201);
        is_as_before("summary", &json(&server, "summary").await);
        is_as_before("certificates_by_status", &json(&server, "certificates-by-status").await);

        server.admin().post(&format!("/api/v1/certificates/{mail}/revoke"), &json!({"reason": "keyCompromise"})).await.is(200);
        let summary = json(&server, "summary").await;
        assert_eq!((&summary["total_certificates"], &summary["revoked_certificates"]), (&json!(3), &json!(1)));

        // What cannot be issued is a certificate that failed and a job that failed.
        server.admin().patch("/api/v1/issuers/iss-local", &json!({"enabled": false})).await.is(200);
        server.renew(&web, "web").await;
        let summary = json(&server, "summary").await;
        assert_eq!((&summary["failed_certificates"], &summary["failed_jobs"], &summary["complete_jobs"]), (&json!(1), &json!(1), &json!(2)));
        let counter = server.admin().get("/api/v1/metrics").await.is(200).json()["counter"].clone();
        assert_eq!(counter, json!({"job_completed_total": 2, "job_failed_total": 1}));

        server.admin().delete(&format!("/api/v1/certificates/{web}")).await.is(204);
        let summary = json(&server, "summary").await;
        assert_eq!((&summary["total_certificates"], &summary["failed_certificates"]), (&json!(2), &json!(0)));
        assert_eq!(status_count(&json(&server, "certificates-by-status").await, "Archived"), 1);
    }

    async fn each_day_has_what_happened_on_it(server: TestServer) {
        server.seed().await;
        // The first and the last instant of a day are its own.
        let web = server.issue("web").await;
        server.clock.advance(time::Duration::DAY - time::Duration::microseconds(1));
        server.issue("mail").await;
        server.clock.advance(time::Duration::microseconds(1));
        server.renew(&web, "web").await;
        server.clock.advance(time::Duration::days(2));
        server.admin().patch("/api/v1/issuers/iss-local", &json!({"enabled": false})).await.is(200);
        server.renew(&web, "web").await;
        is_as_before("issuance_rate", &json(&server, "issuance-rate?days=5").await);
        is_as_before("job_trends", &json(&server, "job-trends?days=5").await);
        assert_eq!(json(&server, "issuance-rate").await["rate"].as_array().unwrap().len(), 30);
        assert_eq!(json(&server, "job-trends?days=400").await["trends"].as_array().unwrap().len(), 400);
    }

    async fn the_timeline_has_each_certificate_on_the_day_on_which_it_ends(server: TestServer) {
        server.seed().await;
        let web = server.issue("web").await;
        server.clock.advance(time::Duration::days(3));
        let mail = server.issue("mail").await;
        let ends = async |id: &str| -> Timestamp {
            let certificate = server.admin().get(&format!("/api/v1/certificates/{id}")).await.is(200).json();
            certificate["expires_at"].as_str().unwrap().parse().unwrap()
        };
        let (web_ends, mail_ends) = (ends(&web).await, ends(&mail).await);
        let today = start().saturating_add(time::Duration::days(3));
        assert!(web_ends < mail_ends && today.until(mail_ends) < time::Duration::days(399));

        let timeline = json(&server, "expiration-timeline?days=400").await;
        assert_eq!(days_with_any(&timeline), [(day(web_ends), 1), (day(mail_ends), 1)]);
        assert_eq!(timeline["buckets"][0]["date"], json!(day(today)));
        let days = today.until(mail_ends).whole_days() + 1;
        assert_eq!(days_with_any(&json(&server, &format!("expiration-timeline?days={days}")).await).len(), 2);
        assert_eq!(days_with_any(&json(&server, &format!("expiration-timeline?days={}", days - 1)).await).len(), 1);

        // Nobody waits for the end of what was revoked.
        server.admin().post(&format!("/api/v1/certificates/{web}/revoke"), &json!({"reason": "superseded"})).await.is(200);
        assert_eq!(days_with_any(&json(&server, "expiration-timeline?days=400").await), [(day(mail_ends), 1)]);
    }

    async fn an_empty_installation_has_zeros_and_no_gaps(server: TestServer) {
        let summary = json(&server, "summary").await;
        for (name, value) in summary.as_object().unwrap().iter().filter(|(name, _)| *name != "completed_at") {
            assert_eq!(value, 0, "{name}");
        }
        for (path, list) in [("expiration-timeline", "buckets"), ("issuance-rate", "rate"), ("job-trends", "trends")] {
            let days = json(&server, &format!("{path}?days=1")).await[list].clone();
            assert_eq!((days.as_array().unwrap().len(), &days[0]["date"]), (1, &json!("2026-06-01")), "{path}");
        }
    }

    async fn a_number_of_days_out_of_range_is_refused(server: TestServer) {
        for path in ["expiration-timeline", "issuance-rate", "job-trends"] {
            for (days, code) in [("0", "invalid_field"), ("401", "invalid_field"), ("-1", "invalid_query"), ("many", "invalid_query"), ("99999", "invalid_query")] {
                let problem = server.admin().get(&format!("/api/v1/stats/{path}?days={days}")).await.fails_with(400, code);
                assert!(problem["detail"].as_str().unwrap().contains("days"), "{problem}");
            }
        }
    }

    async fn who_reads_a_part_of_the_fleet_is_not_told_about_all_of_it(server: TestServer) {
        let grant = |permission: &str| json!({"permission": permission, "scope_type": "profile", "scope_id": "prof-a"});
        let caller = server.holder_of("a-only", json!([grant("stats.read"), grant("metrics.read")])).await;
        for path in ["stats/summary", "stats/certificates-by-status", "stats/expiration-timeline", "stats/job-trends", "stats/issuance-rate", "metrics", "metrics/prometheus"] {
            let refused = caller.get(&format!("/api/v1/{path}")).await.fails_with(403, "forbidden");
            assert!(refused["hint"].as_str().unwrap().contains("global scope"), "{path}: {refused}");
        }
    }

    async fn existing_scripts_read_the_metrics_as_json(server: TestServer) {
        server.seed().await;
        server.issue("web").await;
        server.clock.advance(time::Duration::seconds(90));
        is_as_before("metrics_as_json", &server.admin().get("/api/v1/metrics").await.is(200).json());
    }
}

/// The same on both databases, and the same as when somebody last looked at it.
fn is_as_before(name: &str, json: &Value) {
    insta::assert_json_snapshot!(name, json);
}

async fn json(server: &TestServer, path: &str) -> Value {
    server.admin().get(&format!("/api/v1/stats/{path}")).await.is(200).json()
}

fn status_count(by_status: &Value, status: &str) -> i64 {
    let counts = by_status["status_counts"].as_array().unwrap();
    counts.iter().find(|count| count["status"] == status).and_then(|count| count["count"].as_i64()).unwrap()
}

fn day(at: Timestamp) -> String {
    at.to_offset().date().to_string()
}

fn days_with_any(timeline: &Value) -> Vec<(String, i64)> {
    let buckets = timeline["buckets"].as_array().unwrap().iter();
    let counted = buckets.map(|bucket| (bucket["date"].as_str().unwrap().to_owned(), bucket["count"].as_i64().unwrap()));
    counted.filter(|(_, count)| *count > 0).collect()
}
