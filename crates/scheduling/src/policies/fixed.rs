use crate::offer::Offer;
use crate::policies::position_of_least;
use crate::policy::{Decision, Observation, Policy};
use crate::units::Steps;

/// The same number of steps for everybody who accepts it, on the server that finishes them first: what most
/// gateways do today.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// Steps of every request.
    pub steps: Steps,
}

impl Policy for Fixed {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let steps = |offer: &Offer| offer.bounds.clamp(self.steps);
        let offers = observation.offers;
        let finish = offers.iter().map(|offer| offer.time_to_finish(steps(offer)).seconds());
        let server = position_of_least(finish);
        Decision { server, steps: steps(&offers[server]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TardinessPenalty;
    use crate::policies::tests::decide;

    #[test]
    fn takes_the_server_that_finishes_first() {
        for (servers, expected) in [
            ([(10.0, 0.0), (15.0, 0.0)], 1),
            ([(10.0, 0.0), (15.0, 2.0)], 0),
            ([(10.0, 0.0), (10.0, 0.0)], 0),
        ] {
            let mut policy = Fixed { steps: Steps::saturating(30.0) };
            let decision = decide(&mut policy, &servers, 4.0, TardinessPenalty::Linear);
            assert_eq!((decision.server, decision.steps.get()), (expected, 30), "{servers:?}");
        }
    }
}
