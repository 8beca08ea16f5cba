//! The reference of the metrics, for people: Markdown made of the table.

use prometheus_client::metrics::MetricType;

use super::table::{Metric, Of};

/// All metrics as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (of, title) in [(Of::Fleet, "The installation"), (Of::Process, "The process")] {
        text.push_str("\n## ");
        text.push_str(title);
        text.push_str("\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
        for metric in Metric::ALL.iter().filter(|metric| metric.of() == of) {
            let labels = metric.labels().iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            text.push_str(&format!("| `{}` | {} | {labels} | {} |\n", metric.name(), kind(*metric), metric.help()));
        }
    }
    text
}

fn kind(metric: Metric) -> &'static str {
    match metric.kind() {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Info => "info",
        MetricType::Unknown => "unknown",
    }
}

const INTRODUCTION: &str = "\
# Metrics

`GET /api/v1/metrics/prometheus` gives them to whoever holds the permission `metrics.read`: in the OpenMetrics format where the header
`Accept` asks for `application/openmetrics-text`, else in the text format of Prometheus. This page is what `certctl-server metrics reference`
prints.

Numbers of the installation are the same on every replica: take `max` over replicas, not `sum`. Counters among them are kept in the
database and never fall. Numbers of the process begin at zero with it; `sum` them over replicas.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_metric_once() {
        let text = reference();
        for metric in Metric::ALL {
            assert_eq!(text.matches(&format!("| `{}` |", metric.name())).count(), 1, "{}", metric.name());
        }
        insta::assert_snapshot!(text);
    }
}
