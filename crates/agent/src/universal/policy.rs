use std::sync::Arc;

use scheduling::policies::{Myopic, best_decision};
use scheduling::{Decision, Objective, Observation, Offer, Policy, Seconds};

use super::features::Features;
use super::prices::{Clusters, PriceNetwork, Prices};

/// The universal agent: the exact maximum of this request's reward, eq. (5), minus what the server
/// time that it takes costs the requests still to come.
///
/// ```text
/// a_t = argmax over (j, s) of  r_t(j, s) − G · (σ_j q (f_j + h_j q) + σ̄ e_j),   q = μ_j p_j(s)
/// ```
///
/// Here p_j(s) is the service time, μ_j the full services that server j does in a second, q the share
/// of a full service, G what a full service gains, and f_j, h_j and e_j are the [`PriceNetwork`]'s. σ_j is how
/// much dearer than usual the time of server j is because whoever comes next will be late, and σ̄ the mean of
/// all servers; outside fleets both are 1.
#[derive(Clone, Debug)]
pub struct UniversalAgent {
    networks: PriceNetworks,
    /// The network that has set the present prices.
    clusters: Clusters,
    cap: Option<Seconds>,
    features: Features,
    prices: Prices,
    replaced: u64,
}

/// The networks of an agent: one for all clusters without models, and one for fleets if it has learned
/// there.
#[derive(Clone, Debug)]
pub struct PriceNetworks {
    /// Where servers draw with every model alike.
    pub plain: Arc<PriceNetwork>,
    /// Where they load models.
    pub fleets: Option<Arc<PriceNetwork>>,
}

impl PriceNetworks {
    /// The one that sets the prices where servers load models, or where none does.
    pub(crate) fn setting(&self, loads_models: bool) -> &PriceNetwork {
        self.fleets.as_ref().filter(|_| loads_models).unwrap_or(&self.plain)
    }
}

impl From<Arc<PriceNetwork>> for PriceNetworks {
    /// An agent that has never seen a fleet.
    fn from(plain: Arc<PriceNetwork>) -> Self {
        Self { plain, fleets: None }
    }
}

/// The largest reward, in gains of a full service, that a decision may give up for the requests to
/// come. Even a request turned away with a single step gives up little more than one.
const SAFE_MARGIN: f64 = 1.5;

/// The cap on tardiness where none is given, in mean times of a full service. In fleets, where full services
/// of large requests and loads take much longer than others, it is the time at which linear tardiness costs
/// all that a full service gains.
///
/// Requests with a square-root penalty could be parked behind minutes of work: the price of a queue
/// so long that no request joins it is never measured, and too low.
const CAP: f64 = 2.5;

impl UniversalAgent {
    /// The policy of trained prices. It plans no request to be later than the cap where another
    /// decision avoids it; where none does, it plans for the least tardiness. Without a cap of its own
    /// it has one of two and a half mean times of a full service; in fleets, of the time at which linear
    /// tardiness costs all that steps can gain.
    pub fn new(networks: impl Into<PriceNetworks>, cap: Option<Seconds>) -> Self {
        let (features, prices) = (Features::default(), Prices::default());
        let (networks, clusters) = (networks.into(), Clusters::Plain);
        Self { networks, clusters, cap, features, prices, replaced: 0 }
    }

    /// How many decisions the safe rule has replaced by [`Myopic`]'s: those whose prices were no
    /// numbers, and those that gave up more reward than any request to come could gain by it.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Asks the network for the prices in this state.
    pub(crate) fn price(&mut self, observation: &Observation<'_>) {
        let Self { networks, features, prices, .. } = self;
        let network = networks.setting(!observation.residencies.is_empty());
        self.clusters = network.clusters();
        features.observe(observation, self.clusters);
        network.forward(features, prices);
    }

    /// What the network saw of one server.
    pub(crate) fn row(&self, server: usize) -> impl Iterator<Item = f32> {
        self.features.row(server, self.clusters)
    }

    /// q: share of a full service that a job of so many seconds takes on a server.
    pub(crate) fn share(&self, server: usize, service: f64) -> f64 {
        self.features.speed[server] * service
    }

    /// What so many seconds of a server's time cost others, in reward, whatever is loaded for it.
    pub(crate) fn cost_of_time(&self, server: usize, seconds: f64) -> f64 {
        let price = self.prices.on(server).of_time(self.share(server, seconds));
        self.features.gain * self.steepness(server) * price
    }

    /// What it costs others, in reward, that a server will have the request's model loaded.
    pub(crate) fn cost_of_models(&self, server: usize) -> f64 {
        self.features.gain * self.features.mean_steepness * self.prices.on(server).of_models()
    }

    /// What a run of so many seconds on a server costs others, in reward.
    fn cost(&self, server: usize, service: f64) -> f64 {
        let price = self.prices.on(server);
        let time = self.steepness(server) * price.of_time(self.share(server, service));
        self.features.gain * (time + self.features.mean_steepness * price.of_models())
    }

    /// How much dearer than usual its time is.
    pub(crate) fn steepness(&self, server: usize) -> f64 {
        self.features.steepness[server]
    }

    /// The same of the mean server.
    pub(crate) fn mean_steepness(&self) -> f64 {
        self.features.mean_steepness
    }

    /// The cap on tardiness, in seconds.
    fn cap(&self, objective: &Objective) -> f64 {
        let Features { gain, full_service, .. } = self.features;
        match (self.cap, self.clusters) {
            (Some(cap), _) => cap.seconds(),
            (None, Clusters::Plain) => CAP * full_service,
            (None, Clusters::Fleets) => gain / objective.tardiness_weight().max(1e-9),
        }
    }

    /// When the request should be done, in seconds from now: the cap after its due time. Where no server
    /// of a fleet can keep its cap, prices alone decide: one that only hurried would load whatever is asked for.
    fn latest(&self, observation: &Observation<'_>) -> f64 {
        let latest = observation.time_to_due().seconds() + self.cap(observation.objective);
        let kept = |offer: &Offer| offer.time_to_finish(offer.bounds.min).seconds() <= latest;
        let priced = self.cap.is_none() && self.clusters == Clusters::Fleets;
        if priced && !observation.offers.iter().any(kept) { f64::INFINITY } else { latest }
    }

    /// The maximum under the current prices and the cap, where every server has an extra cost, in gains
    /// of a full service.
    pub(crate) fn best_under(
        &self,
        observation: &Observation<'_>,
        extra: impl Fn(usize) -> f64,
    ) -> Decision {
        let gain = self.features.gain;
        let latest = self.latest(observation);
        let cost = |server: usize, service: Seconds| {
            let over = (observation.offers[server].backlog + service).seconds() - latest;
            // What is over the cap is worse than anything below it, and the less the better.
            let refusal = if over > 0.0 { 1e12 + 1e6 * over } else { 0.0 };
            self.cost(server, service.seconds()) + gain * extra(server) + refusal
        };
        best_decision(observation, cost).0
    }

    /// The maximum under the current prices and the cap.
    fn best(&self, observation: &Observation<'_>) -> Decision {
        self.best_under(observation, |_| 0.0)
    }

    /// Whether a decision gives up so much reward that it cannot be right.
    fn is_silly(&self, observation: &Observation<'_>, decision: Decision) -> bool {
        let least = |best: f64| best - SAFE_MARGIN * self.features.gain;
        let reward = observation.reward(decision);
        // No reward exceeds the best quality, so that the exact test is seldom needed.
        let most = observation.offers.iter().map(|offer| offer.bounds.max.index()).max();
        let best_quality = observation.objective.best_qualities()[most.unwrap_or_default()];
        reward < least(best_quality)
            && self.cap.is_none()
            // In bursts the requests to come can lose far more than this one could gain.
            && self.clusters == Clusters::Plain
            && reward < least(observation.reward(Myopic.decide(observation)))
    }
}

impl Policy for UniversalAgent {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        self.price(observation);
        if self.prices.are_finite() {
            let decision = self.best(observation);
            if !self.is_silly(observation, decision) {
                return decision;
            }
        }
        self.replaced += 1;
        self.prices.clear();
        self.best(observation)
    }
}
