//! Arrivals in bursts.

use scheduling::{Generator, Seconds};
use serde::{Deserialize, Serialize};

use super::{DomainError, between, check_ranges, log_uniform};

/// How arrivals that are not Poisson's are drawn: spells of fast arrivals, and slow ones between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstDomain {
    /// Rate in a burst, in mean rates: logarithm uniform.
    pub peak: [f64; 2],
    /// Mean number of requests in a burst: logarithm uniform.
    pub length: [f64; 2],
    /// Share of the requests that come in bursts.
    pub requests: [f64; 2],
}

impl BurstDomain {
    pub(super) fn check(&self) -> Result<(), DomainError> {
        check_ranges(&[
            ("bursts.peak", self.peak, 1.0, 1000.0, "[low, high] in 1 to 1000"),
            ("bursts.length", self.length, 1.0, 1e5, "[low, high] in 1 to 1e5"),
            ("bursts.requests", self.requests, 0.0, 0.99, "[low, high] in 0 to 0.99"),
        ])
    }
}

/// The arrivals of one instance: a Poisson process whose rate changes, or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    interval: f64,
    /// What intervals in a burst are multiplied with, and those between.
    scales: [f64; 2],
    /// How likely a burst is to end with a request, and to begin.
    turns: [f64; 2],
    in_burst: bool,
}

impl Arrivals {
    /// Requests at this mean interval, in bursts at no more than the `fastest` rate.
    pub(super) fn new(
        interval: f64,
        fastest: f64,
        bursts: Option<&BurstDomain>,
        draw: &mut Generator,
    ) -> Self {
        let Some(bursts) = bursts else {
            return Self { interval, scales: [1.0; 2], turns: [0.0; 2], in_burst: false };
        };
        let begins = draw.uniform();
        let (peak, length) = (log_uniform(draw, bursts.peak), log_uniform(draw, bursts.length));
        let peak = peak.min(fastest * interval).max(1.0);
        let share = between(draw, bursts.requests);
        // Of all requests, `share` come in bursts; together they come at the mean interval.
        let scales = [1.0 / peak, (1.0 - share / peak) / (1.0 - share)];
        let turns = [1.0 / length, share / (1.0 - share) / length];
        Self { interval, scales, turns, in_burst: begins < share }
    }

    /// Time until the next request.
    pub(super) fn next(&mut self, arrival: &mut Generator, turn: &mut Generator) -> Seconds {
        let state = usize::from(!self.in_burst);
        if self.turns[state] > 0.0 && turn.uniform() < self.turns[state] {
            self.in_burst = !self.in_burst;
        }
        Seconds::of(arrival.exponential(self.interval * self.scales[state]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::Purpose;

    #[test]
    fn bursts_keep_the_mean_interval() {
        let bursts = BurstDomain { peak: [10.0, 10.0], length: [20.0, 20.0], requests: [0.5, 0.5] };
        let stream = |purpose| Generator::new(8, purpose, 0);
        let (mut arrival, mut turn) = (stream(Purpose::Arrival), stream(Purpose::Burst));
        let mut arrivals = Arrivals::new(2.0, f64::INFINITY, Some(&bursts), &mut turn);
        let intervals: Vec<f64> =
            (0..100_000).map(|_| arrivals.next(&mut arrival, &mut turn).seconds()).collect();
        let count = intervals.len() as f64;
        let mean = intervals.iter().sum::<f64>() / count;
        assert!((mean - 2.0).abs() < 0.05, "{mean}");
        // Half at 0.2 s, half at 3.8 s: the mean square is 2 (0.04 + 14.44) / 2.
        let square = intervals.iter().map(|interval| interval * interval).sum::<f64>() / count;
        assert!((square - 14.48).abs() < 0.6, "{square}");
        let mut arrivals = Arrivals::new(2.0, f64::INFINITY, None, &mut turn);
        let intervals = (0..10_000).map(|_| arrivals.next(&mut arrival, &mut turn).seconds());
        let square = intervals.map(|interval| interval * interval).sum::<f64>() / 1e4;
        assert!((square - 8.0).abs() < 0.5, "{square}");
    }
}
