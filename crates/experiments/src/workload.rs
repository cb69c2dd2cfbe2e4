//! What arrivals are like: how fast they come, and how unevenly.

use comfy_table::{CellAlignment, Table, presets};
use scheduling::Instance;

use crate::figures::{svg, workload};

/// The arrivals of one instance, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// What it is called.
    pub name: String,
    /// When requests arrive, in seconds from the first.
    pub arrivals: Vec<f64>,
}

/// Statistics of arrivals. What takes more requests than there are is no number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// How many.
    pub requests: usize,
    /// Mean time between arrivals, in seconds.
    pub mean_interval: f64,
    /// Standard deviation of the time between arrivals, against its mean: 1 for a Poisson process.
    pub cv: f64,
    /// Correlation of the logarithms of successive times between arrivals: 0 for a Poisson process.
    pub autocorrelation: f64,
    /// Variance of the number of arrivals in windows of [`WINDOWS`] mean intervals, against its mean: 1 for
    /// a Poisson process.
    pub fano: [f64; 3],
    /// The most arrivals in a hundredth of the time, against their mean number.
    pub peak: f64,
}

/// Windows of [`Statistics::fano`], in mean times between arrivals.
pub const WINDOWS: [f64; 3] = [10.0, 100.0, 1000.0];

/// Parts of the time in which arrivals are counted for the peak and for the plot.
pub(crate) const PARTS: usize = 100;

impl Workload {
    /// The arrivals of an instance.
    pub fn of(name: impl Into<String>, instance: &Instance) -> Self {
        let times = instance.requests().iter().map(|request| request.arrival.seconds());
        let first = instance.requests()[0].arrival.seconds();
        Self { name: name.into(), arrivals: times.map(|time| time - first).collect() }
    }

    /// What they are like.
    pub fn statistics(&self) -> Statistics {
        let intervals: Vec<_> = self.arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (mean_interval, variance) = moments(&intervals);
        // Times are whole nanoseconds at best: requests that come together are not infinitely close.
        let logarithm = |interval: &f64| (interval / mean_interval).max(1e-6).ln();
        let logarithms: Vec<_> = intervals.iter().map(logarithm).collect();
        let fano = WINDOWS.map(|window| {
            let counts = self.counts(window * mean_interval);
            let (mean, variance) = moments(&counts);
            if counts.len() < 2 { f64::NAN } else { variance / mean }
        });
        let counts = self.parts();
        let (mean, _) = moments(&counts);
        Statistics {
            requests: self.arrivals.len(),
            mean_interval,
            cv: variance.sqrt() / mean_interval,
            autocorrelation: autocorrelation(&logarithms),
            fano,
            peak: counts.iter().copied().fold(0.0, f64::max) / mean,
        }
    }

    /// Arrivals in whole windows of so many seconds.
    fn counts(&self, window: f64) -> Vec<f64> {
        let span = self.arrivals[self.arrivals.len() - 1];
        let windows = (span / window).floor();
        if !(1.0..=1e8).contains(&windows) {
            return Vec::new();
        }
        let mut counts = vec![0.0; windows as usize];
        for arrival in &self.arrivals {
            if let Some(count) = counts.get_mut((arrival / window) as usize) {
                *count += 1.0;
            }
        }
        counts
    }

    /// Arrivals in [`PARTS`] equal parts of the time.
    pub(crate) fn parts(&self) -> Vec<f64> {
        let span = self.arrivals[self.arrivals.len() - 1].max(f64::MIN_POSITIVE);
        let mut counts = vec![0.0; PARTS];
        for arrival in &self.arrivals {
            counts[((arrival / span * PARTS as f64) as usize).min(PARTS - 1)] += 1.0;
        }
        counts
    }
}

/// Mean and variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count)
}

/// Correlation of each value with the next.
fn autocorrelation(values: &[f64]) -> f64 {
    let (mean, variance) = moments(values);
    let products = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean));
    products.sum::<f64>() / (values.len() as f64 - 1.0) / variance
}

/// The statistics side by side, a column for each workload.
pub fn workload_table(workloads: &[Workload]) -> String {
    let all: Vec<_> = workloads.iter().map(Workload::statistics).collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let names = workloads.iter().map(|workload| workload.name.clone());
    table.set_header(std::iter::once(String::new()).chain(names));
    let mut row = |name: String, value: &dyn Fn(&Statistics) -> String| {
        table.add_row(std::iter::once(name).chain(all.iter().map(value)));
    };
    let number = |value: f64| if value.is_finite() { format!("{value:.2}") } else { "–".into() };
    row("requests".into(), &|own| own.requests.to_string());
    let exact = |value: f64| if value.is_finite() { format!("{value:.3}") } else { "–".into() };
    row("mean interval (s)".into(), &|own| exact(own.mean_interval));
    row("requests per second".into(), &|own| exact(1.0 / own.mean_interval));
    row("coefficient of variation".into(), &|own| number(own.cv));
    row("autocorrelation of log intervals".into(), &|own| number(own.autocorrelation));
    for (index, window) in WINDOWS.iter().enumerate() {
        row(format!("Fano factor, {window} mean intervals"), &|own| number(own.fano[index]));
    }
    row("peak, of 100 parts".into(), &|own| format!("{} × mean", number(own.peak)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// The rate over time, a panel for each workload, as an SVG file.
pub fn workload_figure(workloads: &[Workload]) -> String {
    svg::file(&workload::rates(workloads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulation::{Episode, InstanceSource, Scenario};

    fn of(text: &str) -> Statistics {
        let scenario = Scenario::from_toml(text).unwrap();
        let scenario = scenario.with(|settings| settings.requests = 20_000).unwrap();
        Workload::of("it", &scenario.instance(1, Episode::Evaluation(0))).statistics()
    }

    #[test]
    fn poisson_arrivals_have_ones_and_bursts_have_not() {
        let poisson = of(include_str!("../../../scenarios/contended.toml"));
        assert!((poisson.mean_interval - 1.0).abs() < 0.03 && (poisson.cv - 1.0).abs() < 0.03);
        assert!(poisson.autocorrelation.abs() < 0.03, "{poisson:?}");
        for (fano, error) in poisson.fano.into_iter().zip([0.1, 0.3, 1.0]) {
            assert!((fano - 1.0).abs() < error, "{poisson:?}");
        }
        let bursty = of(include_str!("../../../scenarios/bursty.toml"));
        assert!(bursty.cv > 1.3 && bursty.autocorrelation > 0.1, "{bursty:?}");
        assert!(bursty.fano[1] > 10.0 && bursty.peak > poisson.peak, "{bursty:?}");
    }

    #[test]
    fn a_rhythm_by_hand() {
        let arrivals = vec![0.0, 1.0, 4.0, 5.0, 8.0, 9.0, 12.0];
        let statistics = Workload { name: "it".into(), arrivals }.statistics();
        assert_eq!((statistics.requests, statistics.mean_interval), (7, 2.0));
        // Intervals of 1 s and 3 s in turn: deviations of 1 s.
        assert_eq!(statistics.cv, 0.5);
        assert!((statistics.autocorrelation + 1.0).abs() < 1e-12, "{statistics:?}");
        assert!(statistics.fano.iter().all(|fano| fano.is_nan()), "{statistics:?}");
    }

    #[test]
    fn what_cannot_be_said_is_left_open() {
        for arrivals in [vec![0.0], vec![0.0, 0.0], vec![0.0, 0.0, 5.0]] {
            let workload = Workload { name: "it".into(), arrivals };
            let table = workload_table(std::slice::from_ref(&workload));
            assert!(table.contains('–') && !table.contains("NaN"), "{table}");
            assert!(!workload_figure(&[workload]).contains("NaN"));
        }
    }

    #[test]
    fn workloads_stand_side_by_side() {
        let workload = |name: &str, factor: f64| {
            let arrivals = (0..100).map(|n| factor * f64::from(n * n)).collect();
            Workload { name: name.into(), arrivals }
        };
        let both = [workload("slow", 1.0), workload("fast", 0.1)];
        let table = workload_table(&both);
        assert!(table.contains("slow") && table.contains("99.000") && table.contains("9.900"));
        let figure = workload_figure(&both);
        assert!(figure.starts_with("<svg") && figure.contains("fast"), "{figure}");
    }
}
