//! How the prices are learned: policy iteration, with alternative decisions for the evaluation.

use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::prelude::*;
use scheduling::message::number;
use scheduling::{Generator, Instance, Purpose};
use serde::{Deserialize, Serialize};

use super::alternative::{Alternatives, Episode};
use super::chance::Chance;
use super::familiar::{Familiar, LAST_ROUNDS};
use super::policy::PriceNetworks;
use super::prices::{Clusters, PriceNetwork};
use super::samples::Samples;
use crate::adam::Adam;
use crate::kernels;
use crate::network::{Activations, check_hidden, check_parameters};
use crate::training::{Train, Training};

/// The networks and the state of their training: first in clusters without models, then in fleets.
///
/// Each round runs the present agent on new instances, measures what alternatives to its decisions cost
/// others more than these do, and teaches the network the differences D:
///
/// ```text
/// θ ← Adam on   mean of  (C_θ(x', q') − C_θ(x, q) − D / G)² / v,     C_θ(x, q) = σ q (f_θ(x) + h_θ(x) q) + σ̄ e_θ(x)
/// ```
///
/// with q' and q the shares of a full service that the alternative and the own decision take, x' and x
/// what the network sees of their servers, σ and σ̄ how much dearer than usual the time is there and on the
/// mean server, G what a full service gains, and v how much chance is in the
/// difference, as [`Chance`] has learned. An agent that takes the best decision under the measured
/// prices is better than the one that they were measured on, until both are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceTraining {
    /// Fixed for the whole training.
    pub hyperparameters: PriceHyperparameters,
    /// Seeds the initial weights, the alternatives and the order of samples.
    pub seed: u64,
    /// Prices in clusters without models.
    pub plain: PriceLearner,
    /// Prices in fleets, which begin as those of the others.
    pub fleets: Option<PriceLearner>,
}

/// One network and the state of its training.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceLearner {
    /// The running mean of θ over the last rounds: what acts, and what comes out.
    pub network: PriceNetwork,
    /// θ
    pub learner: PriceNetwork,
    /// Its optimiser.
    pub adam: Adam,
    /// v
    pub chance: Chance,
    /// What its inputs have been.
    pub(crate) familiar: Familiar,
    /// Rounds done so far.
    pub rounds: u64,
}

/// The choices of [`PriceTraining`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceHyperparameters {
    /// Rounds in clusters without models.
    pub rounds: u64,
    /// What is done in fleets after those, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleets: Option<Stage>,
    /// Instances of a round.
    pub instances: usize,
    /// Alternatives in each of them.
    pub alternatives: usize,
    /// Requests that each alternative is followed for.
    pub followed_requests: usize,
    /// And one more for so many servers.
    pub servers_per_followed_request: usize,
    /// How often each sample is learned from.
    pub epochs: usize,
    /// Samples of an update.
    pub batch: usize,
    /// Units of each hidden layer of the network.
    pub hidden: Vec<usize>,
    /// Adam's learning rate at the start; it falls linearly to a hundredth of it.
    pub learning_rate: f64,
}

/// The choices that differ between clusters without models and fleets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How many.
    pub rounds: u64,
    /// Requests that each alternative is followed for: what is loaded matters for longer than what waits.
    pub followed_requests: usize,
    /// Units that each hidden layer has beyond those of the network for clusters without models.
    #[serde(default)]
    pub further_units: usize,
}

impl Default for Stage {
    /// Of fleets.
    fn default() -> Self {
        Self { rounds: 500, followed_requests: 24, further_units: 16 }
    }
}

impl Default for PriceHyperparameters {
    fn default() -> Self {
        Self {
            rounds: 400,
            fleets: None,
            instances: 64,
            alternatives: 256,
            followed_requests: 10,
            servers_per_followed_request: 4,
            epochs: 2,
            batch: 512,
            hidden: vec![80, 80],
            learning_rate: 0.003,
        }
    }
}

impl PriceHyperparameters {
    /// The choices for these clusters.
    fn in_clusters(&self, clusters: Clusters) -> Stage {
        let &Self { rounds, followed_requests, fleets, .. } = self;
        let plain = Stage { rounds, followed_requests, further_units: 0 };
        match clusters {
            Clusters::Plain => plain,
            Clusters::Fleets => fleets.unwrap_or(plain),
        }
    }

    /// Units of each hidden layer of the network for these clusters.
    pub(crate) fn hidden_in(&self, clusters: Clusters) -> Vec<usize> {
        let further = self.in_clusters(clusters).further_units;
        self.hidden.iter().map(|units| units.saturating_add(further)).collect()
    }

    /// What a training cannot be done with, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self { hidden, learning_rate, .. } = self;
        check_hidden(hidden)?;
        let of_fleets = self.hidden_in(Clusters::Fleets);
        check_hidden(&of_fleets)?;
        check_parameters(PriceNetwork::parameter_count(Clusters::Fleets, &of_fleets))?;
        let fleets = self.fleets.unwrap_or_default();
        for (name, rounds) in [("rounds", self.rounds), ("fleets.rounds", fleets.rounds)] {
            if !(1..=MOST_ROUNDS).contains(&rounds) {
                return Err(format!("{name} is {rounds}: allowed is 1 to {MOST_ROUNDS}"));
            }
        }
        for (name, count) in [
            ("instances", self.instances),
            ("alternatives", self.alternatives),
            ("followed_requests", self.followed_requests),
            ("fleets.followed_requests", fleets.followed_requests),
            ("servers_per_followed_request", self.servers_per_followed_request),
            ("epochs", self.epochs),
            ("batch", self.batch),
        ] {
            if !(1..=1_000_000).contains(&count) {
                return Err(format!("{name} is {count}: allowed is 1 to 1000000"));
            }
        }
        if !(0.0..=1.0).contains(learning_rate) {
            let found = number(*learning_rate);
            return Err(format!("learning_rate is {found}: allowed is 0 to 1"));
        }
        Ok(())
    }
}

/// Rounds of the longest training.
pub(crate) const MOST_ROUNDS: u64 = 1_000_000;

/// Samples count as if they were off by so many standard deviations at most: those of a flooded cluster
/// would throw the network far off at the start.
const FARTHEST: f32 = 4.0;

/// Weight of the latest round in the running mean of the weights.
const MEAN_WEIGHT: f32 = 0.1;

/// What one round saw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundPoint {
    /// Rounds done, this one included.
    pub round: u64,
    /// r_t of eq. (5) per request, averaged over instances. Each round has instances of its own,
    /// which differ by far more than rounds do.
    pub reward: f64,
    /// Mean price of the agent's own decisions, in gains of a full service per full service.
    pub price: f64,
    /// Root of the mean squared error before the round's updates, in gains of a full service. Most
    /// of it is the chance of single alternatives, which no network can know.
    pub error: f64,
}

impl PriceTraining {
    /// A fresh network.
    pub fn new(seed: u64, hyperparameters: PriceHyperparameters) -> Self {
        let mut generator = Generator::new(seed, Purpose::Initialisation, 0);
        let network = PriceNetwork::new(&hyperparameters.hidden, &mut generator);
        let plain = PriceLearner::new(network, &mut generator);
        Self { hyperparameters, seed, plain, fleets: None }
    }

    /// What comes out: they know what their inputs were in training.
    pub fn networks(&self) -> PriceNetworks {
        self.networks_as(|learner| learner.network.familiar_with(&learner.familiar))
    }

    fn networks_as(&self, network: impl Fn(&PriceLearner) -> PriceNetwork) -> PriceNetworks {
        PriceNetworks {
            plain: Arc::new(network(&self.plain)),
            fleets: self.fleets.as_ref().map(|learner| Arc::new(network(learner))),
        }
    }

    /// One round of whoever has not done all of its own.
    fn round(&mut self, instance: &(impl Fn(Clusters, u64) -> Instance + Sync)) -> RoundPoint {
        if self.plain.rounds == self.hyperparameters.rounds && self.fleets.is_none() {
            let mut generator = Generator::new(self.seed, Purpose::Initialisation, 1);
            let further = self.hyperparameters.in_clusters(Clusters::Fleets).further_units;
            let network = PriceNetwork::for_fleets(&self.plain.network, further, &mut generator);
            self.fleets = Some(PriceLearner::new(network, &mut generator));
        }
        let networks = self.networks_as(|learner| learner.network.clone());
        let done = self.done();
        let Self { hyperparameters, seed, plain, fleets } = self;
        let learner = fleets.as_mut().unwrap_or(plain);
        let (samples, reward) = measure(&networks, learner, hyperparameters, *seed, instance);
        let squares = learner.squared_errors(&samples);
        let error = squares.iter().map(|&square| f64::from(square)).sum::<f64>();
        let error = (error / samples.len().max(1) as f64).sqrt();
        learner.learn(hyperparameters, *seed, &samples, &squares);
        learner.rounds += 1;
        RoundPoint { round: done + 1, reward, price: samples.price(), error }
    }
}

/// The world is a function that draws training instance 0, 1, … of either kind of clusters.
impl<World: Fn(Clusters, u64) -> Instance + Sync> Train<World> for PriceTraining {
    fn train(
        &mut self,
        instance: &mut World,
        mut after_round: impl FnMut(&Self, &RoundPoint) -> ControlFlow<()>,
    ) {
        while self.done() < self.all() {
            let point = self.round(instance);
            if after_round(self, &point).is_break() {
                break;
            }
        }
    }
}

impl Training for PriceTraining {
    type Hyperparameters = PriceHyperparameters;
    type Point = RoundPoint;

    fn hyperparameters(&self) -> &PriceHyperparameters {
        &self.hyperparameters
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn done(&self) -> u64 {
        self.plain.rounds + self.fleets.as_ref().map_or(0, |learner| learner.rounds)
    }

    fn all(&self) -> u64 {
        let PriceHyperparameters { rounds, fleets, .. } = &self.hyperparameters;
        rounds + fleets.map_or(0, |fleets| fleets.rounds)
    }
}

/// Streams of random numbers of the training in fleets begin here.
const FLEET_STREAMS: u64 = 1 << 40;

const fn stream(clusters: Clusters, number: u64) -> u64 {
    match clusters {
        Clusters::Plain => number,
        Clusters::Fleets => FLEET_STREAMS + number,
    }
}

/// Policy evaluation: alternatives on the round's instances, and the mean reward there.
fn measure(
    networks: &PriceNetworks,
    learner: &PriceLearner,
    hyperparameters: &PriceHyperparameters,
    seed: u64,
    instance: &(impl Fn(Clusters, u64) -> Instance + Sync),
) -> (Samples, f64) {
    let clusters = learner.network.clusters();
    let alternatives = Alternatives {
        count: hyperparameters.alternatives,
        requests: hyperparameters.in_clusters(clusters).followed_requests,
        servers_per_request: hyperparameters.servers_per_followed_request,
    };
    let instances = hyperparameters.instances as u64;
    let first = learner.rounds * instances;
    let measured: Vec<_> = (first..first + instances)
        .into_par_iter()
        .map(|number| {
            let instance = instance(clusters, number);
            let episode = Episode::run(networks, &instance);
            let mut draw = Generator::new(seed, Purpose::Exploration, stream(clusters, number));
            (episode.explore(alternatives, &mut draw), episode.reward())
        })
        .collect();
    let mut samples = Samples::new(clusters);
    for (of_instance, _) in &measured {
        samples.append(of_instance);
    }
    let reward = measured.iter().map(|(_, reward)| reward).sum::<f64>();
    (samples, reward / measured.len() as f64)
}

impl PriceLearner {
    fn new(network: PriceNetwork, generator: &mut Generator) -> Self {
        let adam = Adam::new(network.perceptron().parameters().len());
        let chance = Chance::new(network.clusters(), generator);
        let familiar = Familiar::nothing(network.clusters());
        Self { learner: network.clone(), network, adam, chance, familiar, rounds: 0 }
    }

    /// Policy improvement: the network learns what was measured, and its chance how far off it was.
    fn learn(
        &mut self,
        hyperparameters: &PriceHyperparameters,
        seed: u64,
        samples: &Samples,
        squares: &[f32],
    ) {
        let &PriceHyperparameters { epochs, batch, learning_rate, .. } = hyperparameters;
        let rounds = hyperparameters.in_clusters(self.network.clusters()).rounds;
        if self.rounds as f64 >= (1.0 - LAST_ROUNDS) * rounds as f64 {
            self.familiar.see(&samples.owns, samples.clusters);
        }
        let rate = learning_rate * (1.0 - 0.99 * self.rounds as f64 / rounds as f64);
        let stream = stream(self.network.clusters(), self.rounds);
        let mut draw = Generator::new(seed, Purpose::Search, stream);
        let mut order: Vec<usize> = (0..samples.len()).collect();
        let mut activations = Activations::default();
        let mut gradient = vec![0.0; self.adam.first_moment.len()];
        // As it was before it has seen these samples, so that no weight knows the cost it weighs.
        let weights = self.chance.weights(samples);
        for _ in 0..epochs {
            for last in (1..order.len()).rev() {
                order.swap(last, draw.below(last + 1));
            }
            for batch in order.chunks(batch) {
                let select =
                    |values: &[f32]| batch.iter().map(|&at| values[at]).collect::<Vec<_>>();
                let (weights, squares) = (select(&weights), select(squares));
                let batch = samples.select(batch);
                self.chance.learn(&batch, &squares, rate);
                let derivatives = self.residuals(&batch, &weights, &mut activations);
                gradient.fill(0.0);
                let learner = self.learner.perceptron();
                learner.backward(&batch.inputs(), &activations, derivatives, &mut gradient);
                let parameters = self.learner.perceptron_mut().parameters_mut();
                self.adam.update(parameters, &gradient, rate);
            }
        }
        let mean = self.network.perceptron_mut().parameters_mut().iter_mut();
        for (mean, &latest) in mean.zip(self.learner.perceptron().parameters()) {
            *mean += MEAN_WEIGHT * (latest - *mean);
        }
    }

    /// Derivatives of the weighted mean squared error by the outputs, before their softplus.
    fn residuals(
        &self,
        samples: &Samples,
        weights: &[f32],
        activations: &mut Activations,
    ) -> Vec<f32> {
        let outputs = self.learner.perceptron().forward(&samples.inputs(), activations);
        let scale = 2.0 / samples.len() as f32;
        let errors: Vec<f32> = (samples.errors(outputs).zip(weights))
            .map(|(error, weight)| {
                let most = FARTHEST / weight.sqrt();
                scale * weight * error.clamp(-most, most)
            })
            .collect();
        let signed = errors.iter().copied().chain(errors.iter().map(|error| -error));
        let width = samples.clusters.outputs();
        (samples.shares().zip(signed).zip(outputs.chunks_exact(width)))
            .flat_map(|(((q, [steepness, mean]), error), outputs)| {
                let [f, h] = [outputs[0], outputs[1]].map(kernels::sigmoid);
                let e = if q > 0.0 { mean * error } else { 0.0 };
                let error = steepness * error;
                [error * q * f, error * q * q * h, e].into_iter().take(width)
            })
            .collect()
    }

    /// Squared errors of what acts.
    fn squared_errors(&self, samples: &Samples) -> Vec<f32> {
        let mut activations = Activations::default();
        let outputs = self.network.perceptron().forward(&samples.inputs(), &mut activations);
        samples.errors(outputs).map(|error| error * error).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::Jobs;
    use super::*;

    #[test]
    fn derivatives_are_those_of_the_error() {
        for clusters in [Clusters::Plain, Clusters::Fleets] {
            derivatives_are_those_of_the_error_in(clusters);
        }
    }

    fn derivatives_are_those_of_the_error_in(clusters: Clusters) {
        let mut draw = Generator::new(3, Purpose::Exploration, 0);
        let mut numbers = |count: usize, low: f64, high: f64| -> Vec<f32> {
            (0..count).map(|_| draw.between(low, high) as f32).collect()
        };
        let [mut alternatives, owns] = [(); 2].map(|()| Jobs {
            inputs: numbers(7 * clusters.inputs(), -1.0, 1.0),
            shares: numbers(7, 0.2, 1.3),
            steepness: (0..7).map(|_| [numbers(1, 1.0, 3.0)[0], numbers(1, 1.0, 3.0)[0]]).collect(),
        });
        // One that is not served.
        alternatives.shares[4] = 0.0;
        let samples = Samples { clusters, alternatives, owns, costs: numbers(7, -1.0, 1.0) };
        let weights = numbers(7, 0.1, 3.0);
        let hyperparameters = PriceHyperparameters { hidden: vec![5, 4], ..Default::default() };
        let plain = PriceTraining::new(4, hyperparameters).plain;
        let mut generator = Generator::new(4, Purpose::Initialisation, 1);
        let learner = match clusters {
            Clusters::Plain => plain,
            Clusters::Fleets => {
                let network = PriceNetwork::for_fleets(&plain.network, 0, &mut generator);
                PriceLearner::new(network, &mut generator)
            }
        };
        let mut activations = Activations::default();
        let derivatives = learner.residuals(&samples, &weights, &mut activations);
        assert_eq!(derivatives.len(), 14 * clusters.outputs());
        let loss = |outputs: &[f32]| {
            let errors = samples.errors(outputs).zip(&weights);
            errors.map(|(error, &weight)| f64::from(weight * error * error)).sum::<f64>() / 7.0
        };
        for output in 0..derivatives.len() {
            let [low, high] = [-0.01, 0.01].map(|step| {
                let mut outputs = activations.output().to_vec();
                outputs[output] += step;
                loss(&outputs)
            });
            let slope = (high - low) / 0.02;
            let found = f64::from(derivatives[output]);
            assert!((found - slope).abs() < 1e-3 * (1.0 + slope.abs()), "{found} and {slope}");
        }
    }
}
