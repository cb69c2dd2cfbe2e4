//! The form of a study file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use scheduling::PolicyName;
use serde::Deserialize;

use super::claim::ClaimFile;
use super::sweep::Sweep;
use crate::schedule::CLAIRVOYANT;

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
    /// Evaluation instances of each point, where they are drawn; recordings are counted.
    #[serde(default)]
    pub instances: Option<u64>,
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
    /// One or more settings, each drawn in panels of its own. Once a study is loaded, one for each value of
    /// what is swept second.
    pub panels: Vec<PanelFile>,
    /// What is said to hold, and judged.
    #[serde(default)]
    pub claims: Vec<ClaimFile>,
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
        let drawn = self.panels.iter().any(|panel| panel.scenario.is_some());
        match self.instances {
            None if drawn => {
                return Err("instances is missing: allowed is 1 to 100000 for each scenario".into());
            }
            Some(instances) if !(1..=100_000).contains(&instances) => {
                return Err(format!("instances is {instances}: allowed is 1 to 100000"));
            }
            _ => {}
        }
        if let (Some(ClairvoyantFile { instances, .. }), Some(all)) =
            (self.clairvoyant, self.instances)
            && !(1..=all).contains(&instances)
        {
            return Err(format!(
                "clairvoyant.instances is {instances}: allowed is 1 to the study's {all}"
            ));
        }
        if self.panels.is_empty() {
            return Err("panels is empty: allowed is one or more".into());
        }
        if self.policies.is_empty() {
            return Err("policies is empty: allowed is one or more".into());
        }
        self.check_names()?;
        self.panels.iter().try_for_each(|panel| panel.check(self.figure))?;
        self.learned.iter().try_for_each(|learned| learned.check(&self.panels))
    }

    /// Rows tell policies and panels apart by their names alone.
    fn check_names(&self) -> Result<(), String> {
        let panels = self.panels.iter().map(|panel| ("panels", panel.name.clone()));
        let given = self.policies.iter().map(|name| ("policies", self.shown(name)));
        let learned = self.learned.iter().map(|learned| ("policies", learned.name.clone()));
        let own = ("policies", CLAIRVOYANT.to_owned());
        let mut seen = vec![own];
        for name in panels.chain(given).chain(learned) {
            if seen.contains(&name) {
                let (what, name) = name;
                return Err(format!("two {what} are named \"{name}\": names must differ"));
            }
            seen.push(name);
        }
        Ok(())
    }
}

impl PanelFile {
    fn check(&self, figure: FigureKind) -> Result<(), String> {
        let Self { name, scenario, instances, sweep, set, .. } = self;
        let problem = if (figure == FigureKind::Sweep) != sweep.is_some() {
            "a sweep goes with figure = \"sweep\", and only with it"
        } else if scenario.is_some() != instances.is_empty() {
            "allowed is either a scenario or instances, one or more"
        } else if scenario.is_none() && (sweep.is_some() || !set.is_empty()) {
            "instances have no fields to sweep or set: allowed is that of a scenario"
        } else {
            return Ok(());
        };
        Err(format!("panel \"{name}\": {problem}"))
    }
}

impl Learned {
    fn check(&self, panels: &[PanelFile]) -> Result<(), String> {
        let Self { name, seeds, episodes, .. } = self;
        if seeds.is_empty() || *episodes == 0 {
            return Err(format!("learned \"{name}\": seeds and episodes must not be empty or 0"));
        }
        if let Some(twice) = (1..seeds.len()).find(|&place| seeds[..place].contains(&seeds[place]))
        {
            let seed = seeds[twice];
            return Err(format!("learned \"{name}\": seed {seed} stands twice: seeds must differ"));
        }
        let unknown = (self.panels.iter().flatten())
            .find(|name| panels.iter().all(|panel| panel.name != **name));
        if let Some(unknown) = unknown {
            let known: Vec<_> = panels.iter().map(|panel| &*panel.name).collect();
            return Err(format!(
                "learned \"{name}\": there is no panel \"{unknown}\": allowed are {}",
                known.join(", ")
            ));
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
    /// The same for a quick look, in place of what [`Quick`] says.
    #[serde(default)]
    pub quick_episodes: Option<u64>,
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
    /// `"panel"`: in the panel's scenario before anything is swept, or on its instances, resampled.
    Panel,
    /// `"point"`: anew for each point of the sweep.
    Point,
    /// A scenario file, or an instance (`*.json`) that training resamples.
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
    #[serde(default)]
    pub scenario: Option<PathBuf>,
    /// Instance files in place of a scenario, likewise: judged as they are, with intervals over them.
    #[serde(default)]
    pub instances: Vec<PathBuf>,
    /// Fields of the scenario that are other than in its file, by their paths.
    #[serde(default)]
    pub set: BTreeMap<String, toml::Value>,
    /// What is varied.
    #[serde(default)]
    pub sweep: Option<Sweep>,
    /// What the axis of what is varied says; its field unless told.
    #[serde(default)]
    pub axis: Option<String>,
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
    /// How many of the seeds of what is learned; the first ones.
    pub seeds: Option<usize>,
    /// In place of the study's.
    pub clairvoyant: Option<ClairvoyantFile>,
}
