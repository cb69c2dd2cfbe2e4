use crate::policies::maximum::best_decision;
use crate::policy::{Decision, Observation, Policy};

/// The exact maximum of this request's own reward, eq. (5), over all servers and steps; blind to
/// the requests still to come. Of equal rewards the earliest finish wins, then the lowest server, then
/// the fewest steps.
#[derive(Clone, Copy, Debug)]
pub struct Myopic;

impl Policy for Myopic {
    fn decide(&mut self, observation: &Observation<'_>) -> Decision {
        best_decision(observation, |_, _| 0.0).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TardinessPenalty::{Linear, Quadratic, SquareRoot};
    use crate::policies::tests::decide;

    #[test]
    fn trades_quality_against_being_late() {
        for (servers, slack, penalty, expected) in [
            // Plenty of time: all the steps, where they are finished first; the lowest server if alike.
            (&[(15.0, 0.0), (15.0, 0.0)][..], 20.0, Linear, (0, 200)),
            (&[(2.0, 0.0), (50.0, 0.0)], 300.0, Linear, (1, 200)),
            (&[(50.0, 8.0), (25.0, 0.0), (50.0, 4.1)], 300.0, Linear, (1, 200)),
            // A slow server cannot make it, the fast one behind a backlog can.
            (&[(6.0, 0.0), (18.0, 1.0)], 12.2, Linear, (1, 200)),
            // 30 steps by the due time are worth 30.1: being 7.5 s late is worth it under √t, and
            // next to nothing under t². Checked by an enumeration elsewhere.
            (&[(15.0, 0.0)], 2.0, SquareRoot, (0, 142)),
            (&[(15.0, 0.0)], 2.0, Quadratic, (0, 31)),
        ] {
            let decision = decide(&mut Myopic, servers, slack, penalty);
            assert_eq!(
                (decision.server, decision.steps.get()),
                expected,
                "{servers:?}, slack {slack}, {penalty:?}"
            );
        }
    }
}
