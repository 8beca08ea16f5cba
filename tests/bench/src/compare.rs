//! The product and its limit in turn, so that what else the machine does meets both.

use std::time::Duration;

use crate::failure::{Context as _, Result};
use crate::figure::{Goal, Row};
use crate::http::Target;
use crate::load::{Round, Work, drive};
use crate::postgres::Cluster;
use crate::process::{cpu, forget_peak, peak};

/// Who is asked for what.
pub(crate) struct Subject<'a> {
    pub(crate) target: &'a Target,
    /// The process of the server.
    pub(crate) pid: u32,
    /// Its role and its database, for its statements.
    pub(crate) account: (&'a str, &'a str),
    pub(crate) work: Work,
}

/// How long things are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    pub(crate) each: Duration,
}

/// What came of one subject in all of its rounds.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The median of the rounds, a second.
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) answers: u64,
    server_cpu: f64,
    postgres_cpu: f64,
    statements: Option<f64>,
    memory: u64,
}

/// Measures both, in turn: product, limit, product, limit.
pub(crate) async fn alternate(
    cluster: &Cluster,
    pace: Pace,
    connections: usize,
    [product, limit]: [&Subject<'_>; 2],
) -> Result<[Measured; 2]> {
    forget_peak(product.pid)?;
    let mut tallies = [Tally::default(), Tally::default()];
    for subject in [product, limit] {
        // Connections to the database and prepared statements come with the first requests.
        drive(subject.target, &subject.work, connections, pace.each.min(WARM_UP)).await?;
    }
    for _ in 0..pace.rounds {
        for (tally, subject) in tallies.iter_mut().zip([product, limit]) {
            tally.add(cluster, subject, connections, pace.each).await?;
        }
    }
    let [first, second] = tallies;
    Ok([first.finish(product)?, second.finish(limit)?])
}

/// The row of a product and its limit.
pub(crate) fn row(workload: impl Into<String>, what: &'static str, [product, limit]: &[Measured; 2], at_least: f64) -> Row {
    let row = product.row(workload).beside(what, limit);
    let ratio = row.ratio().unwrap_or_default();
    row.goal(Goal::at_least("ratio", ratio, at_least, ""))
}

impl Measured {
    /// A row without a limit.
    pub(crate) fn row(&self, workload: impl Into<String>) -> Row {
        Row {
            workload: workload.into(),
            rate: Some(self.rate),
            unit: "requests",
            p50: Some(self.p50),
            p99: Some(self.p99),
            server_cpu: Some(self.server_cpu),
            postgres_cpu: Some(self.postgres_cpu),
            statements: self.statements,
            memory: Some(self.memory),
            ..Row::default()
        }
    }

    /// Statements sent for one answer.
    pub(crate) const fn statements(&self) -> Option<f64> {
        self.statements
    }
}

impl Row {
    /// With what was measured of its limit.
    pub(crate) fn beside(self, what: &'static str, limit: &Measured) -> Self {
        Self { limit_cpu: Some(limit.server_cpu + limit.postgres_cpu), ..self.limited(what, limit.rate) }
    }

    /// With a limit beside it.
    pub(crate) fn limited(mut self, what: &'static str, rate: f64) -> Self {
        self.limit = Some((what, rate));
        self
    }
}

#[derive(Debug, Default)]
struct Tally {
    rounds: Vec<Round>,
    server_cpu: Duration,
    postgres_cpu: Duration,
    statements: Option<f64>,
}

impl Tally {
    async fn add(&mut self, cluster: &Cluster, subject: &Subject<'_>, connections: usize, time: Duration) -> Result<()> {
        let (role, database) = subject.account;
        let statements = cluster.statements(role, database).await?;
        let (server, postgres) = (cpu(subject.pid)?, cluster.cpu()?);
        self.rounds.push(drive(subject.target, &subject.work, connections, time).await?);
        self.server_cpu += cpu(subject.pid)?.saturating_sub(server);
        self.postgres_cpu += cluster.cpu()?.saturating_sub(postgres);
        if let (Some(before), Some(after)) = (statements, cluster.statements(role, database).await?) {
            *self.statements.get_or_insert(0.0) += after - before;
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of answers is far below what a float holds exactly")]
    fn finish(self, subject: &Subject<'_>) -> Result<Measured> {
        let mut rates: Vec<f64> = self.rounds.iter().map(Round::rate).collect();
        let mut latencies: Vec<u64> = self.rounds.into_iter().flat_map(|round| round.latencies).collect();
        latencies.sort_unstable();
        let answers = latencies.len().max(1) as f64;
        let quantile = |per_mille: usize| {
            let at = (latencies.len() * per_mille / 1_000).min(latencies.len().saturating_sub(1));
            latencies.get(at).copied().map(Duration::from_micros).context("nothing was answered")
        };
        Ok(Measured {
            rate: median(&mut rates).context("nothing was measured")?,
            p50: quantile(500)?,
            p99: quantile(990)?,
            answers: latencies.len() as u64,
            server_cpu: self.server_cpu.as_secs_f64() * 1e3 / answers,
            postgres_cpu: self.postgres_cpu.as_secs_f64() * 1e3 / answers,
            statements: self.statements.map(|all| all / answers),
            memory: peak(subject.pid)?,
        })
    }
}

/// The one in the middle; of an even number the lower one.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

const WARM_UP: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.0));
        assert_eq!(median(&mut []), None);
    }
}
