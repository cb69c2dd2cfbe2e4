use crate::policy::{Decision, Observation, Policy};
use crate::random::Generator;
use crate::units::Steps;

/// The paper's random policy (§IV-B): any server, and a large fixed number of steps whatever the
/// due time.
#[derive(Clone, Debug)]
pub struct Random {
    steps: Steps,
    generator: Generator,
}

impl Random {
    /// `steps` for every request, servers drawn from `generator`.
    pub fn new(steps: Steps, generator: Generator) -> Self {
        Self { steps, generator }
    }
}

impl Policy for Random {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let server = self.generator.below(observation.offers.len());
        Decision { server, steps: observation.offers[server].bounds.clamp(self.steps) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::tests::decide;
    use crate::{Purpose, TardinessPenalty};

    #[test]
    fn every_server_gets_its_share() {
        let generator = Generator::new(1, Purpose::Policy, 0);
        let mut policy = Random::new(Steps::saturating(120.0), generator);
        let mut count = [0; 3];
        for _ in 0..3000 {
            let servers = [(1.0, 0.0), (2.0, 50.0), (3.0, 0.0)];
            let decision = decide(&mut policy, &servers, 5.0, TardinessPenalty::Linear);
            assert_eq!(decision.steps.get(), 120);
            count[decision.server] += 1;
        }
        assert!(count.iter().all(|n| (900..1100).contains(n)), "{count:?}");
    }
}
