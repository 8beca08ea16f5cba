//! What was measured, what it is held against, and whether that is as good as it should be.

use std::time::Duration;

use serde_json::{Value, json};

/// One line of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) workload: String,
    /// How fast, in `unit` a second.
    pub(crate) rate: Option<f64>,
    /// What is counted by the rate.
    pub(crate) unit: &'static str,
    /// Half of the answers were faster.
    pub(crate) p50: Option<Duration>,
    /// One in a hundred was slower.
    pub(crate) p99: Option<Duration>,
    /// Processor time of the server for one, in milliseconds.
    pub(crate) server_cpu: Option<f64>,
    /// Processor time of PostgreSQL for one, in milliseconds.
    pub(crate) postgres_cpu: Option<f64>,
    /// Statements sent to the database for one.
    pub(crate) statements: Option<f64>,
    /// The most memory that the server used meanwhile, in bytes.
    pub(crate) memory: Option<u64>,
    /// What the limit is, and how fast it is in the same unit.
    pub(crate) limit: Option<(&'static str, f64)>,
    /// Processor time of the bare server and PostgreSQL for one, in milliseconds.
    pub(crate) limit_cpu: Option<f64>,
    /// What it should be.
    pub(crate) goals: Vec<Goal>,
    /// What a reader must know.
    pub(crate) note: String,
}

/// What a row should reach.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    what: &'static str,
    value: f64,
    bound: Bound,
    unit: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    /// A row about something.
    pub(crate) fn about(workload: impl Into<String>) -> Self {
        Self { workload: workload.into(), ..Self::default() }
    }

    /// With a goal.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    /// With a note.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// How it compares with the limit.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (_, limit) = self.limit?;
        Some(self.rate? / limit.max(1e-9))
    }

    /// How much processor time the limit needs for one, compared with what is needed here. Steadier than [`Row::ratio`] on a busy machine.
    pub(crate) fn cpu_ratio(&self) -> Option<f64> {
        Some(self.limit_cpu? / (self.server_cpu? + self.postgres_cpu?).max(1e-9))
    }

    /// Everything about it, for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "workload": self.workload,
            "rate_per_second": self.rate,
            "unit": self.unit,
            "p50_ms": self.p50.map(|time| time.as_secs_f64() * 1e3),
            "p99_ms": self.p99.map(|time| time.as_secs_f64() * 1e3),
            "server_cpu_ms": self.server_cpu,
            "postgres_cpu_ms": self.postgres_cpu,
            "statements": self.statements,
            "memory_peak_bytes": self.memory,
            "limit": self.limit.map(|(what, rate)| json!({"what": what, "rate_per_second": rate})),
            "limit_cpu_ms": self.limit_cpu,
            "ratio": self.ratio(),
            "cpu_ratio": self.cpu_ratio(),
            "goals": self.goals.iter().map(Goal::json).collect::<Vec<_>>(),
            "note": self.note,
        })
    }
}

impl Goal {
    /// The value must not be smaller.
    pub(crate) const fn at_least(what: &'static str, value: f64, bound: f64, unit: &'static str) -> Self {
        Self { what, value, bound: Bound::AtLeast(bound), unit }
    }

    /// The value must not be larger.
    pub(crate) const fn at_most(what: &'static str, value: f64, bound: f64, unit: &'static str) -> Self {
        Self { what, value, bound: Bound::AtMost(bound), unit }
    }

    /// Whether it is reached.
    pub(crate) fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(bound) => self.value >= bound,
            Bound::AtMost(bound) => self.value <= bound,
        }
    }

    /// `ratio 0.71 ≥ 0.6 met`
    pub(crate) fn text(&self) -> String {
        let (sign, bound) = match self.bound {
            Bound::AtLeast(bound) => ("≥", bound),
            Bound::AtMost(bound) => ("≤", bound),
        };
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let verdict = if self.is_met() { "met" } else { "missed" };
        format!("{} {}, goal {sign} {}{unit}: {verdict}", self.what, number(self.value), number(bound))
    }

    fn json(&self) -> Value {
        json!({"what": self.what, "value": self.value, "goal": self.text(), "met": self.is_met()})
    }
}

/// A number in as few digits as say something.
pub(crate) fn number(value: f64) -> String {
    let places = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && digit.is_ascii_digit() && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { grouped } else { format!("{grouped}.{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(0.0123), "0.012");
        assert_eq!(number(0.716), "0.72");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1_234_567.8), "1 234 568");
        assert_eq!(number(-1_000.0), "-1 000");
    }

    #[test]
    fn a_goal_says_whether_it_is_reached() {
        assert_eq!(Goal::at_least("ratio", 0.7, 0.6, "").text(), "ratio 0.70, goal ≥ 0.60: met");
        assert_eq!(Goal::at_most("start", 0.4, 0.3, "s").text(), "start 0.40, goal ≤ 0.30 s: missed");
    }
}
