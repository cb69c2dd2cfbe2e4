//! Drawing instances: the requests and the cluster of an episode.

use scheduling::{
    Cluster, Generator, Instance, Purpose, Request, Seconds, Server, TardinessPenalty, Time,
};

use crate::recording::Resampled;
use crate::scenario::{Arrivals, Drawn, Scenario};
use crate::uniform::Uniform;

/// Which of a scenario's instances. Under one seed no training instance is an evaluation instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Episode {
    /// To learn from.
    Training(u64),
    /// To judge by.
    Evaluation(u64),
}

impl Episode {
    /// Index of the episode's random streams: even for training, odd for evaluation.
    ///
    /// Give a policy that draws random numbers [`Generator::new`] with this index, and its choices
    /// on an instance depend on nothing else that runs.
    ///
    /// # Panics
    /// If the number of the episode is 2⁶³ or more.
    pub const fn stream(self) -> u64 {
        let (number, odd) = match self {
            Self::Training(number) => (number, 0),
            Self::Evaluation(number) => (number, 1),
        };
        assert!(number < 1 << 63, "episodes are numbered below 2^63");
        2 * number + odd
    }
}

impl Scenario {
    /// The instance of `episode` under `seed`: these two and the scenario decide it alone.
    pub fn instance(&self, seed: u64, episode: Episode) -> Instance {
        if let (Some(recording), Episode::Evaluation(_)) = (self.recording(), episode) {
            return recording.instance.clone();
        }
        let requests = self.workload(seed, episode).take(self.settings().requests).collect();
        Instance::new(self.cluster(seed, episode), requests, self.objective().clone())
            .expect("a checked scenario gives valid instances")
    }

    /// The cluster of `episode` under `seed`; servers are named s0, s1, …
    pub fn cluster(&self, seed: u64, episode: Episode) -> Cluster {
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

    /// The requests of `episode` under `seed`, one after the other and without end.
    pub fn workload(&self, seed: u64, episode: Episode) -> Workload {
        let settings = self.settings();
        let generator = |purpose| Generator::new(seed, purpose, episode.stream());
        if let Some(recording) = self.recording() {
            let place = generator(Purpose::Arrival);
            return Workload(Source::Resampled(Box::new(Resampled::new(recording.clone(), place))));
        }
        Workload(Source::Drawn(Box::new(Draws {
            now: Time::ZERO,
            arrivals: settings.arrivals,
            arrival: generator(Purpose::Arrival),
            slack: settings.due.slack,
            due: generator(Purpose::Slack),
            weights: settings.penalties.weights(),
            penalty: generator(Purpose::Penalty),
        })))
    }
}

/// The requests of an episode, in order of arrival.
#[derive(Clone, Debug)]
pub struct Workload(Source);

#[derive(Clone, Debug)]
enum Source {
    Drawn(Box<Draws>),
    Resampled(Box<Resampled>),
}

/// Requests as the settings describe them; each property has a random stream of its own.
#[derive(Clone, Debug)]
struct Draws {
    now: Time,
    arrivals: Arrivals,
    arrival: Generator,
    slack: Uniform<Seconds>,
    due: Generator,
    weights: [f64; 3],
    penalty: Generator,
}

impl Workload {
    /// The next request.
    pub fn draw(&mut self) -> Request {
        match &mut self.0 {
            Source::Drawn(draws) => draws.draw(),
            Source::Resampled(resampled) => resampled.draw(),
        }
    }
}

impl Draws {
    fn draw(&mut self) -> Request {
        let Arrivals::Poisson { mean_interval } = self.arrivals;
        self.now += Seconds::of(self.arrival.exponential(mean_interval.seconds()));
        Request {
            arrival: self.now,
            due: self.now + self.slack.draw(&mut self.due),
            penalty: TardinessPenalty::ALL[self.penalty.weighted(&self.weights)],
        }
    }
}

impl Iterator for Workload {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        Some(self.draw())
    }
}
