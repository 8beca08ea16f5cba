//! A deployment's story as the server takes it.

use certctl_api::agents::{JobReport, ServedAt};
use certctl_connector_core::report::{DeployEvent, DeployReport, Failure, Outcome, Proof};
use certctl_connector_core::{ConnectorError, Retry};
use certctl_domain::job::{JobStatus, JobStep};
use certctl_domain::time::Timestamp;

/// The report of a deployment that began.
pub(crate) fn of_deployment(story: &DeployReport) -> JobReport {
    let report = JobReport { observed_fingerprint: observed(story), served: looked_at(story), ..JobReport::default() };
    let failed = |error: String, failure: &Failure| JobReport {
        status: JobStatus::Failed.as_str().to_owned(),
        error: Some(error),
        hint: failure.hint.clone(),
        permanent: is_permanent(failure.retry),
        ..report.clone()
    };
    match &story.outcome {
        Outcome::Deployed | Outcome::AlreadyServed => JobReport { status: JobStatus::Completed.as_str().to_owned(), ..report },
        Outcome::RolledBack(failure) => {
            failed(format!("{}: {}; the old pair is in place as before", failure.step, failure.reason), failure)
        }
        Outcome::RollbackFailed { failure, rollback } => {
            failed(format!("{}: {}; and the old pair could not be put back: {rollback}", failure.step, failure.reason), failure)
        }
    }
}

/// The report of a job that could not begin.
pub(crate) fn of_error(error: &ConnectorError) -> JobReport {
    JobReport {
        status: JobStatus::Failed.as_str().to_owned(),
        error: Some(error.explain()),
        hint: error.advice().map(str::to_owned),
        permanent: is_permanent(error.retry()),
        ..JobReport::default()
    }
}

/// What a person should know although it worked.
pub(crate) fn remarks(story: &DeployReport, at: Timestamp) -> Vec<JobStep> {
    let mut remarks: Vec<_> = story.warnings.iter().map(|warning| remark("warning", warning, at)).collect();
    if let (true, Proof::NotObserved { reason }) = (story.succeeded(), &story.proof) {
        remarks.push(remark("observe", &format!("nobody looked at what is served: {reason}"), at));
    }
    remarks
}

/// An event as a step.
pub(crate) fn step(event: &DeployEvent) -> JobStep {
    remark(&event.step.to_string(), &event.detail, event.at)
}

fn remark(step: &str, detail: &str, at: Timestamp) -> JobStep {
    JobStep { step: step.to_owned(), detail: detail.to_owned(), at }
}

/// What was seen everywhere, if it was the same everywhere.
fn observed(story: &DeployReport) -> Option<String> {
    let mut seen = story.served.iter().map(|served| served.fingerprint.as_ref());
    let first = seen.next()??;
    seen.all(|other| other == Some(first)).then(|| first.as_str().to_owned())
}

/// Where the agent looked, so that the server can look there too.
fn looked_at(story: &DeployReport) -> Vec<ServedAt> {
    let seen = story.served.iter().map(|served| ServedAt {
        address: served.address.clone(),
        server_name: served.server_name.clone(),
        fingerprint: served.fingerprint.as_ref().map(ToString::to_string),
        error: served.error.clone(),
    });
    seen.collect()
}

const fn is_permanent(retry: Retry) -> bool {
    match retry {
        Retry::Permanent | Retry::Unsupported => true,
        Retry::Transient | Retry::Throttled { .. } | Retry::Authentication => false,
    }
}

#[cfg(test)]
mod tests {
    use certctl_connector_core::report::{Served, Step};
    use certctl_domain::x509::Fingerprint;

    use super::*;

    fn served(byte: Option<u8>) -> Served {
        Served {
            address: "127.0.0.1:443".parse().unwrap(),
            server_name: None,
            fingerprint: byte.map(|byte| Fingerprint::from_bytes(&[byte; 32])),
            chain: vec![],
            tls_version: None,
            error: None,
        }
    }

    fn story(outcome: Outcome, served: Vec<Served>) -> DeployReport {
        DeployReport {
            deployment: "job-1.1".into(),
            target: "tgt-1".into(),
            outcome,
            proof: Proof::Observed,
            fingerprint: Fingerprint::from_bytes(&[1; 32]),
            served,
            events: vec![],
            warnings: vec!["an intermediate differs".into()],
            backup: None,
        }
    }

    fn failure(retry: Retry) -> Failure {
        Failure { step: Step::Check, reason: "nginx -t failed".into(), hint: Some("look at line 3".into()), retry }
    }

    #[test]
    fn a_fingerprint_is_told_only_when_all_handshakes_agree() {
        for (seen, told) in [
            (vec![], false),
            (vec![served(Some(1))], true),
            (vec![served(Some(1)), served(Some(1))], true),
            (vec![served(Some(1)), served(Some(2))], false),
            (vec![served(Some(1)), served(None)], false),
            (vec![served(None), served(Some(1))], false),
        ] {
            let report = of_deployment(&story(Outcome::Deployed, seen));
            assert_eq!((report.observed_fingerprint.is_some(), report.status.as_str()), (told, "Completed"));
        }
    }

    #[test]
    fn a_failure_says_where_why_and_what_to_do() {
        let report = of_deployment(&story(Outcome::RolledBack(failure(Retry::Permanent)), vec![]));
        assert_eq!(report.error.as_deref(), Some("check: nginx -t failed; the old pair is in place as before"));
        assert_eq!((report.status.as_str(), report.hint.as_deref(), report.permanent), ("Failed", Some("look at line 3"), true));
        let outcome = Outcome::RollbackFailed { failure: failure(Retry::Transient), rollback: "disk gone".into() };
        let report = of_deployment(&story(outcome, vec![]));
        assert!(report.error.unwrap().contains("could not be put back: disk gone") && !report.permanent);
    }

    #[test]
    fn warnings_and_a_missing_proof_are_told() {
        let mut unproven = story(Outcome::Deployed, vec![]);
        unproven.proof = Proof::NotObserved { reason: "no address".into() };
        let details: Vec<_> = remarks(&unproven, Timestamp::UNIX_EPOCH).into_iter().map(|step| step.detail).collect();
        assert_eq!(details, ["an intermediate differs", "nobody looked at what is served: no address"]);
    }
}
