//! From rows to what can be said: series by policy, means over instances and training seeds.

use simulation::{Estimate, Metrics, estimate};

use crate::results::InstanceRow;

/// The results of one policy at one point of one panel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) policy: String,
    pub(crate) x: Option<f64>,
    /// For each training seed, or once for what is not trained, the figures of each instance.
    pub(crate) seeds: Vec<Vec<Metrics>>,
}

/// A figure of [`Metrics`].
pub(crate) type Figure = fn(&Metrics) -> f64;

/// A value, its 95 % interval over instances, and how far training seeds lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finding {
    /// Mean over instances and training seeds, with the bootstrap interval over instances.
    pub(crate) estimate: Estimate,
    /// Lowest and highest mean of a training seed; none for what is not trained.
    pub(crate) seeds: Option<[f64; 2]>,
}

impl Finding {
    /// The range that holds both the interval and all training seeds.
    pub(crate) fn range(&self) -> [f64; 2] {
        let mean = self.estimate.mean;
        let [low, high] = self.estimate.ci95.unwrap_or([mean, mean]);
        let [least, most] = self.seeds.unwrap_or([mean, mean]);
        [low.min(least), high.max(most)]
    }

    /// The same after a change of unit, or of sign.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        self.each(|value| value * factor)
    }

    /// The same counted from elsewhere.
    pub(crate) fn plus(&self, offset: f64) -> Self {
        self.each(|value| value + offset)
    }

    fn each(&self, change: impl Fn(f64) -> f64) -> Self {
        let pair = |[low, high]: [f64; 2]| {
            let [a, b] = [change(low), change(high)];
            [a.min(b), a.max(b)]
        };
        let Estimate { mean, ci95 } = self.estimate;
        Self {
            estimate: Estimate { mean: change(mean), ci95: ci95.map(pair) },
            seeds: self.seeds.map(pair),
        }
    }
}

impl Series {
    /// The mean of a figure. The same seed resamples the same instances.
    pub(crate) fn mean(&self, figure: Figure, seed: u64) -> Finding {
        let values = self.seeds.iter().map(|metrics| metrics.iter().map(figure).collect());
        finding(&values.collect::<Vec<_>>(), seed)
    }

    /// The mean of the differences to another policy on common instances, pair by pair. All have
    /// instances 0, 1, …; the clairvoyant has fewer than others.
    pub(crate) fn difference(&self, other: &Self, figure: Figure, seed: u64) -> Finding {
        let theirs = &other.mean_over_seeds(figure);
        let pairs = self.seeds.iter().map(|ours| {
            ours.iter().zip(theirs).map(|(ours, theirs)| figure(ours) - theirs).collect()
        });
        finding(&pairs.collect::<Vec<_>>(), seed)
    }

    /// (policy − greedy) / (clairvoyant − greedy) in reward, on common instances.
    pub(crate) fn share_of_possible(
        &self,
        greedy: &Self,
        clairvoyant: &Self,
        seed: u64,
    ) -> Finding {
        let reward: Figure = |m| m.reward;
        let (greedy, clairvoyant) =
            (greedy.mean_over_seeds(reward), clairvoyant.mean_over_seeds(reward));
        let shares = self.seeds.iter().map(|ours| {
            let pairs = ours.iter().zip(greedy.iter().zip(&clairvoyant));
            pairs.map(|(ours, (g, c))| share_of_possible(ours.reward, *g, *c)).collect()
        });
        finding(&shares.collect::<Vec<_>>(), seed)
    }

    /// For each instance the mean over training seeds.
    pub(crate) fn mean_over_seeds(&self, figure: Figure) -> Vec<f64> {
        let count = self.seeds.len() as f64;
        (0..self.seeds[0].len())
            .map(|instance| {
                self.seeds.iter().map(|seed| figure(&seed[instance])).sum::<f64>() / count
            })
            .collect()
    }
}

/// How far a reward is on the way from greedy to the clairvoyant, on the same instance.
pub(crate) fn share_of_possible(reward: f64, greedy: f64, clairvoyant: f64) -> f64 {
    (reward - greedy) / (clairvoyant - greedy)
}

/// What to say of a share in per cent that is out of all proportion, as where greedy is nearly level
/// with the clairvoyant; none if its value says something.
pub(crate) fn out_of_proportion(percent: f64) -> Option<&'static str> {
    match percent {
        percent if !percent.is_finite() => Some("–"),
        percent if percent < -999.0 => Some("below −999"),
        percent if percent > 999.0 => Some("above 999"),
        _ => None,
    }
}

/// From values by training seed and instance.
pub(crate) fn finding(values: &[Vec<f64>], seed: u64) -> Finding {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let over_seeds: Vec<f64> = (0..values[0].len())
        .map(|instance| mean(&values.iter().map(|seed| seed[instance]).collect::<Vec<_>>()))
        .collect();
    let of_seeds = values.iter().map(|seed| mean(seed));
    let range = of_seeds.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    });
    let seeds = (values.len() > 1).then_some(range);
    Finding { estimate: estimate(&over_seeds, seed), seeds }
}

/// The series of a panel, in the order of its rows.
pub(crate) fn series(rows: &[InstanceRow], panel: &str) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    let mut last = None;
    for row in rows.iter().filter(|row| row.panel == panel) {
        let index = all
            .iter()
            .rposition(|series| series.policy == row.policy && series.x == row.x)
            .unwrap_or_else(|| {
                all.push(Series { policy: row.policy.clone(), x: row.x, seeds: Vec::new() });
                last = None;
                all.len() - 1
            });
        let key = Some((index, row.training_seed));
        if last != key {
            all[index].seeds.push(Vec::new());
            last = key;
        }
        let seeds = &mut all[index].seeds;
        seeds.last_mut().expect("one was pushed").push(row.metrics());
    }
    all
}

/// The policies of some series, each once, in their order.
pub(crate) fn policies(series: &[Series]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for series in series {
        if !names.contains(&series.policy.as_str()) {
            names.push(&series.policy);
        }
    }
    names
}

/// The episode from which on the mean reward of `window` updates stays within `share` of the mean
/// of the last tenth, from the rewards by episode; none if that is only at the very end.
pub(crate) fn convergence(rewards: &[f64], window: usize, share: f64) -> Option<usize> {
    let last = &rewards[rewards.len() - (rewards.len() / 10).max(1)..];
    let end = last.iter().sum::<f64>() / last.len() as f64;
    let smooth = smoothed(rewards, window);
    let outside = smooth.iter().rposition(|reward| (reward - end).abs() > share * end.abs());
    let from = outside.map_or(0, |index| index + 1);
    (from + last.len() <= smooth.len()).then_some(from + window)
}

/// Means of `window` neighbours; the first is that of the first window.
pub(crate) fn smoothed(values: &[f64], window: usize) -> Vec<f64> {
    values.windows(window).map(|values| values.iter().sum::<f64>() / window as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::Row;

    fn metrics(reward: f64) -> Metrics {
        let row = Row {
            request: 0,
            server: 0,
            steps: 1,
            arrival: 0.0,
            start: 0.0,
            finish: 0.0,
            due: 0.0,
            tardiness: 0.0,
            penalty: 0.0,
            quality: reward,
            reward,
            beyond: None,
        };
        Metrics::of(&[row])
    }

    fn series_of(seeds: &[&[f64]]) -> Series {
        let seeds = seeds.iter().map(|s| s.iter().map(|&r| metrics(r)).collect()).collect();
        Series { policy: "p".into(), x: None, seeds }
    }

    #[test]
    fn a_finding_has_interval_and_seeds() {
        let series = series_of(&[&[1.0, 2.0, 3.0], &[3.0, 4.0, 5.0]]);
        let finding = series.mean(|m| m.reward, 1);
        assert_eq!(finding.estimate.mean, 3.0);
        assert_eq!(finding.seeds, Some([2.0, 4.0]));
        let [low, high] = finding.range();
        assert_eq!((low, high), (2.0, 4.0));
        let rule = series_of(&[&[1.0, 2.0]]).mean(|m| m.reward, 1);
        assert_eq!(rule.seeds, None);
    }

    #[test]
    fn differences_are_paired() {
        let rule = series_of(&[&[100.0, -50.0, 7.0]]);
        let agent = series_of(&[&[101.0, -49.0, 8.0], &[103.0, -47.0, 10.0]]);
        let finding = agent.difference(&rule, |m| m.reward, 1);
        assert_eq!(finding.estimate.mean, 2.0);
        assert_eq!(finding.estimate.ci95, Some([2.0, 2.0]));
        assert_eq!(finding.seeds, Some([1.0, 3.0]));
        assert_eq!(finding.scaled(100.0).seeds, Some([100.0, 300.0]));
    }

    #[test]
    fn the_share_of_the_possible_is_taken_where_the_possible_is_known() {
        let (greedy, possible) = (series_of(&[&[50.0, 40.0, 0.0]]), series_of(&[&[60.0, 50.0]]));
        let agent = series_of(&[&[55.0, 45.0, 99.0], &[57.0, 47.0, 99.0]]);
        let share = agent.share_of_possible(&greedy, &possible, 1);
        assert!((share.estimate.mean - 0.6).abs() < 1e-12, "{share:?}");
        assert_eq!(share.seeds, Some([0.5, 0.7]));
        assert_eq!(possible.share_of_possible(&greedy, &possible, 1).estimate.mean, 1.0);
        assert_eq!(possible.difference(&agent, |m| m.reward, 1).estimate.mean, 4.0);
    }

    #[test]
    fn convergence_is_where_the_curve_stays() {
        let curve: Vec<f64> = (0..1000).map(|e| if e < 400 { -500.0 } else { 60.0 }).collect();
        let episode = convergence(&curve, 50, 0.005).unwrap();
        assert!((449..=450).contains(&episode), "{episode}");
        let rising: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(convergence(&rising, 50, 0.005), None);
        assert_eq!(convergence(&[60.0; 200], 50, 0.005), Some(50));
    }
}
