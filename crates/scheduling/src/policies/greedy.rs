use crate::policies::position_of_least;
use crate::policy::{Decision, Observation, Policy};
use crate::units::Steps;

/// The paper's greedy policy (§IV-B): the server that is free first, with the model loaded, and the most
/// steps that still finish by the due time; the fewest where none do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Greedy {
    /// Which of several servers that are free first.
    pub ties: Ties,
}

/// Which server wins among those that are free at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// The lowest index, whatever its speed: this reproduces the paper's figures.
    #[default]
    Lowest,
    /// The fastest, then the lowest index.
    Fastest,
}

impl Policy for Greedy {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        let offers = observation.offers;
        let ready = |index: usize| (offers[index].backlog + offers[index].load).seconds();
        let least = (0..offers.len()).map(ready).fold(f64::INFINITY, f64::min);
        let free_first = |index: &usize| ready(*index) <= least;
        let server = match self.ties {
            Ties::Lowest => (0..offers.len()).find(free_first).unwrap_or(0),
            Ties::Fastest => position_of_least((0..offers.len()).map(|index| {
                let rate = offers[index].step_rate.steps_per_second();
                if free_first(&index) { -rate } else { f64::INFINITY }
            })),
        };
        let offer = &offers[server];
        let available = observation.time_to_due() - offer.backlog;
        let steps = offer.most_steps_within(available).unwrap_or(Steps::MIN);
        Decision { server, steps: offer.bounds.clamp(steps) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::tests::decide;

    #[test]
    fn takes_the_server_free_first_and_all_the_time_there_is() {
        use crate::TardinessPenalty::Linear;
        let check = |ties, servers: &[(f64, f64)], slack, expected: (usize, u32)| {
            let decision = decide(&mut Greedy { ties }, servers, slack, Linear);
            assert_eq!((decision.server, decision.steps.get()), expected, "{servers:?} {slack}");
        };
        check(Ties::Lowest, &[(10.0, 3.0), (10.0, 1.0)], 5.0, (1, 40));
        check(Ties::Lowest, &[(6.0, 0.0), (18.0, 0.0)], 5.0, (0, 30));
        check(Ties::Fastest, &[(6.0, 0.0), (18.0, 0.0), (18.0, 0.0)], 5.0, (1, 90));
        check(Ties::Fastest, &[(6.0, 0.0), (18.0, 0.1)], 5.0, (0, 30));
        check(Ties::Lowest, &[(18.0, 0.0)], 20.0, (0, 200));
        check(Ties::Lowest, &[(18.0, 9.0)], 5.0, (0, 1));
    }
}
