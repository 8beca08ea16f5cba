//! The bridge to other replicas. NOTIFY takes a lock on the whole database when its transaction commits, so it is never part of a business
//! transaction: topics are gathered and sent a few times a second at most.

use std::collections::HashSet;
use std::time::Duration;

use aws_lc_rs::rand;
use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Outgoing, Topic, Wake};
use crate::db::Db;
use crate::error::StoreError;
use crate::store::Store;

impl Store {
    /// Carries topics between this replica and the others until `shutdown`. Where there cannot be others it only waits.
    ///
    /// # Errors
    /// When the system gives no randomness. A database that does not answer is no error: it is tried again.
    pub async fn run_wake(&self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let wake = self.wake();
        let (Db::Postgres(pool), Some(outgoing)) = (self.db(), &wake.outgoing) else {
            shutdown.cancelled().await;
            return Ok(());
        };
        let origin = origin()?;
        let (send, receive) = (send(pool, outgoing, &origin), receive(pool, wake, &origin));
        tokio::select! {
            () = shutdown.cancelled() => {}
            never = send => match never {},
            never = receive => match never {},
        }
        // What was said last, such as that leases are free, should be heard.
        drop(timeout(PING, notify(pool, &origin, outgoing.take())).await);
        Ok(())
    }
}

type Never = std::convert::Infallible;

async fn send(pool: &PgPool, outgoing: &Outgoing, origin: &str) -> Never {
    loop {
        outgoing.some.notified().await;
        let topics = outgoing.take();
        if let Err(error) = notify(pool, origin, topics.clone()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "other replicas cannot be woken; they find new work by polling");
            outgoing.add(topics);
            sleep(RETRY).await;
        }
        sleep(BETWEEN_SENDS).await;
    }
}

async fn notify(pool: &PgPool, origin: &str, topics: HashSet<Topic>) -> sqlx::Result<()> {
    for message in messages(origin, topics) {
        sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(message).execute(pool).await?;
    }
    Ok(())
}

async fn receive(pool: &PgPool, wake: &Wake, origin: &str) -> Never {
    loop {
        if let Err(error) = listen(pool, wake, origin).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the database does not say when other replicas have news; polling goes on"
            );
        }
        sleep(RETRY).await;
    }
}

/// Listens until the connection is lost.
async fn listen(pool: &PgPool, wake: &Wake, origin: &str) -> sqlx::Result<()> {
    // A connection of its own: it stays open, so it must not be one of those that requests wait for.
    let options = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let alone = options.connect_with((*pool.connect_options()).clone()).await?;
    let mut listener = PgListener::connect_with(&alone).await?;
    listener.ignore_pool_close_event(true);
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // Whatever was said while nobody listened is lost, so everybody looks once. Agents find theirs by polling.
    for topic in [Topic::Jobs, Topic::Progress, Topic::Authz, Topic::Issuers, Topic::Revocations, Topic::Audit] {
        wake.send_here(topic);
    }
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(message))) => topics(origin, message.payload()).for_each(|topic| wake.send_here(topic)),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            // A peer that vanished without a word looks just like one that has no news.
            Err(_) => match timeout(PING, (&mut listener).execute("SELECT 1")).await {
                Ok(answer) => {
                    answer?;
                }
                Err(_) => return Err(sqlx::Error::PoolTimedOut),
            },
        }
    }
}

/// `origin topic topic ...`, as many messages as the limit of NOTIFY needs.
fn messages(origin: &str, topics: impl IntoIterator<Item = Topic>) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for topic in topics {
        let topic = topic.to_string();
        match messages.last_mut().filter(|message| message.len() + 1 + topic.len() <= LONGEST) {
            Some(message) => {
                message.push(' ');
                message.push_str(&topic);
            }
            None => messages.push(format!("{origin} {topic}")),
        }
    }
    messages
}

/// The topics of a message; none of one's own.
fn topics<'m>(origin: &str, message: &'m str) -> impl Iterator<Item = Topic> + use<'m> {
    let (from, topics) = message.split_once(' ').unwrap_or((message, ""));
    let topics = if from == origin { "" } else { topics };
    topics.split(' ').filter_map(Topic::parse)
}

/// Tells this process's messages from those of others.
fn origin() -> Result<String, StoreError> {
    let mut random = [0; 8];
    rand::fill(&mut random).map_err(|_| StoreError::Secret("the system gives no randomness".to_owned()))?;
    Ok(hex::encode(random))
}

const CHANNEL: &str = "certctl";

/// PostgreSQL takes payloads of less than 8000 bytes.
const LONGEST: usize = 7_900;

const BETWEEN_SENDS: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(30);
const PING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use certctl_domain::ids::{AgentId, Id as _};

    use super::*;

    #[test]
    fn a_message_wakes_others_and_not_its_sender() {
        let sent = messages("me", [Topic::Jobs, Topic::Audit]);
        assert_eq!(sent, ["me jobs audit"]);
        assert_eq!(topics("you", &sent[0]).collect::<Vec<_>>(), [Topic::Jobs, Topic::Audit]);
        assert_eq!(topics("me", &sent[0]).count(), 0);
        assert_eq!(topics("you", "me jobs whatever audit").count(), 2);
        assert_eq!(topics("you", "").count(), 0);
    }

    #[test]
    fn many_topics_become_messages_that_are_short_enough() {
        let all: Vec<Topic> = (0..1_000).map(|i| Topic::Agent(AgentId::parse(&format!("ag-{i:0>120}")).unwrap())).collect();
        let sent = messages("0123456789abcdef", all.clone());
        assert!(sent.len() > 1 && sent.iter().all(|message| message.len() <= LONGEST));
        let heard: Vec<Topic> = sent.iter().flat_map(|message| topics("you", message).collect::<Vec<_>>()).collect();
        assert_eq!(heard, all);
    }
}
