//! Fleets whose servers load models.

use scheduling::{Generator, HostedModel, Hosting, Loaded, Model, Seconds, Server, Size, StepRate};
use serde::{Deserialize, Serialize};

use super::{DomainError, between, check_ranges, log_uniform};
use crate::scenario::zipf;

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
    /// The largest request, in whole pictures. Half of the fleets have requests of one picture only.
    #[serde(default = "one")]
    pub pictures: usize,
}

const fn one() -> usize {
    1
}

impl FleetDomain {
    pub(super) fn check(&self) -> Result<(), DomainError> {
        let counts = |[low, high]: [usize; 2]| [low as f64, high as f64];
        let numbers = "[low, high] with 1 ≤ low ≤ high ≤ 1000";
        check_ranges(&[
            ("models.number", counts(self.number), 1.0, 1000.0, numbers),
            ("models.zipf", self.zipf, 0.0, 10.0, "[low, high] in 0 to 10"),
            ("models.resident", counts(self.resident), 1.0, 1000.0, numbers),
            ("models.load_share", self.load_share, 0.001, 100.0, "[low, high] in 0.001 to 100"),
            ("models.load_ratio", [self.load_ratio; 2], 1.0, 100.0, "1 to 100"),
            ("models.speed_ratio", [self.speed_ratio; 2], 1.0, 100.0, "1 to 100"),
            ("models.pictures", [self.pictures as f64; 2], 1.0, 1000.0, "1 to 1000"),
        ])
    }

    /// How often each model is asked for, relative to the others.
    pub(super) fn shares(&self, draw: &mut Generator) -> Vec<f64> {
        let [low, high] = self.number;
        let number = (log_uniform(draw, [low as f64, high as f64 + 1.0]) as usize).clamp(low, high);
        let exponent = between(draw, self.zipf);
        zipf(number, exponent)
    }

    /// The servers with so many models on each, which take about `load` seconds to load.
    pub(super) fn hosted_on(
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

    /// How large requests are in one fleet.
    pub(super) fn sizes(&self, draw: &mut Generator) -> Sizes {
        let several = if draw.uniform() < 0.5 { 0.0 } else { 0.6 * draw.uniform() };
        Sizes { several, most: self.pictures, due_by_size: draw.uniform() < 0.5 }
    }
}

/// How many pictures the requests of a fleet ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Share of the requests that ask for more than one.
    several: f64,
    /// What they ask for at most.
    most: usize,
    /// Whether more pictures may take longer.
    due_by_size: bool,
}

impl Sizes {
    /// Pictures of one request, and how much more slack it has.
    pub(super) fn draw(self, draw: &mut Generator) -> (Size, f64) {
        let [several, number] = [0; 2].map(|_| draw.uniform());
        let pictures = if several < self.several && self.most > 1 {
            2.0 + (number * (self.most - 1) as f64).floor()
        } else {
            1.0
        };
        let size = Size::new(pictures).expect("the domain has been checked");
        (size, if self.due_by_size { pictures } else { 1.0 })
    }

    /// Mean of the pictures.
    pub(super) fn mean(self) -> f64 {
        1.0 + self.several * 0.5 * self.most as f64
    }
}
