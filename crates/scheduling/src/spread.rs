//! What tardiness costs on average where runs stray from their predictions.
//!
//! A run of a server takes its prediction p times exp(σ z − σ²/2), z standard normal: p on average, with
//! the variance (κ p)², κ² = exp(σ²) − 1. What waits ahead of a request strays, too, so that its finish
//! has the mean m and the variance v = v_backlog + (κ p)². It is taken for a shifted lognormal of that mean
//! and variance, with the shape of a single run of the server:
//!
//! ```text
//! T = m + A (X − 1),   X = exp(σ z − σ²/2),   A = √v / κ
//! ```
//!
//! Behind an empty queue that is the very distribution of the finish. And wherever z is, T grows with p, since
//! dA/dp ≤ 1: more steps are never expected to cost less tardiness, which the exact maximum relies on.

mod normal;
mod root;

use serde::{Deserialize, Serialize};

use crate::luck::Sigma;
use crate::objective::TardinessPenalty;
use crate::units::Seconds;

/// How far the runs of a server stray from their predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Sigma", into = "Sigma")]
pub struct Spread {
    sigma: f64,
    /// κ: the standard deviation of a run, relative to its prediction.
    kappa: f64,
    /// The table for √t.
    shape: u8,
}

impl From<Sigma> for Spread {
    fn from(sigma: Sigma) -> Self {
        let sigma = f64::from(sigma);
        if sigma == 0.0 {
            return Self::default();
        }
        let kappa = libm::sqrt(libm::expm1(sigma * sigma));
        Self { sigma, kappa, shape: root::shape(sigma) }
    }
}

impl From<Spread> for Sigma {
    fn from(spread: Spread) -> Self {
        spread.sigma()
    }
}

impl Spread {
    /// Standard deviation of the logarithm of a run's time.
    pub fn sigma(&self) -> Sigma {
        Sigma::new(self.sigma).expect("it was made of one")
    }

    /// Whether predictions come true.
    pub fn is_none(&self) -> bool {
        self.sigma == 0.0
    }

    /// Variance of a run that is predicted to take so long, in s².
    pub fn variance(&self, service: Seconds) -> f64 {
        let deviation = self.kappa * service.seconds();
        deviation * deviation
    }

    /// How much longer a run takes on average, and the variance of that in s², if it was predicted to take
    /// `service` and has run for `elapsed`.
    ///
    /// The longer it has run beyond its prediction, the longer it is expected to go on.
    pub fn remaining(&self, service: Seconds, elapsed: Seconds) -> (Seconds, f64) {
        let (service, elapsed) = (service.seconds(), elapsed.seconds());
        if elapsed <= 0.0 || service <= 0.0 || self.is_none() {
            let remaining = (service - elapsed).max(0.0);
            return (Seconds::of(remaining), self.variance(Seconds::of(service)));
        }
        // Beyond this the tails are too thin for floating point; the mean no longer changes much.
        let elapsed_share = elapsed / service;
        let beyond = (libm::log(elapsed_share) / self.sigma + 0.5 * self.sigma).min(30.0);
        let tail = |moment: f64| normal::tail(beyond - moment * self.sigma);
        let share = tail(0.0);
        let mean = service * tail(1.0) / share;
        let square = service * service * (1.0 + self.kappa * self.kappa) * tail(2.0) / share;
        let remaining = (mean - elapsed).max(0.0);
        (Seconds::of(remaining), (square - mean * mean).max(0.0))
    }

    /// E g((T − D)⁺) for a finish T that is `late` after the due time D on average, before it if that is
    /// negative, and has this variance.
    ///
    /// Closed forms for t and t², from a table of the normal distribution that errs by less than 1e-9; a table
    /// for √t, which errs by less than 1e-3 of √A and of itself where
    /// σ is below 1, and by up to 3 % beyond.
    pub(crate) fn penalty(&self, penalty: TardinessPenalty, late: f64, variance: f64) -> f64 {
        let deviation = variance.sqrt();
        if penalty == TardinessPenalty::SquareRoot {
            return root::mean_root(self.shape, late, deviation);
        }
        let scale = deviation / self.kappa;
        // D in units of X: below 0 no finish is in time.
        let threshold = 1.0 - late / scale;
        if threshold <= 0.0 {
            return if penalty == TardinessPenalty::Linear { late } else { late * late + variance };
        }
        let beyond = libm::log(threshold) / self.sigma + 0.5 * self.sigma;
        // Share of the finishes after the due time, and first moments of X there.
        let share = normal::cdf(-beyond);
        let first = normal::cdf(self.sigma - beyond);
        match penalty {
            TardinessPenalty::Quadratic => {
                let second =
                    (1.0 + self.kappa * self.kappa) * normal::cdf(2.0 * self.sigma - beyond);
                let square = second - threshold * (2.0 * first - threshold * share);
                scale * scale * square.max(0.0)
            }
            _ => scale * (first - threshold * share).max(0.0),
        }
    }

    /// By how much two expected penalties that are equal may differ, as they are computed.
    pub(crate) fn error(&self, penalty: TardinessPenalty, late: f64, variance: f64) -> f64 {
        let scale = variance.sqrt() / self.kappa + late.abs();
        match penalty {
            TardinessPenalty::Linear => 1e-7 * scale,
            TardinessPenalty::Quadratic => 1e-7 * scale * scale,
            TardinessPenalty::SquareRoot => 2e-4 * scale.sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TardinessPenalty::{Linear, Quadratic, SquareRoot};

    fn spread(sigma: f64) -> Spread {
        Sigma::new(sigma).unwrap().into()
    }

    /// E f(z) by the rectangle rule, which is exact for what is smooth.
    fn mean(f: impl Fn(f64) -> f64) -> f64 {
        let step = 1e-4;
        let points = -90_000..=90_000;
        points.map(|i| f(f64::from(i) * step) * normal::density(f64::from(i) * step) * step).sum()
    }

    #[test]
    fn expected_penalties_are_those_of_the_distribution() {
        for sigma in [0.012, 0.05, 0.2, 0.34, 0.8, 1.5] {
            let spread = spread(sigma);
            let service = 7.0;
            for variance_ahead in [0.0, 2.5] {
                let variance = variance_ahead + spread.variance(Seconds::of(service));
                let finish = 3.0 + service;
                for due in [-30.0, -2.0, 0.0, 4.0, 6.0, 9.0, 9.9, 10.0, 10.2, 12.0, 16.0, 40.0] {
                    for penalty in [Linear, Quadratic, SquareRoot] {
                        let own = spread.penalty(penalty, finish - due, variance);
                        let kappa = spread.kappa;
                        let expected = mean(|z| {
                            let x = libm::exp(sigma * z - 0.5 * sigma * sigma);
                            let lateness = finish + variance.sqrt() / kappa * (x - 1.0) - due;
                            penalty.at(Seconds::of(lateness))
                        });
                        let error = match penalty {
                            // Its shape is that of the next larger table.
                            SquareRoot => {
                                let relative = if sigma < 1.0 { 1e-3 } else { 3e-2 };
                                relative * ((variance.sqrt() / kappa).sqrt() + expected)
                            }
                            _ => 0.5 * spread.error(penalty, finish - due, variance) + 1e-7,
                        };
                        assert!(
                            (own - expected).abs() <= error,
                            "sigma {sigma}, {variance_ahead} s² ahead, due {due}, {penalty:?}: {own} {expected} {error}"
                        );
                    }
                }
            }
        }
    }
}
