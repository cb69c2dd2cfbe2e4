//! What a policy is worth: figures of one instance, and their means over many.

use scheduling::{Generator, Purpose, Row};
use serde::Serialize;

/// One value for each figure that policies are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures<T> {
    /// Mean of eq. (5) per request.
    pub reward: T,
    /// Mean of Q(s) per request.
    pub quality: T,
    /// Mean of τ per request, in seconds.
    pub tardiness: T,
    /// Mean of g(τ) per request, before it is weighted.
    pub penalty: T,
    /// Share of requests that finish after their due time.
    pub late_fraction: T,
    /// The least tardiness that 99 % of the requests do not exceed, in seconds.
    pub tardiness_p99: T,
    /// The largest tardiness, in seconds.
    pub tardiness_worst: T,
}

/// The figures of one instance.
pub type Metrics = Figures<f64>;

/// The figures over many instances.
pub type Summary = Figures<Estimate>;

/// A mean over instances and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Mean over the instances.
    pub mean: f64,
    /// Lower and upper end of the 95 % confidence interval: percentile bootstrap over instances with
    /// [`RESAMPLES`] resamples. A single instance says nothing about others and has none.
    pub ci95: Option<[f64; 2]>,
}

/// How often the instances are resampled for a confidence interval.
pub const RESAMPLES: usize = 10_000;

impl Metrics {
    /// The figures of a schedule.
    ///
    /// # Panics
    /// If there is no row; an instance has at least one request.
    pub fn of(rows: &[Row]) -> Self {
        assert!(!rows.is_empty(), "a schedule has at least one row");
        let mean = |value: fn(&Row) -> f64| mean(rows.iter().map(value));
        let mut tardiness: Vec<_> = rows.iter().map(|row| row.tardiness).collect();
        tardiness.sort_by(f64::total_cmp);
        Self {
            reward: mean(|row| row.reward),
            quality: mean(|row| row.quality),
            tardiness: mean(|row| row.tardiness),
            penalty: mean(|row| row.penalty),
            late_fraction: mean(|row| f64::from(row.tardiness > 0.0)),
            tardiness_p99: tardiness[(tardiness.len() * 99).div_ceil(100) - 1],
            tardiness_worst: tardiness[tardiness.len() - 1],
        }
    }
}

impl<T> Figures<T> {
    /// Every figure from a function of its accessor in another set of figures.
    fn each<U>(mut value: impl FnMut(fn(&Figures<U>) -> &U) -> T) -> Self {
        Self {
            reward: value(|figures| &figures.reward),
            quality: value(|figures| &figures.quality),
            tardiness: value(|figures| &figures.tardiness),
            penalty: value(|figures| &figures.penalty),
            late_fraction: value(|figures| &figures.late_fraction),
            tardiness_p99: value(|figures| &figures.tardiness_p99),
            tardiness_worst: value(|figures| &figures.tardiness_worst),
        }
    }
}

/// Means over instances with confidence intervals. The same seed gives the same intervals.
///
/// # Panics
/// If there is no instance.
pub fn summarise(instances: &[Metrics], seed: u64) -> Summary {
    Figures::each(|figure: fn(&Metrics) -> &f64| {
        estimate(&instances.iter().map(|metrics| *figure(metrics)).collect::<Vec<_>>(), seed)
    })
}

/// Means of `ours` − `theirs` on common instances, paired instance by instance, with confidence
/// intervals. Where an interval excludes 0, the policies differ.
///
/// # Panics
/// If there is no instance or the two do not have the same number of them.
pub fn difference(ours: &[Metrics], theirs: &[Metrics], seed: u64) -> Summary {
    assert_eq!(ours.len(), theirs.len(), "differences are taken on common instances");
    let minus = |(ours, theirs): (&Metrics, &Metrics)| {
        Figures::each(|figure: fn(&Metrics) -> &f64| figure(ours) - figure(theirs))
    };
    summarise(&ours.iter().zip(theirs).map(minus).collect::<Vec<_>>(), seed)
}

fn estimate(values: &[f64], seed: u64) -> Estimate {
    assert!(!values.is_empty(), "an estimate needs at least one instance");
    let ci95 = (values.len() > 1).then(|| {
        // All figures of a study resample the same instances.
        let mut generator = Generator::new(seed, Purpose::Bootstrap, 0);
        let mut resample =
            || mean((0..values.len()).map(|_| values[generator.below(values.len())]));
        let mut means: Vec<_> = (0..RESAMPLES).map(|_| resample()).collect();
        means.sort_by(f64::total_cmp);
        // 2.5 % of the resamples lie outside on either side.
        let outside = RESAMPLES / 40;
        [means[outside], means[RESAMPLES - 1 - outside]]
    });
    Estimate { mean: mean(values.iter().copied()), ci95 }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
