//! The exact maximum over all servers and accepted steps of a request's reward minus what it costs others.

use std::ops::Range;

use crate::bounds::StepBounds;
use crate::offer::Offer;
use crate::policy::{Decision, Observation};
use crate::units::{Seconds, Steps};

/// The decision with the largest value `reward − cost(server, service time)`, and that value. The
/// reward is that of eq. (5), or its expectation where runs stray from their predictions. Of equal values the earliest finish wins, then the lowest server, then
/// the fewest steps.
///
/// `cost` must be finite and must not fall as the service time grows.
///
/// Nothing is approximated: the result is that of a plain loop over all offers and all steps within
/// their bounds, to the last bit. But most steps are never looked at. Among steps `a..=b` no value exceeds the best
/// quality up to `b` minus penalty, waiting and cost at `a`, since all only grow with the steps; rounding is
/// monotone, so this holds in floating point too; where runs stray it holds but for a small error, which is
/// added to the bound. A range whose bound is below the best value found
/// so far is skipped whole.
pub fn best_decision(
    observation: &Observation<'_>,
    cost: impl FnMut(usize, Seconds) -> f64,
) -> (Decision, f64) {
    if observation.offers.iter().all(|offer| offer.bounds == StepBounds::ALL) {
        // Almost always: constant ranges make it a tenth faster.
        best_among(observation, |_| 0..Steps::COUNT, cost)
    } else {
        best_among(observation, |offer| offer.bounds.indices(), cost)
    }
}

#[inline(always)]
fn best_among(
    observation: &Observation<'_>,
    accepted: impl Fn(&Offer) -> Range<usize>,
    mut cost: impl FnMut(usize, Seconds) -> f64,
) -> (Decision, f64) {
    let mut search = Search {
        observation,
        decision: Decision { server: 0, steps: observation.offers[0].bounds.min },
        value: f64::NEG_INFINITY,
        finish: f64::INFINITY,
    };
    // A coarse look at every server, so that there is something to be better than.
    for (server, offer) in observation.offers.iter().enumerate() {
        for range in ranges(accepted(offer), COARSE) {
            search.look_at(server, range.end - 1, &mut cost);
        }
    }
    for (server, offer) in observation.offers.iter().enumerate() {
        for range in ranges(accepted(offer), COARSE) {
            if !search.may_win(server, &range, &mut cost) {
                continue;
            }
            for range in ranges(range, FINE) {
                if search.may_win(server, &range, &mut cost) {
                    range.for_each(|index| search.look_at(server, index, &mut cost));
                }
            }
        }
    }
    (search.decision, search.value)
}

/// Steps that are bounded at once, first in large ranges, then in small ones.
const COARSE: usize = 40;
const FINE: usize = 8;

/// Cuts a range into ranges of `length`; the last may be shorter.
fn ranges(whole: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    let mut first = whole.start;
    // Not `step_by`, whose division is felt here.
    std::iter::from_fn(move || {
        let range = first..whole.end.min(first + length);
        first = range.end;
        (!range.is_empty()).then_some(range)
    })
}

struct Search<'a> {
    observation: &'a Observation<'a>,
    decision: Decision,
    value: f64,
    /// Time until the best decision so far would be finished.
    finish: f64,
}

impl Search<'_> {
    /// Evaluates one decision.
    fn look_at(
        &mut self,
        server: usize,
        index: usize,
        cost: &mut impl FnMut(usize, Seconds) -> f64,
    ) {
        let decision = Decision { server, steps: Steps::from_index(index) };
        let quality = self.observation.objective.qualities()[index];
        let value = self.value_of(decision, quality, cost);
        if value < self.value {
            return;
        }
        let finish = self.observation.time_to_finish(decision).seconds();
        if value > self.value || self.wins_tie(decision, finish) {
            (self.decision, self.value, self.finish) = (decision, value, finish);
        }
    }

    /// Whether a decision of the same value goes before the best so far.
    fn wins_tie(&self, decision: Decision, finish: f64) -> bool {
        let position = |decision: Decision| (decision.server, decision.steps);
        finish < self.finish
            || (finish == self.finish && position(decision) < position(self.decision))
    }

    /// Whether one of the steps in a range may go before the best so far.
    fn may_win(
        &self,
        server: usize,
        range: &Range<usize>,
        cost: &mut impl FnMut(usize, Seconds) -> f64,
    ) -> bool {
        let decision = Decision { server, steps: Steps::from_index(range.start) };
        let best_quality = self.observation.objective.best_qualities()[range.end - 1];
        let value = self.value_of(decision, best_quality, cost);
        let Observation { offers, objective, request, .. } = *self.observation;
        let offer = &offers[server];
        if !offer.spread.is_none() {
            // Expected penalties are computed to so much only, and so grow with the steps to so much only.
            let service = offer.service_time(decision.steps);
            let time_to_due = self.observation.time_to_due();
            let error = offer.error_of_penalty(request.penalty, service, time_to_due);
            return value + objective.tardiness_weight() * error >= self.value;
        }
        value > self.value
            || (value == self.value
                && self.observation.time_to_finish(decision).seconds() <= self.finish)
    }

    /// The value of a decision if its quality were `quality`.
    fn value_of(
        &self,
        decision: Decision,
        quality: f64,
        cost: &mut impl FnMut(usize, Seconds) -> f64,
    ) -> f64 {
        let Observation { offers, objective, request, .. } = *self.observation;
        let offer = &offers[decision.server];
        let service = offer.service_time(decision.steps);
        let time_to_due = self.observation.time_to_due();
        let penalty = offer.expected_penalty(request.penalty, service, time_to_due);
        let waiting = self.observation.waiting_cost(decision);
        quality - objective.tardiness_weight() * penalty - waiting - cost(decision.server, service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Generator, Objective, PowerLaw, Purpose, QualityCurve, Request, Sigma, Spread, StepRate,
        TardinessPenalty, Time, Traffic,
    };
    use proptest::prelude::*;

    fn plain_loop(
        observation: &Observation<'_>,
        cost: impl Fn(usize, Seconds) -> f64,
    ) -> (Decision, f64) {
        let mut best = (Decision { server: 0, steps: Steps::MIN }, f64::NEG_INFINITY);
        let mut earliest = f64::INFINITY;
        for (server, offer) in observation.offers.iter().enumerate() {
            for steps in Steps::all().filter(|&steps| offer.bounds.contains(steps)) {
                let decision = Decision { server, steps };
                let value = observation.reward(decision) - cost(server, offer.service_time(steps));
                let finish = observation.time_to_finish(decision).seconds();
                if value > best.1 || (value == best.1 && finish < earliest) {
                    best = (decision, value);
                    earliest = finish;
                }
            }
        }
        best
    }

    fn curve(kind: usize, draw: &mut Generator) -> QualityCurve {
        match kind {
            0 => QualityCurve::PAPER,
            1 => QualityCurve::PowerLaw(PowerLaw { best: 60.0, scale: 50.0, exponent: 0.7 }),
            // Neither monotone nor concave.
            _ => QualityCurve::Table(
                (1..=20)
                    .map(|i| (Steps::from_index(10 * i - 1), draw.between(0.0, 60.0)))
                    .collect(),
            ),
        }
    }

    proptest! {
        #[test]
        fn the_maximum_is_that_of_a_plain_loop(
            seed in any::<u64>(), servers in 1usize..12, kind in 0usize..3, weight in 0.0..4.0, waiting in 0.0..2.0_f64,
            bounds in (1u32..=200, 1u32..=200), slack in 0.0..30.0, longest in 0.0..40.0, largest_price in 0.0..6.0, convexity in 0.0..0.3,
        ) {
            let mut draw = Generator::new(seed, Purpose::Search, 0);
            // Whole numbers now and then, so that there are ties.
            let mut drawn = |high: f64| {
                let value = draw.between(0.0, high);
                if draw.below(2) == 0 { value.floor() } else { value }
            };
            let prices: Vec<_> = (0..servers).map(|_| drawn(largest_price)).collect();
            // As many rates as servers at most, so that some are alike.
            let rates: Vec<_> = (0..servers).map(|_| 1.0 + drawn(30.0)).collect();
            let mut offers: Vec<_> = (0..servers).map(|j| Offer {
                backlog: Seconds::of(drawn(longest)),
                load: Seconds::of((drawn(12.0) - 6.0).max(0.0)),
                overhead: Seconds::of(drawn(2.0)),
                step_rate: StepRate::new(rates[j * j % servers]).unwrap(),
                bounds: StepBounds::ALL,
                spread: Spread::default(),
                backlog_variance: 0.0,
            }).collect();
            let objective = Objective::new(curve(kind, &mut draw), weight).unwrap();
            // None half of the time.
            let objective = objective.with_waiting_weight((waiting - 1.0).max(0.0)).unwrap();
            let now = Time::new(17.3).unwrap();
            // Every number of steps half of the time, and on every other server in the other half.
            if draw.below(2) == 0 {
                let [min, max] = [bounds.0.min(bounds.1), bounds.0.max(bounds.1)].map(Steps::new);
                let bounds = StepBounds { min: min.unwrap(), max: max.unwrap() };
                offers.iter_mut().step_by(2).for_each(|offer| offer.bounds = bounds);
            }
            // Half of the time runs stray, on all servers or on some.
            if draw.below(2) == 0 {
                for offer in offers.iter_mut().step_by(1 + draw.below(2)) {
                    let sigma = draw.between(0.01, 1.0);
                    offer.spread = Spread::from(Sigma::new(sigma).unwrap());
                    offer.backlog_variance = draw.between(0.0, offer.backlog.seconds());
                }
            }
            for penalty in TardinessPenalty::ALL {
                // It waited for a while when it is decided again.
                let arrival = Time::new(17.3 - 3.0 * (weight - weight.floor())).unwrap();
                let request = Request::new(arrival, now + Seconds::of(slack), penalty);
                let observation = Observation {
                    now,
                    request: &request,
                    offers: &offers,
                    objective: &objective,
                    residencies: &[],
                    traffic: &Traffic::default(),
                };
                let cost = |server: usize, service: Seconds| {
                    let t = service.seconds();
                    prices[server] * t + convexity * t * t
                };
                prop_assert_eq!(
                    best_decision(&observation, cost), plain_loop(&observation, cost), "seed {}", seed
                );
            }
        }
    }
}
