//! Algorithm 1 of the paper, with its line numbers: training of the actor-critic.
//!
//! What the paper leaves open (sizes, rates, normalisation) is in [`Hyperparameters`]; the reasons
//! are in `docs/actor-critic.md`.

use std::ops::ControlFlow;

use rayon::prelude::*;
use scheduling::message::number;
use scheduling::{Decision, Environment, Generator, Purpose};
use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Update};
use crate::adam::Adam;
use crate::features;
use crate::network::{Activations, Mlp, check_hidden, check_parameters, parameter_count};
use crate::training::{Train, Training};

/// The actor, the critic, and the state of their training.
#[derive(Clone, Debug, PartialEq)]
pub struct ActorCritic {
    /// Fixed for the whole training.
    pub hyperparameters: Hyperparameters,
    /// Seeds the initial weights and the exploration.
    pub seed: u64,
    /// π_θ
    pub actor: Actor,
    /// V, a network of its own.
    pub critic: Mlp,
    /// Optimiser of the actor.
    pub actor_adam: Adam,
    /// Optimiser of the critic.
    pub critic_adam: Adam,
    /// Episodes done so far.
    pub episodes: u64,
}

/// The choices that the paper leaves open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyperparameters {
    /// E: episodes of the whole training.
    pub episodes: u64,
    /// Episodes side by side, with one update for all of them; 1 in Algorithm 1.
    pub lanes: usize,
    /// Widths of the hidden layers, of actor and critic alike.
    pub hidden: Vec<usize>,
    /// Adam's learning rate at the start; it falls linearly to a tenth of it.
    pub learning_rate: f64,
    /// γ of eq. (6).
    pub discount: f64,
    /// Weight of the entropy bonus.
    pub entropy_bonus: f64,
    /// The agent learns from `max(floor, (r − centre) / scale)`; what is reported is r itself.
    pub reward_centre: f64,
    /// See `reward_centre`.
    pub reward_scale: f64,
    /// See `reward_centre`.
    pub reward_floor: f64,
    /// Norm that the gradients of an update are clipped to, for actor and critic each.
    #[serde(alias = "largest_gradient")]
    pub max_grad_norm: f64,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            episodes: 3000,
            lanes: 1,
            hidden: vec![128, 128],
            learning_rate: 2e-3,
            discount: 0.9,
            entropy_bonus: 0.1,
            reward_centre: 50.0,
            reward_scale: 10.0,
            reward_floor: -5.0,
            max_grad_norm: 1.0,
        }
    }
}

/// Episodes of the longest training.
pub(crate) const MOST_EPISODES: u64 = 1_000_000_000;
/// Most episodes side by side.
pub(crate) const MOST_LANES: usize = 65_535;
/// As many as a scenario may have.
const MOST_SERVERS: usize = 1000;

impl Hyperparameters {
    /// Whether a training for so many servers can be done with them.
    ///
    /// # Errors
    /// What is out of range, and the range. Nothing was allocated.
    pub fn check(&self, servers: usize) -> Result<(), String> {
        check_hidden(&self.hidden)?;
        for (name, count, most) in [
            ("servers", servers as u64, MOST_SERVERS as u64),
            ("episodes", self.episodes, MOST_EPISODES),
            ("lanes", self.lanes as u64, MOST_LANES as u64),
        ] {
            if !(1..=most).contains(&count) {
                return Err(format!("{name} is {count}: allowed is 1 to {most}"));
            }
        }
        for (name, value, low, high) in [
            ("learning_rate", self.learning_rate, 0.0, 1.0),
            ("discount", self.discount, 0.0, 1.0),
            ("entropy_bonus", self.entropy_bonus, 0.0, 10.0),
            ("reward_centre", self.reward_centre, -1e6, 1e6),
            ("reward_scale", self.reward_scale, 1e-3, 1e6),
            ("reward_floor", self.reward_floor, -1e6, 0.0),
            ("max_grad_norm", self.max_grad_norm, 0.0, 1e6),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!("{name} is {}: allowed is {low} to {high}", number(value)));
            }
        }
        check_parameters(ActorCritic::parameter_count(servers, self))
    }
}

/// What one update saw, averaged over its requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Episodes done, this update's included.
    pub episode: u64,
    /// r_t of eq. (5), per request.
    pub reward: f64,
    /// Share of requests whose reward was so low that the agent learnt from the floor instead.
    pub floored: f64,
    /// H(π), the sum over both branches, in nats.
    pub entropy: f64,
    /// Root of the mean square of δ_t, eq. (6), in units of the scaled reward.
    pub td_error: f64,
    /// Norm of the actor's gradient before it was clipped.
    pub actor_gradient: f64,
    /// Norm of the critic's gradient before it was clipped.
    pub critic_gradient: f64,
}

impl ActorCritic {
    /// Fresh networks for clusters of so many servers.
    pub fn new(servers: usize, seed: u64, hyperparameters: Hyperparameters) -> Self {
        let inputs = features::width(servers);
        let hidden = &hyperparameters.hidden;
        let [_, critic] = Self::sizes(servers, hidden);
        let initialisation = |index| Generator::new(seed, Purpose::Initialisation, index);
        // 1: initialise actor network and critic network parameters
        let actor = Actor::new(inputs, hidden, servers, &mut initialisation(0));
        let critic = Mlp::new(&critic, &mut initialisation(1));
        let actor_adam = Adam::new(actor.network().parameters().len());
        let critic_adam = Adam::new(critic.parameters().len());
        Self { hyperparameters, seed, actor, critic, actor_adam, critic_adam, episodes: 0 }
    }

    /// Widths of the layers of actor and critic.
    pub(crate) fn sizes(servers: usize, hidden: &[usize]) -> [Vec<usize>; 2] {
        let inputs = features::width(servers);
        [Actor::sizes(inputs, hidden, servers), [&[inputs], hidden, &[1]].concat()]
    }

    /// How many parameters actor and critic have together.
    pub(crate) fn parameter_count(servers: usize, hyperparameters: &Hyperparameters) -> usize {
        Self::sizes(servers, &hyperparameters.hidden)
            .iter()
            .map(|sizes| parameter_count(sizes))
            .sum()
    }
}

impl<World: Environment> Train<World> for ActorCritic {
    fn train(
        &mut self,
        environment: &mut World,
        mut after_update: impl FnMut(&Self, &CurvePoint) -> ControlFlow<()>,
    ) {
        let mut memory = Memory::default();
        // 2: for e = 1, 2, …, E do
        while self.episodes < self.hyperparameters.episodes {
            // 3, 4: reset the cluster, generate a new arriving instance
            environment.reset(self.episodes);
            // 5–14: collect the trajectory
            self.roll_out(environment, &mut memory);
            // 15: update both networks with it
            self.episodes += environment.lanes() as u64;
            let episode = self.update(environment.lanes(), &mut memory);
            if after_update(self, &episode).is_break() {
                break;
            }
        } // 16
    }
}

impl ActorCritic {
    /// Lines 5 to 14: one episode (in each lane) under the current policy.
    fn roll_out(&self, environment: &mut impl Environment, memory: &mut Memory) {
        let lanes = environment.lanes();
        let Trajectory { states, actions, rewards } = &mut memory.trajectory;
        states.clear();
        actions.clear();
        rewards.clear();
        let mut generators: Vec<_> = (0..lanes as u64)
            .map(|lane| Generator::new(self.seed, Purpose::Exploration, self.episodes + lane))
            .collect();
        // 5: for t = 1, 2, …, I do
        for t in 0..environment.requests() {
            let row = t * lanes;
            // 6: observe the current state s_t
            let start = states.len();
            features::of_environment(environment, states);
            // 7: choose an action a_t with the current actor
            let activations = &mut memory.acting;
            self.actor.sample(&states[start..], activations, &mut generators, actions);
            // 8–12: dispatch to server a^m with a^steps steps, compute r_t by (5), let the servers
            // work until the next arrival
            rewards.resize(row + lanes, 0.0);
            environment.step(&actions[row..], &mut rewards[row..]);
            // 13: (s_t, a_t, r_t) is stored, and s_{t+1} is the state of the row below
        } // 14
    }

    /// Line 15: one update of both networks, according to (7) and (6).
    ///
    /// The rows are cut into chunks that stay in a core's cache. Their gradients are added in order
    /// of the chunks, so the result does not depend on the number of threads.
    fn update(&mut self, lanes: usize, memory: &mut Memory) -> CurvePoint {
        let (h, inputs) = (&self.hyperparameters, self.critic.sizes()[0]);
        let Trajectory { states, actions, rewards } = &memory.trajectory;
        let rows = actions.len();
        let chunks = rows.div_ceil(CHUNK_ROWS);
        memory.chunks.resize_with(chunks, Chunk::default);
        let states_of = |c: usize| {
            &states[c * CHUNK_ROWS * inputs..((c + 1) * CHUNK_ROWS * inputs).min(states.len())]
        };

        // V(s_t) of all rows
        memory.chunks.par_iter_mut().enumerate().for_each(|(c, chunk)| {
            self.critic.forward(states_of(c), &mut chunk.critic);
        });
        let values: Vec<f32> =
            memory.chunks.iter().flat_map(|chunk| chunk.critic.output()).copied().collect();

        // (6), (10): δ_t = A_t = r_t + γ V(s_{t+1}) − V(s_t), with no value after the last request
        let mut floored = 0.0;
        let delta: Vec<f32> = (0..rows)
            .map(|row| {
                let reward = (rewards[row] - h.reward_centre) / h.reward_scale;
                floored += f64::from(reward < h.reward_floor);
                let next = values.get(row + lanes).copied().unwrap_or(0.0);
                reward.max(h.reward_floor) as f32 + h.discount as f32 * next - values[row]
            })
            .collect();
        let n = rows as f64;
        let mean = delta.iter().map(|&d| f64::from(d)).sum::<f64>() / n;
        let square = delta.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>() / n;
        let deviation = (square - mean * mean).max(0.0).sqrt() + 1e-8;

        memory.chunks.par_iter_mut().enumerate().for_each(|(c, chunk)| {
            let states = states_of(c);
            let from = c * CHUNK_ROWS;
            let delta = &delta[from..rows.min(from + CHUNK_ROWS)];
            // Critic: the gradient of ½ δ², with r_t + γ V(s_{t+1}) held fixed
            let d_value = delta.iter().map(|d| -d / n as f32).collect();
            chunk.critic_gradient.clear();
            chunk.critic_gradient.resize(self.critic.parameters().len(), 0.0);
            self.critic.backward(states, &chunk.critic, d_value, &mut chunk.critic_gradient);
            // Actor: (7), with normalised advantages
            let update = |d: &f32| Update {
                advantage: ((f64::from(*d) - mean) / deviation / n) as f32,
                entropy: (h.entropy_bonus / n) as f32,
            };
            let updates: Vec<_> = delta.iter().map(update).collect();
            chunk.actor_gradient.clear();
            chunk.actor_gradient.resize(self.actor.network().parameters().len(), 0.0);
            let (actions, gradient) = (&actions[from..], &mut chunk.actor_gradient);
            chunk.entropy =
                self.actor.policy_gradient(states, actions, &updates, &mut chunk.actor, gradient);
        });

        let done = self.episodes as f64 / h.episodes as f64;
        let learning_rate = h.learning_rate * (1.0 - 0.9 * done.min(1.0));
        let max_norm = h.max_grad_norm;
        let mut gradient = sum(memory.chunks.iter().map(|chunk| &chunk.actor_gradient));
        let actor_gradient = clip(&mut gradient, max_norm);
        let parameters = self.actor.network_mut().parameters_mut();
        self.actor_adam.update(parameters, &gradient, learning_rate);
        let mut gradient = sum(memory.chunks.iter().map(|chunk| &chunk.critic_gradient));
        let critic_gradient = clip(&mut gradient, max_norm);
        self.critic_adam.update(self.critic.parameters_mut(), &gradient, learning_rate);

        CurvePoint {
            episode: self.episodes,
            reward: rewards.iter().sum::<f64>() / n,
            floored: floored / n,
            entropy: memory.chunks.iter().map(|chunk| chunk.entropy).sum::<f64>() / n,
            td_error: square.sqrt(),
            actor_gradient,
            critic_gradient,
        }
    }
}

impl Training for ActorCritic {
    type Hyperparameters = Hyperparameters;
    type Point = CurvePoint;

    fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyperparameters
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn done(&self) -> u64 {
        self.episodes
    }

    fn all(&self) -> u64 {
        self.hyperparameters.episodes
    }
}

/// Rows whose activations and logits fit into a core's second-level cache.
const CHUNK_ROWS: usize = 250;

/// τ: what happened in an episode, row `t · lanes + lane` for the t-th request of a lane.
#[derive(Debug, Default)]
struct Trajectory {
    /// s_t, as the networks see it.
    states: Vec<f32>,
    /// a_t
    actions: Vec<Decision>,
    /// r_t of eq. (5), neither scaled nor bounded.
    rewards: Vec<f64>,
}

/// Buffers that are used again in every episode.
#[derive(Debug, Default)]
struct Memory {
    trajectory: Trajectory,
    acting: Activations,
    chunks: Vec<Chunk>,
}

/// The part of an update that one thread does at a time.
#[derive(Debug, Default)]
struct Chunk {
    actor: Activations,
    critic: Activations,
    actor_gradient: Vec<f32>,
    critic_gradient: Vec<f32>,
    entropy: f64,
}

fn sum<'a>(gradients: impl Iterator<Item = &'a Vec<f32>>) -> Vec<f32> {
    gradients
        .cloned()
        .reduce(|mut sum, gradient| {
            crate::kernels::add(&gradient, &mut sum);
            sum
        })
        .unwrap_or_default()
}

/// Clips a gradient to a norm and returns the norm that it had.
fn clip(gradient: &mut [f32], max_norm: f64) -> f64 {
    let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    if norm > max_norm {
        let factor = (max_norm / norm) as f32;
        for g in gradient {
            *g *= factor;
        }
    }
    norm
}
