//! Revocation lists: their numbers, their times, what is in them, and how they are divided.

use std::collections::BTreeSet;

use certctl_domain::x509::RevocationReason;
use certctl_engine::{crl, scheduler};
use certctl_pki::crl::distribution_points;
use certctl_store::db::sql;
use certctl_store::{crls, revocations};
use certctl_testkit::both_databases;
use time::Duration;

use super::openssl::RelyingParty;
use super::{chain, issued, issuer, list, lists_made, public, revoked};
use crate::house::House;

both_databases! {
    async fn openssl_refuses_what_a_list_names_and_nothing_else(house: House) {
        let (bad, bad_version) = issued(&house, "bad").await;
        let (_, good_version) = issued(&house, "good").await;
        let leaf = chain(&bad_version);
        assert_eq!(distribution_points(leaf.leaf()), ["http://pki.example.test/.well-known/pki/crl/iss-local/0"]);
        let party = RelyingParty::new(&house).await;
        party.holds("bad.pem", &bad_version);
        party.holds("good.pem", &good_version);
        let text = party.run("x509 -in bad.pem -noout -text");
        assert!(text.contains("OCSP - URI:http://pki.example.test/.well-known/pki/ocsp/iss-local"), "{text}");
        assert!(text.contains("CA Issuers - URI:http://pki.example.test/.well-known/pki/ca/iss-local/0"), "{text}");

        assert_eq!(lists_made(&house).await, 2, "one of the CA that issues, one of the root");
        let before = list(&house.engine, None).await;
        assert_eq!(party.accepts("bad.pem", &before.der), Ok(()));
        revoked(&house, &bad, RevocationReason::KeyCompromise).await;
        house.clock.advance(Duration::seconds(15));
        assert_eq!(lists_made(&house).await, 1, "nothing changed for the root's");
        let after = list(&house.engine, Some(0)).await;
        assert!(after.edition.number > before.edition.number);
        assert_eq!(after.edition.revoked_count, 1);
        assert!(party.accepts("bad.pem", &after.der).unwrap_err().contains("certificate revoked"));
        assert_eq!(party.accepts("good.pem", &after.der), Ok(()));
        let text = party.list(&after.der);
        assert!(text.contains("Key Compromise") && !text.contains("Issuing Distribution Point"), "{text}");
    }

    async fn the_root_has_a_list_of_its_own(house: House) {
        let (_, version) = issued(&house, "web").await;
        lists_made(&house).await;
        let party = RelyingParty::new(&house).await;
        party.holds("web.pem", &version);
        party.put("a.der", list(&house.engine, Some(0)).await.der.as_ref());
        party.put("b.der", list(&house.engine, Some(1)).await.der.as_ref());
        party.run("crl -inform DER -in a.der -out a.pem");
        party.run("crl -inform DER -in b.der -out b.pem");
        let at = house.engine.now().unix_seconds();
        party.run(&format!("verify -attime {at} -crl_check_all -CAfile root.pem -untrusted ca.pem -CRLfile a.pem -CRLfile b.pem web.pem"));
    }

    async fn a_number_that_was_taken_is_never_used_again(house: House) {
        let (certificate, _) = issued(&house, "web").await;
        lists_made(&house).await;
        let before = list(&house.engine, None).await.edition.number;
        revoked(&house, &certificate, RevocationReason::Superseded).await;
        // A replica takes a number, marks what it will list, and dies.
        let ctx = public(&house.engine);
        let mut tx = ctx.write().await.unwrap();
        revocations::assign_all(&mut tx, &issuer(), 0).await.unwrap();
        let taken = crls::take_number(&mut tx, &issuer(), 0).await.unwrap();
        assert_eq!(revocations::mark(&mut tx, &issuer(), taken).await.unwrap(), 1);
        tx.commit_housekeeping("test").await.unwrap();
        assert_eq!(taken, before + 1);
        assert_eq!(lists_made(&house).await, 1, "at once: nobody waits for a dead one's delay");
        let after = list(&house.engine, None).await.edition.clone();
        assert!(after.number > taken, "{after:?}");
        assert_eq!(after.revoked_count, 1);
        assert_eq!(lists_made(&house).await, 0);
    }

    async fn a_database_of_yesterday_gives_out_no_number_of_today(house: House) {
        issued(&house, "web").await;
        lists_made(&house).await;
        let yesterday = list(&house.engine, None).await.edition.number;
        house.clock.advance(Duration::hours(13));
        lists_made(&house).await;
        let today = list(&house.engine, None).await.edition.number;
        let ctx = public(&house.engine);
        let mut tx = ctx.write().await.unwrap();
        for table in ["crl_numbers", "crls"] {
            tx.execute(sql(format!("UPDATE {table} SET number = $1")).bind(yesterday)).await.unwrap();
        }
        tx.commit_housekeeping("restore").await.unwrap();
        house.clock.advance(Duration::hours(13));
        lists_made(&house).await;
        let next = crl::list(&ctx).await.unwrap().remove(0).edition.unwrap().number;
        assert!(next > today, "{next} {today}");
    }

    async fn two_replicas_at_once_make_no_number_twice(house: House) {
        let (certificate, _) = issued(&house, "web").await;
        let other = house.second_replica().await;
        let mut numbers = BTreeSet::new();
        for round in 0..4 {
            house.clock.advance(Duration::hours(13));
            if round == 2 {
                revoked(&house, &certificate, RevocationReason::Superseded).await;
            }
            let (one, two) = (public(&house.engine), public(&other));
            let (a, b) = tokio::join!(crl::keep(&one), crl::keep(&two));
            assert!(a.unwrap() + b.unwrap() >= 2);
            let lists = crl::list(&one).await.unwrap();
            let new: BTreeSet<i64> = lists.iter().map(|list| list.edition.as_ref().unwrap().number).collect();
            assert!(new.iter().all(|number| numbers.iter().all(|old| old < number)), "{numbers:?} {new:?}");
            numbers.extend(new);
            assert_eq!(lists[0].edition.as_ref().unwrap().revoked_count, i64::from(round >= 2));
        }
    }

    async fn a_revocation_is_listed_within_the_delay_and_a_list_is_renewed_at_half_of_its_life(house: House) {
        let (certificate, _) = issued(&house, "web").await;
        lists_made(&house).await;
        house.clock.advance(Duration::seconds(1));
        revoked(&house, &certificate, RevocationReason::Superseded).await;
        assert_eq!(lists_made(&house).await, 0, "gathered for half of the delay");
        house.clock.advance(Duration::seconds(14));
        assert_eq!(lists_made(&house).await, 1);
        let edition = list(&house.engine, Some(0)).await.edition.clone();
        let revoked_at = house.engine.now().saturating_sub(Duration::seconds(14));
        assert_eq!(edition.this_update, revoked_at.whole_seconds(), "no list is older than what it tells of");
        house.clock.advance(Duration::hours(12) - Duration::seconds(16));
        assert_eq!(lists_made(&house).await, 0);
        house.clock.advance(Duration::seconds(1));
        assert_eq!(lists_made(&house).await, 1, "the root's is older");
        let edition = list(&house.engine, Some(1)).await.edition.clone();
        let now = house.engine.now();
        assert_eq!((edition.this_update, edition.next_update), (now.saturating_sub(Duration::minutes(5)), now.saturating_add(Duration::DAY)));
    }

    async fn an_entry_stays_until_it_was_listed_once_after_its_certificate_had_ended(house: House) {
        let (certificate, version) = issued(&house, "web").await;
        revoked(&house, &certificate, RevocationReason::Superseded).await;
        lists_made(&house).await;
        let left = house.engine.now().until(version.not_after);
        house.clock.advance(left + Duration::minutes(10));
        assert_eq!(lists_made(&house).await, 2);
        assert_eq!(list(&house.engine, None).await.edition.revoked_count, 1, "on the first list after its end");
        house.clock.advance(Duration::hours(13));
        lists_made(&house).await;
        assert_eq!(list(&house.engine, None).await.edition.revoked_count, 0);
    }

    async fn a_long_list_is_divided_and_each_certificate_names_its_part(house: House) {
        let mut versions = Vec::new();
        for n in 0..3 {
            versions.push(issued(&house, &format!("first-{n}")).await);
        }
        house.clock.advance(Duration::seconds(1));
        assert_eq!(house.run_task("revocation_list_parts").await, 1, "three are the most that name one list here");
        let (late, late_version) = issued(&house, "late").await;
        // 0 is the list of the CA, which no list was opened for before; the root has none yet.
        let named = distribution_points(chain(&late_version).leaf());
        assert_eq!(named, ["http://pki.example.test/.well-known/pki/crl/iss-local/1"]);
        assert_eq!(house.run_task("revocation_list_parts").await, 0);
        revoked(&house, &late, RevocationReason::KeyCompromise).await;
        revoked(&house, &versions[0].0, RevocationReason::Superseded).await;
        assert_eq!(lists_made(&house).await, 3);
        let (whole, part) = (list(&house.engine, Some(0)).await, list(&house.engine, Some(1)).await);
        assert_eq!((whole.edition.revoked_count, part.edition.revoked_count), (2, 1));
        let party = RelyingParty::new(&house).await;
        party.holds("late.pem", &late_version);
        party.holds("first.pem", &versions[0].1);
        let text = party.list(&part.der);
        assert!(text.contains("Issuing Distribution Point: critical") && text.contains(&named[0]), "{text}");
        for (leaf, list) in [("late.pem", &part), ("late.pem", &whole), ("first.pem", &whole)] {
            assert!(party.accepts(leaf, &list.der).unwrap_err().contains("certificate revoked"), "{leaf}");
        }
        assert!(party.accepts("first.pem", &part.der).unwrap_err().contains("scope"), "the part says nothing about it");
    }

    async fn a_hundred_thousand_revocations_are_listed(house: House) {
        issued(&house, "web").await;
        lists_made(&house).await;
        let ctx = public(&house.engine);
        let now = house.engine.now();
        let later = now.saturating_add(Duration::days(30));
        let mut tx = ctx.write().await.unwrap();
        for batch in 0..100 {
            let mut statement = sql("INSERT INTO revocations (id, issuer_id, serial_number, certificate_id, version_id, reason, revoked_by, revoked_at, not_after) VALUES ").varying();
            statement.push_rows((0..1_000).map(|n| {
                let serial = format!("40{batch:038x}{n:04x}").split_off(6);
                vec![format!("rev-{batch}-{n}").into(), (&issuer()).into(), format!("40{serial}").into(), "mc-1".into(), "ver-1".into(),
                     "superseded".into(), "test".into(), now.into(), later.into()]
            }));
            tx.execute(statement).await.unwrap();
        }
        tx.commit_housekeeping("test").await.unwrap();
        house.clock.advance(Duration::seconds(15));
        assert_eq!(lists_made(&house).await, 1);
        let served = list(&house.engine, None).await;
        assert_eq!(served.edition.revoked_count, 100_000);
        assert!(served.der.len() < 6_000_000, "{}", served.der.len());
        let again = list(&house.engine, None).await;
        assert!(std::sync::Arc::ptr_eq(&served, &again), "one copy for all");
    }
}

#[test]
fn what_is_in_memory_is_looked_at_twice_a_second() {
    let task = scheduler::TASKS.iter().find(|task| task.name == "revocation_refresh").unwrap();
    assert!(task.every <= std::time::Duration::from_millis(500) && task.place == scheduler::Place::Everywhere);
}
