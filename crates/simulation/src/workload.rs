//! Drawing the instances of a scenario: the requests and the cluster of an episode.

use scheduling::{
    Cluster, Down, Fate, Generator, Instance, Luck, Model, Objective, Purpose, Request, Seconds,
    Server, ServerFate, Sigma, Size, TardinessPenalty, Time,
};

use crate::arrivals::ArrivalProcess;
use crate::scenario::{Drawn, Failures, Scenario, Settings};
use crate::source::{Episode, EpisodeSource, InstanceSource, UnequalEpisodes, Workload};
use crate::uniform::Uniform;

impl InstanceSource for Scenario {
    fn name(&self) -> String {
        self.settings().name.clone()
    }

    fn instance(&self, seed: u64, episode: Episode) -> Instance {
        let requests: Vec<_> =
            self.workload(seed, episode).take(self.settings().requests).collect();
        let fate = self.fate(seed, episode, &requests);
        Instance::new(self.cluster(seed, episode), requests, self.objective.clone())
            .and_then(|instance| instance.under(fate))
            .expect("a checked scenario gives valid instances")
    }

    fn is_plain(&self) -> bool {
        let Settings { models, size, noise, failures, .. } = self.settings();
        models.is_none() && size.is_none() && noise.is_none() && failures.is_none()
    }

    fn loads_models(&self) -> bool {
        self.settings().models.is_some()
    }

    fn description(&self) -> serde_json::Value {
        serde_json::to_value(self.settings()).expect("settings have only JSON's types")
    }

    fn episodes(&self) -> Result<&dyn EpisodeSource, UnequalEpisodes> {
        Ok(self)
    }
}

impl EpisodeSource for Scenario {
    fn servers(&self) -> usize {
        self.settings().cluster.servers.iter().map(|group| group.count).sum()
    }

    fn requests(&self) -> usize {
        self.settings().requests
    }

    fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Servers are named s0, s1, …
    fn cluster(&self, seed: u64, episode: Episode) -> Cluster {
        let model = &self.settings().cluster;
        let generator = |purpose| match model.drawn {
            Drawn::Once { seed } => Generator::new(u64::from(seed), purpose, 0),
            Drawn::PerInstance => Generator::new(seed, purpose, episode.stream()),
        };
        let mut speed = generator(Purpose::Cluster);
        let kinds = model.servers.iter().flat_map(|group| std::iter::repeat_n(group, group.count));
        let servers = kinds.enumerate().map(|(index, group)| {
            let server = Server::new(
                format!("s{index}"),
                group.step_rate.draw(&mut speed),
                group.overhead.draw(&mut speed),
            );
            (server, group.resident)
        });
        match &self.settings().models {
            None => Cluster::new(servers.map(|(server, _)| server).collect()),
            Some(models) => {
                let servers = models.hosted_on(servers, &mut generator(Purpose::Model));
                Cluster::with_models(servers, models.names())
            }
        }
        .expect("a checked scenario has servers")
    }

    fn shares_cluster(&self) -> bool {
        matches!(self.settings().cluster.drawn, Drawn::Once { .. })
    }

    fn workload(&self, seed: u64, episode: Episode) -> Workload {
        let settings = self.settings();
        let generator = |purpose| Generator::new(seed, purpose, episode.stream());
        Box::new(Drawing {
            arrivals: ArrivalProcess::new(&settings.arrivals),
            arrival: generator(Purpose::Arrival),
            slack: settings.due.slack,
            due: generator(Purpose::Slack),
            weights: settings.penalties.weights(),
            penalty: generator(Purpose::Penalty),
            model: (settings.models.as_ref())
                .map(|models| Choice::boxed(models.weights(), generator(Purpose::Popularity))),
            size: (settings.size.as_ref()).map(|sizes| {
                let choices = sizes.choices.iter().map(|&(size, _)| size).collect();
                (choices, Choice::boxed(sizes.weights(), generator(Purpose::Size)))
            }),
        })
    }
}

impl Scenario {
    /// Luck of each request and outages of each server, if the scenario has any.
    pub fn fate(&self, seed: u64, episode: Episode, requests: &[Request]) -> Option<Fate> {
        let noise = self.settings().noise;
        if noise.is_none() && self.settings().failures.is_none() {
            return None;
        }
        let sigma = noise.map_or(Sigma::default(), |noise| noise.sigma);
        let mut luck = Generator::new(seed, Purpose::Luck, episode.stream());
        let mut draw_luck = || Luck::new(luck.normal()).expect("53 bits are within 9 deviations");
        let mut failure = Generator::new(seed, Purpose::Failure, episode.stream());
        let end = requests[requests.len() - 1].arrival;
        let mut draw_outages = |failures: &Failures| {
            let [up, down] = [failures.mean_up, failures.mean_down].map(f64::from);
            let mut now = Time::ZERO;
            let mut outages = Vec::new();
            loop {
                let from = now + Seconds::of(failure.exponential(up));
                if from > end {
                    return outages;
                }
                now = from + Seconds::of(failure.exponential(down));
                // One of no length is none.
                if now > from {
                    outages.push(Down { from, to: now });
                }
            }
        };
        let servers = (0..EpisodeSource::servers(self)).map(|_| ServerFate {
            sigma,
            down: self.settings().failures.as_ref().map_or_else(Vec::new, &mut draw_outages),
        });
        let servers = servers.collect();
        let luck = requests.iter().map(|_| noise.map(|_| draw_luck())).collect();
        Some(Fate { servers, luck })
    }
}

/// The requests of an episode, in order of arrival; each property has a random stream of its own.
struct Drawing {
    arrivals: ArrivalProcess,
    arrival: Generator,
    slack: Uniform<Seconds>,
    due: Generator,
    weights: [f64; 3],
    penalty: Generator,
    model: Option<Box<Choice>>,
    size: Option<(Box<[Size]>, Box<Choice>)>,
}

/// A property that the paper's requests have not.
struct Choice {
    weights: Vec<f64>,
    generator: Generator,
}

impl Choice {
    /// On the heap: most workloads have none, and environments step through many of them.
    fn boxed(weights: Vec<f64>, generator: Generator) -> Box<Self> {
        Box::new(Self { weights, generator })
    }

    /// The position of a weight.
    fn draw(&mut self) -> usize {
        self.generator.weighted(&self.weights)
    }
}

impl Iterator for Drawing {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let now = self.arrivals.next(&mut self.arrival);
        let due = now + self.slack.draw(&mut self.due);
        let penalty = TardinessPenalty::ALL[self.penalty.weighted(&self.weights)];
        let mut request = Request::new(now, due, penalty);
        if let Some(model) = &mut self.model {
            request.model = Model(u16::try_from(model.draw()).expect("at most 1000 models"));
        }
        if let Some((sizes, size)) = &mut self.size {
            request.size = sizes[size.draw()];
        }
        Some(request)
    }
}
