//! Proofs that agents give on their hosts: who can give them, who is asked, and when the CA may look.

use std::time::Duration;

use certctl_connector_core::ConnectorError;
use certctl_domain::challenge::{AnswerState, ChallengeKind as Kind};

use super::order::ChallengeKind;
use super::proof::Wait;
use crate::issuer::{Answerer, Hosts};
use crate::surroundings::{Handover, Standing};

/// Whether the agent that has the key can prove names in this way. Proofs over DNS are not its business.
pub(super) fn check(hosts: Option<&Hosts>, kind: ChallengeKind) -> Result<(), ConnectorError> {
    let Some(kind) = of_host(kind) else {
        return Ok(());
    };
    let Some(holder) = hosts.and_then(|hosts| hosts.holder.as_ref()) else {
        return Err(ConnectorError::permanent(format!("there is no agent that could answer the CA's {kind} challenge"))
            .hint("give the certificate a target, or set answered_by of its issuer to server"));
    };
    if may(holder, kind) {
        return Ok(());
    }
    Err(ConnectorError::permanent(format!("agent `{}` is not set up to answer {kind} challenges", holder.name)).hint(setting(kind)))
}

/// Who is asked: the agent that has the key, and those beside other targets that are able. The names may lead to any of their hosts.
pub(super) fn handover(hosts: &Hosts, kind: ChallengeKind) -> Handover {
    let able = |agent: &&Answerer| of_host(kind).is_some_and(|kind| may(agent, kind));
    let agents = hosts.holder.iter().chain(hosts.beside.iter().filter(able)).map(|agent| agent.id.clone());
    Handover { job: hosts.job.clone(), agents: agents.collect() }
}

/// What is still missing before the CA may look (RFC 8555 section 7.5.1). The agent that has the key must be ready; for the others there is
/// a little patience, since a host that is down keeps no other from its certificate.
pub(super) fn missing(
    standing: &[Standing],
    (hosts, kind): (Option<&Hosts>, ChallengeKind),
    waited: Duration,
    patience: Duration,
) -> Result<Option<Wait>, ConnectorError> {
    let pause = if waited < EAGER { SHORT_PAUSE } else { LONG_PAUSE };
    let wait = |name: &str| Some(Wait { pause, reason: format!("agent `{name}` is to answer the CA's challenge") });
    let holder = hosts.and_then(|hosts| hosts.holder.as_ref());
    let Some(first) = standing.iter().find(|one| holder.is_some_and(|holder| holder.id == one.agent)) else {
        return Err(ConnectorError::permanent("nobody answers the CA's challenge any more").hint("the next attempt makes a new order"));
    };
    match &first.state {
        AnswerState::Ready => {}
        AnswerState::Failed(why) => {
            let message = format!("agent `{}` cannot answer the CA's challenge: {}", first.name, why.error);
            let error = if why.permanent { ConnectorError::permanent(message) } else { ConnectorError::transient(message) };
            return Err(why.hint.iter().fold(error, |error, hint| error.hint(hint)));
        }
        AnswerState::Awaited if waited <= patience => {
            // It may have said what it can only after it was asked.
            check(hosts, kind)?;
            return Ok(wait(&first.name));
        }
        AnswerState::Awaited => {
            return Err(ConnectorError::transient(format!("agent `{}` did not answer the CA's challenge within {patience:?}", first.name))
                .hint(format!(
                    "look whether it runs (certctl agents get {}) and what it logs; it must be of this release and have acme_webroot, \
                     acme_http01_listen or acme_tls_alpn01_listen in its agent.toml",
                    first.name
                )));
        }
    }
    let late = standing.iter().find(|one| one.state == AnswerState::Awaited).filter(|_| waited < PATIENCE_WITH_OTHERS);
    Ok(late.and_then(|one| wait(&one.name)))
}

/// Whether an agent can answer, as far as is known.
fn may(agent: &Answerer, kind: Kind) -> bool {
    agent.challenges.as_ref().is_none_or(|able| able.contains(&kind))
}

const fn of_host(kind: ChallengeKind) -> Option<Kind> {
    match kind {
        ChallengeKind::Http01 => Some(Kind::Http01),
        ChallengeKind::TlsAlpn01 => Some(Kind::TlsAlpn01),
        ChallengeKind::Dns01 => None,
    }
}

/// What an agent needs to answer.
const fn setting(kind: Kind) -> &'static str {
    match kind {
        Kind::Http01 => "set acme_webroot or acme_http01_listen in the agent.toml of its host, and start it again",
        Kind::TlsAlpn01 => "set acme_tls_alpn01_listen in the agent.toml of its host, and start it again",
    }
}

/// An agent that runs answers within a second.
const EAGER: Duration = Duration::from_secs(5);
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// The job is woken when an agent says something.
const LONG_PAUSE: Duration = Duration::from_secs(10);
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use certctl_connector_core::Retry;
    use certctl_domain::challenge::CannotAnswer;
    use certctl_domain::ids::AgentId;

    use super::*;

    fn agent(name: &str) -> AgentId {
        format!("ag-{name}").parse().unwrap()
    }

    fn stands(name: &str, state: AnswerState) -> Standing {
        Standing { agent: agent(name), name: name.to_owned(), state }
    }

    fn failed(permanent: bool) -> AnswerState {
        AnswerState::Failed(CannotAnswer { error: "the port is taken".into(), hint: Some("stop nginx".into()), permanent })
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn ask(standing: &[Standing], waited: u64) -> Result<Option<Wait>, ConnectorError> {
        let hosts = Hosts { job: "job-1".parse().unwrap(), holder: Some(with("web1", &[Kind::Http01])), beside: Vec::new() };
        missing(standing, (Some(&hosts), ChallengeKind::Http01), seconds(waited), seconds(120))
    }

    fn with(name: &str, challenges: &[Kind]) -> Answerer {
        Answerer { id: agent(name), name: name.to_owned(), challenges: Some(challenges.to_vec()) }
    }

    #[test]
    fn the_holder_must_be_ready_and_others_have_a_little_time() {
        let awaited = || AnswerState::Awaited;
        let wait = ask(&[stands("web1", awaited()), stands("web2", AnswerState::Ready)], 1).unwrap().unwrap();
        assert_eq!((wait.pause, wait.reason.as_str()), (seconds(1), "agent `web1` is to answer the CA's challenge"));
        assert_eq!(ask(&[stands("web1", awaited())], 60).unwrap().unwrap().pause, seconds(10));
        let two = [stands("web1", AnswerState::Ready), stands("web2", awaited())];
        assert!(ask(&two, 1).unwrap().unwrap().reason.contains("web2"));
        assert!(ask(&two, 10).unwrap().is_none(), "a host that is down keeps nobody back");
        assert!(ask(&[stands("web1", AnswerState::Ready), stands("web2", failed(true))], 0).unwrap().is_none());
    }

    #[test]
    fn what_will_not_come_ends_the_attempt_and_says_what_to_do() {
        let late = ask(&[stands("web1", AnswerState::Awaited)], 121).unwrap_err();
        assert_eq!(late.retry(), Retry::Transient);
        assert!(late.explain().contains("within 120s") && late.advice().unwrap().contains("agents get web1"), "{late:?}");
        for (permanent, retry) in [(true, Retry::Permanent), (false, Retry::Transient)] {
            let error = ask(&[stands("web1", failed(permanent)), stands("web2", AnswerState::Ready)], 1).unwrap_err();
            assert_eq!((error.retry(), error.advice()), (retry, Some("stop nginx")));
            assert!(error.explain().contains("`web1` cannot answer") && error.explain().contains("the port is taken"), "{error:?}");
        }
        assert!(ask(&[stands("web2", AnswerState::Ready)], 1).is_err(), "it was forgotten");
        let unable = Hosts { job: "job-1".parse().unwrap(), holder: Some(with("web1", &[])), beside: Vec::new() };
        let asked = (Some(&unable), ChallengeKind::Http01);
        let error = missing(&[stands("web1", AnswerState::Awaited)], asked, seconds(1), seconds(120)).unwrap_err();
        assert!(error.explain().contains("not set up"), "{error:?}");
    }

    #[test]
    fn who_is_not_set_up_is_refused_or_not_asked() {
        let hosts = Hosts {
            job: "job-1".parse().unwrap(),
            holder: Some(with("web1", &[Kind::Http01])),
            beside: vec![with("web2", &[]), with("web3", &[Kind::Http01, Kind::TlsAlpn01])],
        };
        check(Some(&hosts), ChallengeKind::Http01).unwrap();
        check(Some(&hosts), ChallengeKind::Dns01).unwrap();
        check(None, ChallengeKind::Dns01).unwrap();
        let error = check(Some(&hosts), ChallengeKind::TlsAlpn01).unwrap_err();
        assert!(error.explain().contains("`web1`") && error.advice().unwrap().contains("acme_tls_alpn01_listen"), "{error:?}");
        for nobody in [None, Some(&Hosts { holder: None, ..hosts.clone() })] {
            assert!(check(nobody, ChallengeKind::Http01).unwrap_err().advice().unwrap().contains("give the certificate a target"));
        }
        assert_eq!(handover(&hosts, ChallengeKind::Http01).agents, [agent("web1"), agent("web3")]);
        // Whoever has just enrolled may be able.
        let fresh = Hosts { holder: Some(Answerer { challenges: None, ..with("web1", &[]) }), ..hosts };
        check(Some(&fresh), ChallengeKind::TlsAlpn01).unwrap();
        assert_eq!(handover(&fresh, ChallengeKind::TlsAlpn01).agents, [agent("web1"), agent("web3")]);
    }
}
