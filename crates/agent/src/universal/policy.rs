use std::sync::Arc;

use scheduling::policies::{Myopic, best_decision};
use scheduling::{Decision, Observation, Policy, Seconds};

use super::features::Features;
use super::prices::{PriceNetwork, Scratch};

/// The universal agent: the exact maximum of this request's reward, eq. (5), minus learned prices
/// for the server time that it takes.
///
/// ```text
/// a_t = argmax over (j, s) of  r_t(j, s) − G · μ_j · f_j · p_j(s)
/// ```
///
/// Here p_j(s) is the service time, μ_j the full services that server j does in a second, G what a
/// full service gains, and f_j the network's output: the share of that gain which the time is worth
/// to the requests still to come.
#[derive(Clone, Debug)]
pub struct UniversalAgent {
    network: Arc<PriceNetwork>,
    cap: Option<Seconds>,
    features: Features,
    scratch: Scratch,
    replaced: u64,
}

/// The largest reward, in full services, that a decision may give up for the requests to come.
///
/// Even a request turned away with a single step gives up little more than one full service.
const SAFE_MARGIN: f64 = 1.5;

impl UniversalAgent {
    /// The policy of trained prices. With a cap, it plans no request to be later than that where
    /// another decision avoids it; where none does, it plans for the least tardiness.
    pub fn new(network: Arc<PriceNetwork>, cap: Option<Seconds>) -> Self {
        let (features, scratch) = (Features::default(), Scratch::default());
        Self { network, cap, features, scratch, replaced: 0 }
    }

    /// How many decisions the safe rule has replaced by [`Myopic`]'s: those whose prices were no
    /// numbers, and those that gave up more reward than any request to come could gain by it.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// What a second on each server costs, in reward.
    fn prices(&mut self, observation: &Observation<'_>) {
        self.features.observe(observation);
        self.network.forward(&self.features, &mut self.scratch);
    }

    /// The maximum under the current prices and the cap.
    fn best(&self, observation: &Observation<'_>, prices: &[f32]) -> Decision {
        let Features { gain, speed, .. } = &self.features;
        let latest = self.cap.map(|cap| (observation.time_to_due() + cap).seconds());
        let cost = |server: usize, service: Seconds| {
            let price = gain * speed[server] * f64::from(prices[server]);
            let over = latest
                .map_or(0.0, |latest| (observation.backlog[server] + service).seconds() - latest);
            // What is over the cap is worse than anything below it, and the less the better.
            let refusal = if over > 0.0 { 1e12 + 1e6 * over } else { 0.0 };
            price * service.seconds() + refusal
        };
        best_decision(observation, cost).0
    }

    /// Whether a decision gives up so much reward that it cannot be right.
    fn is_silly(&self, observation: &Observation<'_>, decision: Decision) -> bool {
        let least = |best: f64| best - SAFE_MARGIN * self.features.gain;
        let reward = observation.reward(decision);
        // No reward exceeds the best quality, so that the exact test is seldom needed.
        let [.., best_quality] = *observation.objective.best_qualities();
        reward < least(best_quality)
            && self.cap.is_none()
            && reward < least(observation.reward(Myopic.decide(observation)))
    }
}

impl Policy for UniversalAgent {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        self.prices(observation);
        if self.scratch.prices.iter().all(|price| price.is_finite()) {
            let decision = self.best(observation, &self.scratch.prices);
            if !self.is_silly(observation, decision) {
                return decision;
            }
        }
        self.replaced += 1;
        self.scratch.prices.fill(0.0);
        self.best(observation, &self.scratch.prices)
    }
}
