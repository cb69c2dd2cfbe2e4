//! Speeds learned while serving.

use std::collections::VecDeque;

use scheduling::{Seconds, StepRate, Steps};

use crate::scheduler::Speed;

/// Estimates the speed of one server from its latest runs.
///
/// Time against steps is fitted by the Theil–Sen line: the slope is the median over all pairs of
/// runs, the overhead the median of what remains. Up to 29 % of the runs may be arbitrary outliers,
/// such as those that had to load a model first, without any effect worth naming.
#[derive(Clone, Debug)]
pub(crate) struct SpeedEstimator {
    /// What to fall back on.
    prior: Speed,
    /// Work in steps at the reference size, and seconds.
    runs: VecDeque<(f64, f64)>,
}

impl SpeedEstimator {
    /// Runs that are remembered: enough to be robust, few enough to follow a change.
    const WINDOW: usize = 48;
    /// Runs before anything is concluded.
    const FEWEST: usize = 5;
    /// Share by which the works of two runs must differ to say something about the slope.
    const APART: f64 = 0.15;

    /// Starts from the configured speed.
    pub(crate) fn new(prior: Speed) -> Self {
        Self { prior, runs: VecDeque::new() }
    }

    /// A run of `steps` at `size` times the reference size took so long. Returns the new estimate,
    /// if there is one.
    pub(crate) fn observe(&mut self, steps: Steps, size: f64, took: Seconds) -> Option<Speed> {
        if self.runs.len() == Self::WINDOW {
            self.runs.pop_front();
        }
        self.runs.push_back((f64::from(steps.get()) * size, took.seconds().max(1e-6)));
        self.estimate()
    }

    /// The estimate from the runs so far.
    pub(crate) fn estimate(&self) -> Option<Speed> {
        if self.runs.len() < Self::FEWEST {
            return None;
        }
        let mut slopes = Vec::new();
        for (i, a) in self.runs.iter().enumerate() {
            for b in self.runs.iter().skip(i + 1) {
                if (a.0 - b.0).abs() > Self::APART * a.0.max(b.0) {
                    slopes.push((a.1 - b.1) / (a.0 - b.0));
                }
            }
        }
        // With hardly two different works there is no slope: the overhead is taken as known.
        let slope = if slopes.len() >= 2 * Self::FEWEST {
            median(slopes)
        } else {
            let overhead = self.prior.overhead.seconds();
            median(self.runs.iter().map(|(work, took)| (took - overhead) / work).collect())
        };
        let rate = StepRate::new((1.0 / slope).clamp(1e-3, 1e6)).ok()?;
        let rest = self.runs.iter().map(|(work, took)| took - work * slope).collect();
        let overhead = Seconds::of(median(rest).max(0.0));
        (slope > 0.0).then_some(Speed { overhead, rate })
    }
}

/// The middle value; the lower of two.
fn median(mut values: Vec<f64>) -> f64 {
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scheduling::{Generator, Purpose};

    fn speed(overhead: f64, rate: f64) -> Speed {
        Speed { overhead: Seconds::of(overhead), rate: StepRate::new(rate).unwrap() }
    }

    fn estimate(runs: &[(u32, f64, f64)]) -> Option<Speed> {
        let mut estimator = SpeedEstimator::new(speed(0.5, 10.0));
        for &(steps, size, took) in runs {
            estimator.observe(Steps::new(steps).unwrap(), size, Seconds::of(took));
        }
        estimator.estimate()
    }

    #[test]
    fn few_runs_say_nothing() {
        assert_eq!(estimate(&[(20, 1.0, 2.0); 4]), None);
    }

    #[test]
    fn equal_runs_leave_the_overhead_as_configured() {
        let found = estimate(&[(20, 1.0, 4.5); 6]).unwrap();
        assert!((found.overhead.seconds() - 0.5).abs() < 1e-9);
        assert!((found.rate.steps_per_second() - 5.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn finds_the_speed_in_spite_of_model_loads_and_hiccups(
            seed in 0..1000u64, overhead in 0.0..2.0f64, rate in 1.0..40.0f64,
        ) {
            let mut g = Generator::new(seed, Purpose::Search, 0);
            let runs: Vec<_> = (0..48).map(|i| {
                let (steps, size) = (1 + g.below(100) as u32, [0.5, 1.0, 2.0][g.below(3)]);
                let noise = 1.0 + 0.02 * g.normal();
                let ideal = (overhead + f64::from(steps) * size / rate) * noise;
                let load = if i % 5 == 0 { g.between(5.0, 60.0) } else { 0.0 };
                (steps, size, ideal + load)
            }).collect();
            let found = estimate(&runs).unwrap();
            let error: f64 = found.rate.steps_per_second() / rate - 1.0;
            prop_assert!(error.abs() < 0.15, "{found:?}");
            let off: f64 = (found.overhead.seconds() - overhead).abs();
            prop_assert!(off < 0.2 + 10.0 / rate, "{found:?}");
        }

        #[test]
        fn any_runs_give_a_speed_in_range(
            runs in prop::collection::vec((1..200u32, 0.01..16.0, 0.0..1e6), 0..60),
        ) {
            if let Some(found) = estimate(&runs) {
                prop_assert!(found.overhead.seconds() >= 0.0);
            }
        }
    }
}
