use std::sync::Arc;

use scheduling::policies::best_decision;
use scheduling::{Decision, Observation, Offer, Policy, Seconds};

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
/// all servers.
#[derive(Clone, Debug)]
pub struct UniversalAgent {
    networks: PriceNetworks,
    /// The network that has set the present prices.
    clusters: Clusters,
    cap: Option<Seconds>,
    /// Where none is given, in times at which linear tardiness costs all that steps can gain.
    own_cap: f64,
    features: Features,
    prices: Prices,
    replaced: u64,
    /// Decisions on what never was in training, and what was strange in the last of them.
    unfamiliar: u64,
    stranger: Option<&'static str>,
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

/// The agent's own cap, in times at which linear tardiness costs all that steps can gain.
const CAP: f64 = 1.0;
/// The same while it learns: so that it knows what time costs beyond its cap.
const CAP_IN_TRAINING: f64 = 2.0;

impl UniversalAgent {
    /// The policy of trained prices. It plans no request to be later than the cap where another decision
    /// avoids it; where none does, it plans for the least tardiness.
    ///
    /// Without a cap it has that of the time at which linear tardiness costs all that steps can gain, and where no
    /// decision keeps that one, prices alone decide.
    pub fn new(networks: impl Into<PriceNetworks>, cap: Option<Seconds>) -> Self {
        let (features, prices) = (Features::default(), Prices::default());
        let (networks, clusters) = (networks.into(), Clusters::Plain);
        Self {
            networks,
            clusters,
            cap,
            own_cap: CAP,
            features,
            prices,
            replaced: 0,
            unfamiliar: 0,
            stranger: None,
        }
    }

    /// The agent as it learns.
    pub(crate) fn in_training(networks: PriceNetworks) -> Self {
        Self { own_cap: CAP_IN_TRAINING, ..Self::new(networks, None) }
    }

    /// How many decisions the safe rule has taken: those for which prices were no numbers. Server time costs
    /// nothing then, as for [`scheduling::policies::Myopic`].
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

    /// When the request should be done, in seconds from now: the cap after its due time.
    fn latest(&self, observation: &Observation<'_>) -> f64 {
        let time_to_due = observation.time_to_due().seconds();
        if let Some(cap) = self.cap {
            return time_to_due + cap.seconds();
        }
        let weight = observation.objective.tardiness_weight().max(1e-9);
        let latest = time_to_due + self.own_cap * self.features.gain / weight;
        let kept = |offer: &Offer| offer.time_to_finish(offer.bounds.min).seconds() <= latest;
        // Who only hurried where nobody can keep the cap would load whatever is asked for.
        if observation.offers.iter().any(kept) { latest } else { f64::INFINITY }
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
}

impl Policy for UniversalAgent {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        self.price(observation);
        if !self.prices.are_finite() {
            self.replaced += 1;
            self.prices.clear();
        }
        let network = self.networks.setting(!observation.residencies.is_empty());
        if let Some(stranger) = network.stranger(&self.features) {
            // What is too dear leaves time unused; what is too cheap makes everybody late.
            self.prices.raise();
            self.stranger = Some(stranger);
            self.unfamiliar += 1;
        }
        self.best(observation)
    }

    fn unfamiliar(&self) -> (u64, Option<&'static str>) {
        (self.unfamiliar, self.stranger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::universal::familiar::Familiar;
    use crate::universal::samples::Jobs;
    use scheduling::{
        Cluster, Objective, Queues, Request, Server, StepRate, TardinessPenalty, Time,
    };

    /// Steps of a decision on a single idle server, and what the agent has not met, if it has seen nothing but
    /// these inputs.
    fn decide(network: &PriceNetwork, seen: &[f32]) -> (u32, (u64, Option<&'static str>)) {
        let clusters = network.clusters();
        let mut familiar = Familiar::nothing(clusters);
        for &input in seen {
            let inputs = vec![input; clusters.inputs()];
            familiar.see(&Jobs { inputs, ..Jobs::default() }, clusters);
        }
        let rate = StepRate::new(15.0).unwrap();
        let cluster = Cluster::new(vec![Server::new("s", rate, Seconds::ZERO)]).unwrap();
        let mut agent = UniversalAgent::new(Arc::new(network.familiar_with(&familiar)), None);
        let request = Request::new(Time::ZERO, Time::new(10.0).unwrap(), TardinessPenalty::Linear);
        let mut queues = Queues::new(&cluster);
        let objective = Objective::default();
        let decision = agent.decide(&queues.observe(Time::ZERO, &request, &objective));
        (decision.steps.get(), agent.unfamiliar())
    }

    #[test]
    fn the_dearer_price_counts_where_nothing_like_it_was_met() {
        // Server time costs nothing, as far as this network knows.
        let clusters = Clusters::Plain;
        let mut parameters = vec![0.0; PriceNetwork::parameter_count(clusters, &[4])];
        let biases = parameters.len() - clusters.outputs();
        parameters[biases..].fill(-60.0);
        let free = PriceNetwork::from_parameters(clusters, &[4], parameters).unwrap();
        let (most, met) = decide(&free, &[-100.0, 100.0]);
        assert_eq!(met, (0, None));
        assert_eq!(decide(&free, &[]), (most, (0, None)), "an agent that has met nothing yet");
        let (steps, (count, stranger)) = decide(&free, &[50.0]);
        assert!(steps < most, "{steps} and {most}");
        assert_eq!((count, stranger), (1, Some("backlog")));
    }
}
