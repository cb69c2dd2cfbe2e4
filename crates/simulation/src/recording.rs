//! Traffic that happened: judge by it as it was, train on what it could have been.

use std::sync::Arc;

use scheduling::message::hex;
use scheduling::{
    Cluster, Fate, Generator, Instance, Luck, Objective, Purpose, Request, Seconds, Time,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::source::{Episode, EpisodeSource, InstanceSource, UnequalEpisodes, Workload};

/// Requests of a training episode, unless fewer were recorded.
const EPISODE: usize = 2000;
/// Requests that are replayed in a row: long enough for bursts to stay bursts.
const BLOCK: usize = 50;
/// Longer pauses and slacks are cut to this when requests are resampled: no queue outlasts it.
const LONGEST: f64 = 1e5;

/// An instance that was recorded, such as a gateway's traffic, with the servers that it met.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    name: String,
    instance: Instance,
    /// Of each request, the time since the one before and the slack, neither longer than is kept.
    spans: Vec<(Seconds, Seconds)>,
}

impl Recording {
    /// A recording under the name that results are filed under.
    pub fn new(name: &str, instance: Instance) -> Self {
        let all = instance.requests();
        let span = all[all.len() - 1].arrival - all[0].arrival;
        let mean = Seconds::of(span.seconds() / all.len() as f64);
        let cut = |time: Seconds| Seconds::of(time.seconds().min(LONGEST));
        let spans = (all.iter().enumerate())
            .map(|(index, request)| {
                // Nothing is known of the time before the first one.
                let pause =
                    if index == 0 { mean } else { request.arrival - all[index - 1].arrival };
                (cut(pause), cut(request.slack()))
            })
            .collect();
        Self { name: name.into(), instance, spans }
    }

    fn description(&self) -> serde_json::Value {
        let digest = hex(&Sha256::digest(self.instance.to_json()));
        json!({
            "name": self.name,
            "requests": self.instance.requests().len(),
            "servers": self.instance.cluster().len(),
            "sha256": digest,
        })
    }
}

/// One recording or several.
///
/// Evaluation instance k is the k-th recording as it is. Training episodes take turns: each is a
/// block bootstrap of one recording, on its servers. Runs of 50 requests from random places follow
/// one another, each request with the time since the one before, the slack and all else that it
/// had; there are as many as the longest recording has, at most 2000. Servers stray and fail as they did
/// in the recording, with new luck for every request.
///
/// Invariant: there is at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Recordings(Vec<Arc<Recording>>);

impl Recordings {
    /// These recordings, in this order.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(recordings: Vec<Recording>) -> Self {
        assert!(!recordings.is_empty(), "there is at least one recording");
        Self(recordings.into_iter().map(Arc::new).collect())
    }

    /// The recording whose turn it is. After the last one comes the first again.
    fn of(&self, episode: Episode) -> &Arc<Recording> {
        let (Episode::Training(number) | Episode::Evaluation(number)) = episode;
        &self.0[(number % self.0.len() as u64) as usize]
    }
}

impl InstanceSource for Recordings {
    fn name(&self) -> String {
        self.0.iter().map(|recording| &*recording.name).collect::<Vec<_>>().join(", ")
    }

    fn instance(&self, seed: u64, episode: Episode) -> Instance {
        let Recording { instance, .. } = &**self.of(episode);
        match episode {
            Episode::Evaluation(_) => instance.clone(),
            Episode::Training(_) => {
                let requests: Vec<_> = self.workload(seed, episode).take(self.requests()).collect();
                let mut luck = Generator::new(seed, Purpose::Luck, episode.stream());
                let fate = instance.fate().map(|fate| Fate {
                    servers: fate.servers.clone(),
                    luck: requests.iter().map(|_| Luck::new(luck.normal()).ok()).collect(),
                });
                Instance::new(instance.cluster().clone(), requests, instance.objective().clone())
                    .and_then(|resampled| resampled.under(fate))
                    .expect("pauses and slacks are not negative")
            }
        }
    }

    fn evaluation_instances(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn is_plain(&self) -> bool {
        self.0.iter().all(|recording| recording.instance.is_plain())
    }

    fn loads_models(&self) -> bool {
        self.0.iter().any(|recording| recording.instance.cluster().loads_models())
    }

    fn description(&self) -> serde_json::Value {
        json!({ "recordings": self.0.iter().map(|recording| recording.description()).collect::<Vec<_>>() })
    }

    fn episodes(&self) -> Result<&dyn EpisodeSource, UnequalEpisodes> {
        let first = &self.0[0];
        for other in &self.0 {
            let [ours, theirs] = [first, other].map(|recording| recording.instance.cluster().len());
            let problem = if ours != theirs {
                format!("{} has {ours} servers and {} has {theirs}", first.name, other.name)
            } else if first.instance.objective() != other.instance.objective() {
                format!("{} and {} have different objectives", first.name, other.name)
            } else {
                continue;
            };
            return Err(UnequalEpisodes { source_name: self.name(), problem });
        }
        Ok(self)
    }
}

impl EpisodeSource for Recordings {
    fn servers(&self) -> usize {
        self.0[0].instance.cluster().len()
    }

    fn requests(&self) -> usize {
        let longest = self.0.iter().map(|recording| recording.spans.len()).max();
        longest.map_or(0, |longest| longest.min(EPISODE))
    }

    fn objective(&self) -> &Objective {
        self.0[0].instance.objective()
    }

    fn cluster(&self, _: u64, episode: Episode) -> Cluster {
        self.of(episode).instance.cluster().clone()
    }

    fn shares_cluster(&self) -> bool {
        self.0.iter().all(|other| other.instance.cluster() == self.0[0].instance.cluster())
    }

    fn workload(&self, seed: u64, episode: Episode) -> Workload {
        Box::new(Resampled {
            recording: self.of(episode).clone(),
            place: Generator::new(seed, Purpose::Arrival, episode.stream()),
            now: Time::ZERO,
            next: 0,
            left: 0,
        })
    }
}

/// Requests of a recording, resampled in blocks, without end.
struct Resampled {
    recording: Arc<Recording>,
    place: Generator,
    now: Time,
    next: usize,
    left: usize,
}

impl Iterator for Resampled {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        if self.left == 0 {
            (self.next, self.left) = (self.place.below(self.recording.spans.len()), BLOCK);
        }
        let (pause, slack) = self.recording.spans[self.next];
        let recorded = self.recording.instance.requests()[self.next];
        self.next = (self.next + 1) % self.recording.spans.len();
        self.left -= 1;
        self.now += pause;
        Some(Request { arrival: self.now, due: self.now + slack, ..recorded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchedEnvironment, Scenario};
    use scheduling::{Decision, Environment, Steps, TardinessPenalty};

    fn one(instance: Instance) -> Recordings {
        Recordings::new(vec![Recording::new("traffic", instance)])
    }

    fn recorded(requests: usize) -> Instance {
        let paper = Scenario::from_toml(include_str!("../../../scenarios/paper.toml")).unwrap();
        let short = paper.with(|settings| settings.requests = requests).unwrap();
        short.instance(3, Episode::Evaluation(0))
    }

    #[test]
    fn evaluation_is_the_recording_and_training_is_made_of_its_requests() {
        let instance = recorded(300);
        let recordings = one(instance.clone());
        let evaluated = recordings.instance(1, Episode::Evaluation(7));
        assert_eq!(evaluated.requests(), instance.requests());
        let seen = |request: &Request| (request.slack().seconds() * 1e6).round() as i64;
        let known: Vec<i64> = instance.requests().iter().map(seen).collect();
        let episode = recordings.instance(1, Episode::Training(0));
        assert_eq!(episode.requests().len(), 300);
        assert!(episode.requests().iter().all(|request| known.contains(&seen(request))));
        assert_ne!(episode, recordings.instance(1, Episode::Training(1)));
        assert_eq!(episode, recordings.instance(1, Episode::Training(0)));
        let mean = |i: &Instance| i.requests()[299].arrival.seconds() / 300.0;
        assert!((mean(&episode) / mean(&instance) - 1.0).abs() < 0.3, "{}", mean(&episode));
    }

    #[test]
    fn the_environment_trains_on_the_recording() {
        let recordings = one(recorded(120));
        let mut environment = BatchedEnvironment::new(recordings.episodes().unwrap(), 5, 2);
        let mut rewards = [0.0; 2];
        let mut first = Vec::new();
        while !environment.done() {
            first.push(environment.slack()[0]);
            environment.step(&[Decision { server: 0, steps: Steps::MIN }; 2], &mut rewards);
        }
        let drawn = recordings.instance(5, Episode::Training(0));
        let slacks: Vec<f32> =
            drawn.requests().iter().map(|r| r.slack().seconds() as f32).collect();
        assert_eq!(first, slacks);
    }

    #[test]
    fn a_single_request_and_long_pauses_can_be_resampled() {
        let request = |arrival: f64| {
            let arrival = Time::new(arrival).unwrap();
            Request::new(arrival, arrival, TardinessPenalty::Linear)
        };
        let cluster = recorded(1).cluster().clone();
        let objective = scheduling::Objective::default();
        for arrivals in [vec![5.0], vec![0.0, 9e8], vec![0.0; 3000]] {
            let count = arrivals.len().min(EPISODE);
            let requests = arrivals.into_iter().map(request).collect();
            let instance = Instance::new(cluster.clone(), requests, objective.clone()).unwrap();
            let episode = one(instance).instance(1, Episode::Training(4));
            assert_eq!(episode.requests().len(), count);
        }
    }

    #[test]
    fn several_recordings_take_turns() {
        let [first, second] = [30, 200].map(recorded);
        let all = Recordings::new(vec![
            Recording::new("monday", first.clone()),
            Recording::new("tuesday", second.clone()),
        ]);
        assert_eq!(all.name(), "monday, tuesday");
        assert_eq!(all.evaluation_instances(), Some(2));
        let evaluation = |number| all.instance(1, Episode::Evaluation(number));
        assert_eq!([evaluation(0), evaluation(1)], [first.clone(), second.clone()]);
        // An episode of the shorter one is as long as the others.
        let slacks = |instance: &Instance| -> Vec<i64> {
            instance.requests().iter().map(|r| (r.slack().seconds() * 1e6).round() as i64).collect()
        };
        for (number, recording) in [(0, &first), (1, &second), (2, &first)] {
            let episode = all.instance(1, Episode::Training(number));
            assert_eq!(episode.requests().len(), 200);
            let known = slacks(recording);
            assert!(slacks(&episode).iter().all(|slack| known.contains(slack)), "{number}");
        }
        assert!(all.episodes().is_ok());
    }

    #[test]
    fn recordings_that_cannot_run_side_by_side_say_why() {
        let instance = recorded(10);
        let (cluster, requests) = (instance.cluster(), instance.requests().to_vec());
        let fewer = Cluster::new(cluster[..3].to_vec()).unwrap();
        let weight = scheduling::Objective::new(scheduling::QualityCurve::PAPER, 0.5).unwrap();
        let objective = instance.objective().clone();
        let fewer = Instance::new(fewer, requests.clone(), objective).unwrap();
        let other = Instance::new(cluster.clone(), requests, weight).unwrap();
        for (second, part) in [(fewer, "a has 10 servers and b has 3"), (other, "objectives")] {
            let pair = vec![Recording::new("a", instance.clone()), Recording::new("b", second)];
            let message = Recordings::new(pair).episodes().unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("a, b: "), "{message}");
        }
    }

    #[test]
    fn a_description_tells_recordings_apart_that_look_alike() {
        let instance = recorded(5);
        let mut requests = instance.requests().to_vec();
        requests[4].penalty = match requests[4].penalty {
            TardinessPenalty::Linear => TardinessPenalty::Quadratic,
            _ => TardinessPenalty::Linear,
        };
        let (cluster, objective) = (instance.cluster().clone(), instance.objective().clone());
        let changed = Instance::new(cluster, requests, objective).unwrap();
        assert_eq!(one(instance.clone()).description(), one(instance.clone()).description());
        assert_ne!(one(instance).description(), one(changed).description());
    }
}
