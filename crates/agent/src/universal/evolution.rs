//! Evolution strategies: how the prices are learned.

use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::prelude::*;
use scheduling::{Generator, Instance, Policy, Purpose, Queues};
use serde::{Deserialize, Serialize};

use super::policy::UniversalAgent;
use super::prices::PriceNetwork;
use crate::adam::Adam;

/// The network and the state of its training.
///
/// Each generation tries `pairs` random directions, forwards and backwards (antithetic sampling), on
/// instances that all of them share (common random numbers), and follows the directions weighted
/// with their ranks:
///
/// ```text
/// θ ← θ + Adam(Σ_k (u⁺_k − u⁻_k) ε_k),   ε_k ~ N(0, 1)
/// ```
///
/// with u± the mean over the instances of the rank of θ ± σ ε_k among all candidates. Ranks are taken
/// within each instance: an idle cluster, where prices matter for hundredths, has the same say as a
/// flooded one, where they matter for thousands.
#[derive(Clone, Debug, PartialEq)]
pub struct Evolution {
    /// Fixed for the whole training.
    pub hyperparameters: EvolutionHyperparameters,
    /// Seeds the initial weights and the directions.
    pub seed: u64,
    /// θ
    pub network: PriceNetwork,
    /// Its optimiser.
    pub adam: Adam,
    /// Generations done so far.
    pub generations: u64,
}

/// The choices of [`Evolution`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvolutionHyperparameters {
    /// Generations of the whole training.
    pub generations: u64,
    /// Directions per generation.
    pub pairs: usize,
    /// Instances per generation.
    pub instances: usize,
    /// Hidden units of the network.
    pub hidden: usize,
    /// σ: how far a candidate is from θ.
    pub deviation: f64,
    /// Adam's learning rate at the start; it falls linearly to a twentieth of it.
    pub learning_rate: f64,
}

impl Default for EvolutionHyperparameters {
    fn default() -> Self {
        Self {
            generations: 160,
            pairs: 16,
            instances: 12,
            hidden: 16,
            deviation: 0.05,
            learning_rate: 0.05,
        }
    }
}

/// What one generation saw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationPoint {
    /// Generations done, this one included.
    pub generation: u64,
    /// r_t of eq. (5) per request, averaged over instances and candidates. Each generation has
    /// instances of its own, which differ by far more than generations do.
    pub reward: f64,
    /// How far the candidates differ: standard deviation of their mean ranks, in -½..½.
    pub rank_spread: f64,
    /// Length of the gradient estimate.
    pub gradient: f64,
}

impl Evolution {
    /// A fresh network.
    pub fn new(seed: u64, hyperparameters: EvolutionHyperparameters) -> Self {
        let mut generator = Generator::new(seed, Purpose::Initialisation, 0);
        let network = PriceNetwork::new(hyperparameters.hidden, &mut generator);
        let adam = Adam::new(network.parameters().len());
        Self { hyperparameters, seed, network, adam, generations: 0 }
    }

    /// Trains until all generations are done, or until `after_generation` breaks. `instance` draws
    /// training instance 0, 1, … Called again, it goes on where it stopped, and the result is the
    /// same as if it had not; nor does it depend on the number of threads.
    pub fn train(
        &mut self,
        instance: impl Fn(u64) -> Instance + Sync,
        mut after_generation: impl FnMut(&Self, &GenerationPoint) -> ControlFlow<()>,
    ) {
        while self.generations < self.hyperparameters.generations {
            let instances = self.hyperparameters.instances as u64;
            let first = self.generations * instances;
            let instances: Vec<_> =
                (first..first + instances).into_par_iter().map(&instance).collect();
            let point = self.generation(&instances);
            if after_generation(self, &point).is_break() {
                break;
            }
        }
    }

    fn generation(&mut self, instances: &[Instance]) -> GenerationPoint {
        let directions = self.directions();
        let candidates = self.candidates(&directions);
        let rewards: Vec<Vec<f64>> = instances
            .par_iter()
            .map(|instance| {
                let reward = |network: &Arc<PriceNetwork>| mean_reward(network.clone(), instance);
                candidates.par_iter().map(reward).collect()
            })
            .collect();
        let utilities = mean_ranks(&rewards);
        let pairs = directions.len() as f32;
        let mut gradient = vec![0.0; self.adam.first_moment.len()];
        for (direction, pair) in directions.iter().zip(utilities.chunks_exact(2)) {
            let difference = (pair[0] - pair[1]) as f32 / pairs;
            for (g, e) in gradient.iter_mut().zip(direction) {
                // Adam descends.
                *g -= difference * e;
            }
        }
        let EvolutionHyperparameters { generations, learning_rate, .. } = self.hyperparameters;
        let progress = self.generations as f64 / generations as f64;
        let rate = learning_rate * (1.0 - 0.95 * progress);
        self.adam.update(self.network.parameters_mut(), &gradient, rate);
        self.generations += 1;
        let count = (instances.len() * candidates.len()) as f64;
        let square = |sum: f64, x: &f64| sum + x * x;
        GenerationPoint {
            generation: self.generations,
            reward: rewards.iter().flatten().sum::<f64>() / count,
            rank_spread: (utilities.iter().fold(0.0, square) / utilities.len() as f64).sqrt(),
            gradient: gradient.iter().map(|&g| f64::from(g)).fold(0.0, |s, g| square(s, &g)).sqrt(),
        }
    }

    /// ε_k
    fn directions(&self) -> Vec<Vec<f32>> {
        let mut generator = Generator::new(self.seed, Purpose::Exploration, self.generations);
        let parameters = self.network.parameters().len();
        (0..self.hyperparameters.pairs)
            .map(|_| (0..parameters).map(|_| generator.normal() as f32).collect())
            .collect()
    }

    /// θ + σ ε_k and θ − σ ε_k, in turn.
    fn candidates(&self, directions: &[Vec<f32>]) -> Vec<Arc<PriceNetwork>> {
        let deviation = self.hyperparameters.deviation as f32;
        let candidate = |direction: &[f32], sign: f32| {
            let mut network = self.network.clone();
            for (parameter, e) in network.parameters_mut().iter_mut().zip(direction) {
                *parameter += sign * deviation * e;
            }
            Arc::new(network)
        };
        let both = |e: &Vec<f32>| [1.0, -1.0].map(|sign| candidate(e, sign));
        directions.iter().flat_map(both).collect()
    }
}

/// Mean reward per request, on the queue model that simulator and gateway use.
fn mean_reward(network: Arc<PriceNetwork>, instance: &Instance) -> f64 {
    let mut policy = UniversalAgent::new(network, None);
    let (cluster, objective) = (instance.cluster(), instance.objective());
    let mut queues = Queues::new(cluster.len());
    let rewards = instance.requests().iter().map(|request| {
        let now = request.arrival;
        queues.arrive(request);
        let decision = policy.decide(&queues.observe(now, request, cluster, objective));
        let finish = queues.dispatch(now, decision, cluster).finish;
        objective.reward(decision.steps, request.penalty, finish - request.due)
    });
    rewards.sum::<f64>() / instance.requests().len() as f64
}

/// The rank of each candidate among all, from -½ to ½, averaged over the instances. Equal rewards
/// share their ranks.
fn mean_ranks(rewards: &[Vec<f64>]) -> Vec<f64> {
    let candidates = rewards[0].len();
    let mut ranks = vec![0.0; candidates];
    for rewards in rewards {
        for (rank, reward) in ranks.iter_mut().zip(rewards) {
            let below = rewards.iter().filter(|other| *other < reward).count() as f64;
            let equal = rewards.iter().filter(|other| *other == reward).count() as f64;
            *rank += (below + 0.5 * (equal - 1.0)) / (candidates - 1) as f64 - 0.5;
        }
    }
    ranks.iter().map(|rank| rank / rewards.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_centred_and_shared_by_equals() {
        let ranks = mean_ranks(&[vec![3.0, -1000.0, 5.0], vec![0.2, 0.1, 0.1]]);
        assert_eq!(ranks, [0.25, -0.375, 0.125]);
    }
}
