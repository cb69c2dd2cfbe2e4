//! Recorded traffic as a scenario: train on what really happened.

use std::sync::Arc;

use scheduling::{Generator, Instance, Request, Seconds, TardinessPenalty, Time};

use crate::scenario::{
    Arrivals, ClusterModel, Drawn, Due, PenaltyMix, Scenario, ScenarioError, ServerGroup, Settings,
};
use crate::uniform::Uniform;

/// An instance that was recorded, such as a gateway's traffic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recording {
    pub(crate) instance: Instance,
    /// What each request adds to the one before: time since it, slack, penalty.
    requests: Vec<(Seconds, Seconds, TardinessPenalty)>,
}

/// Requests of a training episode, unless fewer were recorded.
const EPISODE: usize = 2000;
/// Requests that are replayed in a row: long enough for bursts to stay bursts.
const BLOCK: usize = 50;
/// Longer pauses and slacks are cut to this when requests are resampled: no queue outlasts it.
const LONGEST: f64 = 1e5;

impl Scenario {
    /// Recorded traffic on the servers that it was recorded with.
    ///
    /// Evaluation instances are the recording itself. A training episode is a block bootstrap of
    /// it: runs of 50 requests from random places, one after the other, each with the time since the
    /// one before, the slack and the penalty that it had; as many as were recorded, at most 2000.
    ///
    /// # Errors
    /// [`ScenarioError`] if there are too many servers.
    pub fn recorded(name: &str, instance: Instance) -> Result<Self, ScenarioError> {
        let recording = Recording::new(instance);
        let settings = recording.settings(name);
        Ok(Self::new(settings)?.with_recording(Arc::new(recording)))
    }

    /// Requests of the recording, if this is one.
    pub fn recorded_requests(&self) -> Option<usize> {
        self.recording().map(|recording| recording.requests.len())
    }
}

impl Recording {
    fn new(instance: Instance) -> Self {
        let all = instance.requests();
        let span = all[all.len() - 1].arrival - all[0].arrival;
        let mean = Seconds::of(span.seconds() / all.len() as f64);
        let cut = |time: Seconds| Seconds::of(time.seconds().min(LONGEST));
        let requests = (all.iter().enumerate())
            .map(|(index, request)| {
                // Nothing is known of the time before the first one.
                let pause =
                    if index == 0 { mean } else { request.arrival - all[index - 1].arrival };
                (cut(pause), cut(request.slack()), request.penalty)
            })
            .collect();
        Self { instance, requests }
    }

    /// The nearest description that a scenario file could give.
    fn settings(&self, name: &str) -> Settings {
        let count = self.requests.len();
        let sum: f64 = self.requests.iter().map(|(pause, ..)| pause.seconds()).sum();
        let slacks = || self.requests.iter().map(|(_, slack, _)| slack.seconds());
        let [low, high] =
            [slacks().fold(f64::INFINITY, f64::min), slacks().fold(0.0, f64::max)].map(Seconds::of);
        let weight = |penalty| {
            let alike = self.requests.iter().filter(|(.., other)| *other == penalty).count();
            (alike as f64).try_into().expect("an instance has fewer requests than a weight may be")
        };
        let objective = self.instance.objective();
        let servers = self.instance.cluster().iter().map(|server| ServerGroup {
            count: 1,
            step_rate: Uniform::constant(server.step_rate),
            overhead: Uniform::constant(server.overhead),
        });
        Settings {
            name: name.into(),
            requests: count.min(EPISODE),
            tardiness_weight: objective.tardiness_weight(),
            quality: objective.curve().clone(),
            // Kept where a scenario file may have it; the requests come from the recording.
            arrivals: Arrivals::Poisson {
                mean_interval: Seconds::of((sum / count as f64).min(1e3)),
            },
            due: Due { slack: Uniform::new(low, high).expect("least and most") },
            penalties: PenaltyMix {
                linear: weight(TardinessPenalty::Linear),
                quadratic: weight(TardinessPenalty::Quadratic),
                square_root: weight(TardinessPenalty::SquareRoot),
            },
            cluster: ClusterModel { drawn: Drawn::Once { seed: 0 }, servers: servers.collect() },
        }
    }
}

/// Requests of a recording, resampled in blocks, without end.
#[derive(Clone, Debug)]
pub(crate) struct Resampled {
    recording: Arc<Recording>,
    place: Generator,
    now: Time,
    next: usize,
    left: usize,
}

impl Resampled {
    pub(crate) fn new(recording: Arc<Recording>, place: Generator) -> Self {
        Self { recording, place, now: Time::ZERO, next: 0, left: 0 }
    }

    pub(crate) fn draw(&mut self) -> Request {
        let requests = &self.recording.requests;
        if self.left == 0 {
            (self.next, self.left) = (self.place.below(requests.len()), BLOCK);
        }
        let (pause, slack, penalty) = requests[self.next];
        self.next = (self.next + 1) % requests.len();
        self.left -= 1;
        self.now += pause;
        Request { arrival: self.now, due: self.now + slack, penalty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchedEnvironment, Episode};
    use scheduling::{Decision, Environment, Steps};

    fn recorded(requests: usize) -> Instance {
        let paper = Scenario::from_toml(include_str!("../../../scenarios/paper.toml")).unwrap();
        let short = paper.with(|settings| settings.requests = requests).unwrap();
        short.instance(3, Episode::Evaluation(0))
    }

    #[test]
    fn evaluation_is_the_recording_and_training_is_made_of_its_requests() {
        let instance = recorded(300);
        let scenario = Scenario::recorded("traffic", instance.clone()).unwrap();
        let evaluated = scenario.instance(1, Episode::Evaluation(7));
        assert_eq!(evaluated.requests(), instance.requests());
        let seen = |request: &Request| (request.slack().seconds() * 1e6).round() as i64;
        let known: Vec<i64> = instance.requests().iter().map(seen).collect();
        let episode = scenario.instance(1, Episode::Training(0));
        assert_eq!(episode.requests().len(), 300);
        assert!(episode.requests().iter().all(|request| known.contains(&seen(request))));
        assert_ne!(episode, scenario.instance(1, Episode::Training(1)));
        assert_eq!(episode, scenario.instance(1, Episode::Training(0)));
        let mean = |i: &Instance| i.requests()[299].arrival.seconds() / 300.0;
        assert!((mean(&episode) / mean(&instance) - 1.0).abs() < 0.3, "{}", mean(&episode));
    }

    #[test]
    fn the_environment_trains_on_the_recording() {
        let scenario = Scenario::recorded("traffic", recorded(120)).unwrap();
        let mut environment = BatchedEnvironment::new(&scenario, 5, 2);
        let mut rewards = [0.0; 2];
        let mut first = Vec::new();
        while !environment.done() {
            first.push(environment.slack()[0]);
            environment.step(&[Decision { server: 0, steps: Steps::MIN }; 2], &mut rewards);
        }
        let drawn = scenario.instance(5, Episode::Training(0));
        let slacks: Vec<f32> =
            drawn.requests().iter().map(|r| r.slack().seconds() as f32).collect();
        assert_eq!(first, slacks);
    }

    #[test]
    fn a_single_request_and_long_pauses_can_be_resampled() {
        let request = |arrival: f64| {
            let arrival = Time::new(arrival).unwrap();
            Request { arrival, due: arrival, penalty: TardinessPenalty::Linear }
        };
        let cluster = recorded(1).cluster().clone();
        let objective = scheduling::Objective::default();
        for arrivals in [vec![5.0], vec![0.0, 9e8], vec![0.0; 3000]] {
            let count = arrivals.len().min(EPISODE);
            let requests = arrivals.into_iter().map(request).collect();
            let instance = Instance::new(cluster.clone(), requests, objective.clone()).unwrap();
            let scenario = Scenario::recorded("x", instance).unwrap();
            assert_eq!(scenario.instance(1, Episode::Training(4)).requests().len(), count);
        }
    }
}
