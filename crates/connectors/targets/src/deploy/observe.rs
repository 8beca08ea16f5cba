//! Looks at what is served until it is what it should be, a bounded number of times.

use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_connector_core::probe::{KeyKind, ProbeReport, Question, probe, probe_all};
use certctl_connector_core::report::Served;
use certctl_domain::x509::Fingerprint;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::journal::Begin;
use crate::observation::{ChainRule, Endpoint, Watch};

/// A certificate that is looked for; a server with several shows the one of this kind of key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sought {
    pub(crate) leaf: Fingerprint,
    pub(crate) key_kind: KeyKind,
}

/// Asks every address of every endpoint once.
pub(crate) async fn look(watch: &Watch, sought: Option<&Sought>) -> Vec<Served> {
    let mut asked = JoinSet::new();
    for (order, endpoint) in watch.endpoints.iter().enumerate() {
        let (endpoint, timeout, sought) = (endpoint.clone(), watch.timeout, sought.cloned());
        asked.spawn(async move { (order, ask(&endpoint, timeout, sought.as_ref()).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(order, _)| *order);
    answers.into_iter().flat_map(|(_, served)| served).collect()
}

/// Looks until the new certificate is served everywhere.
pub(super) async fn until_new(watch: &Watch, begin: &Begin) -> (Vec<Served>, Result<Vec<String>, ConnectorError>) {
    until(watch, sought(begin).as_ref(), |served| judge_new(served, begin, watch.chain)).await
}

/// Looks once: is the new certificate served everywhere?
pub(super) async fn is_new(watch: &Watch, begin: &Begin) -> (Vec<Served>, bool) {
    let served = look(watch, sought(begin).as_ref()).await;
    let all = !served.is_empty() && served.iter().all(|served| judge_new(served, begin, watch.chain).is_ok());
    (served, all)
}

/// Looks until what was served before, or what the restored files hold, is served again. Endpoints that served nothing
/// before are not asked; `None` when none is left.
pub(super) async fn until_old(watch: &Watch, begin: &Begin) -> Option<(Vec<Served>, Result<Vec<String>, ConnectorError>)> {
    let served_before = |endpoint: &Endpoint| {
        begin.baseline.iter().any(|b| b.fingerprint.is_some() && b.server_name == endpoint.server_name && is_at(b, endpoint))
    };
    let endpoints: Vec<_> = watch.endpoints.iter().filter(|endpoint| served_before(endpoint)).cloned().collect();
    if endpoints.is_empty() {
        return None;
    }
    let watch = Watch { endpoints, ..watch.clone() };
    Some(until(&watch, None, |served| judge_old(served, begin)).await)
}

/// How long to wait after a look that did not satisfy; doubles up to a cap.
pub(super) fn pause(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST_PAUSE)
}

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A service that replaces its workers one after the other serves the old and the new for a moment (nginx: 100 ms), so
/// what one look showed must still be so after this time.
const SETTLE: Duration = Duration::from_millis(300);

/// The first look is at once: a service that reloads quickly is not waited for.
async fn until(
    watch: &Watch,
    sought: Option<&Sought>,
    judge: impl Fn(&Served) -> Result<Option<String>, ConnectorError>,
) -> (Vec<Served>, Result<Vec<String>, ConnectorError>) {
    let look_and_judge = async || {
        let served = look(watch, sought).await;
        let verdict = match served.as_slice() {
            [] => Err(ConnectorError::permanent("there is no address to look at")),
            some => some.iter().map(&judge).collect::<Result<Vec<_>, _>>().map(|warnings| warnings.into_iter().flatten().collect()),
        };
        (served, verdict)
    };
    let mut attempt = 1;
    loop {
        let (mut served, mut verdict) = look_and_judge().await;
        if verdict.is_ok() {
            sleep(SETTLE).await;
            (served, verdict) = look_and_judge().await;
        }
        match &verdict {
            Err(error) if attempt < watch.attempts => tracing::debug!(error = %error.explain(), attempt, "not served yet"),
            Ok(_) | Err(_) => return (served, verdict),
        }
        sleep(pause(attempt - 1)).await;
        attempt += 1;
    }
}

fn sought(begin: &Begin) -> Option<Sought> {
    begin.key_kind.map(|key_kind| Sought { leaf: begin.fingerprint(), key_kind })
}

async fn ask(endpoint: &Endpoint, timeout: Duration, sought: Option<&Sought>) -> Vec<Served> {
    let question = Question { server_name: endpoint.server_name.clone(), key_kind: None, timeout };
    let answers = match probe_all(&endpoint.address, &question).await {
        Ok(answers) => answers,
        Err(error) => return vec![unanswered(&endpoint.address, endpoint, &error)],
    };
    let mut served = Vec::new();
    for (address, answer) in answers {
        served.push(match answer {
            Ok(report) => answered(insist(report, &question, sought).await),
            Err(error) => unanswered(&address.to_string(), endpoint, &error),
        });
    }
    served
}

/// A server that has an RSA and an ECDSA certificate shows one of them; asks again for the kind that is looked for.
async fn insist(report: ProbeReport, question: &Question, sought: Option<&Sought>) -> ProbeReport {
    match sought {
        Some(sought) if report.leaf_fingerprint != sought.leaf && report.key_kind != Some(sought.key_kind) => {
            let question = Question { key_kind: Some(sought.key_kind), ..question.clone() };
            probe(report.address, &question).await.unwrap_or(report)
        }
        _ => report,
    }
}

fn answered(report: ProbeReport) -> Served {
    Served {
        address: report.address.to_string(),
        server_name: report.server_name,
        fingerprint: Some(report.leaf_fingerprint),
        chain: report.chain_fingerprints,
        tls_version: report.tls_version,
        error: None,
    }
}

fn unanswered(address: &str, endpoint: &Endpoint, error: &ConnectorError) -> Served {
    Served {
        address: address.to_owned(),
        server_name: endpoint.server_name.clone(),
        fingerprint: None,
        chain: Vec::new(),
        tls_version: None,
        error: Some(error.explain()),
    }
}

fn judge_new(served: &Served, begin: &Begin, rule: ChainRule) -> Result<Option<String>, ConnectorError> {
    let who = who(served);
    let Some(fingerprint) = &served.fingerprint else {
        return Err(no_answer(served));
    };
    let wanted = begin.fingerprint();
    if *fingerprint != wanted {
        let old = begin.files.iter().any(|file| file.old.as_ref().is_some_and(|old| old.leaf.as_ref() == Some(fingerprint)));
        return Err(if old {
            ConnectorError::transient(format!("{who} still serves the old certificate {fingerprint}")).hint(
                "the service did not take up the new files: is the reload command the right one for it, and what does its error log say?",
            )
        } else {
            ConnectorError::transient(format!("{who} serves another certificate ({fingerprint}, not {wanted})"))
                .hint("does the service use these files for this name and address? Compare its configuration with observe.address and observe.server_names")
        });
    }
    if served.chain.starts_with(&begin.chain) {
        return Ok(None);
    }
    let text = format!("{who} serves the new certificate without the intermediates that were deployed with it");
    match rule {
        ChainRule::Whole => Err(ConnectorError::transient(text)
            .hint("clients that lack the intermediates will refuse it: the service must use the file with the full chain")),
        ChainRule::Leaf => Ok(Some(text)),
    }
}

fn judge_old(served: &Served, begin: &Begin) -> Result<Option<String>, ConnectorError> {
    let Some(fingerprint) = &served.fingerprint else {
        return Err(no_answer(served));
    };
    let in_files = begin.files.iter().any(|file| file.old.as_ref().is_some_and(|old| old.leaf.as_ref() == Some(fingerprint)));
    let before = begin.baseline.iter().any(|b| b.server_name == served.server_name && b.fingerprint.as_ref() == Some(fingerprint));
    if in_files || before {
        Ok(None)
    } else {
        Err(ConnectorError::transient(format!("{} serves {fingerprint}, which is not what it served before", who(served))))
    }
}

fn no_answer(served: &Served) -> ConnectorError {
    let why = served.error.clone().unwrap_or_else(|| format!("{} did not answer", who(served)));
    ConnectorError::transient(why)
        .hint("is the service running, and does it listen there? Every address that the host resolves to must answer")
}

fn who(served: &Served) -> String {
    served.server_name.as_ref().map_or_else(|| served.address.clone(), |name| format!("{name} at {}", served.address))
}

/// Whether an answer came from this endpoint; a host name may have given several addresses.
fn is_at(served: &Served, endpoint: &Endpoint) -> bool {
    let port = |text: &str| text.rsplit_once(':').map(|(_, port)| port.to_owned());
    port(&served.address) == port(&endpoint.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_between_looks_doubles_up_to_a_cap() {
        let waits: Vec<_> = (0..8).map(|attempt| pause(attempt).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(pause(60), LONGEST_PAUSE);
    }
}
