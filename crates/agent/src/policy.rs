//! The trained policy, and how any policy is made from its name.

use std::path::Path;
use std::sync::Arc;

use scheduling::message::excerpt;
use scheduling::policies::Myopic;
use scheduling::{Cap, Cluster, Decision, Generator, Observation, Policy, PolicyName};
use thiserror::Error;

use crate::actor::Actor;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::features;
use crate::network::Activations;
use crate::universal::{PriceNetwork, UniversalAgent, UniversalCheckpoint};

/// What a policy of some name is made from, read once and used for many instances.
#[derive(Clone, Debug)]
pub enum Recipe {
    /// A rule that needs nothing but its name.
    Rule(PolicyName),
    /// A checkpoint's actor, and the name that led to it.
    Trained(PolicyName, Arc<Actor>),
    /// A universal checkpoint's network, the name that led to it, and its cap on tardiness.
    Universal(PolicyName, Arc<PriceNetwork>, Option<Cap>),
}

impl Recipe {
    /// Reads what the policy needs.
    ///
    /// # Errors
    /// [`PolicyError::Checkpoint`]
    pub fn load(name: &PolicyName) -> Result<Self, PolicyError> {
        Self::load_from(Path::new(""), name)
    }

    /// Reads what the policy needs, a checkpoint's folder being relative to `base`.
    ///
    /// # Errors
    /// [`PolicyError::Checkpoint`]
    pub fn load_from(base: &Path, name: &PolicyName) -> Result<Self, PolicyError> {
        let PolicyName::Agent { checkpoint, cap } = name else {
            return Ok(Self::Rule(name.clone()));
        };
        let folder = &base.join(checkpoint);
        let unusable = |source| PolicyError::Checkpoint { policy: name.to_string(), source };
        if UniversalCheckpoint::is_in(folder) {
            let checkpoint = UniversalCheckpoint::load(folder).map_err(unusable)?;
            return Ok(Self::Universal(name.clone(), Arc::new(checkpoint.training.network), *cap));
        }
        let checkpoint = Checkpoint::load(folder).map_err(unusable)?;
        if cap.is_some() {
            return Err(PolicyError::Cap { policy: name.to_string() });
        }
        Ok(Self::Trained(name.clone(), Arc::new(checkpoint.training.actor)))
    }

    /// Name of the policy.
    pub fn name(&self) -> &PolicyName {
        match self {
            Self::Rule(name) | Self::Trained(name, _) | Self::Universal(name, ..) => name,
        }
    }

    /// Makes the policy for a cluster, which a trained one must fit.
    ///
    /// # Errors
    /// [`PolicyError::Servers`]
    pub fn policy(
        &self,
        cluster: &Cluster,
        generator: Generator,
    ) -> Result<Box<dyn Policy>, PolicyError> {
        match self {
            Self::Rule(name) => Ok(name.rule(generator).expect("a rule needs no checkpoint")),
            Self::Trained(_, actor) if actor.servers() == cluster.len() => {
                Ok(Box::new(Agent::new(actor.clone())))
            }
            Self::Universal(_, network, cap) => {
                Ok(Box::new(UniversalAgent::new(network.clone(), cap.map(|Cap(cap)| cap))))
            }
            Self::Trained(name, actor) => Err(PolicyError::Servers {
                policy: name.to_string(),
                trained: actor.servers(),
                given: cluster.len(),
            }),
        }
    }
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
        if observation.cluster.len() != self.actor.servers() {
            return Myopic.decide(observation);
        }
        features::of_observation(observation, &mut self.input);
        self.actor.most_probable(&self.input, observation.bounds, &mut self.activations)
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
}

#[cfg(test)]
mod tests {
    use scheduling::{
        Objective, Purpose, Request, Seconds, Server, StepBounds, StepRate, Steps,
        TardinessPenalty, Time, Traffic,
    };

    use super::*;

    #[test]
    fn both_agents_decide_within_the_bounds() {
        let mut draw = Generator::new(5, Purpose::Search, 0);
        let servers = [12.0, 7.0].map(|rate| Server {
            name: format!("s{rate}"),
            step_rate: StepRate::new(rate).unwrap(),
            overhead: Seconds::ZERO,
        });
        let cluster = Cluster::new(servers.to_vec()).unwrap();
        let mut input = Vec::new();
        let observe = |bounds, decide: &mut dyn FnMut(&Observation<'_>) -> Decision| {
            let (now, penalty) = (Time::ZERO, TardinessPenalty::Linear);
            let request = Request { arrival: now, due: now + Seconds::of(9.0), penalty };
            decide(&Observation {
                now,
                request: &request,
                bounds,
                backlog: &[Seconds::of(3.0), Seconds::ZERO],
                cluster: &cluster,
                objective: &Objective::default(),
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
