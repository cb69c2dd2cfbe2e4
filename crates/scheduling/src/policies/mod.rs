//! The rules that need no training, and the names of all policies.

mod fixed;
mod greedy;
mod maximum;
mod myopic;
mod name;
mod priced;
mod random;

pub use fixed::Fixed;
pub use greedy::{Greedy, Ties};
pub use maximum::best_decision;
pub use myopic::Myopic;
pub use name::{Cap, PolicyName, PolicyNameError};
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
        Cluster, Decision, Objective, Observation, Policy, Request, Seconds, Server, StepRate,
        TardinessPenalty, Time, Traffic,
    };

    /// The decision of `policy` for a request due in `slack` seconds, with servers given as
    /// `(steps per second, backlog)`.
    pub(super) fn decide(
        policy: &mut dyn Policy,
        servers: &[(f64, f64)],
        slack: f64,
        penalty: TardinessPenalty,
    ) -> Decision {
        let cluster = Cluster::new(
            (servers.iter().enumerate())
                .map(|(index, &(rate, _))| Server {
                    name: format!("s{index}"),
                    step_rate: StepRate::new(rate).unwrap(),
                    overhead: Seconds::ZERO,
                })
                .collect(),
        )
        .unwrap();
        let backlog: Vec<_> = servers.iter().map(|&(_, backlog)| Seconds::of(backlog)).collect();
        let now = Time::new(100.0).unwrap();
        let request = Request { arrival: now, due: now + Seconds::of(slack), penalty };
        policy.decide(&Observation {
            now,
            request: &request,
            backlog: &backlog,
            cluster: &cluster,
            objective: &Objective::default(),
            traffic: &Traffic::default(),
        })
    }
}
