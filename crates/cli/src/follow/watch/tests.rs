use certctl_domain::ids::{ActorId, AgentId, CertificateId, Id as _, TargetId};
use certctl_domain::job::{JobStep, Verification};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_767_225_600 + seconds).unwrap()
}

fn job(id: &str, kind: JobKind, status: JobStatus, reason: &str) -> Job {
    let deploys = matches!(kind, JobKind::Deployment | JobKind::Validation);
    Job {
        id: JobId::parse(id).unwrap(),
        kind,
        certificate_id: CertificateId::parse("mc-web").unwrap(),
        target_id: deploys.then(|| TargetId::parse("tgt-1").unwrap()),
        agent_id: Some(AgentId::parse("ag-1").unwrap()),
        version_id: None,
        status,
        reason: reason.to_owned(),
        hint: None,
        scheduled_at: at(0),
        attempts: 0,
        max_attempts: 3,
        last_error: None,
        progress: vec![],
        verification: None,
        requested_by: ActorId::parse("actor-admin").unwrap(),
        fence: 0,
        created_at: at(0),
        started_at: None,
        completed_at: None,
        updated_at: at(0),
    }
}

fn watch() -> Watch {
    let names = [("tgt-1", "nginx-1"), ("ag-1", "web-1")].map(|(id, name)| (id.to_owned(), name.to_owned()));
    Watch { names: names.into(), ..Watch::default() }
}

fn step(step: &str, detail: &str) -> JobStep {
    JobStep { step: step.to_owned(), detail: detail.to_owned(), at: at(1) }
}

fn witness(verified: bool, seen: Option<&str>, error: Option<&str>) -> Option<Witness> {
    Some(Witness { verified, actual_fingerprint: seen.map(|c| c.repeat(64)), at: at(2), error: error.map(str::to_owned) })
}

#[test]
fn each_piece_of_news_is_told_once() {
    let mut watch = watch();
    let mut issuance = job("job-1", JobKind::Issuance, JobStatus::AwaitingCSR, "the agent makes the key");
    let mut told = watch.news(&[issuance.clone()], at(0));
    assert!(watch.news(&[issuance.clone()], at(0)).is_empty());
    issuance.status = JobStatus::Completed;
    issuance.reason = "the version was issued".into();
    let mut deployment = job("job-2", JobKind::Deployment, JobStatus::Running, "web-1 works on it");
    deployment.progress = vec![step("stage", "/etc/nginx/web.pem"), step("check", "")];
    told.extend(watch.news(&[issuance.clone(), deployment.clone()], at(1)));
    deployment.progress.push(step("observe", "127.0.0.1:443 \u{1b}[2Jserves it"));
    deployment.status = JobStatus::Completed;
    deployment.reason = "the target has the certificate".into();
    deployment.verification = Some(Verification {
        expected_fingerprint: "a".repeat(64),
        agent: witness(true, Some("a"), None),
        server: witness(false, None, Some("it is an address of the agent's own host")),
    });
    told.extend(watch.news(&[issuance, deployment], at(2)));
    insta::assert_snapshot!(told.join("\n"), @r"
    issuance for web-1: AwaitingCSR: the agent makes the key
    issuance for web-1: Completed: the version was issued
      stage     /etc/nginx/web.pem
      check
    deployment to nginx-1: Running: web-1 works on it
      observe   127.0.0.1:443 \u{1b}[2Jserves it
      agent     sees aaaaaaaaaaaaaaaa… served, as it should be
      server    sees nothing: it is an address of the agent's own host
    deployment to nginx-1: Completed: the target has the certificate
    ");
}

#[test]
fn a_failed_try_tells_its_reason_next_try_and_hint() {
    let mut deployment = job("job-2", JobKind::Deployment, JobStatus::Pending, "attempt 1 failed: nginx refused the new pair");
    deployment.last_error = Some("nginx refused the new pair".into());
    deployment.hint = Some("run nginx -t".into());
    deployment.scheduled_at = at(30);
    insta::assert_snapshot!(watch().news(&[deployment.clone()], at(0)).join("\n"), @r"
    deployment to nginx-1: Pending: attempt 1 failed: nginx refused the new pair; next try at 2026-01-01T00:00:30Z
      hint: run nginx -t
    ");
    // Tried again before the deadline: worth waiting for. After it: not.
    assert_eq!(verdict(&[deployment.clone()], at(60)), Verdict::Going);
    assert_eq!(verdict(&[deployment.clone()], at(20)), Verdict::Failed(&deployment));
    let failure = watch().failure(&deployment, at(0));
    assert_eq!(failure.exit_code(), 8);
    insta::assert_snapshot!(failure.told(), @r"
    error: deployment to nginx-1: attempt 1 failed: nginx refused the new pair; next try in 30s
    hint: run nginx -t
    ");
}

#[test]
fn work_is_done_when_the_newest_of_each_kind_at_each_place_is() {
    use JobKind::{Deployment, Issuance, Renewal};
    use JobStatus::{Cancelled, Completed, Failed, Running};
    let issued = job("job-1", Issuance, Completed, "");
    let (deployed, running) = (job("job-3", Deployment, Completed, ""), job("job-3", Deployment, Running, ""));
    let superseded = job("job-2", Deployment, Cancelled, "superseded");
    assert_eq!(verdict(&[], at(60)), Verdict::Going);
    assert_eq!(verdict(&[issued.clone(), running.clone()], at(60)), Verdict::Going);
    assert_eq!(verdict(&[issued.clone(), superseded.clone(), deployed], at(60)), Verdict::Done);
    assert_eq!(verdict(&[issued.clone(), superseded.clone()], at(60)), Verdict::Failed(&superseded));
    let failed = job("job-4", Renewal, Failed, "the CA said no");
    assert_eq!(verdict(&[issued, running, failed.clone()], at(60)), Verdict::Going, "the rest is still worth watching");
    assert_eq!(verdict(std::slice::from_ref(&failed), at(60)), Verdict::Failed(&failed));
    assert!(watch().failure(&failed, at(0)).told().contains("hint: certctl jobs explain job-4"));
}

#[test]
fn who_must_act_is_told() {
    let mut own_key = job("job-1", JobKind::Issuance, JobStatus::AwaitingCSR, "");
    own_key.agent_id = None;
    assert_eq!(watch().hint(&[own_key]).unwrap(), "no agent holds the key, send a CSR: certctl certs csr mc-web FILE");
    let approval = job("job-1", JobKind::Issuance, JobStatus::AwaitingApproval, "");
    assert!(watch().hint(std::slice::from_ref(&approval)).unwrap().contains("jobs approve job-1"));
    assert_eq!(watch().standing(&[approval]), "issuance for web-1 is AwaitingApproval: ");
    assert_eq!(watch().standing(&[]), "waiting for the first job");
}
