//! From the state s_t = (m_1, …, m_J, o_t, o_p) of §III-A to the input of the networks.

use scheduling::{Environment, Observation, TardinessPenalty};

/// Changes whenever the input changes its meaning; a checkpoint of another version is refused.
pub(crate) const FEATURE_VERSION: u32 = 1;

/// Width of the input for `servers` servers.
pub(crate) fn width(servers: usize) -> usize {
    servers + 2
}

/// The input for one observation.
pub(crate) fn of_observation(observation: &Observation<'_>, input: &mut Vec<f32>) {
    input.clear();
    input.extend(observation.offers.iter().map(|offer| backlog(offer.backlog.seconds() as f32)));
    input.push(slack(observation.time_to_due().seconds() as f32));
    input.push(urgency(observation.request.penalty));
}

/// The inputs for all lanes of an environment, appended to `inputs`.
pub(crate) fn of_environment(environment: &impl Environment, inputs: &mut Vec<f32>) {
    let lanes = environment.backlog().chunks_exact(environment.servers());
    let requests = environment.slack().iter().zip(environment.penalty());
    for (m, (&o_t, &penalty)) in lanes.zip(requests) {
        inputs.extend(m.iter().map(|&m| backlog(m)));
        inputs.push(slack(o_t));
        inputs.push(urgency(penalty));
    }
}

/// m_j is about one when a server is busy for as long as requests are willing to wait.
fn backlog(seconds: f32) -> f32 {
    seconds / 10.0
}

/// o_t lies between 0 and 2 in the paper's setting.
fn slack(seconds: f32) -> f32 {
    seconds / 10.0
}

/// o_p = g(5) is 5, 25 or 2.2.
fn urgency(penalty: TardinessPenalty) -> f32 {
    penalty.urgency() as f32 / 10.0
}
