//! How a training of the universal agent is kept in a checkpoint.

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::UNIVERSAL_FEATURE_VERSION;
use super::chance::Chance;
use super::familiar::Familiar;
use super::prices::{Clusters, PriceNetwork};
use super::training::{MOST_ROUNDS, PriceHyperparameters, PriceLearner, PriceTraining};
use crate::adam::Adam;
use crate::checkpoint::{Stored, Tensor, check_counts, read_values};

/// Shape and progress.
#[derive(Serialize, Deserialize)]
pub struct State {
    hyperparameters: PriceHyperparameters,
    /// Rounds done in clusters without models.
    rounds: u64,
    /// Progress in fleets, once they have begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fleets: Option<Progress>,
}

/// How far the training in fleets is.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Progress {
    rounds: u64,
    /// Of all updates of the training.
    updates: u64,
}

impl State {
    fn all_rounds(&self) -> u64 {
        self.rounds.saturating_add(self.fleets.map_or(0, |fleets| fleets.rounds))
    }
}

impl Stored for PriceTraining {
    const AGENT: Option<&'static str> = Some("universal");
    const FORMAT: u32 = 4;
    const FEATURE_VERSION: u32 = UNIVERSAL_FEATURE_VERSION;

    type State = State;

    fn state(&self) -> State {
        let hyperparameters = self.hyperparameters.clone();
        let progress = |learner: &PriceLearner| {
            let PriceLearner { rounds, adam, .. } = learner;
            Progress { rounds: *rounds, updates: adam.updates }
        };
        let fleets = self.fleets.as_ref().map(progress);
        State { hyperparameters, rounds: self.plain.rounds, fleets }
    }

    fn updates(&self) -> u64 {
        self.plain.adam.updates + self.fleets.as_ref().map_or(0, |learner| learner.adam.updates)
    }

    fn check(state: &State, updates: u64) -> Result<(), String> {
        state.hyperparameters.check()?;
        check_counts(state.all_rounds(), MOST_ROUNDS, updates)?;
        match state.fleets {
            Some(fleets) if fleets.updates > updates => {
                Err(format!("fleets.updates is {}: allowed is 0 to {updates}", fleets.updates))
            }
            _ => Ok(()),
        }
    }

    fn numbers(state: &State) -> usize {
        let of = |clusters| {
            let hidden = state.hyperparameters.hidden_in(clusters);
            let prices = PriceNetwork::parameter_count(clusters, &hidden);
            // The learner has the two moments of its gradient, and so has the chance.
            4 * prices + 3 * Chance::parameter_count(clusters) + Familiar::count(clusters)
        };
        of(Clusters::Plain) + state.fleets.map_or(0, |_| of(Clusters::Fleets))
    }

    fn points(state: &State, _: u64) -> u64 {
        state.all_rounds()
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let fleets = self.fleets.iter().flat_map(|learner| tensors("fleets.", learner));
        tensors("", &self.plain).chain(fleets).collect()
    }

    fn from_tensors(
        state: State,
        seed: u64,
        updates: u64,
        tensors: &SafeTensors<'_>,
    ) -> Result<Self, String> {
        let State { hyperparameters, rounds, fleets } = state;
        let learner = |prefix, clusters, progress| {
            let hidden = &hyperparameters.hidden_in(clusters);
            Reading { tensors, prefix, clusters, hidden }.learner(progress)
        };
        let others = updates - fleets.map_or(0, |fleets| fleets.updates);
        let plain = learner("", Clusters::Plain, Progress { rounds, updates: others })?;
        let fleets = fleets.map(|progress| learner("fleets.", Clusters::Fleets, progress));
        Ok(Self { plain, fleets: fleets.transpose()?, hyperparameters, seed })
    }
}

/// The tensors of a learner, each with its name behind a prefix.
fn tensors(prefix: &str, learner: &PriceLearner) -> impl Iterator<Item = (String, Tensor)> {
    let PriceLearner { network, learner, adam, chance, familiar, .. } = learner;
    [
        ("prices", network.perceptron().parameters()),
        ("prices.learner", learner.perceptron().parameters()),
        ("prices.first_moment", &adam.first_moment),
        ("prices.second_moment", &adam.second_moment),
        ("chance", chance.network.parameters()),
        ("chance.first_moment", &chance.adam.first_moment),
        ("chance.second_moment", &chance.adam.second_moment),
        ("familiar", &familiar.values()),
    ]
    .map(|(name, values)| (format!("{prefix}{name}"), Tensor::new(vec![values.len()], values)))
    .into_iter()
}

/// The tensors of a learner being read.
struct Reading<'a> {
    tensors: &'a SafeTensors<'a>,
    prefix: &'a str,
    clusters: Clusters,
    hidden: &'a [usize],
}

impl Reading<'_> {
    fn numbers(&self, name: &str, count: usize) -> Result<Vec<f32>, String> {
        let mut values = Vec::new();
        read_values(self.tensors, &format!("{}{name}", self.prefix), &[count], &mut values)?;
        Ok(values)
    }

    fn adam(&self, name: &str, count: usize, updates: u64) -> Result<Adam, String> {
        Ok(Adam {
            first_moment: self.numbers(&format!("{name}.first_moment"), count)?,
            second_moment: self.numbers(&format!("{name}.second_moment"), count)?,
            // The chance is learned in step with the prices.
            updates,
        })
    }

    fn learner(&self, Progress { rounds, updates }: Progress) -> Result<PriceLearner, String> {
        let Self { clusters, hidden, .. } = *self;
        let prices = PriceNetwork::parameter_count(clusters, hidden);
        let network = |name: &str| {
            let parameters = self.numbers(name, prices)?;
            let network = PriceNetwork::from_parameters(clusters, hidden, parameters);
            Ok::<_, String>(network.expect("as many as the shape says"))
        };
        let count = Chance::parameter_count(clusters);
        let (numbers, adam) =
            (self.numbers("chance", count)?, self.adam("chance", count, updates)?);
        let chance = Chance::from_parts(clusters, numbers, adam);
        let familiar = self.numbers("familiar", Familiar::count(clusters))?;
        let familiar = Familiar::from_values(clusters, &familiar);
        Ok(PriceLearner {
            network: network("prices")?,
            learner: network("prices.learner")?,
            adam: self.adam("prices", prices, updates)?,
            chance: chance.expect("as many as the shape says"),
            familiar: familiar.expect("as many as the shape says"),
            rounds,
        })
    }
}
