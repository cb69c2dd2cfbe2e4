//! The simulator: a policy on an instance, in virtual time.

use scheduling::{Beyond, Decision, Dispatched, Instance, Policy, Queues, Row};

use crate::virtual_time::simulate_by_events;

/// Lets `policy` decide every request as it arrives; one row per request, in order of arrival.
///
/// Where predictions come true a server is described by the time at which it will be free and by what it
/// will have loaded then; elsewhere the gateway's scheduler runs in virtual time ([`simulate_by_events`]).
///
/// # Panics
/// If the policy breaks its contract and takes an offer that there is not.
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
            let observation = queues.observe(now, request, objective);
            let offers = observation.offers.len();
            let decision = policy.decide(&observation);
            assert!(
                decision.server < offers,
                "the policy takes offer {} for request {index}: allowed is 0 to {}",
                decision.server,
                offers - 1,
            );
            row(instance, index, decision, &queues.dispatch(now, decision))
        })
        .collect()
}

/// What became of the decision about a request, where predictions come true.
pub(crate) fn row(
    instance: &Instance,
    request: usize,
    decision: Decision,
    dispatched: &Dispatched,
) -> Row {
    let (index, request) = (request, &instance.requests()[request]);
    let &Dispatched { server, load, execution } = dispatched;
    let decision = Decision { server, ..decision };
    let row = Row::new(index, request, decision, execution, instance.objective());
    let beyond = (!instance.is_plain()).then(|| Beyond::completed(request, load, 1));
    Row { beyond, ..row }
}
