//! Waking whoever waits for work: in this process at once, in other replicas through PostgreSQL's NOTIFY.
//!
//! It is only ever a hint. A message that is lost costs time until the next poll, nothing else.

mod bridge;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use certctl_domain::ids::{AgentId, Id as _};
use tokio::sync::{Notify, broadcast};

/// What there is something new about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Jobs that the server works on.
    Jobs,
    /// Certificates about which something is to be decided at once.
    Due,
    /// Jobs of one agent.
    Agent(AgentId),
    /// Somebody waits for jobs or certificates to change state.
    Progress,
    /// Roles, actors or keys.
    Authz,
    /// Issuers or authorities.
    Issuers,
    /// Revocations, and what is published about them.
    Revocations,
    /// Events without a number.
    Audit,
}

/// Sends and receives topics.
#[derive(Debug)]
pub struct Wake {
    sender: broadcast::Sender<Topic>,
    /// Who waits for one topic alone: ten thousand parked agents are not woken for each other's work.
    waiters: Mutex<HashMap<Topic, Weak<Notify>>>,
    outgoing: Option<Outgoing>,
}

/// Topics that other replicas are to hear of.
#[derive(Debug, Default)]
struct Outgoing {
    topics: Mutex<HashSet<Topic>>,
    some: Notify,
}

impl Wake {
    /// `shared` says whether other processes may work on the same database.
    pub(crate) fn new(shared: Shared) -> Self {
        let outgoing = match shared {
            Shared::Alone => None,
            Shared::WithReplicas => Some(Outgoing::default()),
        };
        Self { sender: broadcast::Sender::new(1_024), waiters: Mutex::default(), outgoing }
    }

    /// Wakes everybody who waits for this topic, here and, while [`crate::Store::run_wake`] runs, in other replicas.
    pub fn send(&self, topic: Topic) {
        if let Some(outgoing) = &self.outgoing {
            outgoing.add([topic.clone()]);
        }
        self.send_here(topic);
    }

    /// Starts to listen. A listener that falls far behind is told that it missed some; it should then look at everything.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Topic> {
        self.sender.subscribe()
    }

    /// Waits for one topic, from the call of this on, not only from the first poll of what it gives.
    pub fn wait_for(&self, topic: Topic) -> impl Future<Output = ()> + Send + use<> {
        let notify = {
            let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            match waiters.get(&topic).and_then(Weak::upgrade) {
                Some(notify) => notify,
                None => {
                    if waiters.len() >= SWEEP_AT {
                        waiters.retain(|_, notify| notify.strong_count() > 0);
                    }
                    let notify = Arc::new(Notify::new());
                    waiters.insert(topic, Arc::downgrade(&notify));
                    notify
                }
            }
        };
        // Armed here: `notify_waiters` reaches every future that exists at that moment.
        notify.notified_owned()
    }

    fn send_here(&self, topic: Topic) {
        let waiter = self.waiters.lock().unwrap_or_else(PoisonError::into_inner).get(&topic).and_then(Weak::upgrade);
        if let Some(notify) = waiter {
            notify.notify_waiters();
        }
        // Nobody listening is fine.
        drop(self.sender.send(topic));
    }
}

/// Whether other processes may work on the same database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    Alone,
    WithReplicas,
}

/// Topics that nobody waits for any more are forgotten when there are this many.
const SWEEP_AT: usize = 1_024;

impl Outgoing {
    fn add(&self, topics: impl IntoIterator<Item = Topic>) {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).extend(topics);
        self.some.notify_one();
    }

    fn take(&self) -> HashSet<Topic> {
        std::mem::take(&mut *self.topics.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs => f.write_str("jobs"),
            Self::Due => f.write_str("due"),
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Progress => f.write_str("progress"),
            Self::Authz => f.write_str("authz"),
            Self::Issuers => f.write_str("issuers"),
            Self::Revocations => f.write_str("revocations"),
            Self::Audit => f.write_str("audit"),
        }
    }
}

impl Topic {
    /// The topic of that text; `None` for one that a newer release sends.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "jobs" => Self::Jobs,
            "due" => Self::Due,
            "progress" => Self::Progress,
            "authz" => Self::Authz,
            "issuers" => Self::Issuers,
            "revocations" => Self::Revocations,
            "audit" => Self::Audit,
            other => Self::Agent(AgentId::parse(other.strip_prefix("agent:")?).ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_survives_its_text() {
        let agent = AgentId::parse("ag-1").unwrap();
        for topic in
            [Topic::Jobs, Topic::Due, Topic::Agent(agent), Topic::Progress, Topic::Authz, Topic::Issuers, Topic::Revocations, Topic::Audit]
        {
            assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
        }
        for text in ["", "agent:", "agent:a b", "something new"] {
            assert_eq!(Topic::parse(text), None);
        }
    }

    #[tokio::test]
    async fn listeners_hear_what_is_sent_after_they_began() {
        let wake = Wake::new(Shared::Alone);
        wake.send(Topic::Jobs);
        let mut listener = wake.listen();
        wake.send(Topic::Audit);
        assert_eq!(listener.recv().await.unwrap(), Topic::Audit);
    }

    #[test]
    fn without_replicas_nothing_piles_up() {
        assert!(Wake::new(Shared::Alone).outgoing.is_none());
        let wake = Wake::new(Shared::WithReplicas);
        (0..10).for_each(|_| wake.send(Topic::Jobs));
        assert_eq!(wake.outgoing.unwrap().take().len(), 1);
    }
}
