//! What decisions cost others, measured: another decision is taken, and the next requests lose by it.
//!
//! At a random request of an episode an *alternative* to the agent's own decision is taken. The next
//! requests are decided once more, by the same policy and with the same arrivals. What they lose is what
//! the alternative costs others more than the agent's own decision:
//!
//! ```text
//! C(alternative) − C(own) = Σ_{k=1..n} (r_k − r'_k)  +  what the queues at the end still owe
//! ```
//!
//! with r_k the rewards after the own decision and r'_k those after the alternative. What is left of the
//! difference in the queues after n requests is counted at the present prices, as if it were a new job.
//! Only such differences decide which decision is best. They are far less a matter of chance than the
//! costs themselves: whether the next requests are many or few, both decisions suffer from it.

use scheduling::{
    Decision, FullService, Generator, Instance, Loaded, Model, Observation, Policy, Queues,
    Request, Steps, Time, Traffic,
};

use super::policy::{PriceNetworks, UniversalAgent};
use super::samples::Samples;

/// How alternatives are drawn and followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Alternatives {
    /// Alternatives of an episode, each on its own.
    pub(crate) count: usize,
    /// n: requests that are followed, whatever the cluster.
    pub(crate) requests: usize,
    /// And one more for so many servers.
    pub(crate) servers_per_request: usize,
}

/// Share of alternatives that do not serve the request at all. They teach what the own decision costs.
const NOTHING: f64 = 0.15;
/// Share of alternatives on any server, between these shares of a full service. They teach prices where
/// the agent does not go.
const ANYTHING: f64 = 0.2;
const ANY_SHARES: [f64; 2] = [0.2, 1.3];
/// All others nearly were the agent's own decision. They are the best under prices with a random extra
/// for each server of this scale, in gains of a full service and at most as dear as in calm traffic…
const TEMPTATION: f64 = 0.04;
/// …with this share of its steps.
const TEMPTING_STEPS: [f64; 2] = [0.7, 1.3];

/// Costs are bounded by so many gains of a full service. Those beyond are of clusters that an untrained
/// policy has flooded, and would drown all others; in bursts costs are large, too.
const LARGEST_COST: f64 = 500.0;

/// An episode, with all that is needed to go back to any moment of it.
pub(crate) struct Episode<'a> {
    instance: &'a Instance,
    networks: &'a PriceNetworks,
    /// When each server is free: at the start, and after each arrival and its decision.
    free_at: Vec<Time>,
    /// What it will have loaded then, in the same order; empty where none loads models.
    loaded: Vec<Loaded>,
    /// What is known of the traffic after each arrival.
    traffic: Vec<Traffic>,
    /// r_t
    rewards: Vec<f64>,
}

impl<'a> Episode<'a> {
    /// Runs the agent with these prices on the instance.
    pub(crate) fn run(networks: &'a PriceNetworks, instance: &'a Instance) -> Self {
        let mut queues = Queues::new(instance.cluster());
        let (free_at, loaded) = (queues.free_at().to_vec(), queues.loaded().to_vec());
        let (traffic, rewards) = (Vec::new(), Vec::new());
        let mut episode = Self { instance, networks, free_at, loaded, traffic, rewards };
        let mut agent = UniversalAgent::in_training(networks.clone());
        for request in instance.requests() {
            let reward = episode.serve(request, &mut queues, &mut agent);
            episode.rewards.push(reward);
            episode.free_at.extend_from_slice(queues.free_at());
            episode.loaded.extend_from_slice(queues.loaded());
            episode.traffic.push(queues.traffic().clone());
        }
        episode
    }

    /// Mean reward per request.
    pub(crate) fn reward(&self) -> f64 {
        self.rewards.iter().sum::<f64>() / self.rewards.len() as f64
    }

    /// Takes alternatives and measures what each costs.
    pub(crate) fn explore(&self, alternatives: Alternatives, draw: &mut Generator) -> Samples {
        let Alternatives { count, requests, servers_per_request } = alternatives;
        let (cluster, objective) = (self.instance.cluster(), self.instance.objective());
        let clusters = self.networks.setting(cluster.loads_models()).clusters();
        let arrivals = self.instance.requests();
        // An episode too short to follow an alternative so far is followed half way.
        let follow = (requests + cluster.len() / servers_per_request).min(arrivals.len() / 2);
        let FullService { gain, .. } = objective.full_service();
        let mut samples = Samples::new(clusters);
        let mut agent = UniversalAgent::in_training(self.networks.clone());
        for _ in 0..count {
            let index = draw.below(arrivals.len() - follow);
            let request = &arrivals[index];
            let now = request.arrival;
            let mut queues = self.queues_before(index);
            let observation = queues.observe(now, request, objective);
            let own = agent.decide(&observation);
            let alternative = alternative(&observation, &agent, draw);
            if alternative == Some(own) {
                continue;
            }
            let service = |Decision { server, steps }: Decision| {
                observation.offers[server].service_time(steps).seconds()
            };
            samples.owns.push(&agent, own.server, service(own));
            let Decision { server, .. } = alternative.unwrap_or(own);
            samples.alternatives.push(&agent, server, alternative.map_or(0.0, service));
            if let Some(alternative) = alternative {
                queues.dispatch(now, alternative);
            }
            let cost = self.lost(index, follow, &mut queues, &mut agent);
            let cost = (cost / gain.max(1e-9)).clamp(-LARGEST_COST, LARGEST_COST);
            samples.costs.push(cost as f32);
        }
        samples
    }

    /// What the requests after this one lose when the queues are these and not what they were.
    fn lost(
        &self,
        index: usize,
        follow: usize,
        queues: &mut Queues,
        agent: &mut UniversalAgent,
    ) -> f64 {
        let end = index + follow;
        let mut lost = 0.0;
        for index in index + 1..=end {
            let request = &self.instance.requests()[index];
            lost += self.rewards[index] - self.serve(request, queues, agent);
            let now = request.arrival;
            let mut pairs = queues.free_at().iter().zip(self.free_at(index + 1));
            if pairs.all(|(&is, &was)| is.max(now) == was.max(now))
                && queues.loaded() == self.loaded(index + 1)
            {
                // From here on both are the same.
                return lost;
            }
        }
        lost + self.owed(end, queues, agent)
    }

    /// What the queues still owe when a request has been decided, at the present prices: each longer
    /// queue as a job that was put there, each shorter one as a job that was taken away; and each model
    /// that is loaded where it was not as a run that loaded it.
    fn owed(&self, index: usize, queues: &mut Queues, agent: &mut UniversalAgent) -> f64 {
        let now = self.instance.requests()[index].arrival;
        let backlog = |free_at: &Time| (*free_at - now).positive_part().seconds();
        let mut were = self.queues_after(index);
        let longer: Vec<f64> = (queues.free_at().iter().zip(were.free_at()))
            .map(|(is, was)| backlog(is) - backlog(was))
            .collect();
        let [put, taken] = [(&mut were, 1.0), (&mut *queues, -1.0)].map(|(queues, sign)| {
            // Any request will do: what time costs does not depend on it.
            self.price(index, queues, agent, None);
            let job = |server: usize| (sign * longer[server]).max(0.0);
            let offers = queues.offering().iter().enumerate();
            offers.map(|(offer, &server)| agent.cost_of_time(offer, job(server))).sum::<f64>()
        });
        if queues.loaded() == were.loaded() {
            return put - taken;
        }
        let (is, was) = (queues.loaded().to_vec(), were.loaded().to_vec());
        let loaded = self.owed_for_models(index, &mut were, &is, agent);
        let unloaded = self.owed_for_models(index, queues, &was, agent);
        // Both say the same, one from either side.
        put - taken + 0.5 * (loaded - unloaded)
    }

    /// What runs would cost that load what others have loaded and these queues have not.
    fn owed_for_models(
        &self,
        index: usize,
        queues: &mut Queues,
        others: &[Loaded],
        agent: &mut UniversalAgent,
    ) -> f64 {
        let mut cost = 0.0;
        for (server, others) in others.iter().enumerate() {
            for &model in others.iter() {
                if queues.loaded()[server].contains(model) {
                    continue;
                }
                self.price(index, queues, agent, Some(model));
                let offer = queues.offering().iter().position(|&offering| offering == server);
                cost += offer.map_or(0.0, |offer| agent.cost_of_models(offer));
            }
        }
        cost
    }

    /// Sets the prices for a request decided with these queues, or for one like it with another model.
    fn price(
        &self,
        index: usize,
        queues: &mut Queues,
        agent: &mut UniversalAgent,
        model: Option<Model>,
    ) {
        let request = self.instance.requests()[index];
        let asked = Request { model: model.unwrap_or(request.model), ..request };
        agent.price(&queues.observe(request.arrival, &asked, self.instance.objective()));
    }

    /// Decides a request, and gives its reward.
    fn serve(&self, request: &Request, queues: &mut Queues, agent: &mut UniversalAgent) -> f64 {
        let objective = self.instance.objective();
        let now = request.arrival;
        queues.arrive(request);
        let decision = agent.decide(&queues.observe(now, request, objective));
        let finish = queues.dispatch(now, decision).execution.finish;
        objective.reward(decision.steps, request.penalty, finish - request.due)
    }

    /// The queues that a request finds.
    fn queues_before(&self, index: usize) -> Queues {
        self.queues(index, index)
    }

    /// The queues once a request has been decided.
    fn queues_after(&self, index: usize) -> Queues {
        self.queues(index + 1, index)
    }

    /// Queues after so many decisions that know the traffic up to a request, itself included.
    fn queues(&self, decided: usize, index: usize) -> Queues {
        let mut queues = Queues::new(self.instance.cluster());
        for (server, &free_at) in self.free_at(decided).iter().enumerate() {
            queues.set_free_at(server, free_at);
        }
        for (server, loaded) in self.loaded(decided).iter().enumerate() {
            queues.set_loaded(server, loaded);
        }
        queues.set_traffic(&self.traffic[index]);
        queues
    }

    /// When each server is free after so many decisions.
    fn free_at(&self, decided: usize) -> &[Time] {
        of_moment(&self.free_at, decided, self.rewards.len())
    }

    /// What each server has loaded then.
    fn loaded(&self, decided: usize) -> &[Loaded] {
        of_moment(&self.loaded, decided, self.rewards.len())
    }
}

/// The values of one moment, where there are as many at the start and after each decision.
fn of_moment<T>(values: &[T], decided: usize, decisions: usize) -> &[T] {
    let servers = values.len() / (decisions + 1);
    &values[decided * servers..(decided + 1) * servers]
}

/// What else could be done with a request, other than the decision that the agent has just taken.
/// `None` is not to serve it.
fn alternative(
    observation: &Observation<'_>,
    agent: &UniversalAgent,
    draw: &mut Generator,
) -> Option<Decision> {
    let kind = draw.between(0.0, 1.0);
    if kind < NOTHING {
        return None;
    }
    let (decision, [low, high]) = if kind < NOTHING + ANYTHING {
        let FullService { steps, .. } = observation.objective.full_service();
        (Decision { server: draw.below(observation.offers.len()), steps }, ANY_SHARES)
    } else {
        // With extras of Gumbel's distribution a server is drawn as by a softmax of its best decision's
        // value.
        let mut gumbel = || -libm::log(-libm::log(draw.between(1e-9, 1.0)));
        let scale = -TEMPTATION * agent.mean_steepness().min(1.0);
        let extras: Vec<f64> = observation.offers.iter().map(|_| scale * gumbel()).collect();
        (agent.best_under(observation, |server| extras[server]), TEMPTING_STEPS)
    };
    let steps = draw.between(low, high) * f64::from(decision.steps.get());
    let bounds = observation.offers[decision.server].bounds;
    Some(Decision { steps: bounds.clamp(Steps::saturating(steps)), ..decision })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::prices::{Clusters, PriceNetwork};
    use super::*;
    use scheduling::{Cluster, Objective, Purpose, Seconds, Server, StepRate, TardinessPenalty};

    /// Thirty requests `interval` apart on servers of these steps per second, and ten when all is done.
    fn instance(rates: &[f64], interval: f64) -> Instance {
        let servers = rates.iter().enumerate().map(|(index, &rate)| {
            Server::new(format!("s{index}"), StepRate::new(rate).unwrap(), Seconds::ZERO)
        });
        let requests = (1..=40).map(|number: i32| {
            let pause = 1000.0 * f64::from((number - 30).max(0));
            let arrival = Time::new(interval * f64::from(number) + pause).unwrap();
            let penalty = TardinessPenalty::ALL[number as usize % 3];
            Request::new(arrival, arrival + Seconds::of(9.0), penalty)
        });
        let cluster = Cluster::new(servers.collect()).unwrap();
        Instance::new(cluster, requests.collect(), Objective::default()).unwrap()
    }

    fn network() -> PriceNetworks {
        let mut generator = Generator::new(1, Purpose::Initialisation, 0);
        Arc::new(PriceNetwork::new(&[4], &mut generator)).into()
    }

    fn explore(instance: &Instance, requests: usize) -> Samples {
        let alternatives = Alternatives { count: 200, requests, servers_per_request: 4 };
        let mut draw = Generator::new(2, Purpose::Exploration, 0);
        Episode::run(&network(), instance).explore(alternatives, &mut draw)
    }

    #[test]
    fn every_decision_is_as_good_for_others_on_an_idle_cluster() {
        let samples = explore(&instance(&[15.0, 9.0], 1000.0), 10);
        let Samples { alternatives, owns, costs, .. } = &samples;
        // Even the longest job is done before the next request comes, mostly.
        let free = costs.iter().filter(|&&cost| cost == 0.0).count();
        assert!(free * 10 > samples.len() * 9, "{costs:?}");
        assert!(owns.shares.iter().all(|share| (0.1..1.8).contains(share)), "{owns:?}");
        assert!(alternatives.shares.iter().all(|share| (0.0..2.4).contains(share)));
        let nothing = alternatives.shares.iter().filter(|&&share| share == 0.0).count();
        assert!((15..=45).contains(&nothing), "{nothing} of {}", samples.len());
        for jobs in [alternatives, owns] {
            assert_eq!(jobs.inputs.len(), samples.len() * Clusters::Plain.inputs());
            assert_eq!(jobs.shares.len(), samples.len());
        }
    }

    #[test]
    fn alternatives_are_drawn_near_the_own_decision_and_far_from_it() {
        let instance = instance(&[15.0, 9.0], 4.0);
        let network = network();
        let episode = Episode::run(&network, &instance);
        let mut agent = UniversalAgent::in_training(network.clone());
        let request = &instance.requests()[9];
        let mut queues = episode.queues_before(9);
        let objective = instance.objective();
        let observation = queues.observe(request.arrival, request, objective);
        let own = agent.decide(&observation);
        let mut draw = Generator::new(3, Purpose::Exploration, 0);
        let drawn: Vec<_> =
            (0..1000).map(|_| alternative(&observation, &agent, &mut draw)).collect();
        let near = |decision: &&Option<Decision>| {
            decision.is_some_and(|Decision { server, steps }| {
                let share = f64::from(steps.get()) / f64::from(own.steps.get());
                server == own.server && (0.69..=1.31).contains(&share)
            })
        };
        let near = drawn.iter().filter(near).count();
        assert!((300..=750).contains(&near), "{near}");
        assert!(drawn.iter().flatten().any(|decision| decision.server != own.server));
    }

    #[test]
    fn an_alternative_costs_what_the_next_requests_earn_less() {
        let instance = instance(&[15.0, 9.0], 4.0);
        let network = network();
        let episode = Episode::run(&network, &instance);
        let mut agent = UniversalAgent::in_training(network.clone());
        let (index, follow) = (9, 30);
        let rest = &instance.requests()[index + 1..=index + follow];
        let total = |queues: &mut Queues, agent: &mut UniversalAgent| -> f64 {
            rest.iter().map(|request| episode.serve(request, queues, agent)).sum()
        };
        let mut own = episode.queues_after(index);
        let without = total(&mut own, &mut agent);
        assert_eq!(without, episode.rewards[index + 1..=index + follow].iter().sum::<f64>());
        let mut queues = episode.queues_before(index);
        let alternative = Decision { server: 0, steps: Steps::saturating(150.0) };
        queues.dispatch(instance.requests()[index].arrival, alternative);
        let with = total(&mut queues.clone(), &mut agent);
        let lost = episode.lost(index, follow, &mut queues, &mut agent);
        // Nothing is left of it when the last requests come, so that no price is needed.
        assert!((lost - (without - with)).abs() < 1e-9, "{lost} against {without} - {with}");
        assert!(lost.abs() > 0.5, "{lost}");
    }

    #[test]
    fn decisions_cost_more_where_requests_are_many() {
        let lost = |interval: f64| {
            let (instance, network) = (instance(&[15.0, 9.0], interval), network());
            let episode = Episode::run(&network, &instance);
            let mut agent = UniversalAgent::in_training(network.clone());
            // A job that nobody asked for, put there beside the own decision.
            let mut queues = episode.queues_after(9);
            let job = Decision { server: 0, steps: Steps::saturating(112.0) };
            queues.dispatch(instance.requests()[9].arrival, job);
            episode.lost(9, 30, &mut queues, &mut agent)
        };
        let [busy, quiet] = [4.0, 12.0].map(lost);
        assert!(busy > quiet + 1.0, "{busy} and {quiet}");
    }

    #[test]
    fn what_is_left_in_the_queues_is_owed_at_the_present_prices() {
        let (instance, network) = (instance(&[15.0, 9.0], 4.0), network());
        let episode = Episode::run(&network, &instance);
        let mut agent = UniversalAgent::in_training(network.clone());
        let owed = |agent: &mut UniversalAgent, seconds: [f64; 2]| {
            let mut queues = episode.queues_after(9);
            for (server, seconds) in seconds.into_iter().enumerate() {
                let begin = queues.free_at()[server].max(instance.requests()[9].arrival);
                queues.set_free_at(server, begin + Seconds::of(seconds));
            }
            episode.owed(9, &mut queues, agent)
        };
        assert_eq!(owed(&mut agent, [0.0, 0.0]), 0.0);
        let [first, second] = [[5.0, 0.0], [0.0, 5.0]].map(|job| owed(&mut agent, job));
        assert!(first > 0.0 && second > 0.0, "{first} and {second}");
        let both = owed(&mut agent, [5.0, 5.0]);
        assert!((both - first - second).abs() < 1e-9, "{both} is not {first} and {second}");
        // What was put there, taken away again, is owed with the other sign.
        let now = instance.requests()[9].arrival;
        let mut queues = episode.queues_after(9);
        let busy = queues.free_at().iter().position(|&free_at| free_at > now).unwrap();
        queues.set_free_at(busy, now);
        let shorter = episode.owed(9, &mut queues, &mut agent);
        assert!(shorter < 0.0, "{shorter}");
    }
}
