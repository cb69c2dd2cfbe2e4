//! The rules that need no training, and the names of all policies.

mod fixed;
mod greedy;
mod maximum;
mod myopic;
mod name;
mod own;
mod priced;
mod random;

pub use fixed::Fixed;
pub use greedy::{Greedy, Ties};
pub use maximum::best_decision;
pub use myopic::Myopic;
pub use name::{AgentName, Cap, OwnName, PolicyName, PolicyNameError, Rule};
pub use own::{Make, OwnPolicy, RegisterError, register};
pub use priced::{Price, Priced};
pub use random::Random;

/// Position of the smallest value, the lowest index winning ties.
fn position_of_least(values: impl Iterator<Item = f64>) -> usize {
    let mut least = (0, f64::INFINITY);
    for (index, value) in values.enumerate() {
        if value < least.1 {
            least = (index, value);
        }
    }
    least.0
}

#[cfg(test)]
mod tests {
    use crate::{
        Decision, Generator, Objective, Observation, Offer, Policy, Purpose, Request, Seconds,
        Spread, StepBounds, StepRate, Steps, TardinessPenalty, Time, Traffic,
    };

    /// The decision of `policy` for a request due in `slack` seconds, with servers given as
    /// `(steps per second, backlog)`.
    pub(super) fn decide(
        policy: &mut dyn Policy,
        servers: &[(f64, f64)],
        slack: f64,
        penalty: TardinessPenalty,
    ) -> Decision {
        decide_within(policy, servers, slack, penalty, StepBounds::ALL)
    }

    /// The same where only some numbers of steps are accepted.
    fn decide_within(
        policy: &mut dyn Policy,
        servers: &[(f64, f64)],
        slack: f64,
        penalty: TardinessPenalty,
        bounds: StepBounds,
    ) -> Decision {
        let offer = |&(rate, backlog): &(f64, f64)| Offer {
            backlog: Seconds::of(backlog),
            load: Seconds::ZERO,
            overhead: Seconds::ZERO,
            step_rate: StepRate::new(rate).unwrap(),
            bounds,
            spread: Spread::default(),
            backlog_variance: 0.0,
        };
        let offers: Vec<_> = servers.iter().map(offer).collect();
        let now = Time::new(100.0).unwrap();
        let request = Request::new(now, now + Seconds::of(slack), penalty);
        policy.decide(&Observation {
            now,
            request: &request,
            offers: &offers,
            objective: &Objective::default(),
            residencies: &[],
            traffic: &Traffic::default(),
        })
    }

    #[test]
    fn every_rule_keeps_to_the_bounds_and_chooses_the_server_for_them() {
        use TardinessPenalty::Linear;
        let steps = |s| Steps::new(s).unwrap();
        let check = |rule: &str, servers: &[(f64, f64)], (min, max), slack, expected| {
            let named: crate::Rule = rule.parse().unwrap();
            let mut policy = named.policy(Generator::new(1, Purpose::Policy, 0));
            let bounds = StepBounds { min: steps(min), max: steps(max) };
            let decision = decide_within(&mut *policy, servers, slack, Linear, bounds);
            assert_eq!((decision.server, decision.steps.get()), expected, "{rule} {servers:?}");
        };
        for rule in [
            "random",
            "greedy",
            "greedy[ties=fastest]",
            "fixed[steps=90]",
            "myopic",
            "priced[base=0]",
        ] {
            check(rule, &[(10.0, 0.0)], (5, 20), 60.0, (0, 20));
            check(rule, &[(10.0, 0.0)], (197, 197), 0.0, (0, 197));
        }
        check("random[steps=3]", &[(10.0, 0.0)], (5, 20), 60.0, (0, 5));
        check("greedy", &[(10.0, 0.0)], (5, 200), 0.3, (0, 5));
        // With 200 steps the second server is done first, with few the first is.
        for rule in ["myopic", "priced[base=0,slope=0]", "fixed[steps=200]"] {
            check(rule, &[(10.0, 0.0), (20.0, 5.0)], (1, 200), 15.0, (1, 200));
            check(rule, &[(10.0, 0.0), (20.0, 5.0)], (1, 20), 15.0, (0, 20));
        }
        // Two hundred steps whatever it costs: where they are finished first.
        check("myopic", &[(8.0, 0.0), (16.0, 11.0), (24.0, 9.0)], (200, 200), 4.0, (2, 200));
    }
}
