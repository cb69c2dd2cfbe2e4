//! Policies by their names.

use std::sync::Arc;

use scheduling::{AgentName, Generator, Policy, PolicyName, Purpose};

/// Builds a policy of some name; the generator is for those that draw random numbers.
pub type PolicyFactory =
    Arc<dyn Fn(&PolicyName, Generator) -> Result<Box<dyn Policy>, String> + Send + Sync>;

/// The policies that need nothing but their name.
///
/// # Errors
/// For the others, which are not built here.
pub fn rules(name: &PolicyName, generator: Generator) -> Result<Box<dyn Policy>, String> {
    match name {
        PolicyName::Rule(rule) => Ok(rule.policy(generator)),
        PolicyName::Own(own) => own.policy(generator).map_err(|error| error.to_string()),
        PolicyName::Agent(AgentName { checkpoint: path, .. }) | PolicyName::File(path) => {
            Err(format!("{name}: nothing is read from {} here", path.display()))
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

    /// One that acts.
    ///
    /// # Errors
    /// Why there is none. One in a Python file may think for as long as it likes, and fail: requests do not wait for it.
    pub(crate) fn acting(&self, name: &PolicyName) -> Result<Box<dyn Policy>, String> {
        if let PolicyName::File(_) = name {
            return Err(format!("{name} cannot decide: allowed as shadow_policy only"));
        }
        self.shadow(name)
    }

    /// One that decides beside it.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn shadow(&self, name: &PolicyName) -> Result<Box<dyn Policy>, String> {
        (self.factory)(name, Generator::new(self.seed, Purpose::Policy, 0))
    }
}
