//! What the network of prices sees: everything in units of the cluster and of the traffic itself.

use scheduling::{FullService, Observation};

/// Inputs that differ from server to server.
pub(crate) const SERVER_INPUTS: usize = 5;
/// Inputs that all servers share.
pub(crate) const CLUSTER_INPUTS: usize = 13;

/// The inputs of all servers for one decision, and the units of the prices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Features {
    /// One column of `servers` values for each of [`SERVER_INPUTS`].
    pub(crate) server: Vec<f32>,
    /// Shared by all servers.
    pub(crate) cluster: [f32; CLUSTER_INPUTS],
    /// μ_j: full services per second of each server.
    pub(crate) speed: Vec<f64>,
    /// G: what a full service adds to the reward of a single step.
    pub(crate) gain: f64,
    /// T: mean time of a full service, in seconds.
    pub(crate) full_service: f64,
    sorted: Vec<f64>,
}

/// x / (x + scale), without a division by zero: 0 at 0, ½ at the scale, 1 at infinity.
fn share(x: f64, scale: f64) -> f32 {
    (x / (x + scale + 1e-9)) as f32
}

fn logarithm(x: f64, low: f64, high: f64) -> f32 {
    libm::log(x.max(1e-12)).clamp(low, high) as f32
}

impl Features {
    /// Writes the inputs for one observation.
    pub(crate) fn observe(&mut self, observation: &Observation<'_>) {
        let Observation { backlog, cluster, objective, traffic, .. } = *observation;
        let FullService { steps, gain } = objective.full_service();
        // Of the best so far, so that a curve that dips cannot leave 0..=1.
        let best = objective.best_qualities();
        let at_half = (best[steps.index() / 2] - best[0]) / gain.max(1e-9);
        let servers = cluster.len();
        let count = servers as f64;
        self.speed.clear();
        self.speed.extend(cluster.iter().map(|server| 1.0 / server.service_time(steps).seconds()));
        let capacity: f64 = self.speed.iter().sum();
        let mean_speed = capacity / count;
        let full = 1.0 / mean_speed;
        let slack =
            traffic.mean_slack().map_or(full, scheduling::Seconds::seconds).max(1e-3 * full);

        let backlogs = || backlog.iter().map(|m| m.seconds());
        let work: f64 = backlogs().zip(&self.speed).map(|(m, speed)| m * speed).sum();
        let mean = work / capacity;
        let least = backlogs().fold(f64::INFINITY, f64::min);
        self.sorted.clear();
        self.sorted.extend(backlogs());
        let (_, &mut median, _) = self.sorted.select_nth_unstable_by(servers / 2, f64::total_cmp);
        let idle = backlogs().filter(|&m| m <= 0.0).count() as f64 / count;

        self.server.resize(SERVER_INPUTS * servers, 0.0);
        for (j, m) in backlogs().enumerate() {
            let speed = self.speed[j];
            let inputs = [
                share(m, full),
                share(m, slack),
                (m / full).min(16.0) as f32 / 4.0,
                share(m + 0.1 * full, mean + 0.1 * full),
                ((speed - mean_speed) / (speed + mean_speed)) as f32,
            ];
            for (column, input) in inputs.into_iter().enumerate() {
                self.server[column * servers + j] = input;
            }
        }
        // A few intervals say little: they are mixed with the guess that the load is one half.
        let load = traffic.mean_interval().map_or(0.5, |interval| {
            let known = (traffic.arrivals() - 1) as f64;
            let guess = 2.0 / capacity;
            let interval = (known * interval.seconds() + 4.0 * guess) / (known + 4.0);
            1.0 / (interval * capacity).max(1e-9)
        });
        let [_, quadratic, root] = traffic.penalties().unwrap_or([1.0 / 3.0; 3]);
        let tardiness = objective.tardiness_weight() * full / gain.max(1e-9);
        self.cluster = [
            share(mean, full),
            (mean / full).min(16.0) as f32 / 4.0,
            share(median, full),
            share(least, full),
            idle as f32,
            logarithm(load, -3.5, 1.0),
            logarithm(slack / full, -3.0, 3.0) / 2.0,
            logarithm(count, 0.0, 7.0) / 4.0,
            quadratic as f32,
            root as f32,
            logarithm(tardiness, -4.0, 4.0) / 2.0,
            share(traffic.arrivals() as f64, 20.0),
            at_half as f32,
        ];
        self.gain = gain;
        self.full_service = full;
    }

    /// The network's inputs for one server.
    pub(crate) fn row(&self, server: usize) -> impl Iterator<Item = f32> {
        let column = move |column: usize| self.server[column * self.speed.len() + server];
        (0..SERVER_INPUTS).map(column).chain(self.cluster)
    }
}
