//! Randomised scenarios: every episode has a cluster, a load and customers of its own.

use scheduling::message::bounded;
use scheduling::{
    Cluster, FullService, Generator, HostedModel, Hosting, Instance, Loaded, Model, Objective,
    PowerLaw, Purpose, QualityCurve, Request, Seconds, Server, Sigmoid, StepRate, TardinessPenalty,
    Time,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::scenario::{names, zipf};
use crate::source::{Episode, EpisodeSource, InstanceSource, UnequalEpisodes};

/// How scenarios are drawn for an agent that has to cope with all of them.
///
/// Ranges are drawn from uniformly, or uniformly in the logarithm where the field says so.
///
/// ```
/// use simulation::{Domain, Episode, InstanceSource};
/// let domain = Domain::from_toml(include_str!("../../../scenarios/universal.toml"))?;
/// let instance = domain.instance(1, Episode::Training(0));
/// assert!((1..=64).contains(&instance.cluster().len()));
/// # Ok::<(), simulation::DomainError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// What results are filed under.
    pub name: String,
    /// Requests of each instance: so many, and so many more for each server.
    pub requests: RequestCount,
    /// J: logarithm uniform.
    pub servers: [usize; 2],
    /// c_j of the whole cluster, in steps per second: logarithm uniform.
    pub steps_per_second: [f64; 2],
    /// The fastest server is at most so many times as fast as the slowest one; 1 or more.
    pub speed_ratio: f64,
    /// Overheads as shares of the time of a full service; half of the clusters have none.
    pub overhead_share: [f64; 2],
    /// Full services asked for per full service that the cluster can do; in fleets three in ten of them
    /// count with a load.
    pub load: [f64; 2],
    /// Shortest slack of an instance, in mean times of a full service.
    pub least_slack: [f64; 2],
    /// Longest slack, in the same unit.
    pub most_slack: [f64; 2],
    /// w, in what a full service gains per time that it takes: logarithm uniform.
    pub tardiness_weight: [f64; 2],
    /// Share of the instances whose quality curve is the paper's; the others draw theirs.
    pub paper_quality: f64,
    /// Share of the instances in which the three penalties are equally likely; the others draw
    /// their mix.
    pub even_penalties: f64,
    /// The clusters are fleets whose servers load models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<FleetDomain>,
}

/// How models are drawn. Every server hosts all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetDomain {
    /// How many.
    pub number: [usize; 2],
    /// The k-th is asked for in proportion to `1 / k^zipf`.
    pub zipf: [f64; 2],
    /// How many a server can have loaded at once, the same on all servers of half of the fleets.
    pub resident: [usize; 2],
    /// Time to load a model, in mean times of a full service: logarithm uniform.
    pub load_share: [f64; 2],
    /// The slowest to load takes so many times as long as the fastest; 1 or more.
    pub load_ratio: f64,
    /// The fastest model is at most so many times as fast as the slowest one; 1 or more.
    pub speed_ratio: f64,
}

/// Requests of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestCount {
    /// Whatever the cluster.
    pub base: usize,
    /// For each server.
    pub per_server: usize,
}

/// How many loads the load of a fleet is reckoned with. Policies that stay below it have time left for
/// steps; where none could, nothing is learned.
const LOADS_PER_REQUEST: f64 = 0.3;

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum DomainError {
    /// Not TOML, or not of this form; the message has line, column and the line itself.
    #[error("{}", bounded(&.0.to_string()))]
    Toml(#[from] toml::de::Error),
    /// A value or range that is not allowed.
    #[error("{field} is {found}: allowed is {allowed}")]
    Range {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        allowed: &'static str,
    },
}

impl Domain {
    /// Reads the file.
    ///
    /// # Errors
    /// [`DomainError`] with the line, or the field, and what is allowed there.
    pub fn from_toml(text: &str) -> Result<Self, DomainError> {
        let domain: Self = toml::from_str(text)?;
        domain.check()?;
        Ok(domain)
    }

    fn check(&self) -> Result<(), DomainError> {
        let [low, high] = self.servers;
        let servers = [low as f64, high as f64];
        for (field, range, least, most, allowed) in [
            ("servers", servers, 1.0, 1000.0, "[low, high] with 1 ≤ low ≤ high ≤ 1000"),
            ("steps_per_second", self.steps_per_second, 0.01, 1e4, "[low, high] in 0.01 to 1e4"),
            ("speed_ratio", [self.speed_ratio; 2], 1.0, 100.0, "1 to 100"),
            ("overhead_share", self.overhead_share, 0.0, 1.0, "[low, high] in 0 to 1"),
            ("load", self.load, 0.001, 10.0, "[low, high] in 0.001 to 10"),
            ("least_slack", self.least_slack, 0.0, 100.0, "[low, high] in 0 to 100"),
            ("most_slack", self.most_slack, 0.0, 100.0, "[low, high] in 0 to 100"),
            ("tardiness_weight", self.tardiness_weight, 1e-4, 1e4, "[low, high] in 1e-4 to 1e4"),
            ("paper_quality", [self.paper_quality; 2], 0.0, 1.0, "0 to 1"),
            ("even_penalties", [self.even_penalties; 2], 0.0, 1.0, "0 to 1"),
        ] {
            let [low, high] = range;
            if !(least <= low && low <= high && high <= most) {
                return Err(DomainError::Range { field, found: format!("{range:?}"), allowed });
            }
        }
        self.models.as_ref().map_or(Ok(()), FleetDomain::check)?;
        let RequestCount { base, per_server } = self.requests;
        if base == 0 || base > 100_000 || per_server > 1000 {
            return Err(DomainError::Range {
                field: "requests",
                found: format!("base = {base}, per_server = {per_server}"),
                allowed: "base 1 to 100000 and per_server 0 to 1000",
            });
        }
        Ok(())
    }

    fn curve(&self, draw: &mut Generator) -> QualityCurve {
        let [paper, kind, a, b, c] = [0; 5].map(|_| draw.uniform());
        if paper < self.paper_quality {
            QualityCurve::PAPER
        } else if kind < 0.5 {
            // Half of the range is reached at 30 to 120 steps.
            let (slope, middle) = (0.03 + 0.12 * a, 30.0 + 90.0 * b);
            let (floor, range) = (30.0, 10.0 + 40.0 * c);
            QualityCurve::Sigmoid(Sigmoid { floor, range, slope, offset: slope * middle })
        } else {
            let (scale, exponent) = (20.0 + 60.0 * a, 0.4 + 0.8 * b);
            QualityCurve::PowerLaw(PowerLaw { best: 65.0, scale, exponent })
        }
    }

    fn servers(&self, worth: &FullService, draw: &mut Generator) -> Vec<Server> {
        let [low, high] = self.servers;
        let count = log_uniform(draw, [low as f64, high as f64 + 1.0]) as usize;
        let centre = log_uniform(draw, self.steps_per_second);
        // Some clusters are all of a kind, others as mixed as is allowed.
        let spread = draw.uniform() * self.speed_ratio.ln();
        let share = between(draw, self.overhead_share);
        let share = if draw.uniform() < 0.5 { 0.0 } else { share };
        (0..count.clamp(low, high))
            .map(|index| {
                let rate = centre * libm::exp(spread * (draw.uniform() - 0.5));
                let step_rate = StepRate::saturating(rate);
                let overhead = Seconds::of(share * (worth.steps / step_rate).seconds());
                Server::new(format!("s{index}"), step_rate, overhead)
            })
            .collect()
    }
}

impl FleetDomain {
    fn check(&self) -> Result<(), DomainError> {
        let counts = |[low, high]: [usize; 2]| [low as f64, high as f64];
        let numbers = "[low, high] with 1 ≤ low ≤ high ≤ 1000";
        for (field, [low, high], least, most, allowed) in [
            ("models.number", counts(self.number), 1.0, 1000.0, numbers),
            ("models.zipf", self.zipf, 0.0, 10.0, "[low, high] in 0 to 10"),
            ("models.resident", counts(self.resident), 1.0, 1000.0, numbers),
            ("models.load_share", self.load_share, 0.001, 100.0, "[low, high] in 0.001 to 100"),
            ("models.load_ratio", [self.load_ratio; 2], 1.0, 100.0, "1 to 100"),
            ("models.speed_ratio", [self.speed_ratio; 2], 1.0, 100.0, "1 to 100"),
        ] {
            if !(least <= low && low <= high && high <= most) {
                let found = format!("{:?}", [low, high]);
                return Err(DomainError::Range { field, found, allowed });
            }
        }
        Ok(())
    }

    /// How often each model is asked for, relative to the others.
    fn shares(&self, draw: &mut Generator) -> Vec<f64> {
        let [low, high] = self.number;
        let number = (log_uniform(draw, [low as f64, high as f64 + 1.0]) as usize).clamp(low, high);
        let exponent = between(draw, self.zipf);
        zipf(number, exponent)
    }

    /// The servers with so many models on each, which take about `load` seconds to load.
    fn hosted_on(
        &self,
        servers: Vec<Server>,
        models: usize,
        load: f64,
        draw: &mut Generator,
    ) -> Vec<Server> {
        let mut around = |ratio: f64| -> Vec<f64> {
            let spread = draw.uniform() * libm::log(ratio);
            (0..models).map(|_| libm::exp(spread * (draw.uniform() - 0.5))).collect()
        };
        let (loads, speeds) = (around(self.load_ratio), around(self.speed_ratio));
        let [low, high] = self.resident;
        let mut room = || low + draw.below(high - low + 1);
        let (of_all, alike) = (room(), draw.uniform() < 0.5);
        let host = |server: Server| {
            let resident = if alike { of_all } else { low + draw.below(high - low + 1) };
            let models = (0..).zip(loads.iter().zip(&speeds)).map(|(model, (of_load, speed))| {
                let rate = server.step_rate.steps_per_second() * speed;
                let hosted = HostedModel::on(&server, Model(model), Seconds::of(load * of_load));
                HostedModel { step_rate: StepRate::saturating(rate), ..hosted }
            });
            let hosting = Hosting { resident, models: models.collect(), loaded: Loaded::default() };
            Server { hosting: Some(hosting), ..server }
        };
        servers.into_iter().map(host).collect()
    }
}

impl InstanceSource for Domain {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn instance(&self, seed: u64, episode: Episode) -> Instance {
        let mut draw = Generator::new(seed, Purpose::Cluster, episode.stream());
        let objective_of = |curve, weight| {
            Objective::new(curve, weight).expect("curves and weights are drawn in range")
        };
        let curve = self.curve(&mut draw);
        let worth = objective_of(curve.clone(), 0.0).full_service();
        let servers = self.servers(&worth, &mut draw);
        let speed = |server: &Server| 1.0 / server.service_time(worth.steps).seconds();
        let capacity: f64 = servers.iter().map(speed).sum();
        let full = servers.len() as f64 / capacity;

        // Models have a stream of their own, so that clusters without them stay what they are.
        let mut model = Generator::new(seed, Purpose::Model, episode.stream());
        let load_share =
            self.models.map_or(0.0, |models| log_uniform(&mut model, models.load_share));
        let work = 1.0 + LOADS_PER_REQUEST * load_share;
        let interval = work / (between(&mut draw, self.load) * capacity);
        let least_slack = full * between(&mut draw, self.least_slack);
        let most_slack = least_slack.max(full * between(&mut draw, self.most_slack));
        let weight = log_uniform(&mut draw, self.tardiness_weight) * worth.gain / full;
        let even = draw.uniform() < self.even_penalties;
        let mix = [0; 3].map(|_| draw.uniform());
        let weights = if even { [1.0; 3] } else { mix };

        let count = self.requests.base + self.requests.per_server * servers.len();
        let stream = |purpose| Generator::new(seed, purpose, episode.stream());
        let (mut arrival, mut slack, mut penalty) =
            (stream(Purpose::Arrival), stream(Purpose::Slack), stream(Purpose::Penalty));
        let mut now = Time::ZERO;
        let requests: Vec<_> = (0..count)
            .map(|_| {
                now += Seconds::of(arrival.exponential(interval));
                Request::new(
                    now,
                    now + Seconds::of(slack.between(least_slack, most_slack)),
                    TardinessPenalty::ALL[penalty.weighted(&weights)],
                )
            })
            .collect();
        let objective = objective_of(curve, weight.min(1e6));
        let instance = match &self.models {
            None => {
                Cluster::new(servers).map(|cluster| Instance::new(cluster, requests, objective))
            }
            Some(models) => {
                let mut popularity = stream(Purpose::Popularity);
                let shares = models.shares(&mut model);
                let servers =
                    models.hosted_on(servers, shares.len(), full * load_share, &mut model);
                let asked = |request| {
                    let model = Model(popularity.weighted(&shares) as u16);
                    Request { model, ..request }
                };
                let requests = requests.into_iter().map(asked).collect();
                Cluster::with_models(servers, names(shares.len()))
                    .map(|cluster| Instance::new(cluster, requests, objective))
            }
        };
        let instance = instance.expect("there is at least one server");
        instance.expect("names differ and requests are drawn in order")
    }

    fn is_plain(&self) -> bool {
        self.models.is_none()
    }

    fn loads_models(&self) -> bool {
        self.models.is_some()
    }

    fn description(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a domain has only JSON's types")
    }

    fn episodes(&self) -> Result<&dyn EpisodeSource, UnequalEpisodes> {
        let problem = "each instance has a cluster and an objective of its own".into();
        Err(UnequalEpisodes { source_name: self.name(), problem })
    }
}

fn between(draw: &mut Generator, [low, high]: [f64; 2]) -> f64 {
    draw.between(low, high)
}

fn log_uniform(draw: &mut Generator, [low, high]: [f64; 2]) -> f64 {
    libm::exp(draw.between(libm::log(low), libm::log(high))).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIVERSAL: &str = include_str!("../../../scenarios/universal.toml");

    #[test]
    fn instances_are_as_varied_as_the_file_says() {
        let domain = Domain::from_toml(UNIVERSAL).unwrap();
        let (mut servers, mut loads) = (Vec::new(), Vec::new());
        for episode in 0..200 {
            let instance = domain.instance(3, Episode::Training(episode));
            let worth = instance.objective().full_service();
            let rates = instance.cluster().iter().map(|s| s.step_rate.steps_per_second());
            let fastest = rates.clone().fold(0.0, f64::max);
            let slowest = rates.fold(f64::INFINITY, f64::min);
            assert!(fastest / slowest <= domain.speed_ratio * (1.0 + 1e-9), "episode {episode}");
            let speed = |s: &Server| 1.0 / s.service_time(worth.steps).seconds();
            let capacity: f64 = instance.cluster().iter().map(speed).sum();
            let requests = instance.requests();
            let per_second = requests.len() as f64 / requests[requests.len() - 1].arrival.seconds();
            servers.push(instance.cluster().len());
            loads.push(per_second / capacity);
            let count =
                domain.requests.base + domain.requests.per_server * instance.cluster().len();
            assert_eq!(requests.len(), count);
        }
        servers.sort_unstable();
        loads.sort_by(f64::total_cmp);
        assert!(servers[0] == 1 && servers[199] > 50 && servers[100] < 12, "{servers:?}");
        // Drawn arrivals are within some tens of percent of their mean.
        assert!(loads[0] < 0.2 && loads[199] > 1.8 && loads[199] < 3.0, "{loads:?}");
    }

    #[test]
    fn the_episode_decides_the_instance() {
        let domain = Domain::from_toml(UNIVERSAL).unwrap();
        let instance = |seed, episode| domain.instance(seed, episode);
        let one = instance(1, Episode::Training(4));
        assert_eq!(one, instance(1, Episode::Training(4)));
        assert_ne!(one, instance(2, Episode::Training(4)));
        assert_ne!(one, instance(1, Episode::Evaluation(4)));
    }

    #[test]
    fn bad_files_are_refused_with_field_and_range() {
        let check = |from: &str, to: &str, parts: &[&str]| {
            assert!(UNIVERSAL.contains(from), "{from}");
            let error = Domain::from_toml(&UNIVERSAL.replace(from, to)).unwrap_err();
            let message = error.to_string();
            for part in parts {
                assert!(message.contains(part), "{message:?} does not contain {part:?}");
            }
        };
        check("servers = [1, 64]", "servers = [0, 64]", &["servers", "[0.0, 64.0]", "1 ≤ low"]);
        check("load = [0.05", "load = [3.0", &["load is [3.0, 2.2]", "0.001 to 10"]);
        check("base = 1500", "base = 0", &["requests is base = 0", "1 to 100000"]);
        check("load =", "lode =", &["lode", "unknown field"]);
        check("speed_ratio = 6.0", "speed_ratio = nan", &["speed_ratio", "1 to 100"]);
    }
}
