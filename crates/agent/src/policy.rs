//! The trained policy, and how any policy is made from its name.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use scheduling::message::{bounded, excerpt};
use scheduling::policies::Myopic;
use scheduling::{
    AgentName, Cap, Cluster, Decision, Generator, Observation, OwnName, Policy, PolicyName,
    PolicyNameError, Purpose, Rule,
};
use thiserror::Error;

use crate::actor::Actor;
use crate::algorithm1::ActorCritic;
use crate::built_in::{UNIVERSAL, universal};
use crate::checkpoint::{Checkpoint, CheckpointError, has_checkpoint};
use crate::features;
use crate::file::{PATIENCE, PolicyFile};
use crate::network::Activations;
use crate::universal::{PriceNetworks, PriceTraining, UniversalAgent};

/// What a policy of some name is made from, read once and used for many instances.
#[derive(Clone, Debug)]
pub struct Recipe {
    name: PolicyName,
    made_from: Ingredients,
    patience: Duration,
}

#[derive(Clone, Debug)]
enum Ingredients {
    /// A rule that needs nothing but its name.
    Rule(Rule),
    /// The actor of a checkpoint of the paper's agent.
    Actor(Arc<Actor>),
    /// The networks of a universal checkpoint, and the agent's cap on tardiness.
    Prices(PriceNetworks, Option<Cap>),
    /// Processes that run a Python file.
    File(Arc<PolicyFile>),
    /// Whoever makes it.
    Maker(Arc<dyn Maker>),
}

/// Makes a policy for each instance anew, where a name does not say how.
pub trait Maker: Debug + Send + Sync {
    /// The policy. The generator is for those that draw random numbers.
    ///
    /// # Errors
    /// Why there is none.
    fn policy(&self, cluster: &Cluster, generator: Generator) -> Result<Box<dyn Policy>, String>;
}

impl Maker for OwnName {
    fn policy(&self, _: &Cluster, generator: Generator) -> Result<Box<dyn Policy>, String> {
        OwnName::policy(self, generator).map_err(|error| error.to_string())
    }
}

impl Recipe {
    /// Reads what the policy needs.
    ///
    /// # Errors
    /// [`PolicyError`], but for [`PolicyError::Servers`].
    pub fn load(name: &PolicyName) -> Result<Self, PolicyError> {
        Self::load_from(Path::new(""), name)
    }

    /// Reads what the policy needs; a checkpoint's folder and a file are relative to `base`.
    ///
    /// # Errors
    /// [`PolicyError`], but for [`PolicyError::Servers`].
    pub fn load_from(base: &Path, name: &PolicyName) -> Result<Self, PolicyError> {
        let made_from = match name {
            PolicyName::Rule(rule) => Ingredients::Rule(*rule),
            PolicyName::Agent(AgentName { checkpoint, cap }) => {
                let folder = &base.join(checkpoint);
                let unusable =
                    |source| PolicyError::Checkpoint { policy: name.to_string(), source };
                if checkpoint == Path::new(UNIVERSAL) && !has_checkpoint(folder) {
                    Ingredients::Prices(universal().map_err(unusable)?, *cap)
                } else if Checkpoint::<PriceTraining>::is_in(folder) {
                    let checkpoint = Checkpoint::<PriceTraining>::load(folder).map_err(unusable)?;
                    Ingredients::Prices(checkpoint.training.networks(), *cap)
                } else {
                    let checkpoint = Checkpoint::<ActorCritic>::load(folder).map_err(unusable)?;
                    if cap.is_some() {
                        return Err(PolicyError::Cap { policy: name.to_string() });
                    }
                    Ingredients::Actor(Arc::new(checkpoint.training.actor))
                }
            }
            PolicyName::File(file) => {
                let file = PolicyFile::load(&base.join(file)).map_err(|e| outside(name, &e))?;
                Ingredients::File(Arc::new(file))
            }
            PolicyName::Own(own) => {
                // Whether it understands its options is better known before long work.
                own.policy(Generator::new(0, Purpose::Policy, 0)).map_err(PolicyError::Name)?;
                Ingredients::Maker(Arc::new(own.clone()))
            }
        };
        Ok(Self { name: name.clone(), made_from, patience: PATIENCE })
    }

    /// Policies that somebody else makes, under this name in results.
    pub fn made_by(name: &str, maker: Arc<dyn Maker>) -> Self {
        let name = PolicyName::Own(OwnName { name: name.into(), options: None });
        Self { name, made_from: Ingredients::Maker(maker), patience: PATIENCE }
    }

    /// The same, whose policies fail if they think longer than this: those in Python files, which alone could think
    /// for ever. They have a minute unless told.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Name of the policy.
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// Makes the policy for a cluster, which a trained one must fit.
    ///
    /// # Errors
    /// [`PolicyError::Servers`], and [`PolicyError::Outside`] from those that others make.
    pub fn policy(
        &self,
        cluster: &Cluster,
        generator: Generator,
    ) -> Result<Box<dyn Policy>, PolicyError> {
        match &self.made_from {
            Ingredients::Rule(rule) => Ok(rule.policy(generator)),
            Ingredients::Actor(actor) if actor.servers() == cluster.len() => {
                Ok(Box::new(Agent::new(actor.clone())))
            }
            Ingredients::Actor(actor) => Err(PolicyError::Servers {
                policy: self.name.to_string(),
                trained: actor.servers(),
                given: cluster.len(),
            }),
            Ingredients::Prices(networks, cap) => {
                Ok(Box::new(UniversalAgent::new(networks.clone(), cap.map(|Cap(cap)| cap))))
            }
            Ingredients::File(file) => {
                let policy = file.policy(cluster, generator, self.patience);
                Ok(Box::new(policy.map_err(|problem| outside(&self.name, &problem))?))
            }
            Ingredients::Maker(maker) => {
                maker.policy(cluster, generator).map_err(|problem| outside(&self.name, &problem))
            }
        }
    }
}

fn outside(name: &PolicyName, problem: &str) -> PolicyError {
    PolicyError::Outside { policy: name.to_string(), problem: bounded(problem) }
}

/// A trained actor as a policy: the most probable server and the most probable steps.
#[derive(Clone, Debug)]
pub struct Agent {
    actor: Arc<Actor>,
    input: Vec<f32>,
    activations: Activations,
}

impl Agent {
    /// The policy of a trained actor.
    pub fn new(actor: Arc<Actor>) -> Self {
        Self { actor, input: Vec::new(), activations: Activations::default() }
    }
}

impl Policy for Agent {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        // Live, a server may be away. The networks have an input for each server, so that they
        // cannot decide for fewer; the rule nearest to them can.
        if observation.offers.len() != self.actor.servers() {
            return Myopic.decide(observation);
        }
        features::of_observation(observation, &mut self.input);
        self.actor.most_probable(&self.input, observation.offers, &mut self.activations)
    }
}

/// A policy that cannot be made.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The checkpoint cannot be used.
    #[error("policy {}: {source}", excerpt(policy))]
    Checkpoint {
        /// Name of the policy.
        policy: String,
        /// Why.
        source: CheckpointError,
    },
    /// A cap for an agent that cannot keep to one.
    #[error(
        "policy {policy}: cap is allowed for universal agents only, and this checkpoint is of the \
         paper's agent"
    )]
    Cap {
        /// Name of the policy.
        policy: String,
    },
    /// The checkpoint is for another number of servers.
    #[error(
        "policy {policy} was trained for {trained} servers and the cluster has {given}: \
         allowed is a cluster of {trained}, as its input has one backlog per server"
    )]
    Servers {
        /// Name of the policy.
        policy: String,
        /// Servers in training.
        trained: usize,
        /// Servers here.
        given: usize,
    },
    /// The options of a policy from outside.
    #[error(transparent)]
    Name(PolicyNameError),
    /// A policy from outside says why there is none.
    #[error("policy {}: {problem}", excerpt(policy))]
    Outside {
        /// Name of the policy.
        policy: String,
        /// Why.
        problem: String,
    },
}

#[cfg(test)]
mod tests {
    use scheduling::{
        Objective, Offer, Request, Seconds, Spread, StepBounds, StepRate, Steps, TardinessPenalty,
        Time, Traffic,
    };

    use super::*;
    use crate::universal::PriceNetwork;

    #[test]
    fn both_agents_decide_within_the_bounds() {
        let mut draw = Generator::new(5, Purpose::Search, 0);
        let mut input = Vec::new();
        let observe = |bounds, decide: &mut dyn FnMut(&Observation<'_>) -> Decision| {
            let (now, penalty) = (Time::ZERO, TardinessPenalty::Linear);
            let request = Request::new(now, now + Seconds::of(9.0), penalty);
            let offers = [(12.0, 3.0), (7.0, 0.0)].map(|(rate, backlog)| Offer {
                load: Seconds::ZERO,
                backlog: Seconds::of(backlog),
                overhead: Seconds::ZERO,
                step_rate: StepRate::new(rate).unwrap(),
                bounds,
                spread: Spread::default(),
                backlog_variance: 0.0,
            });
            decide(&Observation {
                now,
                request: &request,
                offers: &offers,
                objective: &Objective::default(),
                residencies: &[],
                traffic: &Traffic::default(),
            })
        };
        observe(StepBounds::ALL, &mut |observation| {
            features::of_observation(observation, &mut input);
            Decision { server: 0, steps: Steps::MIN }
        });
        let actor = Arc::new(Actor::new(input.len(), &[16], 2, &mut draw));
        let network = Arc::new(PriceNetwork::new(&[16], &mut draw));
        let agents: [Box<dyn Policy>; 2] =
            [Box::new(Agent::new(actor)), Box::new(UniversalAgent::new(network, None))];
        for mut agent in agents {
            for (min, max) in [(1, 200), (200, 200), (1, 1), (30, 40), (61, 61)] {
                let [min, max] = [min, max].map(|s| Steps::new(s).unwrap());
                let bounds = StepBounds { min, max };
                let decision = observe(bounds, &mut |observation| agent.decide(observation));
                assert!(bounds.contains(decision.steps), "{decision:?} in {bounds:?}");
            }
        }
    }
}
