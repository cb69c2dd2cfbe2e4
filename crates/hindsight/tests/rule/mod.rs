//! What online rules earn, to compare with.

use scheduling::{Generator, Instance, Purpose, Queues, Row, Rule};

/// Mean reward of a rule.
pub(crate) fn rule(instance: &Instance, name: &str) -> f64 {
    let rule: Rule = name.parse().unwrap();
    let mut policy = rule.policy(Generator::new(1, Purpose::Policy, 0));
    let (cluster, objective) = (instance.cluster(), instance.objective());
    let mut queues = Queues::new(cluster);
    let rewards = instance.requests().iter().enumerate().map(|(index, request)| {
        let now = request.arrival;
        queues.arrive(request);
        let decision = policy.decide(&queues.observe(now, request, objective));
        let execution = queues.dispatch(now, decision).execution;
        Row::new(index, request, decision, execution, objective).reward
    });
    rewards.sum::<f64>() / instance.requests().len() as f64
}
