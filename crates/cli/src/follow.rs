//! Waits for work to end: shows each step as it happens, and ends when the work is done, has failed, or takes too long.

mod outcome;
mod screen;
mod watch;

use std::time::Duration;

use certctl_domain::certificate::{Certificate, CertificateStatus};
use certctl_domain::job::Job;
use certctl_domain::list::Page;
use certctl_domain::time::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::screen::Screen;
use self::watch::{Verdict, Watch};
use crate::doc::{self, Doc};
use crate::failure::Failure;
use crate::noun::Known as _;
use crate::nouns::jobs::Jobs;
use crate::nouns::{AGENT, CERTIFICATE, TARGET};
use crate::session::Session;
use crate::span;

/// Which jobs of a certificate are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// All of them: the certificate is new.
    All,
    /// Those made at this time or later.
    Since(Timestamp),
}

impl Round {
    /// The round that begins with the first of these jobs.
    pub(crate) fn of(jobs: &[Job]) -> Self {
        jobs.iter().map(|job| job.created_at).min().map_or(Self::All, Self::Since)
    }
}

/// Waits for the work on a certificate, and prints what came of it.
pub(crate) async fn certificate(session: &Session, id: &str, round: Round) -> Result<(), Failure> {
    or_interrupted(Follower::new(session).certificate(id, round)).await
}

/// Waits for whatever goes on at a certificate. When nothing does and a version is in use, there is nothing to wait for.
pub(crate) async fn whatever_goes_on(session: &Session, id: &str) -> Result<(), Failure> {
    let mut open = jobs_of(session, id, Round::All).await?;
    open.retain(|job| !job.status.is_over());
    if !open.is_empty() {
        return certificate(session, id, Round::of(&open)).await;
    }
    let now: Certificate = session.client.get(&session.path(CERTIFICATE.path, &[id])?, &[]).await?;
    match now.status {
        CertificateStatus::Active | CertificateStatus::Expiring => outcome::show(session, id, &[], &Watch::default()).await,
        _ => certificate(session, id, Round::Since(now.updated_at)).await,
    }
}

/// Waits for one job, and prints it.
pub(crate) async fn job(session: &Session, id: &str) -> Result<(), Failure> {
    or_interrupted(Follower::new(session).job(id)).await
}

/// Follows work until it ends.
struct Follower<'a> {
    session: &'a Session,
    screen: Screen,
    watch: Watch,
    until: Instant,
    deadline: Timestamp,
}

impl<'a> Follower<'a> {
    fn new(session: &'a Session) -> Self {
        Self {
            session,
            screen: Screen::new(&session.out),
            watch: Watch::default(),
            until: Instant::now() + session.patience,
            deadline: span::after(session.now, session.patience),
        }
    }

    async fn certificate(mut self, id: &str, round: Round) -> Result<(), Failure> {
        loop {
            let asked = jobs_of(self.session, id, round).await;
            let Some(jobs) = self.patiently(asked).await? else { continue };
            self.show(&jobs).await;
            match watch::verdict(&jobs, self.deadline) {
                Verdict::Done => {
                    drop(self.screen);
                    return outcome::show(self.session, id, &jobs, &self.watch).await;
                }
                Verdict::Failed(job) => return Err(self.watch.failure(job, self.session.now)),
                Verdict::Going if jobs.is_empty() => {
                    let looked = self.not_stuck(id).await;
                    if self.patiently(looked).await?.is_none() {
                        continue;
                    }
                }
                Verdict::Going => {}
            }
            self.go_on(&jobs, &format!("certctl certs wait {id}")).await?;
        }
    }

    async fn job(mut self, id: &str) -> Result<(), Failure> {
        let path = self.session.path(Jobs::NOUN.path, &[id])?;
        loop {
            let asked = self.session.client.get::<Doc>(&path, &[]).await.map_err(Failure::from);
            let Some(answer) = self.patiently(asked).await? else { continue };
            let jobs = [doc::read::<Job>(&answer)?];
            self.show(&jobs).await;
            match watch::verdict(&jobs, self.deadline) {
                Verdict::Done => {
                    drop(self.screen);
                    return self.session.out.one(Jobs::NOUN, &answer);
                }
                Verdict::Failed(job) => return Err(self.watch.failure(job, self.session.now)),
                Verdict::Going => {}
            }
            self.go_on(&jobs, &format!("certctl jobs wait {id}")).await?;
        }
    }

    /// The answer; or nothing, after a pause, when the next try may bring one.
    async fn patiently<T>(&mut self, answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Failure::Server(error)) if error.is_transient() && !self.left().is_zero() => {
                self.screen.standing(&format!("{error}; trying again"));
                tokio::time::sleep(PAUSE_AFTER_ERROR.min(self.left())).await;
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Says what is new.
    async fn show(&mut self, jobs: &[Job]) {
        for job in jobs {
            self.learn(&TARGET, job.target_id.as_ref().map(ToString::to_string)).await;
            self.learn(&AGENT, job.agent_id.as_ref().map(ToString::to_string)).await;
        }
        for line in self.watch.news(jobs, self.session.now) {
            self.screen.line(&line);
        }
        self.screen.standing(&self.watch.standing(jobs));
    }

    /// Finds the name by which people know a target or agent.
    async fn learn(&mut self, kind: &crate::noun::Kind, id: Option<String>) {
        let Some(id) = id.filter(|id| !self.watch.names.contains_key(id)) else { return };
        let name = match self.session.path(kind.path, &[&id]) {
            Ok(path) => self.session.client.get::<Doc>(&path, &[]).await.ok().map(|doc| doc::text(&doc, "name")),
            Err(_) => None,
        };
        // Who may follow the work need not be allowed to look at what it touches.
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| id.clone());
        self.watch.names.insert(id, name);
    }

    /// Fails when no job will come by itself before the deadline.
    async fn not_stuck(&self, id: &str) -> Result<(), Failure> {
        let now: Certificate = self.session.client.get(&self.session.path(CERTIFICATE.path, &[id])?, &[]).await?;
        if now.next_try_at.is_some_and(|at| at <= self.deadline) {
            return Ok(());
        }
        let next = now.next_try_at.map(|at| format!("; next try {}", span::relative(at, self.session.now))).unwrap_or_default();
        let message = format!("{} is {}: {}{next}", now.name, now.status.as_str(), now.reason);
        Err(Failure::Work { message, hint: now.hint.or_else(|| Some(format!("certctl certs explain {id}"))) })
    }

    /// Waits until a job has changed; fails when time is up.
    async fn go_on(&self, jobs: &[Job], again: &str) -> Result<(), Failure> {
        if self.left().is_zero() {
            let standing = self.watch.standing(jobs);
            let message = format!("not done within {}: {standing}", span::short(self.session.patience));
            let hint = self.watch.hint(jobs).map_or_else(String::new, |hint| format!("{hint}; "));
            return Err(Failure::StillGoing { message, hint: Some(format!("{hint}the work goes on, see it through: {again}")) });
        }
        let began = Instant::now();
        let mut polls = JoinSet::new();
        let seconds = LONG_POLL.min(self.left()).as_secs().max(1).to_string();
        for job in jobs.iter().filter(|job| !job.status.is_over()).take(MOST_POLLS) {
            let (client, seconds, since) = (self.session.client.clone(), seconds.clone(), job.updated_at.to_string());
            let path = self.session.path(Jobs::NOUN.path, &[&job.id.to_string()])?;
            // What it answers is read with the next listing, together with the jobs that it led to.
            polls.spawn(async move { drop(client.get::<Doc>(&path, &[("wait", &seconds), ("since", &since)]).await) });
        }
        let pause = if polls.is_empty() { PAUSE } else { self.left() };
        tokio::select! {
            _first = polls.join_next(), if !polls.is_empty() => {}
            () = tokio::time::sleep(pause.min(self.left())) => {}
        }
        // A server that does not hold the call open is not asked in a tight loop.
        tokio::time::sleep_until((began + PAUSE).min(self.until)).await;
        Ok(())
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

async fn or_interrupted(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        done = work => done,
        pressed = tokio::signal::ctrl_c() => match pressed {
            Ok(()) => Err(Failure::Interrupted),
            Err(error) => Err(Failure::local("cannot listen for Ctrl-C")(error)),
        },
    }
}

async fn jobs_of(session: &Session, id: &str, round: Round) -> Result<Vec<Job>, Failure> {
    let mut query = vec![("certificate_id", id), ("sort", "-created_at"), ("per_page", "500")];
    let after;
    if let Round::Since(at) = round {
        // The filter is strict, and the first job of the round belongs to it.
        after = at.saturating_sub(time::Duration::microseconds(1)).to_string();
        query.push(("created_after", &after));
    }
    let mut page: Page<Job> = session.client.get(Jobs::NOUN.path, &query).await?;
    page.data.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(page.data)
}

/// How long the server is asked to hold a call open.
const LONG_POLL: Duration = Duration::from_secs(25);
/// The most calls that are held open at a time.
const MOST_POLLS: usize = 8;
/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(300);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
