//! Time: leap days, the end of two-digit years, lives of minutes, a server that slept through an end, a clock that is set back.

use certctl_domain::certificate::{Certificate, CertificateStatus};
use certctl_domain::ids::CertificateId;
use certctl_domain::job::JobKind;
use certctl_domain::profile::Profile;
use certctl_domain::time::Timestamp;
use certctl_engine::{crud, renewal};
use certctl_pki::certificate::Certificate as Issued;
use certctl_testkit::{Engine, both_databases};
use serde_json::json;
use time::Duration;

use crate::house::{House, TestAgent};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Lets time pass in steps until an instant; what the scheduler starts is done at once. At no step may the certificate have ended.
async fn live(house: &House, agent: &TestAgent, id: &CertificateId, (step, until): (Duration, Timestamp)) {
    while house.engine.now() < until {
        house.clock.advance(step);
        if house.run_task(renewal::TASK).await > 0 {
            agent.issue(house).await;
            agent.deploy().await;
        }
        let certificate = house.certificate(id).await;
        let (now, end) = (house.engine.now(), certificate.expires_at.unwrap());
        assert!(end > now && certificate.status != CertificateStatus::Expired, "{now}: {certificate:?}");
    }
}

/// A deployed certificate whose versions live for this long.
async fn of_a_life(house: &House, seconds: i64) -> (TestAgent, Certificate) {
    let profile = json!({"id": "prof-short", "name": "short", "max_ttl_seconds": seconds, "allow_short_lived": true});
    crud::create::<Profile>(&house.admin(), serde_json::from_value(profile).unwrap()).await.unwrap();
    let agent = house.agent("host").await;
    let target = house.target("web", &agent).await;
    let draft = json!({"name": "web", "sans": ["web.example.test"], "target_ids": [target], "certificate_profile_id": "prof-short"});
    let certificate = house.request(draft).await;
    agent.issue(house).await;
    agent.deploy().await;
    (agent, certificate)
}

async fn through_2048_and_2050(engine: Engine) {
    let house = House::open_at(engine, at("2047-12-31T23:59:30Z")).await;
    let (agent, certificate) = house.deployed("web").await;
    // A day that is in no other year, and the year from which X.509 writes times in another form (RFC 5280 section 4.1.2.5).
    live(&house, &agent, &certificate.id, (Duration::DAY, at("2050-03-02T00:00:00Z"))).await;
    let versions = house.versions(&certificate.id).await;
    // 791 days; a third of a life before its end, and up to a quarter of that third earlier.
    assert!((14..=16).contains(&versions.len()), "{}", versions.len());
    for version in &versions {
        let issued = Issued::parse_pem(&version.pem_chain).unwrap();
        assert_eq!((issued.not_before(), issued.not_after()), (version.not_before, version.not_after));
        assert_eq!(version.not_before.until(version.not_after), Duration::days(90) + Duration::minutes(5));
    }
    assert!(versions.iter().any(|version| version.not_after >= at("2050-03-31T00:00:00Z")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewal_goes_through_a_leap_day_and_the_year_2050_on_sqlite() {
    through_2048_and_2050(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewal_goes_through_a_leap_day_and_the_year_2050_on_postgres() {
    through_2048_and_2050(Engine::Postgres).await;
}

both_databases! {
    async fn a_certificate_of_ten_minutes_is_renewed_in_its_last_third(house: House) {
        let (agent, certificate) = of_a_life(&house, 600).await;
        let until = house.engine.now().saturating_add(Duration::hours(2));
        live(&house, &agent, &certificate.id, (Duration::seconds(20), until)).await;
        let versions = house.versions(&certificate.id).await.len();
        assert!((19..=26).contains(&versions), "{versions}");
    }

    async fn who_slept_through_the_end_says_so_and_renews_at_once(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        house.clock.advance(Duration::days(200));
        assert_eq!(house.run_task(renewal::TASK).await, 1);
        assert_eq!(house.run_task(renewal::TASK).await, 0);
        agent.issue(&house).await;
        agent.deploy().await;
        let now = house.certificate(&certificate.id).await;
        assert_eq!(now.status, CertificateStatus::Active);
        assert_eq!(house.versions(&certificate.id).await.len(), 2);
    }

    async fn a_clock_that_is_set_back_renews_nothing_twice(house: House) {
        let (agent, certificate) = house.deployed("web").await;
        house.clock.advance(Duration::days(61));
        assert_eq!(house.run_task(renewal::TASK).await, 1);
        agent.issue(&house).await;
        agent.deploy().await;
        // The new version begins in the future now; whatever the clock says, it is the one that was asked for.
        for back in [Duration::hours(1), Duration::days(3)] {
            house.clock.advance(-back);
            assert_eq!(house.run_task(renewal::TASK).await, 0, "{back}");
        }
        house.clock.advance(Duration::days(3) + Duration::hours(1));
        assert_eq!(house.run_task(renewal::TASK).await, 0);
        assert_eq!(house.jobs(&certificate.id, JobKind::Renewal).await.len(), 1);
        assert_eq!(house.certificate(&certificate.id).await.status, CertificateStatus::Active);
    }
}
