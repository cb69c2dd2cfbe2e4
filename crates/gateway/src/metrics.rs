//! Counters, gauges and histograms, shown in Prometheus' text format.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::log::Dropped;

/// What the text is, for a `Content-Type`.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// A metric, without what is added to the names of counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    /// Upper bounds of a histogram's buckets.
    bounds: &'static [f64],
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    metric(name, help, MetricType::Counter, &[])
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    metric(name, help, MetricType::Gauge, &[])
}

const fn histogram(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Metric {
    metric(name, help, MetricType::Histogram, bounds)
}

/// Prometheus' rule for names, as `promtool check metrics` has it, holds or the crate does not build.
const fn metric(
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    bounds: &'static [f64],
) -> Metric {
    assert!(!has_reserved_end(name), "the name of a metric ends in what is added to names");
    Metric { name, help, kind, bounds }
}

const fn has_reserved_end(name: &str) -> bool {
    ends_with(name, "_total")
        || ends_with(name, "_sum")
        || ends_with(name, "_count")
        || ends_with(name, "_bucket")
        || ends_with(name, "_info")
}

/// `str::ends_with`, which cannot be called in a constant.
const fn ends_with(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    let mut index = 0;
    while index < end.len() && index < text.len() {
        if text[text.len() - 1 - index] != end[end.len() - 1 - index] {
            return false;
        }
        index += 1;
    }
    index == end.len()
}

/// Buckets of spans that somebody waits.
const SECONDS: &[f64] = &[0.0, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

pub(crate) const ACCEPTED: Metric = counter("atelier_requests_accepted", "Requests acknowledged");
pub(crate) const ENDED: Metric =
    counter("atelier_requests_ended", "Requests that ended, by outcome");
pub(crate) const REJECTED: Metric = counter("atelier_requests_rejected", "Refusals, by reason");
pub(crate) const DECISIONS: Metric =
    counter("atelier_decisions", "Decisions by policy, server and cause");
pub(crate) const UNFAMILIAR: Metric = counter(
    "atelier_decisions_unfamiliar",
    "Decisions on what the policy has never met in training, by policy",
);
pub(crate) const SHADOW_DECISIONS: Metric = counter(
    "atelier_shadow_decisions",
    "Decisions of the shadow policy, by the policy they stood beside and whether both agree",
);
pub(crate) const RUN_FAILURES: Metric =
    counter("atelier_run_failures", "Runs that failed, by server");
pub(crate) const TRIALS: Metric = counter(
    "atelier_trials",
    "Pictures painted only to see whether a slow server has recovered, by server and outcome",
);
pub(crate) const LOADS: Metric =
    counter("atelier_loads", "Runs that had to load their model first, by server and model");
pub(crate) const CALLBACKS: Metric = counter(
    "atelier_callbacks",
    "Ends told where requests asked for it, by outcome: delivered, failed, given_up",
);
pub(crate) const PRELOADS: Metric = counter(
    "atelier_preloads",
    "Models loaded by idle servers before they were asked for, by server, model and outcome",
);
pub(crate) const CLUSTER_LEADER: Metric =
    gauge("atelier_cluster_leader", "Whether this node of the cluster leads");
pub(crate) const CLUSTER_EPOCH: Metric =
    gauge("atelier_cluster_epoch", "Position in the log at which the latest leader began");
pub(crate) const CLUSTER_SEQUENCE: Metric =
    gauge("atelier_cluster_sequence", "Position in the log up to which this node has followed it");
pub(crate) const QUALITY: Metric = histogram(
    "atelier_quality",
    "Q(s) of completed requests, by server",
    &[10.0, 20.0, 30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0, 65.0],
);
pub(crate) const TARDINESS: Metric =
    histogram("atelier_tardiness_seconds", "Tardiness of completed requests, by server", SECONDS);
pub(crate) const REWARD: Metric =
    gauge("atelier_reward", "Sum of the rewards, eq. (5), of completed requests, by server");
pub(crate) const SERVICE: Metric =
    histogram("atelier_service_seconds", "Duration of completed runs, by server", SECONDS);
pub(crate) const PREDICTION_ERROR: Metric = histogram(
    "atelier_prediction_error_ratio",
    "Difference of a run's duration from its prediction, as a share of it, by server",
    &[-0.5, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0],
);
pub(crate) const WAITING: Metric = gauge("atelier_waiting", "Requests in the queue, by server");
pub(crate) const LIVE: Metric = gauge("atelier_live", "Requests that have not ended");
pub(crate) const BACKLOG: Metric =
    gauge("atelier_backlog_seconds", "Time until the server is free, by server");
pub(crate) const HEALTHY: Metric = gauge("atelier_server_healthy", "1 if the server answers");
pub(crate) const ENABLED: Metric = gauge("atelier_server_enabled", "1 unless it is being drained");
pub(crate) const RESTING: Metric =
    gauge("atelier_server_resting", "1 while the server is left alone because jobs fail there");
pub(crate) const FAILED_IN_A_ROW: Metric = gauge(
    "atelier_server_failed_in_a_row",
    "Requests whose runs failed there without a success in between",
);
pub(crate) const RATE: Metric =
    gauge("atelier_server_steps_per_second", "Speed that decisions are made with");
pub(crate) const OVERHEAD: Metric =
    gauge("atelier_server_overhead_seconds", "Overhead that decisions are made with");
pub(crate) const SIGMA: Metric = gauge(
    "atelier_server_sigma",
    "Deviation of run times' logarithms that decisions are made with",
);
pub(crate) const JOURNAL_FAILING: Metric =
    gauge("atelier_journal_failing", "1 while the journal cannot be written");
pub(crate) const CLOCK_DRIFT: Metric =
    gauge("atelier_clock_drift_seconds", "Wall clock against the gateway's own time");
pub(crate) const HANDLING: Metric = histogram(
    "atelier_http_overhead_seconds",
    "Time in the gateway per answer, without waiting for pictures, by route",
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0],
);

pub(crate) const LOG_DROPPED: Metric = counter(
    "atelier_log_lines_dropped",
    "Lines of the log that could not be written, or not in time",
);

/// The values of all metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    values: Arc<Values>,
    registry: Registry,
    dropped: Dropped,
}

/// Labels in the order in which they are shown.
type Labels = Vec<(String, String)>;

#[derive(Debug, Default)]
struct Values(Mutex<Families>);

/// Families by name and series by labels, so that the text is in order.
#[derive(Debug, Default)]
struct Families {
    plain: BTreeMap<Metric, BTreeMap<Labels, f64>>,
    histograms: BTreeMap<Metric, BTreeMap<Labels, Histogram>>,
}

impl Metrics {
    /// Metrics that tell how many lines of the log were dropped.
    pub(crate) fn of(dropped: Dropped) -> Self {
        let values = Arc::<Values>::default();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(values.clone()));
        Self { values, registry, dropped }
    }

    pub(crate) fn add(&self, metric: Metric, labels: &[(&str, &str)], amount: f64) {
        let mut families = self.values.lock();
        *families.plain.entry(metric).or_default().entry(owned(labels)).or_default() += amount;
    }

    pub(crate) fn set(&self, metric: Metric, labels: &[(&str, &str)], value: f64) {
        self.values.lock().plain.entry(metric).or_default().insert(owned(labels), value);
    }

    pub(crate) fn observe(&self, metric: Metric, labels: &[(&str, &str)], value: f64) {
        let mut families = self.values.lock();
        let series = families.histograms.entry(metric).or_default().entry(owned(labels));
        series.or_insert_with(|| Histogram::new(metric.bounds.iter().copied())).observe(value);
    }

    /// Shows no state any more of what has left and carries this label. What was counted of it stays.
    pub(crate) fn forget(&self, (name, value): (&str, &str)) {
        let carries = |labels: &Labels| labels.iter().any(|(n, v)| n == name && v == value);
        for (metric, family) in &mut self.values.lock().plain {
            if matches!(metric.kind, MetricType::Gauge) {
                family.retain(|labels, _| !carries(labels));
            }
        }
    }

    /// Everything, as `/metrics` answers it.
    pub(crate) fn render(&self) -> String {
        self.set(LOG_DROPPED, &[], self.dropped.count() as f64);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }
}

impl Values {
    fn lock(&self) -> MutexGuard<'_, Families> {
        // Numbers are whole after every statement, so a panic elsewhere cannot spoil them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// The library's own registry would end every help in a full stop and show the series in any order.
impl Collector for Values {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = self.lock();
        for (Metric { name, help, kind, .. }, family) in &families.plain {
            let mut shown = encoder.encode_descriptor(name, help, None, *kind)?;
            for (labels, value) in family {
                let series = shown.encode_family(labels)?;
                let whole = (value.fract() == 0.0).then_some(*value as i64);
                match (kind, whole) {
                    (MetricType::Counter, _) => ConstCounter::new(*value as u64).encode(series)?,
                    (_, Some(whole)) => ConstGauge::new(whole).encode(series)?,
                    (_, None) => ConstGauge::new(*value).encode(series)?,
                }
            }
        }
        for (Metric { name, help, kind, .. }, family) in &families.histograms {
            let mut shown = encoder.encode_descriptor(name, help, None, *kind)?;
            for (labels, histogram) in family {
                histogram.encode(shown.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Metric {}

impl PartialOrd for Metric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Metric {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(other.name)
    }
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_by_their_ends() {
        assert!(ends_with("requests_total", "_total") && ends_with("_total", "_total"));
        assert!(!ends_with("total", "_total") && !ends_with("totals_total_", "_total"));
        assert!(has_reserved_end("reward_sum") && !has_reserved_end("reward_summary"));
    }

    /// Something of every metric.
    fn sample() -> Metrics {
        let metrics = Metrics::of(Dropped::default());
        metrics.add(ACCEPTED, &[], 1.0);
        metrics.add(ENDED, &[("outcome", "failed")], 1.0);
        metrics.add(ENDED, &[("outcome", "failed")], 2.0);
        metrics.add(ENDED, &[("outcome", "completed")], 9_007_199_254_740_991.0);
        metrics.add(REJECTED, &[("reason", "invalid_field")], 1.0);
        let labels = [("policy", "agent[C:\\a \"b\"\nc]"), ("server", "a"), ("cause", "arrival")];
        metrics.add(DECISIONS, &labels, 4.0);
        let labels = [("policy", "greedy"), ("against", "myopic"), ("agrees", "true")];
        metrics.add(SHADOW_DECISIONS, &labels, 5.0);
        metrics.add(RUN_FAILURES, &[("server", "a")], 1.0);
        metrics.add(TRIALS, &[("server", "a"), ("outcome", "slow")], 1.0);
        metrics.add(REWARD, &[("server", "b")], 40.25);
        metrics.add(REWARD, &[("server", "b")], -0.5);
        metrics.add(REWARD, &[("server", "a")], -3.0);
        for value in [-5.0, 0.0, 12.5, 65.0, 1e9] {
            metrics.observe(QUALITY, &[("server", "a")], value);
        }
        for value in [0.2, 1000.0] {
            metrics.observe(TARDINESS, &[("server", "b")], value);
            metrics.observe(TARDINESS, &[("server", "a")], value);
        }
        metrics.observe(SERVICE, &[("server", "a")], 0.25);
        metrics.observe(PREDICTION_ERROR, &[("server", "a")], -0.05);
        metrics.observe(HANDLING, &[("route", "/v1/requests/{id}")], 0.000_3);
        for (metric, value) in [(WAITING, 7.0), (BACKLOG, 1e-9), (HEALTHY, 1.0), (ENABLED, 0.0)] {
            metrics.set(metric, &[("server", "a-b")], value);
            metrics.set(metric, &[("server", "a")], value);
        }
        for (metric, value) in
            [(RESTING, 0.0), (FAILED_IN_A_ROW, 3.0), (RATE, 18.2), (OVERHEAD, 0.1), (SIGMA, 0.2)]
        {
            metrics.set(metric, &[("server", "a")], value);
        }
        for (metric, value) in [(LIVE, 2.0), (JOURNAL_FAILING, 1.0), (CLOCK_DRIFT, -5392.125)] {
            metrics.set(metric, &[], value);
        }
        metrics
    }

    #[test]
    fn the_text_is_what_scrapers_have_always_seen() {
        assert_eq!(sample().render(), include_str!("metrics.txt"));
    }
}
