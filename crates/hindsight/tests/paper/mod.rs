//! Instances of the paper's setting (§IV-A), drawn here so that this crate needs no simulator.

use scheduling::{
    Cluster, Generator, Instance, Objective, Purpose, Request, Seconds, Server, StepRate,
    TardinessPenalty, Time,
};

/// Six servers of 12–18 steps/s to four of 6–10, slack 2–20 s, three penalties equally likely,
/// w = 1.5, Poisson arrivals with mean interval `interval` seconds.
pub(crate) fn instance(seed: u64, servers: usize, requests: usize, interval: f64) -> Instance {
    let draw = |purpose| Generator::new(seed, purpose, 0);
    let mut speed = draw(Purpose::Cluster);
    let servers = (0..servers)
        .map(|index| {
            // The first 60 % are fast, as 6 of the paper's 10.
            let (low, high) = if index * 10 < servers * 6 { (12.0, 18.0) } else { (6.0, 10.0) };
            Server::new(
                format!("s{index}"),
                StepRate::new(speed.between(low, high)).unwrap(),
                Seconds::ZERO,
            )
        })
        .collect();
    let (mut arrival, mut slack, mut kind) =
        (draw(Purpose::Arrival), draw(Purpose::Slack), draw(Purpose::Penalty));
    let mut now = Time::ZERO;
    let requests = (0..requests)
        .map(|_| {
            now += Seconds::of(arrival.exponential(interval));
            Request::new(
                now,
                now + Seconds::of(slack.between(2.0, 20.0)),
                TardinessPenalty::ALL[kind.below(3)],
            )
        })
        .collect();
    Instance::new(Cluster::new(servers).unwrap(), requests, Objective::default()).unwrap()
}

/// User time of this process so far, where the system tells.
#[allow(dead_code)] // tests never look at time
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().nth(11).and_then(|ticks| ticks.parse::<f64>().ok());
    ticks.map_or(f64::NAN, |ticks| ticks / 100.0)
}
