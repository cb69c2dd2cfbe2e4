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

/// The mean of values of different instances with its confidence interval, for figures that
/// [`Metrics`] does not have. The same seed resamples the same instances.
///
/// # Panics
/// If there is no value.
pub fn estimate(values: &[f64], seed: u64) -> Estimate {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(request: usize, tardiness: f64) -> Row {
        Row {
            request,
            server: 0,
            steps: 50,
            arrival: 0.0,
            start: 0.0,
            finish: tardiness,
            due: 0.0,
            tardiness,
            penalty: tardiness * tardiness,
            quality: 40.0,
            reward: 40.0 - 2.0 * tardiness * tardiness,
            beyond: None,
        }
    }

    fn metrics(reward: f64) -> Metrics {
        Metrics { reward, ..Metrics::of(&[row(0, 1.0)]) }
    }

    #[test]
    fn figures_of_a_schedule() {
        // Tardiness 0, 1, …, 199 in another order.
        let rows: Vec<_> = (0..200).map(|i| row(i, (i * 67 % 200) as f64)).collect();
        let mean_square = 199.0 * 399.0 / 6.0;
        assert_eq!(
            Metrics::of(&rows),
            Metrics {
                reward: 40.0 - 2.0 * mean_square,
                quality: 40.0,
                tardiness: 99.5,
                penalty: mean_square,
                late_fraction: 0.995,
                tardiness_p99: 197.0,
                tardiness_worst: 199.0,
            }
        );
        assert_eq!(Metrics::of(&[row(0, 3.0)]).tardiness_p99, 3.0);
    }

    #[test]
    fn an_interval_is_near_that_of_the_normal_distribution() {
        let mut generator = Generator::new(5, Purpose::Search, 0);
        let instances: Vec<_> = (0..400).map(|_| metrics(generator.normal())).collect();
        let reward = summarise(&instances, 1).reward;
        let [low, high] = reward.ci95.unwrap();
        assert!(low < reward.mean && reward.mean < high, "{reward:?}");
        // 2 · 1.96 / √400
        assert!((high - low - 0.196).abs() < 0.02, "{reward:?}");
    }

    /// What 95 % means: of many studies, 95 % have the truth inside their interval. With 50
    /// instances the percentile bootstrap is known to stay a little below.
    #[test]
    fn intervals_cover_the_truth() {
        let studies = 300;
        let covered = (0..studies).filter(|&study| {
            let mut generator = Generator::new(9, Purpose::Search, study);
            let values: Vec<_> = (0..50).map(|_| generator.exponential(2.0)).collect();
            let [low, high] = estimate(&values, study).ci95.unwrap();
            (low..=high).contains(&2.0)
        });
        let share = covered.count() as f64 / studies as f64;
        assert!((0.90..=0.98).contains(&share), "{share}");
    }

    #[test]
    fn intervals_are_the_same_for_the_same_seed() {
        let instances: Vec<_> = [3.0, 1.0, 4.0, 1.0, 5.0].map(metrics).to_vec();
        assert_eq!(summarise(&instances, 1), summarise(&instances, 1));
        let values: Vec<f64> = (0..50).map(|i| f64::from(i * i)).collect();
        assert_ne!(estimate(&values, 1).ci95, estimate(&values, 2).ci95);
        let constant = summarise(&[metrics(2.0), metrics(2.0)], 1).reward;
        assert_eq!(constant, Estimate { mean: 2.0, ci95: Some([2.0, 2.0]) });
    }

    #[test]
    fn a_pair_differs_by_its_difference_alone() {
        // The instances differ by far more than the policies do, which always differ by about 1.
        let base = [10.0, 500.0, -300.0, 40.0, 90.0, 7.0];
        let theirs = base.map(metrics);
        let ours: Vec<_> =
            base.iter().zip([0.9, 1.1, 1.0, 0.8, 1.2, 1.0]).map(|(b, d)| metrics(b + d)).collect();
        let reward = difference(&ours, &theirs, 1).reward;
        assert!((reward.mean - 1.0).abs() < 1e-9);
        let [low, high] = reward.ci95.unwrap();
        assert!(0.8 < low && high < 1.2, "{reward:?}");
    }

    #[test]
    fn json_has_the_names_that_are_promised() {
        let json = serde_json::to_string(&summarise(&[metrics(2.0), metrics(2.0)], 1)).unwrap();
        assert_eq!(
            json,
            "{\"reward\":{\"mean\":2.0,\"ci95\":[2.0,2.0]},\
              \"quality\":{\"mean\":40.0,\"ci95\":[40.0,40.0]},\
              \"tardiness\":{\"mean\":1.0,\"ci95\":[1.0,1.0]},\
              \"penalty\":{\"mean\":1.0,\"ci95\":[1.0,1.0]},\
              \"late_fraction\":{\"mean\":1.0,\"ci95\":[1.0,1.0]},\
              \"tardiness_p99\":{\"mean\":1.0,\"ci95\":[1.0,1.0]},\
              \"tardiness_worst\":{\"mean\":1.0,\"ci95\":[1.0,1.0]}}"
        );
        let single = serde_json::to_string(&summarise(&[metrics(2.0)], 1).reward).unwrap();
        assert_eq!(single, "{\"mean\":2.0,\"ci95\":null}");
    }
}
