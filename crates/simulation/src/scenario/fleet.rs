//! The tables of a scenario for fleets: models and sizes.

use scheduling::{
    Generator, HostedModel, Hosting, Loaded, Model, OutOfRange, Seconds, Server, Size, StepRate,
};
use serde::{Deserialize, Serialize};

use super::{ScenarioError, Settings, Weight};
use crate::uniform::Uniform;

/// Models: every server hosts all of them, and has none loaded at first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// How many, 1 to 1000. They are named m0, m1, …
    pub number: usize,
    /// How often requests name each of them.
    pub popularity: Popularity,
    /// Time to load one, drawn for each model on each server.
    #[serde(rename = "load_seconds")]
    pub load: Uniform<Seconds>,
    /// How many a server can have loaded at once, where its group says nothing else.
    pub resident: usize,
    /// How fast servers take steps with a model relative to their step rates, drawn for each model.
    #[serde(default = "as_fast", skip_serializing_if = "is_as_fast")]
    pub relative_speed: Uniform<Factor>,
}

/// Room for models is at least one, and only where there are models.
pub(super) fn check_resident(settings: &Settings) -> Result<(), ScenarioError> {
    for (index, group) in settings.cluster.servers.iter().enumerate() {
        let problem = match group.resident {
            Some(0) => "is 0: allowed is 1 or more",
            Some(_) if settings.models.is_none() => "is given: allowed beside [models] only",
            _ => continue,
        };
        return Err(ScenarioError::Fleet(format!("cluster.servers[{index}].resident {problem}")));
    }
    Ok(())
}

/// How often requests name each model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Popularity {
    /// The k-th, from 1, in proportion to `1 / k^exponent`; 0 makes all alike.
    Zipf {
        /// 0 to 10.
        exponent: f64,
    },
    /// Each in proportion to its weight.
    Weights(Vec<Weight>),
}

/// Names of so many models.
pub(crate) fn names(models: usize) -> Vec<String> {
    (0..models).map(|number| format!("m{number}")).collect()
}

/// How often each of so many models is asked for, relative to the first.
pub(crate) fn zipf(models: usize, exponent: f64) -> Vec<f64> {
    (1..=models).map(|k| libm::pow(k as f64, -exponent)).collect()
}

/// A ratio of speeds: 0.01 to 100.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Factor(f64);

impl TryFrom<f64> for Factor {
    type Error = OutOfRange;
    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        if (0.01..=100.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(OutOfRange { what: "a ratio of speeds", value, allowed: "0.01 to 100" })
        }
    }
}

impl From<Factor> for f64 {
    fn from(factor: Factor) -> Self {
        factor.0
    }
}

fn as_fast() -> Uniform<Factor> {
    Uniform::constant(Factor(1.0))
}

fn is_as_fast(factor: &Uniform<Factor>) -> bool {
    *factor == as_fast()
}

/// Sizes of requests, relative to the reference size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Each size with its weight.
    pub choices: Vec<(Size, Weight)>,
}

impl Sizes {
    /// The weights of the sizes.
    pub(crate) fn weights(&self) -> Vec<f64> {
        self.choices.iter().map(|&(_, weight)| weight.into()).collect()
    }

    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        if self.weights().iter().any(|&weight| weight > 0.0) {
            return Ok(());
        }
        Err(ScenarioError::Fleet(
            "size.choices has no weight above 0: at least one needs one".into(),
        ))
    }
}

impl Models {
    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.number)
    }

    /// How often each is named, relative to the others.
    pub(crate) fn weights(&self) -> Vec<f64> {
        match &self.popularity {
            Popularity::Zipf { exponent } => zipf(self.number, *exponent),
            Popularity::Weights(weights) => weights.iter().map(|&weight| weight.into()).collect(),
        }
    }

    /// The servers, each with its room if it has one of its own, with all models on them.
    pub(crate) fn hosted_on(
        &self,
        servers: impl Iterator<Item = (Server, Option<usize>)>,
        draw: &mut Generator,
    ) -> Vec<Server> {
        let speeds: Vec<f64> =
            (0..self.number).map(|_| self.relative_speed.draw(draw).into()).collect();
        let mut host = |(server, resident): (Server, Option<usize>)| {
            let models = (0..).zip(&speeds).map(|(model, speed)| {
                let rate = server.step_rate.steps_per_second() * speed;
                let hosted = HostedModel::on(&server, Model(model), self.load.draw(draw));
                HostedModel { step_rate: StepRate::saturating(rate), ..hosted }
            });
            let models = models.collect();
            let (resident, loaded) = (resident.unwrap_or(self.resident), Loaded::default());
            Server { hosting: Some(Hosting { resident, models, loaded }), ..server }
        };
        servers.map(&mut host).collect()
    }

    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let problem = match &self.popularity {
            _ if !(1..=1000).contains(&self.number) => {
                format!("models.number is {}: allowed is 1 to 1000", self.number)
            }
            _ if self.resident == 0 => "models.resident is 0: allowed is 1 or more".into(),
            Popularity::Zipf { exponent } if !(0.0..=10.0).contains(exponent) => {
                format!("models.popularity.zipf.exponent is {exponent}: allowed is 0 to 10")
            }
            Popularity::Weights(weights) if weights.len() != self.number => format!(
                "models.popularity.weights has {} weights for {} models: allowed is one for each",
                weights.len(),
                self.number
            ),
            Popularity::Weights(_) if self.weights().iter().all(|&weight| weight == 0.0) => {
                "models.popularity.weights has no weight above 0: at least one needs one".into()
            }
            _ => return Ok(()),
        };
        Err(ScenarioError::Fleet(problem))
    }
}
