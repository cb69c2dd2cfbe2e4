//! Arrivals in bursts.

use scheduling::Generator;
use serde::{Deserialize, Serialize};

use crate::arrivals::Bursts;

use super::{DomainError, between, check_ranges, log_uniform};

/// How arrivals that are not Poisson's are drawn: spells of fast arrivals, and slow ones between. Where there are
/// also pauses, some of the instances have either, both or none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstDomain {
    /// Rate in a burst, in mean rates: logarithm uniform.
    pub peak: [f64; 2],
    /// Mean number of requests in a burst: logarithm uniform.
    pub length: [f64; 2],
    /// Share of the requests that come in bursts.
    pub requests: [f64; 2],
    /// Traffic also rests, as at night.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pauses: Option<PauseDomain>,
}

/// How pauses are drawn: now and then hardly anybody comes for long, and faster the rest of the time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseDomain {
    /// Mean number of requests from pause to pause: logarithm uniform.
    pub every: [f64; 2],
    /// Share of the time that pauses take.
    pub time: [f64; 2],
}

/// Shares of the instances that have bursts and pauses, where there are both. Who sees bursts everywhere pays
/// for them in calm traffic as well.
const WITH_BURSTS: f64 = 0.6;
const WITH_PAUSES: f64 = 0.5;

impl BurstDomain {
    pub(super) fn check(&self) -> Result<(), DomainError> {
        check_ranges(&[
            ("bursts.peak", self.peak, 1.0, 1000.0, "[low, high] in 1 to 1000"),
            ("bursts.length", self.length, 1.0, 1e5, "[low, high] in 1 to 1e5"),
            ("bursts.requests", self.requests, 0.0, 0.99, "[low, high] in 0 to 0.99"),
        ])?;
        self.pauses.map_or(Ok(()), |PauseDomain { every, time }| {
            check_ranges(&[
                ("bursts.pauses.every", every, 2.0, 1e5, "[low, high] in 2 to 1e5"),
                ("bursts.pauses.time", time, 0.0, 0.99, "[low, high] in 0 to 0.99"),
            ])
        })
    }

    /// Those of one instance: bursts with requests at no more than so many mean rates, and pauses.
    pub(super) fn draw(&self, fastest: f64, draw: &mut Generator) -> Vec<Bursts> {
        let begins = draw.uniform();
        let (peak, length) = (log_uniform(draw, self.peak), log_uniform(draw, self.length));
        let requests = between(draw, self.requests);
        let bursts = |fastest: f64| Bursts::new(fastest.clamp(1.0, peak), length, requests, begins);
        let Some(pauses) = self.pauses else { return vec![bursts(fastest)] };
        let any = draw.uniform() < WITH_BURSTS;
        let pauses = pauses.draw(draw);
        // Who rests is faster the rest of the time.
        let faster = pauses.as_ref().map_or(1.0, |&(faster, _)| faster);
        let bursts = any.then(|| bursts(fastest / faster));
        bursts.into_iter().chain(pauses.map(|(_, pauses)| pauses)).collect()
    }
}

impl PauseDomain {
    /// How much faster requests come between pauses, which are bursts of one long interval each.
    fn draw(&self, draw: &mut Generator) -> Option<(f64, Bursts)> {
        let any = draw.uniform() < WITH_PAUSES;
        let every = log_uniform(draw, self.every);
        let faster = 1.0 / (1.0 - between(draw, self.time));
        any.then(|| (faster, Bursts::new(faster, every - 1.0, 1.0 - 1.0 / every, 0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::Purpose;

    /// Mean and mean square of so many intervals with the mean 2.
    fn moments(bursts: &BurstDomain, count: usize) -> (f64, f64) {
        let stream = |purpose| Generator::new(8, purpose, 0);
        let (mut arrival, mut turn) = (stream(Purpose::Arrival), stream(Purpose::Burst));
        let mut bursts = bursts.draw(f64::INFINITY, &mut turn);
        let mut interval = || {
            let scale: f64 = bursts.iter_mut().map(|bursts| bursts.next_scale(&mut turn)).product();
            arrival.exponential(2.0 * scale)
        };
        let (mut mean, mut square) = (0.0, 0.0);
        for _ in 0..count {
            let interval = interval();
            mean += interval / count as f64;
            square += interval * interval / count as f64;
        }
        (mean, square)
    }

    #[test]
    fn bursts_keep_the_mean_interval() {
        let bursts = BurstDomain {
            peak: [10.0, 10.0],
            length: [20.0, 20.0],
            requests: [0.5, 0.5],
            pauses: None,
        };
        let (mean, square) = moments(&bursts, 100_000);
        assert!((mean - 2.0).abs() < 0.05, "{mean}");
        // Half at 0.2 s, half at 3.8 s: the mean square is 2 (0.04 + 14.44) / 2.
        assert!((square - 14.48).abs() < 0.6, "{square}");
    }

    #[test]
    fn pauses_take_their_share_of_the_time() {
        let pauses = Some(PauseDomain { every: [100.0, 100.0], time: [0.5, 0.5] });
        let bursts =
            BurstDomain { peak: [1.0, 1.0], length: [20.0, 20.0], requests: [0.5, 0.5], pauses };
        let paused = |domain: &BurstDomain, seed| {
            domain.draw(f64::INFINITY, &mut Generator::new(seed, Purpose::Burst, 0)).len() == 2
        };
        let half = (0..100).filter(|&seed| paused(&bursts, seed)).count();
        assert!((35..65).contains(&half), "{half}");
        let seed = (0..100).find(|&seed| paused(&bursts, seed)).unwrap();
        let (mut arrival, mut turn) =
            (Generator::new(seed, Purpose::Arrival, 0), Generator::new(seed, Purpose::Burst, 0));
        let mut drawn = bursts.draw(f64::INFINITY, &mut turn);
        let (mut all, mut rest, mut pauses) = (0.0, 0.0, 0);
        for _ in 0..100_000 {
            let scale: f64 = drawn.iter_mut().map(|bursts| bursts.next_scale(&mut turn)).product();
            let interval = arrival.exponential(scale);
            all += interval / 1e5;
            if scale > 1.0 {
                (rest, pauses) = (rest + interval / 1e5, pauses + 1);
            }
        }
        assert!((0.93..1.07).contains(&all) && (0.45..0.55).contains(&rest), "{all} {rest}");
        assert!((900..1100).contains(&pauses), "{pauses}");
    }
}
