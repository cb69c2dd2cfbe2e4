//! The simulator: a policy on an instance, in virtual time.

use scheduling::{Instance, Policy, Queues, Row};

use crate::virtual_time::simulate_by_events;

/// Lets `policy` decide every request as it arrives; one row per request, in order of arrival.
///
/// In the paper's world a server is described by the time at which it will be free; elsewhere the
/// gateway's scheduler runs in virtual time ([`simulate_by_events`]).
///
/// # Panics
/// If the policy breaks its contract and names a server that the cluster does not have.
pub fn simulate(instance: &Instance, policy: &mut dyn Policy) -> Vec<Row> {
    if !instance.is_ideal() {
        return simulate_by_events(instance, policy);
    }
    let (cluster, objective) = (instance.cluster(), instance.objective());
    let mut queues = Queues::new(cluster);
    (instance.requests().iter().enumerate())
        .map(|(index, request)| {
            let now = request.arrival;
            queues.arrive(request);
            let decision = policy.decide(&queues.observe(now, request, objective));
            assert!(
                decision.server < cluster.len(),
                "the policy sends request {index} to server {}: allowed is 0 to {}",
                decision.server,
                cluster.len() - 1,
            );
            let execution = queues.dispatch(now, decision);
            Row::new(index, request, decision, execution, objective)
        })
        .collect()
}
