//! What the network of prices sees: everything in units of the cluster and of the traffic itself.

use scheduling::{FullService, Objective, Observation, Offer, Seconds, StepRate, Steps, Traffic};

use super::fleet::{Models, SHARED_MODEL_INPUTS};
use super::prices::Clusters;

/// Inputs that differ from server to server.
pub(crate) const SERVER_INPUTS: usize = 14;
/// Inputs that all servers share: of the cluster and the customers, then of bursts.
pub(crate) const CLUSTER_INPUTS: usize = CALM_INPUTS + BURST_INPUTS;
const CALM_INPUTS: usize = 24;
const BURST_INPUTS: usize = 13;

/// The input that says how much is known of the traffic.
pub(crate) const ARRIVALS: &str = "number of arrivals";

/// What the inputs are that all servers share, in their order; those of models have no names.
pub(crate) const NAMES: [&str; CLUSTER_INPUTS] = [
    "backlog",
    "backlog",
    "median backlog",
    "least backlog",
    "idle servers",
    "load",
    "slack",
    "number of servers",
    "quadratic penalties",
    "square-root penalties",
    "tardiness weight",
    ARRIVALS,
    "quality curve",
    "quality curve",
    "quality curve",
    "number of servers",
    "idle servers",
    "overheads",
    "free time",
    "free time",
    "free time",
    "free time",
    "free time",
    "free time",
    "free time",
    "free time",
    "backlog",
    "load of a burst",
    "load in the long run",
    "load",
    "typical load",
    "worth in a burst",
    "worth",
    "typical worth",
    "worth in the long run",
    "burstiness",
    "work of the request",
];

/// The least worth of server time, in gains of a full service for each. Where all have more than they can
/// use it costs others their time to the due.
const LEAST_WORTH: f64 = 0.03;

/// The largest σ, in worths.
const STEEPEST: f64 = 100.0;

/// The inputs of all servers for one decision, and the units of the prices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Features {
    /// One column of `servers` values for each of [`SERVER_INPUTS`], and then of those of models if the
    /// network is for fleets.
    pub(crate) server: Vec<f32>,
    /// Shared by all servers.
    cluster: [f32; CALM_INPUTS],
    bursts: [f32; BURST_INPUTS],
    /// In fleets shared by all servers.
    fleet: [f32; SHARED_MODEL_INPUTS],
    /// μ_j: full services per second of each server.
    pub(crate) speed: Vec<f64>,
    /// Of all servers.
    capacity: f64,
    /// σ_j: how much dearer than usual the time of each server is, by how late whoever comes next will be.
    pub(crate) steepness: Vec<f64>,
    /// σ̄: the mean of all servers.
    pub(crate) mean_steepness: f64,
    /// G: what a full service adds to the reward of a single step.
    pub(crate) gain: f64,
    /// T: mean time of a full service, in seconds.
    pub(crate) full_service: f64,
    /// When each server is free, and when it could have done a full service.
    free: Ranking,
    finish: Ranking,
    /// Speeds of idle servers, the slowest first.
    idle: Vec<f64>,
    models: Models,
}

impl Features {
    /// Writes the inputs for one observation.
    pub(crate) fn observe(&mut self, observation: &Observation<'_>, clusters: Clusters) {
        let Observation { offers, objective, traffic, .. } = *observation;
        let FullService { steps, gain } = objective.full_service();
        // Of the best so far, so that a curve that dips cannot leave 0..=1.
        let best = objective.best_qualities();
        let quarters = |n: usize| (best[n * steps.index() / 4] - best[0]) / gain.max(1e-9);
        let servers = offers.len();
        let count = servers as f64;
        self.speed.clear();
        // Loading is not drawing: what a server can do does not depend on what it has loaded. Nor does it
        // depend on who asks: a full service is that of the mean request.
        let relative_work = traffic.relative_work(observation.request);
        let of_mean = |offer: &Offer| {
            let rate = offer.step_rate.steps_per_second() * relative_work;
            drawing(&Offer { step_rate: StepRate::saturating(rate), ..*offer }, steps)
        };
        self.speed.extend(offers.iter().map(|offer| 1.0 / of_mean(offer).seconds()));
        let capacity: f64 = self.speed.iter().sum();
        self.capacity = capacity;
        let mean_speed = capacity / count;
        let full = 1.0 / mean_speed;
        let slack = traffic.mean_slack().map_or(full, Seconds::seconds).max(1e-3 * full);

        let backlogs = || offers.iter().map(|offer| offer.backlog.seconds());
        let mean = self.work(offers) / capacity;
        self.free.rank(backlogs(), &self.speed);
        let finish = backlogs().zip(&self.speed).map(|(m, speed)| m + 1.0 / speed);
        self.finish.rank(finish, &self.speed);
        let [least, median] = [0, servers / 2].map(|rank| self.free.times[self.free.order[rank]]);
        let first_finish = self.finish.times[self.finish.order[0]];
        self.rank_idle(offers);
        let idle = self.idle.len() as f64;

        self.server.resize(clusters.server_inputs() * servers, 0.0);
        for (j, m) in backlogs().enumerate() {
            let speed = self.speed[j];
            let slower = self.idle.partition_point(|&other| other < speed);
            let itself = usize::from(m <= 0.0);
            let inputs = [
                share(m, full),
                share(m, slack),
                (m / full).min(16.0) as f32 / 4.0,
                share(m + 0.1 * full, mean + 0.1 * full),
                ((speed - mean_speed) / (speed + mean_speed)) as f32,
                share(self.free.done[j] / capacity, full),
                share(self.free.done[j], 1.0),
                share(self.finish.done[j], 1.0),
                share(self.finish.earlier[j] as f64, 2.0),
                share(self.finish.times[j] - first_finish, 0.5 * full),
                signed_share(self.finish.lead(j), 0.3 * full),
                share((self.idle.len() - slower - itself) as f64, 1.0),
                logarithm(1.0 + m / full, 0.0, 8.0) / 2.0,
                logarithm(1.0 + m / slack, 0.0, 8.0) / 2.0,
            ];
            for (column, input) in inputs.into_iter().enumerate() {
                self.server[column * servers + j] = input;
            }
        }
        let loads @ [_, load, ..] = loads(traffic, capacity);
        let [_, quadratic, root] = traffic.penalties().unwrap_or([1.0 / 3.0; 3]);
        let tardiness = objective.tardiness_weight() * full / gain.max(1e-9);
        let overhead = overhead_share(offers, steps);
        let worth = Worth { objective, overhead };
        let worths = loads.map(|load| worth.at(load));
        self.full_service = full;
        let free = |full_services: f64| self.free(offers, full_services);
        self.cluster = [
            share(mean, full),
            (mean / full).min(16.0) as f32 / 4.0,
            share(median, full),
            share(least, full),
            (idle / count) as f32,
            logarithm(load, -3.5, 1.0),
            logarithm(slack / full, -3.0, 3.0) / 2.0,
            logarithm(count, 0.0, 7.0) / 4.0,
            quadratic as f32,
            root as f32,
            logarithm(tardiness, -4.0, 4.0) / 2.0,
            share(traffic.arrivals() as f64, 20.0),
            quarters(1) as f32,
            quarters(2) as f32,
            quarters(3) as f32,
            1.0 / count as f32,
            share(idle, 2.0),
            overhead as f32,
            free(0.25),
            free(0.5),
            free(1.0),
            free(1.5),
            free(2.0),
            free(3.0),
        ];
        self.bursts = self.bursts(observation, mean, loads, worths);
        self.gain = gain;
        let worth = match clusters {
            Clusters::Plain => (worths[0] * worths[1]).sqrt(),
            // Loads take time of which the load of full services knows nothing.
            Clusters::Fleets => 1.0,
        };
        self.steepen(offers, worth, 2.0 * quadratic * tardiness, slack);
        if clusters == Clusters::Fleets {
            let columns = &mut self.server[SERVER_INPUTS * servers..];
            let demand = load * count;
            self.fleet = self.models.observe(observation, full, demand, &self.speed, columns);
        }
    }

    /// Sets the speeds of the idle servers, in order.
    fn rank_idle(&mut self, offers: &[Offer]) {
        self.idle.clear();
        let idle =
            offers.iter().zip(&self.speed).filter(|(offer, _)| offer.backlog <= Seconds::ZERO);
        self.idle.extend(idle.map(|(_, speed)| speed));
        self.idle.sort_unstable_by(f64::total_cmp);
    }

    /// Sets σ. A network's outputs have one scale, but prices in a burst are a hundred times those of calm traffic,
    /// and where steps add little a hundredth: σ is what server time is worth in steps, and what the quadratic penalties
    /// of those who come next grow by, a full service later.
    fn steepen(&mut self, offers: &[Offer], worth: f64, lateness: f64, slack: f64) {
        let late = |offer: &Offer| (offer.backlog.seconds() - slack).max(0.0);
        let steepness = offers.iter().map(|offer| (worth + lateness * late(offer)).min(STEEPEST));
        self.steepness.clear();
        self.steepness.extend(steepness);
        self.mean_steepness = self.steepness.iter().sum::<f64>() / offers.len() as f64;
    }

    /// The inputs of bursts and of sizes, where the mean backlog is so many seconds, and the [`loads`] are worth
    /// so much.
    fn bursts(
        &self,
        observation: &Observation<'_>,
        mean: f64,
        [burst, load, typical, long]: [f64; 4],
        worths: [f64; 4],
    ) -> [f32; BURST_INPUTS] {
        let Observation { offers, traffic, request, .. } = *observation;
        let worths = worths.map(|worth| logarithm(worth, -3.6, 3.0) / 2.0);
        [
            self.free(offers, 6.0),
            self.free(offers, 15.0),
            logarithm(1.0 + mean / self.full_service, 0.0, 8.0) / 2.0,
            logarithm(burst, -3.5, 4.5) / 2.0,
            logarithm(long, -3.5, 4.5) / 2.0,
            logarithm(load, -3.5, 4.5) / 2.0,
            logarithm(typical, -3.5, 4.5) / 2.0,
            worths[0],
            worths[1],
            worths[2],
            worths[3],
            share(traffic.burstiness().unwrap_or(0.3), 1.0),
            logarithm(traffic.relative_work(request), -3.0, 3.0) / 2.0,
        ]
    }

    /// Full services that wait.
    fn work(&self, offers: &[Offer]) -> f64 {
        let backlogs = offers.iter().map(|offer| offer.backlog.seconds());
        backlogs.zip(&self.speed).map(|(m, speed)| m * speed).sum()
    }

    /// Share of what all servers can do in so many full services that is still free.
    fn free(&self, offers: &[Offer], full_services: f64) -> f32 {
        let until = full_services * self.full_service;
        let backlogs = offers.iter().map(|offer| offer.backlog.seconds());
        let free = backlogs.zip(&self.speed).map(|(m, speed)| (until - m).max(0.0) * speed);
        (free.sum::<f64>() / (until * self.capacity)) as f32
    }

    /// The inputs that all servers share; those of fleets come last.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &f32> {
        self.cluster.iter().chain(&self.bursts).chain(&self.fleet)
    }

    /// The network's inputs for one server.
    pub(crate) fn row(&self, server: usize, clusters: Clusters) -> impl Iterator<Item = f32> {
        let column = move |column: usize| self.server[column * self.speed.len() + server];
        let shared = self.shared().copied();
        let row = (0..clusters.server_inputs()).map(column).chain(shared);
        row.take(clusters.inputs())
    }
}

/// What server time is worth in steps.
struct Worth<'a> {
    objective: &'a Objective,
    /// Share of a full service that goes before its steps.
    overhead: f64,
}

impl Worth<'_> {
    /// What one more full service adds, in gains of one, where so many are asked for per full service that
    /// can be done: each gets half of its share of the servers, all of it, or twice as much.
    fn at(&self, load: f64) -> f64 {
        let FullService { steps, gain } = self.objective.full_service();
        let drawing = (1.0 - self.overhead).max(0.01);
        let full = f64::from(steps.get());
        let added = |scale: f64| {
            let share = scale / load.max(1e-9);
            self.objective.marginal_quality(full * (share - self.overhead) / drawing)
        };
        let marginal = (added(0.5) + added(1.0) + added(2.0)) / 3.0;
        (marginal * full / drawing / gain.max(1e-9)).max(LEAST_WORTH)
    }
}

/// Servers in the order of a time, with what the others can do until then.
#[derive(Clone, Debug, Default)]
struct Ranking {
    /// The time of each server, in seconds from now.
    times: Vec<f64>,
    /// Servers from the earliest to the latest.
    order: Vec<usize>,
    /// How many servers are earlier than each; those at the same time are not.
    earlier: Vec<usize>,
    /// Full services that those can do between their times and its own.
    done: Vec<f64>,
}

impl Ranking {
    fn rank(&mut self, times: impl Iterator<Item = f64>, speed: &[f64]) {
        let Self { times: all, order, earlier, done } = self;
        all.clear();
        all.extend(times);
        order.clear();
        order.extend(0..all.len());
        order.sort_unstable_by(|&a, &b| all[a].total_cmp(&all[b]));
        earlier.resize(all.len(), 0);
        done.resize(all.len(), 0.0);
        let (mut last, mut before, mut capacity, mut sum) = (f64::NEG_INFINITY, 0, 0.0, 0.0);
        for (rank, &server) in order.iter().enumerate() {
            let time = all[server];
            if time > last {
                before = rank;
                sum += if rank > 0 { capacity * (time - last) } else { 0.0 };
                last = time;
            }
            earlier[server] = before;
            done[server] = sum;
            capacity += speed[server];
        }
    }

    /// How much later than this server the best of the others is; negative where that is earlier.
    fn lead(&self, server: usize) -> f64 {
        let best = usize::from(self.order[0] == server);
        self.order.get(best).map_or(f64::INFINITY, |&other| self.times[other] - self.times[server])
    }
}

/// x / (x + scale), without a division by zero: 0 at 0, ½ at the scale, 1 at infinity.
pub(super) fn share(x: f64, scale: f64) -> f32 {
    (x / (x + scale + 1e-9)) as f32
}

/// The same with a sign: −1 to 1, and 1 at infinity.
pub(super) fn signed_share(x: f64, scale: f64) -> f32 {
    if x.is_infinite() { 1.0 } else { (x / (x.abs() + scale + 1e-9)) as f32 }
}

pub(super) fn logarithm(x: f64, low: f64, high: f64) -> f32 {
    libm::log(x.max(1e-12)).clamp(low, high) as f32
}

/// How long a run takes without its load.
fn drawing(offer: &Offer, steps: Steps) -> Seconds {
    Offer { load: Seconds::ZERO, ..*offer }.service_time(steps)
}

/// Full services asked for per full service that can be done. A few intervals say little: they are mixed with
/// the guess that it is one half.
fn load_at(interval: Option<Seconds>, arrivals: u64, capacity: f64) -> f64 {
    interval.map_or(0.5, |interval| {
        let known = (arrivals - 1) as f64;
        let guess = 2.0 / capacity;
        let interval = (known * interval.seconds() + 4.0 * guess) / (known + 4.0);
        1.0 / (interval * capacity).max(1e-9)
    })
}

/// Of the last dozen arrivals, of the last 200, what a typical one of the last thousands met, and of all those.
fn loads(traffic: &Traffic, capacity: f64) -> [f64; 4] {
    let arrivals = traffic.arrivals();
    [
        load_at(traffic.burst_interval(), arrivals.min(Traffic::BURST + 1), capacity),
        load_at(traffic.mean_interval(), arrivals, capacity),
        load_at(traffic.typical_interval(), arrivals, capacity),
        load_at(traffic.long_interval(), arrivals, capacity),
    ]
}

/// Mean share of a full service that goes before its steps.
fn overhead_share(offers: &[Offer], steps: Steps) -> f64 {
    let share = |offer: &Offer| offer.overhead.seconds() / drawing(offer, steps).seconds();
    offers.iter().map(share).sum::<f64>() / offers.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ranking_knows_who_is_earlier_and_what_they_can_do() {
        let mut ranking = Ranking::default();
        // Full services per second; the second and the last are free at the same time.
        let speed = [0.5, 0.1, 0.2, 0.25];
        ranking.rank([9.0, 2.0, 1.0, 2.0].into_iter(), &speed);
        assert_eq!(ranking.earlier, [3, 1, 0, 1]);
        // 0.2 per second from 1 s on, and 0.55 per second from 2 s on.
        for (done, expected) in ranking.done.iter().zip([0.2 + 7.0 * 0.55, 0.2, 0.0, 0.2]) {
            assert!((done - expected).abs() < 1e-12, "{:?}", ranking.done);
        }
        let leads: Vec<f64> = (0..4).map(|server| ranking.lead(server)).collect();
        assert_eq!(leads, [-8.0, -1.0, 1.0, -1.0]);
        ranking.rank([3.0].into_iter(), &speed[..1]);
        assert_eq!((ranking.earlier[0], ranking.done[0], ranking.lead(0)), (0, 0.0, f64::INFINITY));
    }
}
