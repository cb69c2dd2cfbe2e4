//! How a training of the universal agent is kept in a checkpoint.

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::UNIVERSAL_FEATURE_VERSION;
use super::chance::Chance;
use super::prices::PriceNetwork;
use super::training::{MOST_ROUNDS, PriceHyperparameters, PriceTraining};
use crate::adam::Adam;
use crate::checkpoint::{Stored, Tensor, check_counts, read_values};

/// Shape and progress.
#[derive(Serialize, Deserialize)]
pub struct State {
    hyperparameters: PriceHyperparameters,
    /// Rounds done.
    rounds: u64,
}

impl Stored for PriceTraining {
    const AGENT: Option<&'static str> = Some("universal");
    const FORMAT: u32 = 4;
    const FEATURE_VERSION: u32 = UNIVERSAL_FEATURE_VERSION;

    type State = State;

    fn state(&self) -> State {
        State { hyperparameters: self.hyperparameters.clone(), rounds: self.rounds }
    }

    fn updates(&self) -> u64 {
        self.adam.updates
    }

    fn check(state: &State, updates: u64) -> Result<(), String> {
        state.hyperparameters.check()?;
        check_counts(state.rounds, MOST_ROUNDS, updates)
    }

    fn numbers(state: &State) -> usize {
        let prices = PriceNetwork::parameter_count(&state.hyperparameters.hidden);
        // The learner has the two moments of its gradient, and so has the chance.
        4 * prices + 3 * Chance::parameter_count()
    }

    fn points(state: &State, _: u64) -> u64 {
        state.rounds
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let Self { network, learner, adam, chance, .. } = self;
        [
            ("prices", network.perceptron().parameters()),
            ("prices.learner", learner.perceptron().parameters()),
            ("prices.first_moment", &adam.first_moment),
            ("prices.second_moment", &adam.second_moment),
            ("chance", chance.network.parameters()),
            ("chance.first_moment", &chance.adam.first_moment),
            ("chance.second_moment", &chance.adam.second_moment),
        ]
        .map(|(name, values)| (name.to_owned(), Tensor::new(vec![values.len()], values)))
        .into()
    }

    fn from_tensors(
        state: State,
        seed: u64,
        updates: u64,
        tensors: &SafeTensors<'_>,
    ) -> Result<Self, String> {
        let State { hyperparameters, rounds } = state;
        let hidden = &hyperparameters.hidden;
        let numbers = |name: &str, count: usize| {
            let mut values = Vec::new();
            read_values(tensors, name, &[count], &mut values)?;
            Ok::<_, String>(values)
        };
        let adam = |name: &str, count: usize| {
            Ok::<_, String>(Adam {
                first_moment: numbers(&format!("{name}.first_moment"), count)?,
                second_moment: numbers(&format!("{name}.second_moment"), count)?,
                // The chance is learned in step with the prices.
                updates,
            })
        };
        let prices = PriceNetwork::parameter_count(hidden);
        let network = |name: &str| {
            let network = PriceNetwork::from_parameters(hidden, numbers(name, prices)?);
            Ok::<_, String>(network.expect("as many as the shape says"))
        };
        let count = Chance::parameter_count();
        let chance = Chance::from_parts(numbers("chance", count)?, adam("chance", count)?);
        Ok(Self {
            network: network("prices")?,
            learner: network("prices.learner")?,
            adam: adam("prices", prices)?,
            chance: chance.expect("as many as the shape says"),
            hyperparameters,
            seed,
            rounds,
        })
    }
}
