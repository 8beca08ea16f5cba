//! Numbers about this process: counted where it happens, read by one scrape. Fleet numbers come from the store's counters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use certctl_connector_core::{ConnectorError, Retry};
use certctl_domain::ids::IssuerId;
use certctl_domain::time::Timestamp;
use certctl_issuers::ISSUERS;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::scheduler::{self, Task};

/// What this process counted.
#[derive(Debug)]
pub struct Metrics {
    tasks: Mutex<BTreeMap<&'static str, TaskCount>>,
    task_durations: Durations<TaskLabels>,
    answers: Mutex<BTreeMap<(&'static str, Answer), u64>>,
    issuers: Mutex<BTreeMap<IssuerId, Answers>>,
    answer_durations: Durations<IssuerLabels>,
}

/// What one issuer's CA made of the orders of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// Certificates that it gave.
    pub issued: u64,
    /// Times that it wanted time.
    pub pending: u64,
    /// Orders that failed.
    pub failed: u64,
}

/// How long something took, by its labels.
pub type Durations<L> = Family<L, Histogram>;

/// Which task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TaskLabels {
    /// Its name.
    pub task: &'static str,
}

/// Which kind of issuer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct IssuerLabels {
    /// The kind.
    pub issuer_type: &'static str,
}

/// What became of a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskCount {
    /// Runs that succeeded.
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
    /// What was done in all runs.
    pub done: u64,
    /// When it last succeeded here.
    pub succeeded_at: Option<Timestamp>,
}

/// What a CA made of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// It gave the certificate.
    Issued,
    /// It wants time.
    Pending,
    /// It did not, or what it gave is not what was ordered. In a word, why.
    Failed(&'static str),
}

/// A CA that is being asked.
#[derive(Debug)]
pub struct Asking<'a> {
    metrics: &'a Metrics,
    issuer: &'a IssuerId,
    issuer_type: &'static str,
    begun: Instant,
}

impl Default for Metrics {
    /// Everything that can be counted is there from the start, as zero: an alert on growth then sees the first failure too.
    fn default() -> Self {
        let task_durations = Family::new_with_constructor(task_histogram as fn() -> Histogram);
        let answer_durations = Family::new_with_constructor(answer_histogram as fn() -> Histogram);
        let mut answers = BTreeMap::new();
        for issuer in ISSUERS.entries() {
            drop(answer_durations.get_or_create(&IssuerLabels { issuer_type: issuer.kind }));
            let failed = ERROR_CLASSES.map(Answer::Failed);
            answers.extend([Answer::Issued, Answer::Pending].into_iter().chain(failed).map(|answer| ((issuer.kind, answer), 0)));
        }
        for task in scheduler::TASKS {
            drop(task_durations.get_or_create(&TaskLabels { task: task.name }));
        }
        let tasks = scheduler::TASKS.iter().map(|Task { name, .. }| (*name, TaskCount::default())).collect();
        Self { tasks: Mutex::new(tasks), task_durations, answers: Mutex::new(answers), issuers: Mutex::default(), answer_durations }
    }
}

impl Metrics {
    /// A task succeeded.
    pub fn task_ran(&self, name: &'static str, took: Duration, done: u64, at: Timestamp) {
        self.task_durations.get_or_create(&TaskLabels { task: name }).observe(took.as_secs_f64());
        let mut tasks = locked(&self.tasks);
        let task = tasks.entry(name).or_default();
        task.runs += 1;
        task.done += done;
        task.succeeded_at = Some(at);
    }

    /// A task failed.
    pub fn task_failed(&self, name: &'static str) {
        locked(&self.tasks).entry(name).or_default().failures += 1;
    }

    /// The CA of an issuer of this kind is asked for a certificate now.
    #[must_use]
    pub fn asking<'a>(&'a self, issuer: &'a IssuerId, issuer_type: &str) -> Asking<'a> {
        // The name from the list, which is closed: what is counted by kind stays small.
        let issuer_type = ISSUERS.find(issuer_type).map_or("unknown", |entry| entry.kind);
        Asking { metrics: self, issuer, issuer_type, begun: Instant::now() }
    }

    /// What became of every task here.
    #[must_use]
    pub fn tasks(&self) -> BTreeMap<&'static str, TaskCount> {
        locked(&self.tasks).clone()
    }

    /// How long the runs of each task took that succeeded here.
    #[must_use]
    pub const fn task_durations(&self) -> &Durations<TaskLabels> {
        &self.task_durations
    }

    /// What CAs of each kind made of the orders of this process.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<(&'static str, Answer), u64> {
        locked(&self.answers).clone()
    }

    /// What the CA of each issuer made of the orders of this process; without those that were not asked.
    #[must_use]
    pub fn issuers(&self) -> BTreeMap<IssuerId, Answers> {
        locked(&self.issuers).clone()
    }

    /// How long CAs of each kind took to answer.
    #[must_use]
    pub const fn answer_durations(&self) -> &Durations<IssuerLabels> {
        &self.answer_durations
    }
}

impl Answer {
    /// `success`, `pending` or `failure`.
    #[must_use]
    pub const fn outcome(self) -> &'static str {
        match self {
            Self::Issued => "success",
            Self::Pending => "pending",
            Self::Failed(_) => "failure",
        }
    }
}

impl Asking<'_> {
    /// It gave the certificate.
    pub fn issued(&self) {
        self.ended(Answer::Issued);
    }

    /// It wants time.
    pub fn pending(&self) {
        self.ended(Answer::Pending);
    }

    /// It did not, or what it gave is not what was ordered.
    pub fn failed(&self, error: &ConnectorError) {
        self.ended(Answer::Failed(error_class(error.retry())));
    }

    fn ended(&self, answer: Answer) {
        let labels = IssuerLabels { issuer_type: self.issuer_type };
        self.metrics.answer_durations.get_or_create(&labels).observe(self.begun.elapsed().as_secs_f64());
        *locked(&self.metrics.answers).entry((self.issuer_type, answer)).or_default() += 1;
        let mut issuers = locked(&self.metrics.issuers);
        let issuer = issuers.entry(self.issuer.clone()).or_default();
        match answer {
            Answer::Issued => issuer.issued += 1,
            Answer::Pending => issuer.pending += 1,
            Answer::Failed(_) => issuer.failed += 1,
        }
    }
}

const fn error_class(retry: Retry) -> &'static str {
    match retry {
        Retry::Authentication => "auth",
        Retry::Throttled { .. } => "rate_limited",
        Retry::Transient => "transient",
        Retry::Permanent => "permanent",
        Retry::Unsupported => "unsupported",
    }
}

fn task_histogram() -> Histogram {
    Histogram::new([0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0])
}

fn answer_histogram() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0])
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ERROR_CLASSES: [&str; 5] = ["auth", "rate_limited", "transient", "permanent", "unsupported"];

#[cfg(test)]
mod tests {
    use certctl_domain::ids::Id as _;

    use super::*;

    #[test]
    fn every_class_of_errors_is_there_from_the_start() {
        let metrics = Metrics::default();
        let before = metrics.answers();
        assert!(before.values().all(|count| *count == 0));
        let throttled = Retry::Throttled { retry_after_seconds: None };
        for retry in [Retry::Authentication, throttled, Retry::Transient, Retry::Permanent, Retry::Unsupported] {
            assert!(before.contains_key(&("GenericCA", Answer::Failed(error_class(retry)))), "{retry:?}");
        }
    }

    #[test]
    fn counts_what_a_ca_made_of_orders() {
        let metrics = Metrics::default();
        let [one, other] = ["iss-one", "iss-other"].map(|id| IssuerId::parse(id).unwrap());
        metrics.asking(&one, "genericca").issued();
        metrics.asking(&one, "GenericCA").failed(&ConnectorError::transient("no answer"));
        metrics.asking(&one, "GenericCA").failed(&ConnectorError::transient("no answer"));
        metrics.asking(&other, "something of a newer release").pending();
        assert_eq!(metrics.issuers()[&one], Answers { issued: 1, pending: 0, failed: 2 });
        assert_eq!(metrics.issuers()[&other], Answers { issued: 0, pending: 1, failed: 0 });
        let answers = metrics.answers();
        assert_eq!(answers[&("GenericCA", Answer::Issued)], 1);
        assert_eq!(answers[&("GenericCA", Answer::Failed("transient"))], 2);
        assert_eq!(answers[&("unknown", Answer::Pending)], 1);
    }

    #[test]
    fn counts_runs_and_failures_of_a_task() {
        let metrics = Metrics::default();
        let at = Timestamp::UNIX_EPOCH;
        metrics.task_ran("retention", Duration::from_millis(30), 7, at);
        metrics.task_ran("retention", Duration::from_millis(30), 5, at);
        metrics.task_failed("retention");
        assert_eq!(metrics.tasks()["retention"], TaskCount { runs: 2, failures: 1, done: 12, succeeded_at: Some(at) });
        assert_eq!(metrics.tasks()["audit_sealer"], TaskCount::default());
    }
}
