//! What server time is worth to others, measured: phantoms take some of it, and the others lose.
//!
//! At a random moment of an episode a *phantom*, a job that nobody asked for, is put into the queue of
//! a random server. The next requests are decided once more, by the same policy and with the same
//! arrivals. What they lose by it is what the phantom's server time is worth:
//!
//! ```text
//! cost = Σ_{k=1..n} (r_k − r'_k)  +  what the queues at the end still owe
//! ```
//!
//! with r_k the rewards without the phantom and r'_k those with it. What is left of the phantom in the
//! queues after n requests is counted at the present prices, as if it were a new job. Poisson arrivals
//! see queues as a random moment does, so these are the states in which prices are asked for.

use std::sync::Arc;

use scheduling::{
    Decision, FullService, Generator, Instance, Policy, Queues, Request, Seconds, Steps, Time,
    Traffic,
};

use super::features::Features;
use super::policy::UniversalAgent;
use super::prices::{PriceNetwork, Prices};

/// How phantoms are drawn and followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phantoms {
    /// Phantoms of an episode, each on its own.
    pub(crate) count: usize,
    /// n: requests that are followed, whatever the cluster.
    pub(crate) requests: usize,
    /// And so many more for each server.
    pub(crate) requests_per_server: usize,
}

/// Least and largest share of a full service that a phantom takes.
const SHARES: [f64; 2] = [0.2, 1.3];

/// Costs are bounded by so many gains of a full service. Those beyond are of clusters that an
/// untrained policy has flooded, and would drown all others.
const LARGEST_COST: f64 = 20.0;

/// Phantoms and what they cost, as the network is taught.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    /// The network's inputs for the phantom's server, a row each.
    pub(crate) inputs: Vec<f32>,
    /// q: share of a full service that the phantom takes.
    pub(crate) shares: Vec<f32>,
    /// What it costs, in gains of a full service.
    pub(crate) costs: Vec<f32>,
}

impl Samples {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.costs.len()
    }

    /// Adds those of another episode.
    pub(crate) fn append(&mut self, other: &Self) {
        self.inputs.extend_from_slice(&other.inputs);
        self.shares.extend_from_slice(&other.shares);
        self.costs.extend_from_slice(&other.costs);
    }
}

/// An episode, with all that is needed to go back to any moment of it.
pub(crate) struct Episode<'a> {
    instance: &'a Instance,
    network: &'a Arc<PriceNetwork>,
    /// When each server is free, after each arrival and its decision.
    free_at: Vec<Time>,
    /// What is known of the traffic then.
    traffic: Vec<Traffic>,
    /// r_t
    rewards: Vec<f64>,
}

impl<'a> Episode<'a> {
    /// Runs the agent with these prices on the instance.
    pub(crate) fn run(network: &'a Arc<PriceNetwork>, instance: &'a Instance) -> Self {
        let (free_at, traffic, rewards) = (Vec::new(), Vec::new(), Vec::new());
        let mut episode = Self { instance, network, free_at, traffic, rewards };
        let mut agent = UniversalAgent::new(network.clone(), None);
        let mut queues = Queues::new(instance.cluster().len());
        for request in instance.requests() {
            let reward = episode.serve(request, &mut queues, &mut agent);
            episode.rewards.push(reward);
            episode.free_at.extend_from_slice(queues.free_at());
            episode.traffic.push(*queues.traffic());
        }
        episode
    }

    /// Mean reward per request.
    pub(crate) fn reward(&self) -> f64 {
        self.rewards.iter().sum::<f64>() / self.rewards.len() as f64
    }

    /// Lets phantoms appear and measures what each costs.
    pub(crate) fn haunt(&self, phantoms: Phantoms, draw: &mut Generator) -> Samples {
        let Phantoms { count, requests, requests_per_server } = phantoms;
        let servers = self.instance.cluster().len();
        // An episode too short to follow a phantom so far is followed half way.
        let arrivals = self.instance.requests();
        let follow = (requests + requests_per_server * servers).min(arrivals.len() / 2);
        let mut samples = Samples::default();
        let Some(last) = (arrivals.len() - follow).checked_sub(1) else { return samples };
        let mut pricing = Pricing::default();
        let mut agent = UniversalAgent::new(self.network.clone(), None);
        for _ in 0..count {
            let [from, to] = [0, last].map(|index| arrivals[index].arrival.seconds());
            let now = arrivals[0].arrival + Seconds::of(draw.between(0.0, to - from));
            let before = arrivals.partition_point(|request| request.arrival <= now) - 1;
            let server = draw.below(servers);
            let wanted = draw.between(SHARES[0], SHARES[1]);

            let mut queues = self.queues_after(before);
            pricing.price(self, now, &mut queues);
            let FullService { steps, gain } = self.instance.objective().full_service();
            let steps = Steps::saturating(wanted * f64::from(steps.get()));
            let phantom = Decision { server, steps };
            let execution = queues.dispatch(now, phantom, self.instance.cluster());
            let service = (execution.finish - execution.start).seconds();
            samples.inputs.extend(pricing.features.row(server));
            samples.shares.push((pricing.features.speed[server] * service) as f32);
            let cost = self.lost(before, follow, &mut queues, &mut agent, &mut pricing);
            let cost = (cost / gain.max(1e-9)).clamp(-LARGEST_COST, LARGEST_COST);
            samples.costs.push(cost as f32);
        }
        samples
    }

    /// What the requests after `before` lose when the queues are these and not what they were.
    fn lost(
        &self,
        before: usize,
        follow: usize,
        queues: &mut Queues,
        agent: &mut UniversalAgent,
        pricing: &mut Pricing,
    ) -> f64 {
        let end = before + follow;
        let mut lost = 0.0;
        for index in before + 1..=end {
            let request = &self.instance.requests()[index];
            lost += self.rewards[index] - self.serve(request, queues, agent);
            let now = request.arrival;
            let were = self.free_at_after(index);
            if queues.free_at().iter().zip(were).all(|(&is, &was)| is.max(now) == was.max(now)) {
                // From here on both are the same.
                return lost;
            }
        }
        lost + self.owed(end, queues, pricing)
    }

    /// What the queues still owe by the phantom when a request comes, at the present prices: each longer
    /// queue as a job that was put there, each shorter one as a job that was taken away.
    fn owed(&self, index: usize, queues: &mut Queues, pricing: &mut Pricing) -> f64 {
        let now = self.instance.requests()[index].arrival;
        let mut were = self.queues_after(index);
        let backlog = |free_at: &Time| (*free_at - now).positive_part().seconds();
        let longer: Vec<f64> = (queues.free_at().iter().zip(were.free_at()))
            .map(|(is, was)| backlog(is) - backlog(was))
            .collect();
        pricing.price(self, now, &mut were);
        let longer = longer.into_iter().enumerate();
        let put: f64 =
            longer.clone().filter(|job| job.1 > 0.0).map(|(j, job)| pricing.of(j, job)).sum();
        pricing.price(self, now, queues);
        let taken: f64 = longer.filter(|job| job.1 < 0.0).map(|(j, job)| pricing.of(j, -job)).sum();
        put - taken
    }

    /// Decides a request, and gives its reward.
    fn serve(&self, request: &Request, queues: &mut Queues, agent: &mut UniversalAgent) -> f64 {
        let (cluster, objective) = (self.instance.cluster(), self.instance.objective());
        let now = request.arrival;
        queues.arrive(request);
        let decision = agent.decide(&queues.observe(now, request, cluster, objective));
        let finish = queues.dispatch(now, decision, cluster).finish;
        objective.reward(decision.steps, request.penalty, finish - request.due)
    }

    fn free_at_after(&self, index: usize) -> &[Time] {
        let servers = self.instance.cluster().len();
        &self.free_at[index * servers..(index + 1) * servers]
    }

    fn queues_after(&self, index: usize) -> Queues {
        let mut queues = Queues::new(self.instance.cluster().len());
        for (server, &free_at) in self.free_at_after(index).iter().enumerate() {
            queues.set_free_at(server, free_at);
        }
        queues.set_traffic(self.traffic[index]);
        queues
    }
}

/// What the network says of some queues, apart from any decision.
#[derive(Default)]
struct Pricing {
    features: Features,
    prices: Prices,
}

impl Pricing {
    /// Asks for the prices, and leaves the features behind.
    fn price(&mut self, episode: &Episode<'_>, now: Time, queues: &mut Queues) {
        let Episode { instance, network, .. } = episode;
        // Any request will do: the prices do not depend on it.
        let request = &instance.requests()[0];
        let (cluster, objective) = (instance.cluster(), instance.objective());
        self.features.observe(&queues.observe(now, request, cluster, objective));
        network.forward(&self.features, &mut self.prices);
    }

    /// What a job of so many seconds on a server costs others, in reward.
    fn of(&self, server: usize, seconds: f64) -> f64 {
        let Features { gain, speed, .. } = &self.features;
        gain * self.prices.on(server).of(speed[server] * seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{Cluster, Objective, Purpose, Server, StepRate, TardinessPenalty};

    /// Thirty requests `interval` apart on servers of these steps per second, and ten when all is done.
    fn instance(rates: &[f64], interval: f64) -> Instance {
        let servers = rates.iter().enumerate().map(|(index, &rate)| Server {
            name: format!("s{index}"),
            step_rate: StepRate::new(rate).unwrap(),
            overhead: Seconds::ZERO,
        });
        let requests = (1..=40).map(|number: i32| {
            let pause = 1000.0 * f64::from((number - 30).max(0));
            let arrival = Time::new(interval * f64::from(number) + pause).unwrap();
            let penalty = TardinessPenalty::ALL[number as usize % 3];
            Request { arrival, due: arrival + Seconds::of(9.0), penalty }
        });
        let cluster = Cluster::new(servers.collect()).unwrap();
        Instance::new(cluster, requests.collect(), Objective::default()).unwrap()
    }

    fn network() -> Arc<PriceNetwork> {
        let mut generator = Generator::new(1, Purpose::Initialisation, 0);
        Arc::new(PriceNetwork::new(&[4], &mut generator))
    }

    fn haunt(instance: &Instance, requests: usize) -> Samples {
        let phantoms = Phantoms { count: 50, requests, requests_per_server: 0 };
        let mut draw = Generator::new(2, Purpose::Exploration, 0);
        Episode::run(&network(), instance).haunt(phantoms, &mut draw)
    }

    #[test]
    fn nobody_minds_a_phantom_on_an_idle_cluster() {
        let samples = haunt(&instance(&[15.0, 9.0], 1000.0), 10);
        // Even the longest phantom is gone before the next request comes, mostly.
        let free = samples.costs.iter().filter(|&&cost| cost == 0.0).count();
        assert!(free > 45, "{:?}", samples.costs);
        assert!(samples.shares.iter().all(|share| (0.2..1.31).contains(share)));
        assert_eq!(samples.inputs.len(), 50 * super::super::prices::INPUTS);
    }

    #[test]
    fn a_phantom_costs_what_the_episode_earns_less() {
        let instance = instance(&[15.0, 9.0], 4.0);
        let network = network();
        let episode = Episode::run(&network, &instance);
        let mut agent = UniversalAgent::new(network.clone(), None);
        let (before, follow) = (9, 30);
        let total = |queues: &mut Queues, agent: &mut UniversalAgent| -> f64 {
            let rest = &instance.requests()[before + 1..=before + follow];
            rest.iter().map(|request| episode.serve(request, queues, agent)).sum()
        };
        let without = total(&mut episode.queues_after(before), &mut agent);
        assert_eq!(without, episode.rewards[before + 1..=before + follow].iter().sum::<f64>());
        let mut haunted = episode.queues_after(before);
        let phantom = Decision { server: 0, steps: Steps::saturating(112.0) };
        haunted.dispatch(instance.requests()[before].arrival, phantom, instance.cluster());
        let with = total(&mut haunted.clone(), &mut agent);
        let mut pricing = Pricing::default();
        let lost = episode.lost(before, follow, &mut haunted, &mut agent, &mut pricing);
        // Nothing is left of it when the last requests come, so that no price is needed.
        assert!((lost - (without - with)).abs() < 1e-9, "{lost} against {without} - {with}");
        assert!(lost > 0.5, "{lost}");
    }

    #[test]
    fn phantoms_cost_more_where_requests_are_many() {
        let lost = |interval: f64| {
            let (instance, network) = (instance(&[15.0, 9.0], interval), network());
            let episode = Episode::run(&network, &instance);
            let mut agent = UniversalAgent::new(network.clone(), None);
            let mut queues = episode.queues_after(9);
            let phantom = Decision { server: 0, steps: Steps::saturating(112.0) };
            queues.dispatch(instance.requests()[9].arrival, phantom, instance.cluster());
            episode.lost(9, 30, &mut queues, &mut agent, &mut Pricing::default())
        };
        let [busy, quiet] = [4.0, 12.0].map(lost);
        assert!(busy > quiet + 1.0, "{busy} and {quiet}");
    }
}
