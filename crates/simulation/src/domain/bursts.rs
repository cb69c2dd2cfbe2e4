//! Arrivals in bursts.

use scheduling::Generator;
use serde::{Deserialize, Serialize};

use crate::arrivals::Bursts;

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

    /// Those of one instance: requests at this mean interval, in bursts at no more than the `fastest` rate.
    pub(super) fn draw(&self, interval: f64, fastest: f64, draw: &mut Generator) -> Bursts {
        let begins = draw.uniform();
        let (peak, length) = (log_uniform(draw, self.peak), log_uniform(draw, self.length));
        let peak = peak.min(fastest * interval).max(1.0);
        Bursts::new(interval, peak, length, between(draw, self.requests), begins)
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
        let mut arrivals = bursts.draw(2.0, f64::INFINITY, &mut turn);
        let intervals: Vec<f64> =
            (0..100_000).map(|_| arrival.exponential(arrivals.next_mean(&mut turn))).collect();
        let count = intervals.len() as f64;
        let mean = intervals.iter().sum::<f64>() / count;
        assert!((mean - 2.0).abs() < 0.05, "{mean}");
        // Half at 0.2 s, half at 3.8 s: the mean square is 2 (0.04 + 14.44) / 2.
        let square = intervals.iter().map(|interval| interval * interval).sum::<f64>() / count;
        assert!((square - 14.48).abs() < 0.6, "{square}");
        let mut arrivals = Bursts::none(2.0);
        let intervals = (0..10_000).map(|_| arrival.exponential(arrivals.next_mean(&mut turn)));
        let square = intervals.map(|interval| interval * interval).sum::<f64>() / 1e4;
        assert!((square - 8.0).abs() < 0.5, "{square}");
    }
}
