//! How a training of the paper's agent is kept in a checkpoint.

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::adam::Adam;
use crate::algorithm1::{ActorCritic, Hyperparameters, MOST_EPISODES, MOST_LANES};
use crate::checkpoint::{Stored, Tensor, check_counts, layers, read_values};
use crate::features::FEATURE_VERSION;
use crate::network::Mlp;

/// Shape and progress.
#[derive(Serialize, Deserialize)]
pub struct State {
    /// J
    servers: usize,
    hyperparameters: Hyperparameters,
    /// Episodes done.
    episodes: u64,
}

impl Stored for ActorCritic {
    const AGENT: Option<&'static str> = None;
    const FORMAT: u32 = 1;
    const FEATURE_VERSION: u32 = FEATURE_VERSION;

    type State = State;

    fn state(&self) -> State {
        State {
            servers: self.actor.servers(),
            hyperparameters: self.hyperparameters.clone(),
            episodes: self.episodes,
        }
    }

    fn updates(&self) -> u64 {
        self.actor_adam.updates
    }

    fn check(state: &State, updates: u64) -> Result<(), String> {
        state.hyperparameters.check(state.servers)?;
        check_counts(state.episodes, MOST_EPISODES + MOST_LANES as u64, updates)
    }

    fn numbers(state: &State) -> usize {
        // Each parameter with the two moments of its gradient.
        3 * Self::parameter_count(state.servers, &state.hyperparameters)
    }

    fn points(_: &State, updates: u64) -> u64 {
        updates
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for (name, network, adam) in [
            ("actor", self.actor.network(), &self.actor_adam),
            ("critic", &self.critic, &self.critic_adam),
        ] {
            for (part, values) in [
                ("", network.parameters()),
                (".first_moment", &adam.first_moment),
                (".second_moment", &adam.second_moment),
            ] {
                tensors.extend(layers(network.sizes(), values).flat_map(|(layer, shape, w, b)| {
                    let bias = vec![shape[1]];
                    [
                        (format!("{name}.{layer}.weight{part}"), Tensor::new(shape, w)),
                        (format!("{name}.{layer}.bias{part}"), Tensor::new(bias, b)),
                    ]
                }));
            }
        }
        tensors
    }

    fn from_tensors(
        state: State,
        seed: u64,
        updates: u64,
        tensors: &SafeTensors<'_>,
    ) -> Result<Self, String> {
        let State { servers, hyperparameters, episodes } = state;
        let [actor_sizes, critic_sizes] = Self::sizes(servers, &hyperparameters.hidden);
        let numbers = |name: &str, sizes: &[usize], part: &str| -> Result<Vec<f32>, String> {
            let mut values = Vec::new();
            for (layer, pair) in sizes.windows(2).enumerate() {
                for (kind, shape) in [("weight", pair), ("bias", &pair[1..])] {
                    let name = format!("{name}.{layer}.{kind}{part}");
                    read_values(tensors, &name, shape, &mut values)?;
                }
            }
            Ok(values)
        };
        let network = |name: &str, sizes: &[usize]| {
            let adam = Adam {
                first_moment: numbers(name, sizes, ".first_moment")?,
                second_moment: numbers(name, sizes, ".second_moment")?,
                updates,
            };
            let network = Mlp::from_parameters(sizes, numbers(name, sizes, "")?);
            Ok::<_, String>((network.expect("as many as the shapes say"), adam))
        };
        let (actor, actor_adam) = network("actor", &actor_sizes)?;
        let actor = Actor::from_network(actor, servers).expect("sizes are those of an actor");
        let (critic, critic_adam) = network("critic", &critic_sizes)?;
        Ok(Self { hyperparameters, seed, actor, critic, actor_adam, critic_adam, episodes })
    }
}
