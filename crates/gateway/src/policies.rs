//! Policies by their names.

use std::sync::Arc;

use scheduling::{Generator, Policy, PolicyName, Purpose};

/// Builds a policy of some name; the generator is for those that draw random numbers.
pub type PolicyFactory =
    Arc<dyn Fn(&PolicyName, Generator) -> Result<Box<dyn Policy>, String> + Send + Sync>;

/// The policies that need no training.
///
/// # Errors
/// For a trained agent, which is not built here.
pub fn rules(name: &PolicyName, generator: Generator) -> Result<Box<dyn Policy>, String> {
    match name {
        PolicyName::Rule(rule) => Ok(rule.policy(generator)),
        PolicyName::Agent(agent) => {
            Err(format!("{name}: no agent is read from {} here", agent.checkpoint.display()))
        }
    }
}

/// Builds policies, always with the configured seed.
#[derive(Clone)]
pub(crate) struct Policies {
    factory: PolicyFactory,
    seed: u64,
}

impl Policies {
    pub(crate) fn new(factory: PolicyFactory, seed: u64) -> Self {
        Self { factory, seed }
    }

    pub(crate) fn build(&self, name: &PolicyName) -> Result<Box<dyn Policy>, String> {
        (self.factory)(name, Generator::new(self.seed, Purpose::Policy, 0))
    }
}
