//! Writes the series of one metric: the names of the labels come from the table, the values from the caller.

use std::fmt;

use prometheus_client::encoding::{EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};

use super::table::Metric;

/// The series of one metric, to be written.
pub(super) struct Series<'a> {
    pub(super) metric: Metric,
    pub(super) out: MetricEncoder<'a>,
}

impl Series<'_> {
    /// The only series of a gauge.
    pub(super) fn gauge(mut self, value: impl EncodeGaugeValue) -> fmt::Result {
        self.out.encode_gauge(&value)
    }

    /// A gauge by its labels.
    pub(super) fn gauges<'v, const N: usize, V: EncodeGaugeValue>(
        mut self,
        all: impl IntoIterator<Item = ([&'v str; N], V)>,
    ) -> fmt::Result {
        for (labels, value) in all {
            self.out.encode_family(&labelled(self.metric, &labels))?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// The only series of a counter.
    pub(super) fn counter(mut self, value: impl EncodeCounterValue) -> fmt::Result {
        self.out.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// A counter by its labels.
    pub(super) fn counters<'v, const N: usize>(mut self, all: impl IntoIterator<Item = ([&'v str; N], u64)>) -> fmt::Result {
        for (labels, value) in all {
            self.out.encode_family(&labelled(self.metric, &labels))?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    /// Texts that say what something is.
    pub(super) fn info(mut self, values: &[&str]) -> fmt::Result {
        self.out.encode_info(&labelled(self.metric, values))
    }
}

fn labelled<'v>(metric: Metric, values: &[&'v str]) -> Vec<(&'static str, &'v str)> {
    metric.labels().iter().copied().zip(values.iter().copied()).collect()
}
