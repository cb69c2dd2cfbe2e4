//! Drawing the instances of a scenario: the requests and the cluster of an episode.

use scheduling::{
    Cluster, Generator, Instance, Objective, Purpose, Request, Seconds, Server, TardinessPenalty,
    Time,
};

use crate::scenario::{Arrivals, Drawn, Scenario};
use crate::source::{Episode, EpisodeSource, InstanceSource, UnequalEpisodes};
use crate::uniform::Uniform;

impl InstanceSource for Scenario {
    fn name(&self) -> String {
        self.settings().name.clone()
    }

    fn instance(&self, seed: u64, episode: Episode) -> Instance {
        let requests = self.workload(seed, episode).take(self.settings().requests).collect();
        Instance::new(self.cluster(seed, episode), requests, self.objective.clone())
            .expect("a checked scenario gives valid instances")
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
        let mut generator = match model.drawn {
            Drawn::Once { seed } => Generator::new(u64::from(seed), Purpose::Cluster, 0),
            Drawn::PerInstance => Generator::new(seed, Purpose::Cluster, episode.stream()),
        };
        let kinds = model.servers.iter().flat_map(|group| std::iter::repeat_n(group, group.count));
        let servers = kinds.enumerate().map(|(index, group)| Server {
            name: format!("s{index}"),
            step_rate: group.step_rate.draw(&mut generator),
            overhead: group.overhead.draw(&mut generator),
        });
        Cluster::new(servers.collect()).expect("a checked scenario has servers")
    }

    fn shares_cluster(&self) -> bool {
        matches!(self.settings().cluster.drawn, Drawn::Once { .. })
    }

    fn workload(
        &self,
        seed: u64,
        episode: Episode,
    ) -> Box<dyn Iterator<Item = Request> + Send + '_> {
        let settings = self.settings();
        let generator = |purpose| Generator::new(seed, purpose, episode.stream());
        Box::new(Workload {
            now: Time::ZERO,
            arrivals: settings.arrivals,
            arrival: generator(Purpose::Arrival),
            slack: settings.due.slack,
            due: generator(Purpose::Slack),
            weights: settings.penalties.weights(),
            penalty: generator(Purpose::Penalty),
        })
    }
}

/// The requests of an episode, in order of arrival; each property has a random stream of its own.
struct Workload {
    now: Time,
    arrivals: Arrivals,
    arrival: Generator,
    slack: Uniform<Seconds>,
    due: Generator,
    weights: [f64; 3],
    penalty: Generator,
}

impl Iterator for Workload {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let Arrivals::Poisson { mean_interval } = self.arrivals;
        self.now += Seconds::of(self.arrival.exponential(mean_interval.seconds()));
        Some(Request {
            arrival: self.now,
            due: self.now + self.slack.draw(&mut self.due),
            penalty: TardinessPenalty::ALL[self.penalty.weighted(&self.weights)],
        })
    }
}
