//! Counters, gauges and histograms in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::Dropped;

/// A metric: name, kind and help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

// Prometheus' rules for names, as `promtool check metrics` has them, hold or the crate does not build.

const fn counter(name: &'static str, help: &'static str) -> Metric {
    assert!(ends_with(name, "_total"), "the name of a counter ends in _total");
    Metric { name, kind: "counter", help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    assert!(
        !has_reserved_end(name),
        "the name of a gauge ends in what is a counter's or histogram's"
    );
    Metric { name, kind: "gauge", help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    assert!(!has_reserved_end(name), "the name of a histogram ends in what is added to it");
    Metric { name, kind: "histogram", help }
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

pub(crate) const ACCEPTED: Metric =
    counter("atelier_requests_accepted_total", "Requests acknowledged");
pub(crate) const ENDED: Metric =
    counter("atelier_requests_ended_total", "Requests that ended, by outcome");
pub(crate) const REJECTED: Metric =
    counter("atelier_requests_rejected_total", "Refusals, by reason");
pub(crate) const DECISIONS: Metric =
    counter("atelier_decisions_total", "Decisions by policy, server and cause");
pub(crate) const SHADOW_DECISIONS: Metric = counter(
    "atelier_shadow_decisions_total",
    "Decisions of the shadow policy, by the policy they stood beside and whether both agree",
);
pub(crate) const RUN_FAILURES: Metric =
    counter("atelier_run_failures_total", "Runs that failed, by server");
pub(crate) const TRIALS: Metric = counter(
    "atelier_trials_total",
    "Pictures painted only to see whether a slow server has recovered, by server and outcome",
);
pub(crate) const QUALITY: Metric =
    histogram("atelier_quality", "Q(s) of completed requests, by server");
pub(crate) const TARDINESS: Metric =
    histogram("atelier_tardiness_seconds", "Tardiness of completed requests, by server");
pub(crate) const REWARD: Metric =
    gauge("atelier_reward", "Sum of the rewards, eq. (5), of completed requests, by server");
pub(crate) const SERVICE: Metric =
    histogram("atelier_service_seconds", "Duration of completed runs, by server");
pub(crate) const PREDICTION_ERROR: Metric = histogram(
    "atelier_prediction_error_ratio",
    "Difference of a run's duration from its prediction, as a share of it, by server",
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
pub(crate) const JOURNAL_FAILING: Metric =
    gauge("atelier_journal_failing", "1 while the journal cannot be written");
pub(crate) const CLOCK_DRIFT: Metric =
    gauge("atelier_clock_drift_seconds", "Wall clock against the gateway's own time");
pub(crate) const HANDLING: Metric = histogram(
    "atelier_http_overhead_seconds",
    "Time in the gateway per answer, without waiting for pictures, by route",
);

pub(crate) const LOG_DROPPED: Metric = counter(
    "atelier_log_lines_dropped_total",
    "Lines of the log that could not be written, or not in time",
);

/// The values of all metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    values: Mutex<Values>,
    dropped: Dropped,
}

#[derive(Debug, Default)]
struct Values {
    plain: BTreeMap<Metric, BTreeMap<String, f64>>,
    histograms: BTreeMap<Metric, BTreeMap<String, Buckets>>,
}

#[derive(Clone, Debug, Default)]
struct Buckets {
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Metrics {
    /// Metrics that tell how many lines of the log were dropped.
    pub(crate) fn of(dropped: Dropped) -> Self {
        Self { dropped, ..Self::default() }
    }

    pub(crate) fn add(&self, metric: Metric, labels: &[(&str, &str)], amount: f64) {
        *self.values().plain.entry(metric).or_default().entry(shown(labels)).or_default() += amount;
    }

    pub(crate) fn set(&self, metric: Metric, labels: &[(&str, &str)], value: f64) {
        self.values().plain.entry(metric).or_default().insert(shown(labels), value);
    }

    pub(crate) fn observe(&self, metric: Metric, labels: &[(&str, &str)], value: f64) {
        let bounds = bounds(metric);
        let mut values = self.values();
        let series = values.histograms.entry(metric).or_default().entry(shown(labels)).or_default();
        series.counts.resize(bounds.len(), 0);
        for (count, bound) in series.counts.iter_mut().zip(bounds) {
            *count += u64::from(value <= *bound);
        }
        series.sum += value;
        series.count += 1;
    }

    /// Everything, as `/metrics` answers it.
    pub fn render(&self) -> String {
        self.set(LOG_DROPPED, &[], self.dropped.count() as f64);
        let values = self.values();
        let mut text = String::new();
        let head = |text: &mut String, metric: &Metric| {
            let Metric { name, kind, help } = metric;
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let braced = |labels: &str| match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        for (metric, series) in &values.plain {
            head(&mut text, metric);
            for (labels, value) in series {
                let _ = writeln!(text, "{}{} {value}", metric.name, braced(labels));
            }
        }
        for (metric, series) in &values.histograms {
            head(&mut text, metric);
            let name = metric.name;
            for (labels, buckets) in series {
                let comma = if labels.is_empty() { "" } else { "," };
                for (bound, count) in bounds(*metric).iter().zip(&buckets.counts) {
                    let _ =
                        writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
                }
                let Buckets { sum, count, .. } = buckets;
                let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
                let labels = braced(labels);
                let _ = writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}");
            }
        }
        text
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        // Numbers are whole after every statement, so a panic elsewhere cannot spoil them.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bounds(metric: Metric) -> &'static [f64] {
    match metric {
        QUALITY => &[10.0, 20.0, 30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0, 65.0],
        PREDICTION_ERROR => &[-0.5, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0],
        HANDLING => &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0],
        _ => &[0.0, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0],
    }
}

/// Labels as they stand between the braces. Values come from the configuration, where they are
/// restricted to plain characters, or from the program; policy names may hold a path.
fn shown(labels: &[(&str, &str)]) -> String {
    let escape = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let each: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
    each.join(",")
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

    #[test]
    fn renders_counters_gauges_and_histograms() {
        let metrics = Metrics::default();
        metrics.add(ENDED, &[("outcome", "failed")], 1.0);
        metrics.add(ENDED, &[("outcome", "failed")], 2.0);
        metrics.set(WAITING, &[("server", "a\"b")], 7.0);
        metrics.observe(TARDINESS, &[("server", "a")], 0.2);
        metrics.observe(TARDINESS, &[("server", "a")], 1000.0);
        let text = metrics.render();
        for line in [
            "# TYPE atelier_requests_ended_total counter",
            "atelier_requests_ended_total{outcome=\"failed\"} 3",
            "atelier_waiting{server=\"a\\\"b\"} 7",
            "atelier_tardiness_seconds_bucket{server=\"a\",le=\"0.1\"} 0",
            "atelier_tardiness_seconds_bucket{server=\"a\",le=\"0.25\"} 1",
            "atelier_tardiness_seconds_bucket{server=\"a\",le=\"+Inf\"} 2",
            "atelier_tardiness_seconds_sum{server=\"a\"} 1000.2",
            "atelier_tardiness_seconds_count{server=\"a\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }
}
