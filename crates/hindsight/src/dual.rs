//! The certified upper bound: prices for the time of the servers that make it small.
//!
//! Whatever the prices π ≥ 0, no schedule earns more than
//!
//! ```text
//! L(π) = Σ_i v_i(π) + Σ_j ∫ π_j(t) dt        (v_i: see `pricing`)
//! ```
//!
//! since a schedule never uses a second of a server twice. L is convex; Adam descends on it, against
//! a pool of columns per request that exact maxima feed, on bins that get finer.

use rayon::prelude::*;

use crate::ceilings::Ceilings;
use crate::prices::Prices;
use crate::pricing::{Column, maxima};
use crate::problem::Problem;
use crate::timeline::Timeline;

/// Prices, and what they prove.
#[derive(Clone, Debug)]
pub(crate) struct Dual {
    pub(crate) prices: Prices,
    /// No schedule earns more in total.
    pub(crate) bound: f64,
    /// How much of the bound is there for rounding alone.
    pub(crate) rounding: f64,
}

/// Widths of the bins as shares of [`Problem::time_scale`]: about 2, 1, 0.5 and 0.25 s in the
/// paper's setting.
const WIDTHS: [f64; 4] = [1.0 / 9.0, 1.0 / 18.0, 1.0 / 36.0, 1.0 / 72.0];
/// Steps of the descent on each of the widths, as shares of all.
const SHARES: [f64; 4] = [0.2, 0.2, 0.25, 0.35];
/// Steps of the descent between two exact evaluations.
const BETWEEN_EXACT: usize = 10;
/// More bins than this make the finest width wider.
const MOST_BINS: f64 = 4e6;
/// Columns kept for each request.
const POOL: usize = 48;

/// Descends for `steps` steps, or until `watch` says no; `watch` gets the share of the steps done
/// and the best bound in total.
pub(crate) fn descend(
    problem: &Problem<'_>,
    timeline: Timeline,
    steps: usize,
    mut watch: impl FnMut(f64, f64) -> bool,
) -> Dual {
    let mut descent = Descent::new(problem, timeline);
    let mut best = descent.exact();
    let mut done = 0usize;
    for (level, share) in SHARES.iter().enumerate() {
        // Slots are the bins already.
        if level > 0 && timeline == Timeline::Continuous {
            descent.refine();
        }
        let here = ((steps as f64 * share) as usize).max(1);
        for step in 0..here {
            descent.step(&Pace::new(level, step as f64 / here as f64, problem));
            done += 1;
            if (step + 1) % BETWEEN_EXACT == 0 || step + 1 == here {
                let dual = descent.exact();
                if dual.bound < best.bound {
                    best = dual;
                }
                if !watch((done as f64 / steps as f64).min(1.0), best.bound) {
                    return best;
                }
            }
        }
        // The mean of the last iterates is steadier than any one of them.
        if let Some(dual) = descent.settle()
            && dual.bound < best.bound
        {
            best = dual;
        }
    }
    best
}

/// How boldly to step.
struct Pace {
    /// Adam's step, in price.
    rate: f64,
    /// Temperature of the soft maximum over the pool, in reward.
    temperature: f64,
    /// Whether this iterate counts for the mean.
    counts: bool,
}

impl Pace {
    fn new(level: usize, share: f64, problem: &Problem<'_>) -> Self {
        let reward = problem.quality_range();
        let price = reward / problem.time_scale();
        let cooling = 0.5f64.powf(level as f64) * 0.1f64.powf(share);
        Self {
            rate: price * 0.3 * cooling.max(0.01),
            temperature: reward * 0.02 * cooling.max(0.02),
            counts: share >= 0.6,
        }
    }
}

struct Descent<'a> {
    problem: &'a Problem<'a>,
    timeline: Timeline,
    ceilings: Ceilings,
    prices: Prices,
    rates: Vec<Vec<f64>>,
    /// Adam's two moments of the gradient, by server and bin.
    moments: Vec<Vec<(f64, f64)>>,
    /// Steps since the moments were last reset.
    age: i32,
    pool: Vec<Vec<Column>>,
    mean: Vec<Vec<f64>>,
    counted: f64,
}

impl<'a> Descent<'a> {
    fn new(problem: &'a Problem<'a>, timeline: Timeline) -> Self {
        let origin = timeline.start(problem.arrival[0]);
        let end = end_of_prices(problem);
        let finest = WIDTHS[WIDTHS.len() - 1] * problem.time_scale();
        let bins = problem.servers() as f64 * (end - origin) / finest;
        let coarser = (bins / MOST_BINS).max(1.0);
        let width = match timeline {
            Timeline::Continuous => WIDTHS[0] * problem.time_scale() * coarser,
            Timeline::Slots(slot) => slot.seconds(),
        };
        let prices = Prices::free(problem.servers(), origin, end, width);
        let mut descent = Self {
            problem,
            timeline,
            ceilings: Ceilings::new(problem),
            rates: Vec::new(),
            moments: Vec::new(),
            age: 0,
            pool: vec![Vec::new(); problem.requests()],
            mean: Vec::new(),
            counted: 0.0,
            prices,
        };
        descent.reset();
        descent
    }

    fn reset(&mut self) {
        self.rates = self.prices.rates();
        self.moments = vec![vec![(0.0, 0.0); self.prices.bins]; self.problem.servers()];
        self.mean = vec![vec![0.0; self.prices.bins]; self.problem.servers()];
        self.age = 0;
        self.counted = 0.0;
    }

    fn refine(&mut self) {
        self.prices = self.prices.refined();
        self.reset();
    }

    /// The bound at the present prices; feeds the pool.
    fn exact(&mut self) -> Dual {
        let hints: Vec<f64> = (self.pool.par_iter())
            .map(|pool| {
                let value = |c: &Column| c.reward - self.prices.between(c.server, c.start, c.until);
                pool.iter().map(value).fold(f64::NEG_INFINITY, f64::max)
            })
            .collect();
        let found = maxima(self.problem, &self.ceilings, &self.prices, self.timeline, &hints);
        for (pool, best) in self.pool.iter_mut().zip(&found) {
            pool.extend(&best.columns);
            if pool.len() > POOL {
                let value = |c: &Column| c.reward - self.prices.between(c.server, c.start, c.until);
                pool.sort_by(|a, b| value(b).total_cmp(&value(a)));
                pool.truncate(POOL * 3 / 4);
            }
        }
        let values: f64 = found.iter().map(|best| best.value).sum();
        let rounding = self.rounding();
        let bound = values + self.prices.total() + rounding;
        Dual { prices: self.prices.clone(), bound, rounding }
    }

    /// More than all rounding in the bound can amount to.
    ///
    /// A value v_i is a handful of operations on numbers no larger than the qualities, Π and the
    /// price of the rounding of a time: each of them is off by 2⁻⁵³ of that at most, and the sum
    /// over the requests by n · 2⁻⁵³ of itself. 64 times that leaves room.
    fn rounding(&self) -> f64 {
        let n = self.problem.requests() as f64;
        let quality = self.problem.quality.iter().fold(0.0, |most: f64, q| most.max(q.abs()));
        let paid = (0..self.problem.servers()).map(|j| self.prices.whole(j)).fold(0.0, f64::max);
        let dearest = self.rates.iter().flatten().copied().fold(0.0, f64::max);
        let latest = self.prices.edge(self.prices.bins) + self.problem.longest_service();
        64.0 * f64::EPSILON * n * (quality * n.max(1.0).sqrt() + paid + dearest * latest)
    }

    /// One step of Adam on the smoothed bound over the pool.
    fn step(&mut self, pace: &Pace) {
        let usage = self.usage(pace.temperature);
        self.age += 1;
        let (first, second) = (0.9f64, 0.99f64);
        let (bias1, bias2) = (1.0 - first.powi(self.age), 1.0 - second.powi(self.age));
        let (width, counts) = (self.prices.width, pace.counts);
        (self.rates.par_iter_mut())
            .zip(self.moments.par_iter_mut())
            .zip(self.mean.par_iter_mut())
            .zip(usage.par_iter())
            .for_each(|(((rates, moments), mean), usage)| {
                for (((rate, m), mean), used) in rates.iter_mut().zip(moments).zip(mean).zip(usage)
                {
                    let gradient = 1.0 - used / width;
                    if *rate == 0.0 && gradient > 0.0 {
                        *m = (0.0, m.1);
                        continue;
                    }
                    m.0 += (1.0 - first) * (gradient - m.0);
                    m.1 += (1.0 - second) * (gradient * gradient - m.1);
                    let step = pace.rate * (m.0 / bias1) / ((m.1 / bias2).sqrt() + 1e-3);
                    *rate = (*rate - step).max(0.0);
                    if counts {
                        *mean += *rate;
                    }
                }
            });
        self.counted += f64::from(u8::from(counts));
        self.prices.set_rates(&self.rates);
    }

    /// Seconds of each bin that the requests would use, each spread over its pool by a soft maximum.
    fn usage(&self, temperature: f64) -> Vec<Vec<f64>> {
        let shares: Vec<Vec<f64>> = (self.pool.par_iter())
            .with_min_len(64)
            .map(|pool| soft_maximum(pool, &self.prices, temperature))
            .collect();
        // Each run is a step up and a step down of the running sum over the bins.
        let mut change = vec![vec![0.0; self.prices.bins + 2]; self.problem.servers()];
        let width = self.prices.width;
        for (column, share) in self.pool.iter().flatten().zip(shares.iter().flatten()) {
            if *share > 0.0 {
                let change = &mut change[column.server];
                for (time, sign) in [(column.start, *share), (column.until, -*share)] {
                    let bin = self.prices.bin(time);
                    let rest = (self.prices.edge(bin + 1) - time) * sign;
                    change[bin] += rest;
                    change[bin + 1] += width * sign - rest;
                }
            }
        }
        change.par_iter_mut().for_each(|change| {
            let mut sum = 0.0;
            for change in change {
                sum += *change;
                *change = sum;
            }
        });
        change
    }

    /// The bound at the mean of the iterates that counted, and goes on from there.
    fn settle(&mut self) -> Option<Dual> {
        if self.counted == 0.0 {
            return None;
        }
        for (rates, mean) in self.rates.iter_mut().zip(&self.mean) {
            for (rate, mean) in rates.iter_mut().zip(mean) {
                *rate = mean / self.counted;
            }
        }
        self.prices.set_rates(&self.rates);
        Some(self.exact())
    }
}

/// How much of a request each of its columns gets: exp(value / temperature), scaled to sum 1.
fn soft_maximum(pool: &[Column], prices: &Prices, temperature: f64) -> Vec<f64> {
    let mut shares: Vec<f64> =
        pool.iter().map(|c| c.reward - prices.between(c.server, c.start, c.until)).collect();
    let best = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for share in &mut shares {
        let below = (*share - best) / temperature;
        *share = if below > -16.0 { libm::exp(below) } else { 0.0 };
        sum += *share;
    }
    for share in &mut shares {
        *share /= sum;
    }
    shares
}

/// Where prices may end without costing much: long enough after the last arrival for all that
/// could still wait. Any end gives a valid bound.
pub(crate) fn end_of_prices(problem: &Problem<'_>) -> f64 {
    let last = problem.arrival.iter().copied().fold(0.0, f64::max);
    let due = problem.due.iter().copied().fold(last, f64::max);
    // A request gives up waiting where the penalty eats all that steps can add, at the latest when
    // the cluster could have run every request with all steps.
    let work = problem.requests() as f64 * problem.time_scale() / problem.servers() as f64;
    let most = problem.quality_range() / problem.weight.max(1e-9);
    let patience = (0..problem.requests()).map(|i| match problem.penalty[i] {
        scheduling::TardinessPenalty::Linear => most,
        scheduling::TardinessPenalty::Quadratic => most.sqrt(),
        scheduling::TardinessPenalty::SquareRoot => most * most,
    });
    due + problem.longest_service() + patience.fold(0.0, f64::max).min(work)
}

#[cfg(test)]
#[path = "../tests/paper/mod.rs"]
pub(crate) mod paper;

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use scheduling::verify::Order;

    use super::*;
    use crate::exact::exact;

    /// The Lagrangian bound by itself, without the exact method to close it, on 36 instances from
    /// idle to overloaded.
    #[test]
    fn prices_alone_bound_the_optimum_of_small_instances() {
        let mut excess = Vec::new();
        for (requests, servers) in [(5, 1), (6, 2), (8, 2), (8, 3)] {
            for interval in [0.5, 2.0, 8.0] {
                for seed in 1..=3 {
                    let instance = super::paper::instance(seed, servers, requests, interval);
                    let problem = Problem::new(&instance);
                    let dual = descend(&problem, Timeline::Continuous, 200, |_, _| true);
                    let go_on = || ControlFlow::Continue(());
                    let best = exact(&instance, Order::Any, Timeline::Continuous, go_on).unwrap();
                    let best = best.outcome.schedule().unwrap().reward;
                    let above = dual.bound / requests as f64 - best;
                    assert!(
                        above >= 0.0,
                        "{requests} on {servers}, {interval} s, seed {seed}: {above}"
                    );
                    excess.push(above);
                }
            }
        }
        let mean = excess.iter().sum::<f64>() / excess.len() as f64;
        let most = excess.iter().copied().fold(0.0, f64::max);
        println!("bound − optimum on {} instances: mean {mean:.4}, most {most:.4}", excess.len());
        assert!(mean <= 0.05, "{mean}");
    }

    #[test]
    fn the_bound_only_falls_and_prices_stay_prices() {
        let instance = super::paper::instance(5, 3, 60, 1.5);
        let problem = Problem::new(&instance);
        let mut bounds = vec![f64::INFINITY];
        let dual = descend(&problem, Timeline::Continuous, 80, |_, bound| {
            bounds.push(bound);
            true
        });
        assert!(bounds.is_sorted_by(|a, b| a >= b), "{bounds:?}");
        assert!(dual.prices.paid.iter().all(|paid| paid[0] == 0.0 && paid.is_sorted()));
        assert!(dual.rounding > 0.0 && dual.rounding < 1e-6, "{}", dual.rounding);
    }
}
