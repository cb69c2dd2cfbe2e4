//! How an instance is drawn from a domain.

use scheduling::{
    Cluster, FullService, Generator, Instance, Logistic, Model, Objective, PowerLaw, Purpose,
    QualityCurve, Request, Seconds, Server, Sigmoid, Size, StepRate, TardinessPenalty, Time,
};

use super::fleet::Sizes;
use super::{Domain, Wide, between, log_uniform};
use crate::scenario::names;
use crate::source::{Episode, EpisodeSource, InstanceSource, UnequalEpisodes};

/// How many loads the load of a fleet is reckoned with. Policies that stay below it have time left for
/// steps; where none could, nothing is learned.
const LOADS_PER_REQUEST: f64 = 0.3;
/// The same in bursts, when each load is one too many.
const LOADS_IN_BURSTS: f64 = 0.15;
/// Requests come no faster than keeps the servers so busy at a single step for each…
const MOST_BUSY: f64 = 0.8;
/// …and in bursts no faster than this.
const MOST_BUSY_IN_BURSTS: f64 = 1.5;

impl InstanceSource for Domain {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn instance(&self, seed: u64, episode: Episode) -> Instance {
        // What is new has streams of its own, so that domains without it stay what they are.
        let mut turn = Generator::new(seed, Purpose::Burst, episode.stream());
        let which = turn.uniform();
        if let Some(Wide { domain, .. }) = self.wide.as_ref().filter(|wide| which < wide.share) {
            return domain.instance(seed, episode);
        }
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

        let stream = |purpose| Generator::new(seed, purpose, episode.stream());
        let mut model = stream(Purpose::Model);
        let load_share =
            self.models.map_or(0.0, |models| log_uniform(&mut model, models.load_share));
        let shares = self.models.map_or(Vec::new(), |models| models.shares(&mut model));
        let mut size = stream(Purpose::Size);
        let sizes = self.models.map(|models| models.sizes(&mut size));
        let pictures = sizes.map_or(1.0, Sizes::mean);
        let missing = missing(&shares, servers.len());
        let work = pictures + (LOADS_PER_REQUEST + missing) * load_share;
        let interval = work / (between(&mut draw, self.load) * capacity);
        let load = (LOADS_IN_BURSTS + missing) * full * load_share;
        let fastest = fastest(&servers, pictures, load);
        // Fewer steps make requests shorter, but not their loads and overheads.
        let longest = 1.0 / (MOST_BUSY * fastest);
        let bounded = self.models.is_some() || self.bursts.is_some();
        let interval = if bounded { interval.max(longest) } else { interval };
        let least_slack = full * between(&mut draw, self.least_slack);
        let most_slack = least_slack.max(full * between(&mut draw, self.most_slack));
        let weight = log_uniform(&mut draw, self.tardiness_weight) * worth.gain / full;
        let even = draw.uniform() < self.even_penalties;
        let mix = [0; 3].map(|_| draw.uniform());
        let weights = if even { [1.0; 3] } else { mix };

        let count = self.requests.base + self.requests.per_server * servers.len();
        let (mut arrival, mut slack, mut penalty) =
            (stream(Purpose::Arrival), stream(Purpose::Slack), stream(Purpose::Penalty));
        let fastest = MOST_BUSY_IN_BURSTS * fastest * interval;
        let mut bursts =
            self.bursts.as_ref().map_or(Vec::new(), |bursts| bursts.draw(fastest, &mut turn));
        let mut now = Time::ZERO;
        let requests: Vec<_> = (0..count)
            .map(|_| {
                let scale: f64 = bursts.iter_mut().map(|b| b.next_scale(&mut turn)).product();
                now += Seconds::of(arrival.exponential(interval * scale));
                let (size, longer) = sizes.map_or((Size::ONE, 1.0), |sizes| sizes.draw(&mut size));
                let slack = longer * slack.between(least_slack, most_slack);
                let penalty = TardinessPenalty::ALL[penalty.weighted(&weights)];
                Request { size, ..Request::new(now, now + Seconds::of(slack), penalty) }
            })
            .collect();
        let objective = objective_of(curve, weight.min(1e6));
        let instance = match &self.models {
            None => {
                Cluster::new(servers).map(|cluster| Instance::new(cluster, requests, objective))
            }
            Some(models) => {
                let mut popularity = stream(Purpose::Popularity);
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

/// How many requests a second keep the servers busy at a single step for each, with so many pictures and
/// so much loading for one.
fn fastest(servers: &[Server], pictures: f64, load: f64) -> f64 {
    let least = |server: &Server| {
        server.overhead.seconds() + pictures / server.step_rate.steps_per_second() + load
    };
    servers.iter().map(|server| 1.0 / least(server)).sum()
}

/// Share of the traffic that asks for other models than those that fit on so many servers at once.
fn missing(shares: &[f64], servers: usize) -> f64 {
    let all: f64 = shares.iter().sum();
    let others: f64 = shares.iter().skip(servers).sum();
    if all > 0.0 { others / all } else { 0.0 }
}

impl Domain {
    fn curve(&self, draw: &mut Generator) -> QualityCurve {
        let [paper, kind, a, b, c] = [0; 5].map(|_| draw.uniform());
        if paper < self.paper_quality {
            QualityCurve::PAPER
        } else if kind < 0.35 {
            // Half of the range is reached at 30 to 120 steps.
            let (slope, middle) = (0.03 + 0.12 * a, 30.0 + 90.0 * b);
            let (floor, range) = (30.0, 10.0 + 40.0 * c);
            QualityCurve::Sigmoid(Sigmoid { floor, range, slope, offset: slope * middle })
        } else if kind < 0.6 {
            // As samplers that add noise have it: a logistic in the logarithm of the steps.
            let (middle, power, scale) = (6.0 + 40.0 * a, 0.8 + 1.4 * b, 20.0 + 50.0 * c);
            QualityCurve::Logistic(Logistic { best: 65.0, scale, middle, power })
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
