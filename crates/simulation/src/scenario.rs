//! Scenario files: how instances are drawn, as TOML.

use scheduling::message::bounded;
use scheduling::{
    Objective, ObjectiveError, OutOfRange, QualityCurve, Seconds, StepRate, TardinessPenalty,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::uniform::Uniform;

mod arrivals;
mod fleet;
mod reality;

use arrivals::check_arrivals;
pub use arrivals::{Arrivals, Daily, Gap, Modulated, Recorded, SessionLength, Sessions};
use fleet::check_resident;
pub use fleet::{Factor, Models, Popularity, Sizes};
pub(crate) use fleet::{names, zipf};
use reality::check_failures;
pub use reality::{Failures, Noise, OutageSpan};

/// How instances are drawn, and what decisions on them are worth.
///
/// [`Settings`] that passed all checks: every instance drawn from one is valid and survives being
/// written to a file.
///
/// ```
/// use simulation::EpisodeSource;
///
/// let paper = simulation::Scenario::from_toml(include_str!("../../../scenarios/paper.toml"))?;
/// let contended = paper.with_mean_interval(scheduling::Seconds::of(1.0))?;
/// let larger = contended.with(|settings| settings.cluster.servers[0].count = 20)?;
/// assert_eq!(larger.servers(), 24);
/// # Ok::<(), simulation::ScenarioError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    settings: Settings,
    pub(crate) objective: Objective,
}

/// What stands in a scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What results are filed under.
    pub name: String,
    /// I: requests of each instance, 1 to 1e6.
    #[serde(deserialize_with = "requests")]
    pub requests: usize,
    /// w of eq. (5), 0 to 1e6.
    #[serde(deserialize_with = "tardiness_weight")]
    pub tardiness_weight: f64,
    /// Q of eq. (2); the paper's where none is given.
    #[serde(
        default = "paper_quality",
        skip_serializing_if = "is_paper_quality",
        deserialize_with = "quality"
    )]
    pub quality: QualityCurve,
    /// When requests arrive.
    pub arrivals: Arrivals,
    /// When they are due.
    pub due: Due,
    /// What being late costs them.
    #[serde(deserialize_with = "penalties")]
    pub penalties: PenaltyMix,
    /// The servers.
    #[serde(deserialize_with = "cluster")]
    pub cluster: ClusterModel,
    /// What requests are drawn with; one model that is always there where nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Models>,
    /// How large requests are; of the reference size where nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Sizes>,
    /// How far service times stray from their predictions; not at all where nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
    /// How servers fail; not at all where nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<Failures>,
}

/// Due times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Due {
    /// o_t = d_i − r_i
    #[serde(rename = "slack_seconds")]
    pub slack: Uniform<Seconds>,
}

/// Weights with which tardiness penalties are drawn; one that is not given is 0, not all are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PenaltyMix {
    /// Of [`TardinessPenalty::Linear`].
    pub linear: Weight,
    /// Of [`TardinessPenalty::Quadratic`].
    pub quadratic: Weight,
    /// Of [`TardinessPenalty::SquareRoot`].
    pub square_root: Weight,
}

impl PenaltyMix {
    /// The weights in the order of [`TardinessPenalty::ALL`].
    pub fn weights(&self) -> [f64; 3] {
        TardinessPenalty::ALL.map(|penalty| {
            let Weight(weight) = match penalty {
                TardinessPenalty::Linear => self.linear,
                TardinessPenalty::Quadratic => self.quadratic,
                TardinessPenalty::SquareRoot => self.square_root,
            };
            weight
        })
    }
}

/// How often something is drawn, relative to the other weights: 0 to 1e6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Weight(f64);

impl TryFrom<f64> for Weight {
    type Error = OutOfRange;
    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1e6).contains(&value) {
            Ok(Self(value))
        } else {
            Err(OutOfRange { what: "a weight", value, allowed: "0 to 1e6" })
        }
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

/// The servers of the instances: 1 to 1000 in all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterModel {
    /// Which instances share a cluster.
    pub drawn: Drawn,
    /// Servers of a kind; the cluster lists them in this order.
    pub servers: Vec<ServerGroup>,
}

/// Which instances share a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Drawn {
    /// All instances, whatever their own seed.
    Once {
        /// Seed of the cluster.
        seed: u32,
    },
    /// Every instance has a cluster of its own.
    PerInstance,
}

/// Servers that are drawn alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerGroup {
    /// How many; may be 0.
    pub count: usize,
    /// c_j
    #[serde(rename = "steps_per_second")]
    pub step_rate: Uniform<StepRate>,
    /// Time of a run that does not depend on its steps; none in the paper.
    #[serde(
        rename = "overhead_seconds",
        default = "no_overhead",
        skip_serializing_if = "is_no_overhead"
    )]
    pub overhead: Uniform<Seconds>,
    /// How many models they can have loaded at once, where it is not what [`Models::resident`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident: Option<usize>,
}

impl Scenario {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ScenarioError`] with the field and what is allowed there.
    pub fn new(settings: Settings) -> Result<Self, ScenarioError> {
        check_requests(settings.requests)?;
        check_penalties(&settings.penalties)?;
        check_cluster(&settings.cluster)?;
        check_duration(&settings)?;
        check_arrivals(&settings.arrivals)?;
        check_failures(&settings)?;
        settings.models.as_ref().map_or(Ok(()), Models::check)?;
        check_resident(&settings)?;
        settings.size.as_ref().map_or(Ok(()), Sizes::check)?;
        let objective = Objective::new(settings.quality.clone(), settings.tardiness_weight)?;
        Ok(Self { settings, objective })
    }

    /// Reads a scenario file.
    ///
    /// # Errors
    /// [`ScenarioError`] with the line, or the field, and what is allowed there. Unknown fields are
    /// refused.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        Self::new(toml::from_str(text)?)
    }

    /// Writes the scenario file. Reading it back gives an equal scenario.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.settings).expect("settings have only TOML's types")
    }

    /// What stands in the file.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The scenario after a change to its settings.
    ///
    /// # Errors
    /// [`ScenarioError`] if the changed settings are not allowed.
    pub fn with(&self, change: impl FnOnce(&mut Settings)) -> Result<Self, ScenarioError> {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Self::new(settings)
    }

    /// The same scenario with another mean time between arrivals.
    ///
    /// # Errors
    /// [`ScenarioError`] if the requests would take too long to arrive.
    pub fn with_mean_interval(&self, mean_interval: Seconds) -> Result<Self, ScenarioError> {
        self.with(|settings| settings.arrivals.set_mean_interval(mean_interval))
    }
}

/// A scenario that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ScenarioError {
    /// Not TOML, or not of the scenario's form; the message has line, column and the line itself.
    #[error("{}", bounded(&.0.to_string()))]
    Toml(#[from] toml::de::Error),
    /// Number of requests out of range.
    #[error("requests is {0}: allowed is 1 to 1e6")]
    Requests(usize),
    /// Quality or weight out of range.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    /// No penalty has a weight.
    #[error(
        "penalties has no weight above 0: at least one of linear, quadratic and square_root needs \
         one"
    )]
    NoPenalty,
    /// Number of servers out of range.
    #[error("cluster.servers has {0} servers in all: allowed is 1 to 1000")]
    Servers(usize),
    /// The last arrival might lie beyond what a [`scheduling::Time`] can hold.
    #[error(
        "{requests} requests at a mean interval of {mean_interval} s with a slack up to {slack} s \
         take too long: allowed is requests × mean interval + slack up to 1e7 s"
    )]
    Duration {
        /// Number of requests.
        requests: usize,
        /// Mean interval in seconds.
        mean_interval: f64,
        /// Largest slack in seconds.
        slack: f64,
    },
    /// An arrival process that cannot be; the message names the field.
    #[error("{0}")]
    Arrivals(String),
    /// Models or sizes that cannot be; the message names the field.
    #[error("{0}")]
    Fleet(String),
    /// Servers would go down too often to be listed.
    #[error(
        "failures: about {outages:.0} outages of all servers until the last request has arrived: \
         allowed is up to 1e6"
    )]
    Outages {
        /// How many are expected.
        outages: f64,
    },
}

fn check_requests(requests: usize) -> Result<(), ScenarioError> {
    if (1..=1_000_000).contains(&requests) {
        Ok(())
    } else {
        Err(ScenarioError::Requests(requests))
    }
}

fn check_penalties(penalties: &PenaltyMix) -> Result<(), ScenarioError> {
    if penalties.weights().iter().any(|&weight| weight > 0.0) {
        Ok(())
    } else {
        Err(ScenarioError::NoPenalty)
    }
}

fn check_cluster(cluster: &ClusterModel) -> Result<(), ScenarioError> {
    let counts = cluster.servers.iter().map(|group| group.count);
    let servers = counts.fold(0, usize::saturating_add);
    if (1..=1000).contains(&servers) { Ok(()) } else { Err(ScenarioError::Servers(servers)) }
}

/// An exponential variate of 53 bits is at most 37 times its mean, so that 1e7 s on average stay
/// below the 1e9 s of [`scheduling::Time`] whatever is drawn.
fn check_duration(settings: &Settings) -> Result<(), ScenarioError> {
    let requests = settings.requests;
    let mean_interval = settings.arrivals.mean_interval().seconds();
    let slack = settings.due.slack.high().seconds();
    if requests as f64 * mean_interval + slack <= 1e7 {
        Ok(())
    } else {
        Err(ScenarioError::Duration { requests, mean_interval, slack })
    }
}

// What follows makes toml run the checks while it reads, so that it can name the line.

fn requests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let requests = usize::deserialize(deserializer)?;
    check_requests(requests).map_err(D::Error::custom)?;
    Ok(requests)
}

fn tardiness_weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let weight = f64::deserialize(deserializer)?;
    Objective::new(QualityCurve::PAPER, weight).map_err(D::Error::custom)?;
    Ok(weight)
}

fn quality<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QualityCurve, D::Error> {
    let curve = QualityCurve::deserialize(deserializer)?;
    Objective::new(curve.clone(), 0.0).map_err(D::Error::custom)?;
    Ok(curve)
}

fn penalties<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PenaltyMix, D::Error> {
    let penalties = PenaltyMix::deserialize(deserializer)?;
    check_penalties(&penalties).map_err(D::Error::custom)?;
    Ok(penalties)
}

fn cluster<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClusterModel, D::Error> {
    let cluster = ClusterModel::deserialize(deserializer)?;
    check_cluster(&cluster).map_err(D::Error::custom)?;
    Ok(cluster)
}

fn paper_quality() -> QualityCurve {
    QualityCurve::PAPER
}

fn is_paper_quality(curve: &QualityCurve) -> bool {
    *curve == QualityCurve::PAPER
}

fn no_overhead() -> Uniform<Seconds> {
    Uniform::constant(Seconds::ZERO)
}

fn is_no_overhead(overhead: &Uniform<Seconds>) -> bool {
    *overhead == no_overhead()
}
