//! What is learned of one server, apart for each of its models.

use std::collections::VecDeque;

use dispatch::Speed;
use scheduling::{Model, Seconds, Server, Sigma};

use super::SpeedEstimator;
use crate::journal::CompletedRun;

/// The speed of a server with each of its models, and the times that these take to load.
#[derive(Clone, Debug)]
pub(crate) struct Learned {
    of: Vec<(Model, OfModel)>,
}

/// What is learned of one model on one server; of all of them alike where it loads none.
#[derive(Clone, Debug)]
pub(crate) struct OfModel {
    pub(crate) speed: SpeedEstimator,
    pub(crate) load: LoadEstimator,
}

/// What a run has taught.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lesson {
    /// The speed.
    Speed(Speed),
    /// The time to load the model.
    Load(Seconds),
}

impl Learned {
    /// Starts from the configured speeds.
    pub(crate) fn new(server: &Server) -> Self {
        let of_model = |rate, overhead| OfModel {
            speed: SpeedEstimator::new(Speed { overhead, rate }),
            load: LoadEstimator::default(),
        };
        let of = match &server.hosting {
            None => vec![(Model(0), of_model(server.step_rate, server.overhead))],
            Some(hosting) => {
                let hosted = hosting.models.iter();
                hosted.map(|own| (own.model, of_model(own.step_rate, own.overhead))).collect()
            }
        };
        Self { of }
    }

    /// Of one model.
    pub(crate) fn of(&mut self, model: Model) -> &mut OfModel {
        let position = self.of.iter().position(|(other, _)| *other == model);
        &mut self.of[position.unwrap_or(0)].1
    }

    /// How far runs stray from their predictions, whatever their model: the mean square over the runs of
    /// all models.
    pub(crate) fn sigma(&self) -> Sigma {
        let runs = |own: &OfModel| own.speed.runs() as f64;
        let all: f64 = self.of.iter().map(|(_, own)| runs(own)).sum();
        let square =
            |own: &OfModel| f64::from(own.speed.sigma()).powi(2) * runs(own) / all.max(1.0);
        let mean = self.of.iter().map(|(_, own)| square(own)).sum::<f64>();
        Sigma::new(mean.sqrt()).expect("none of them is out of range")
    }

    /// The models that it is learned of.
    pub(crate) fn models(&self) -> impl Iterator<Item = Model> + '_ {
        self.of.iter().map(|(model, _)| *model)
    }
}

impl OfModel {
    /// A run at a size relative to the reference size. One that loaded the model first tells how long
    /// that takes, one that did not the speed.
    pub(crate) fn observe(&mut self, size: f64, run: &CompletedRun) -> Option<Lesson> {
        let &CompletedRun { steps, load, took, .. } = run;
        if load > Seconds::ZERO {
            let drawing = self.speed.predicted(steps, size);
            self.load.observe((took - drawing).positive_part()).map(Lesson::Load)
        } else {
            self.speed.observe(steps, size, took).map(Lesson::Speed)
        }
    }
}

/// The median of the latest loads: a disk that was busy once teaches nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadEstimator {
    loads: VecDeque<Seconds>,
}

impl LoadEstimator {
    /// Loads that are remembered.
    const WINDOW: usize = 9;
    /// Loads before anything is concluded.
    const FEWEST: usize = 3;

    fn observe(&mut self, load: Seconds) -> Option<Seconds> {
        if self.loads.len() == Self::WINDOW {
            self.loads.pop_front();
        }
        self.loads.push_back(load);
        self.estimate()
    }

    /// The estimate, if there have been enough loads.
    pub(crate) fn estimate(&self) -> Option<Seconds> {
        if self.loads.len() < Self::FEWEST {
            return None;
        }
        let mut sorted: Vec<f64> = self.loads.iter().map(|load| load.seconds()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(Seconds::of(sorted[(sorted.len() - 1) / 2]))
    }
}

#[cfg(test)]
mod tests {
    use scheduling::{HostedModel, Hosting, Loaded, StepRate, Steps};

    use super::*;

    #[test]
    fn each_model_is_learned_apart_and_loads_apart_from_speeds() {
        let rate = |rate| StepRate::new(rate).unwrap();
        let mut server = Server::new("a", rate(10.0), Seconds::ZERO);
        let hosted = |model| HostedModel::on(&server, Model(model), Seconds::of(9.0));
        let models = vec![hosted(1), hosted(4)];
        server.hosting = Some(Hosting { resident: 1, models, loaded: Loaded::default() });
        let mut learned = Learned::new(&server);
        assert_eq!(learned.models().collect::<Vec<_>>(), [Model(1), Model(4)]);
        // 5 steps a second with the one, 20 with the other; 4 s to load, and 60 s once.
        let run = |steps: u32, rate: f64, load: f64| CompletedRun {
            steps: Steps::new(steps).unwrap(),
            pixels: 1,
            load: Seconds::of(if load > 0.0 { 9.0 } else { 0.0 }),
            took: Seconds::of(load + f64::from(steps) / rate),
        };
        for steps in [10, 20, 30, 40, 50, 60] {
            learned.of(Model(1)).observe(1.0, &run(steps, 5.0, 0.0));
            learned.of(Model(4)).observe(1.0, &run(steps, 20.0, 0.0));
        }
        let mut lesson = None;
        for load in [4.0, 60.0, 4.1] {
            lesson = learned.of(Model(4)).observe(1.0, &run(20, 20.0, load));
        }
        let Some(Lesson::Load(load)) = lesson else { panic!("{lesson:?}") };
        assert!((load.seconds() - 4.1).abs() < 1e-6, "{load:?}");
        for (model, expected) in [(1, 5.0), (4, 20.0)] {
            let speed = learned.of(Model(model)).speed.estimate().unwrap();
            assert!((speed.rate.steps_per_second() - expected).abs() < 1e-6, "{speed:?}");
        }
        assert_eq!(learned.of(Model(1)).load.estimate(), None);
    }
}
