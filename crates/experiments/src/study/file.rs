//! The form of a study file.

use std::path::PathBuf;

use scheduling::{PolicyName, Seconds};
use serde::Deserialize;

/// What stands in a study file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyFile {
    /// Heading in the report.
    pub title: String,
    /// The figure of the paper that it repeats, such as `Fig. 2`; none if the paper has no such.
    #[serde(default)]
    pub repeats: Option<String>,
    /// How the rows are drawn, and so which rows are needed.
    pub figure: FigureKind,
    /// Evaluation instances of each point.
    pub instances: u64,
    /// Seed of the instances.
    pub seed: u64,
    /// Policies that need no training, by name.
    pub policies: Vec<PolicyName>,
    /// Policies that are trained first.
    #[serde(default)]
    pub learned: Vec<Learned>,
    /// What was possible, for the first few instances of each point; not looked for unless told.
    #[serde(default)]
    pub clairvoyant: Option<ClairvoyantFile>,
    /// One or more settings, each drawn in panels of its own.
    pub panels: Vec<PanelFile>,
    /// What is different under `--quick`.
    #[serde(default)]
    pub quick: Quick,
    /// A paragraph for the report: how to read the figure.
    #[serde(default)]
    pub note: String,
}

impl StudyFile {
    /// What a type cannot say.
    pub(crate) fn check(&self) -> Result<(), String> {
        let file = self;
        if !(1..=100_000).contains(&file.instances) {
            return Err(format!("instances is {}: allowed is 1 to 100000", file.instances));
        }
        if let Some(ClairvoyantFile { instances, .. }) = file.clairvoyant
            && !(1..=file.instances).contains(&instances)
        {
            return Err(format!(
                "clairvoyant.instances is {instances}: allowed is 1 to the study's {}",
                file.instances
            ));
        }
        if file.panels.is_empty() {
            return Err("panels is empty: allowed is one or more".into());
        }
        if file.policies.is_empty() {
            return Err("policies is empty: allowed is one or more".into());
        }
        for (index, panel) in file.panels.iter().enumerate() {
            if file.panels[..index].iter().any(|other| other.name == panel.name) {
                return Err(format!("two panels are named \"{}\": names must differ", panel.name));
            }
            if (file.figure == FigureKind::Sweep) != panel.sweep.is_some() {
                return Err(format!(
                    "panel \"{}\": a sweep goes with figure = \"sweep\", and only with it",
                    panel.name
                ));
            }
        }
        for learned in &file.learned {
            if learned.seeds.is_empty() || learned.episodes == 0 {
                return Err(format!(
                    "learned \"{}\": seeds and episodes must not be empty or 0",
                    learned.name
                ));
            }
            let unknown = (learned.panels.iter().flatten())
                .find(|name| file.panels.iter().all(|panel| panel.name != **name));
            if let Some(name) = unknown {
                return Err(format!("learned \"{}\": there is no panel \"{name}\"", learned.name));
            }
        }
        Ok(())
    }
}

/// How the rows of a study are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureKind {
    /// Reward over training episodes, the other policies as levels.
    LearningCurve,
    /// One point per instance and policy.
    Instances,
    /// Distribution over the requests of the first instance.
    Distribution,
    /// Means over what the panels sweep.
    Sweep,
    /// Difference in reward to the first policy, one point per instance.
    Gain,
}

/// How hard to look for the clairvoyant schedule, and on how many instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClairvoyantFile {
    /// Instances 0, 1, … of each point, so many.
    pub instances: u64,
    /// Rounds of search on each.
    pub rounds: usize,
}

/// A policy that is trained before it is judged, once for each seed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// What the figures call it.
    pub name: String,
    /// How it learns.
    #[serde(default)]
    pub method: Method,
    /// Where it is trained.
    pub trained_in: TrainedIn,
    /// Training seeds.
    pub seeds: Vec<u64>,
    /// Episodes of each training; for `tune` the instances that the price is fitted to.
    pub episodes: u64,
    /// Names of the panels that show it; all unless told.
    #[serde(default)]
    pub panels: Option<Vec<String>>,
}

/// How a policy learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Algorithm 1 of the paper.
    #[default]
    ActorCritic,
    /// [`crate::tune`]: fits the parameters of `priced`.
    Tune,
}

/// The scenario of a training.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum TrainedIn {
    /// `"panel"`: in the panel's scenario, before anything is swept.
    Panel,
    /// `"point"`: anew for each point of the sweep.
    Point,
    /// A scenario file.
    File(PathBuf),
}

impl From<String> for TrainedIn {
    fn from(text: String) -> Self {
        match text.as_str() {
            "panel" => Self::Panel,
            "point" => Self::Point,
            _ => Self::File(text.into()),
        }
    }
}

/// One setting of a study.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelFile {
    /// What the rows call it.
    pub name: String,
    /// Heading of its panels.
    pub title: String,
    /// Scenario file, relative to the study file.
    pub scenario: PathBuf,
    /// What is varied.
    #[serde(default)]
    pub sweep: Option<Sweep>,
}

/// A quantity that is varied, with its values.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sweep {
    /// 1 / λ of Poisson arrivals.
    MeanIntervalSeconds(Vec<Seconds>),
    /// Servers of the first of two groups, while all servers together stay as many as they are.
    StrongServers(Vec<usize>),
    /// Models that each server can have loaded at once.
    Resident(Vec<usize>),
}

impl Sweep {
    /// The axis of a figure.
    pub(crate) fn axis(&self) -> &'static str {
        match self {
            Self::MeanIntervalSeconds(_) => "mean inter-arrival time (s)",
            Self::StrongServers(_) => "strong servers of ten",
            Self::Resident(_) => "models that a server has room for",
        }
    }
}

/// Smaller numbers for a quick look.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quick {
    /// In place of the study's.
    pub instances: Option<u64>,
    /// In place of those of every actor-critic training.
    pub episodes: Option<u64>,
    /// In place of those of every tuning.
    pub tuning_instances: Option<u64>,
    /// In place of the study's.
    pub clairvoyant: Option<ClairvoyantFile>,
}
