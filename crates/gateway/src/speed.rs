//! Speeds learned while serving.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use dispatch::Speed;
use scheduling::{Seconds, Sigma, StepRate, Steps};

use crate::config::Config;

mod learned;

pub(crate) use self::learned::{Learned, Lesson};

/// Estimates the speed of one server from its latest runs.
///
/// Time against steps is fitted by the Theil–Sen line: the slope is the median over all pairs of
/// runs, the overhead the median of what remains. Up to 29 % of the runs may be arbitrary outliers,
/// such as those that had to load a model first, without any effect worth naming.
///
/// A server changes its speed in two ways. It drifts: so the medians are weighted, and the weight
/// of a run halves with every sixteen that follow. And it jumps, because it is used by somebody
/// else, or throttled, or has another model: weights that followed a jump within a few runs would
/// follow every hiccup too. So what the latest five to eight runs say by themselves is compared with
/// what all say. If most of them are far from the estimate of all and as close to their own as runs
/// use to be, which scattered outliers are not, the runs before them are forgotten.
#[derive(Clone, Debug)]
pub(crate) struct SpeedEstimator {
    /// What is believed: the configured speed until there are enough runs.
    believed: Speed,
    /// The fastest that was configured or believed.
    best: Speed,
    runs: VecDeque<Sample>,
}

/// A run that teaches something.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Steps at the reference size.
    work: f64,
    /// Seconds.
    took: f64,
}

impl SpeedEstimator {
    /// Runs that are remembered.
    pub(crate) const WINDOW: u32 = 48;
    /// Runs before anything is concluded.
    const FEWEST: usize = 5;
    /// Share by which the works of two runs must differ to say something about the slope.
    const APART: f64 = 0.15;
    /// Share of a typical run by which the line may fall and still be level.
    const LEVEL: f64 = 0.25;
    /// Runs after which a run has half its weight.
    const HALF_LIFE: f64 = 16.0;
    /// Numbers of latest runs that are asked whether the speed has jumped.
    const LATEST: RangeInclusive<usize> = 5..=8;
    /// Misfits, as logarithms of ratios, from which on an estimate may be wrong and up to which it
    /// may be right, if runs are hardly noisy.
    const WRONG: f64 = 0.15;
    const RIGHT: f64 = 0.1;
    /// Least and most seconds a step that a [`StepRate`] can express.
    const FLAT: f64 = 1e-6;
    const STEEP: f64 = 1e3;
    /// Runs before their spread is concluded.
    const FEWEST_FOR_SIGMA: usize = 16;
    /// Spreads that are too small to matter, and so large that they are none of a server.
    const SIGMAS: RangeInclusive<f64> = 0.02..=1.0;
    /// Share by which a server is notably slower.
    const NOTABLY: f64 = 1.25;

    /// Starts from the configured speed.
    pub(crate) fn new(configured: Speed) -> Self {
        Self { believed: configured, best: configured, runs: VecDeque::new() }
    }

    /// A run of `steps` at `size` times the reference size took so long. Returns the new estimate,
    /// if there is one.
    pub(crate) fn observe(&mut self, steps: Steps, size: f64, took: Seconds) -> Option<Speed> {
        if self.runs.len() == Self::WINDOW as usize {
            self.runs.pop_front();
        }
        let (work, took) = (f64::from(steps.get()) * size, took.seconds().max(1e-6));
        self.runs.push_back(Sample { work, took });
        if self.runs.len() < Self::FEWEST {
            return None;
        }
        self.believed = self.fitted();
        if typical(self.believed) < typical(self.best) {
            self.best = self.believed;
        }
        Some(self.mean())
    }

    /// The estimate, if there have been enough runs.
    pub(crate) fn estimate(&self) -> Option<Speed> {
        (self.runs.len() >= Self::FEWEST).then(|| self.mean())
    }

    /// The runs that are remembered.
    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// How far the runs stray from what is believed, 0 where that hardly matters or there have been few.
    ///
    /// From the faster half, of whose logarithms a sixth of all runs are further from the median than σ if
    /// they are normal: what is slow may have other reasons, such as a model that had to be loaded.
    pub(crate) fn sigma(&self) -> Sigma {
        let count = self.runs.len();
        if count < Self::FEWEST_FOR_SIGMA {
            return Sigma::default();
        }
        let mut errors: Vec<_> = self.runs.iter().map(|run| run.error(self.believed)).collect();
        errors.sort_unstable_by(f64::total_cmp);
        let sigma = errors[count / 2] - errors[(0.1587 * count as f64) as usize];
        let sigma = if sigma < *Self::SIGMAS.start() { 0.0 } else { sigma };
        Sigma::new(sigma.min(*Self::SIGMAS.end())).expect("cut to the range")
    }

    /// What runs take on average. What is believed is what half of them take at most, as lines of medians
    /// are; the mean of a lognormal time is larger.
    fn mean(&self) -> Speed {
        let sigma = f64::from(self.sigma());
        let longer = (0.5 * sigma * sigma).exp();
        let rate = StepRate::saturating(self.believed.rate.steps_per_second() / longer);
        Speed { overhead: self.believed.overhead * longer, rate }
    }

    /// How long a run of `steps` at `size` times the reference size is believed to take.
    pub(crate) fn predicted(&self, steps: Steps, size: f64) -> Seconds {
        let work = f64::from(steps.get()) * size;
        self.believed.overhead + Seconds::of(work / self.believed.rate.steps_per_second())
    }

    /// Whether the server is believed to be notably slower than it was configured or has been.
    pub(crate) fn is_slow(&self) -> bool {
        typical(self.believed) > Self::NOTABLY * typical(self.best)
    }

    /// Whether a run was notably faster or slower than is believed.
    pub(crate) fn surprises(&self, steps: Steps, size: f64, took: Seconds) -> bool {
        let run = Sample { work: f64::from(steps.get()) * size, took: took.seconds().max(1e-6) };
        run.misfit(self.believed) > Self::NOTABLY.ln()
    }

    /// Fits all runs, or the latest alone if the speed has jumped; then forgets the others.
    fn fitted(&mut self) -> Speed {
        let runs: Vec<_> = self.runs.iter().rev().copied().collect();
        let all = self.fit(&runs);
        for number in Self::LATEST.filter(|&number| number < runs.len()) {
            let (latest, before) = runs.split_at(number);
            let alone = self.fit(latest);
            let noise = misfits(before, self.fit(before))[before.len() / 2];
            // Hardly any of them agrees with all runs, and hardly any does not with their own fit,
            // which is as good as that of runs before.
            let of_all = misfits(latest, all)[(number - 2) / 2];
            let of_alone = misfits(latest, alone)[(number - 1).min(5)];
            if of_all > (3.0 * noise).max(Self::WRONG) && of_alone < (2.0 * noise).max(Self::RIGHT)
            {
                self.runs.drain(..before.len());
                return alone;
            }
        }
        all
    }

    /// The weighted Theil–Sen line through runs, the latest first. A line that does not rise is a
    /// speed too: whatever the steps, the time is the overhead.
    fn fit(&self, runs: &[Sample]) -> Speed {
        let weight = |age: usize| (-(age as f64) / Self::HALF_LIFE).exp2();
        let of_each = |value: &dyn Fn(&Sample) -> f64| {
            weighted_median(
                runs.iter().enumerate().map(|(age, r)| (value(r), weight(age))).collect(),
            )
        };
        let mut slopes = Vec::new();
        for (i, a) in runs.iter().enumerate() {
            for (j, b) in runs.iter().enumerate().skip(i + 1) {
                if (a.work - b.work).abs() > Self::APART * a.work.max(b.work) {
                    slopes.push(((a.took - b.took) / (a.work - b.work), weight(i) * weight(j)));
                }
            }
        }
        let works = || runs.iter().map(|run| run.work);
        let span = works().fold(0.0, f64::max) - works().fold(f64::INFINITY, f64::min);
        let level = -Self::LEVEL * of_each(&|run| run.took);
        let risen = Some(slopes).filter(|slopes| slopes.len() > Self::FEWEST).map(weighted_median);
        // With hardly two different works there is no slope, and one that falls says that the speed
        // has changed among these runs: the overhead is taken as known, or as its known share if
        // the runs are faster than they were.
        let slope = risen.filter(|slope| slope * span > level).unwrap_or_else(|| {
            let known = self.believed.overhead.seconds();
            let rate = self.believed.rate.steps_per_second();
            of_each(&|run| {
                let overhead = known.min(run.took * known / (known + run.work / rate));
                (run.took - overhead) / run.work
            })
        });
        let mut slope = slope.max(Self::FLAT);
        let mut overhead = of_each(&|run| run.took - run.work * slope);
        if overhead < 0.0 {
            overhead = 0.0;
            slope = of_each(&|run| run.took / run.work);
        }
        let rate = 1.0 / slope.clamp(Self::FLAT, Self::STEEP);
        let rate = StepRate::new(rate).expect("clamped into the range");
        Speed { overhead: Seconds::of(overhead), rate }
    }
}

impl Sample {
    /// The logarithm of how many times as long it took as predicted.
    fn error(&self, speed: Speed) -> f64 {
        let predicted = speed.overhead.seconds() + self.work / speed.rate.steps_per_second();
        (self.took / predicted.max(1e-6)).ln()
    }

    /// How far it is from a prediction.
    fn misfit(&self, speed: Speed) -> f64 {
        self.error(speed).abs()
    }
}

/// Seconds of a typical run.
fn typical(speed: Speed) -> f64 {
    speed.service_time(Config::typical_steps()).seconds()
}

/// How far runs are from a prediction, the nearest first.
fn misfits(runs: &[Sample], speed: Speed) -> Vec<f64> {
    let mut misfits: Vec<_> = runs.iter().map(|run| run.misfit(speed)).collect();
    misfits.sort_unstable_by(f64::total_cmp);
    misfits
}

/// The least of the values that have half of the weight behind them.
fn weighted_median(mut values: Vec<(f64, f64)>) -> f64 {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut behind = 0.0;
    for &(value, weight) in &values {
        behind += weight;
        if behind >= half {
            return value;
        }
    }
    values.last().expect("there is a value").0
}

#[cfg(test)]
mod tests;
