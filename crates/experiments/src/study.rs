//! Study files: what is compared where, and which figure shows it, as TOML.
//!
//! A new study is a new file in `studies/`; nothing here knows the committed ones by name.

use std::fs;
use std::path::{Path, PathBuf};

use scheduling::message::bounded;
use scheduling::{PolicyName, Seconds};
use serde::Deserialize;
use simulation::{EpisodeSource, Scenario, ScenarioError};
use thiserror::Error;

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
}

impl Sweep {
    /// The axis of a figure.
    pub fn axis(&self) -> &'static str {
        match self {
            Self::MeanIntervalSeconds(_) => "mean inter-arrival time (s)",
            Self::StrongServers(_) => "strong servers of ten",
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

/// How much of a study is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What the file says.
    Full,
    /// What its `quick` says.
    Quick,
}

/// A study with its scenarios, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// Name of the file without its ending.
    pub name: String,
    /// Where it stands; the scenarios and checkpoints that it names are relative to it.
    pub folder: PathBuf,
    /// What stands in the file, with the numbers of the effort.
    pub file: StudyFile,
    /// One for each panel of the file.
    pub panels: Vec<Panel>,
    /// The scenario files that learned policies name, in the order of `file.learned`.
    pub schools: Vec<Option<Scenario>>,
}

/// One setting of a study, with its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The scenario as it stands in its file.
    pub scenario: Scenario,
    /// The value on the axis and the scenario there; a single point without a sweep.
    pub points: Vec<(Option<f64>, Scenario)>,
}

impl Study {
    /// Reads a study file and the scenarios that it names.
    ///
    /// # Errors
    /// [`StudyError`] with the file, the line or field, and what is allowed there. Unknown fields
    /// are refused.
    pub fn load(file: &Path, effort: Effort) -> Result<Self, StudyError> {
        let error = |problem: String| StudyError { file: file.into(), problem: bounded(&problem) };
        let text = fs::read_to_string(file).map_err(|e| error(e.to_string()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = file.parent().unwrap_or(Path::new(""));
        let read = |path: &Path| fs::read_to_string(folder.join(path)).map_err(|e| e.to_string());
        let study = Self::parse(&name, &text, effort, read).map_err(error)?;
        Ok(Self { folder: folder.into(), ..study })
    }

    /// All `*.toml` of a folder, in order of their names.
    ///
    /// # Errors
    /// [`StudyError`] of the first file that cannot be used, or if there is none.
    pub fn load_folder(folder: &Path, effort: Effort) -> Result<Vec<Self>, StudyError> {
        let error = |problem: String| StudyError { file: folder.into(), problem };
        let entries = fs::read_dir(folder).map_err(|e| error(e.to_string()))?;
        let mut files: Vec<_> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|file| file.extension().is_some_and(|ending| ending == "toml"))
            .collect();
        files.sort();
        if files.is_empty() {
            return Err(error("holds no study: allowed is one *.toml or more".into()));
        }
        files.iter().map(|file| Self::load(file, effort)).collect()
    }

    fn parse(
        name: &str,
        text: &str,
        effort: Effort,
        read: impl Fn(&Path) -> Result<String, String>,
    ) -> Result<Self, String> {
        let mut file: StudyFile = toml::from_str(text).map_err(|e| e.to_string())?;
        if effort == Effort::Quick {
            file.instances = file.quick.instances.unwrap_or(file.instances);
            file.clairvoyant = file.quick.clairvoyant.or(file.clairvoyant);
            for learned in &mut file.learned {
                let shorter = match learned.method {
                    Method::ActorCritic => file.quick.episodes,
                    Method::Tune => file.quick.tuning_instances,
                };
                learned.episodes = shorter.unwrap_or(learned.episodes);
            }
        }
        check(&file)?;
        let scenario = |path: &Path| {
            let problem = |e: String| format!("scenario {}: {e}", path.display());
            let text = read(path).map_err(problem)?;
            Scenario::from_toml(&text).map_err(|e| problem(e.to_string()))
        };
        let panels = (file.panels.iter())
            .map(|panel| {
                let scenario = scenario(&panel.scenario)?;
                let points = points(&scenario, panel.sweep.as_ref())
                    .map_err(|e| format!("panel \"{}\": {e}", panel.name))?;
                Ok(Panel { scenario, points })
            })
            .collect::<Result<_, String>>()?;
        let schools = (file.learned.iter())
            .map(|learned| match &learned.trained_in {
                TrainedIn::File(path) => scenario(path).map(Some),
                TrainedIn::Panel | TrainedIn::Point => Ok(None),
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { name: name.into(), folder: PathBuf::new(), file, panels, schools })
    }
}

/// What a type cannot say.
fn check(file: &StudyFile) -> Result<(), String> {
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

/// The scenarios along a sweep.
fn points(
    scenario: &Scenario,
    sweep: Option<&Sweep>,
) -> Result<Vec<(Option<f64>, Scenario)>, String> {
    let text = |e: ScenarioError| e.to_string();
    match sweep {
        None => Ok(vec![(None, scenario.clone())]),
        Some(Sweep::MeanIntervalSeconds(values)) => (values.iter())
            .map(|&value| {
                let swept = scenario.with_mean_interval(value).map_err(text)?;
                Ok((Some(value.seconds()), swept))
            })
            .collect(),
        Some(Sweep::StrongServers(values)) => (values.iter())
            .map(|&strong| {
                let groups = scenario.settings().cluster.servers.len();
                let all = scenario.servers();
                if groups != 2 || strong > all {
                    return Err(format!(
                        "strong_servers is {strong} of {all} in {groups} groups: allowed is 0 to \
                         all of them, in two groups of which the first is the strong one"
                    ));
                }
                let swept = scenario.with(|settings| {
                    settings.cluster.servers[0].count = strong;
                    settings.cluster.servers[1].count = all - strong;
                });
                Ok((Some(strong as f64), swept.map_err(text)?))
            })
            .collect(),
    }
}

/// A study that cannot be used. Nothing was run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {problem}", file.display())]
pub struct StudyError {
    /// The file, or the folder.
    pub file: PathBuf,
    /// What is wrong with it, without the whole of a long value.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUDY: &str = r#"
title = "t"
figure = "sweep"
instances = 50
seed = 1
policies = ["greedy", "myopic"]
[quick]
instances = 5
episodes = 7
[[learned]]
name = "agent"
trained_in = "point"
seeds = [1, 2]
episodes = 30
[[panels]]
name = "p"
title = "p"
scenario = "paper.toml"
sweep = { strong_servers = [2, 8] }
"#;

    fn parse(text: &str, effort: Effort) -> Result<Study, String> {
        Study::parse("s", text, effort, |path| match path.to_str() {
            Some("paper.toml") => Ok(include_str!("../../../scenarios/paper.toml").into()),
            _ => Err("no such file".into()),
        })
    }

    #[test]
    fn sweeps_and_quick_numbers_are_applied() {
        let study = parse(STUDY, Effort::Full).unwrap();
        let counts: Vec<_> = (study.panels[0].points.iter())
            .map(|(x, scenario)| (x.unwrap(), scenario.settings().cluster.servers[1].count))
            .collect();
        assert_eq!(counts, [(2.0, 8), (8.0, 2)]);
        assert_eq!((study.file.instances, study.file.learned[0].episodes), (50, 30));
        let study = parse(STUDY, Effort::Quick).unwrap();
        assert_eq!((study.file.instances, study.file.learned[0].episodes), (5, 7));
    }

    #[test]
    fn bad_studies_are_refused() {
        let check = |from: &str, to: &str, parts: &[&str]| {
            assert!(STUDY.contains(from), "{from}");
            let error = parse(&STUDY.replacen(from, to, 1), Effort::Full).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{error:?} does not contain {part:?}");
            }
        };
        check("seed = 1", "seed = 1\ncolour = 2", &["line", "unknown field", "colour"]);
        check("\"greedy\"", "\"best\"", &["line", "no such policy", "valid are"]);
        check("instances = 50", "instances = 0", &["instances is 0", "1 to 100000"]);
        check(
            "instances = 50",
            "instances = 50\nclairvoyant = { instances = 60, rounds = 1 }",
            &["clairvoyant.instances is 60", "1 to the study's 50"],
        );
        check("\"sweep\"", "\"pie\"", &["line", "pie", "learning_curve"]);
        check("\"sweep\"", "\"instances\"", &["panel \"p\"", "only with it"]);
        check("paper.toml", "none.toml", &["none.toml", "no such file"]);
        check("[2, 8]", "[2, 11]", &["panel \"p\"", "11 of 10"]);
        check("seeds = [1, 2]", "seeds = []", &["agent", "seeds"]);
        check("episodes = 30", "episodes = 30\npanels = [\"q\"]", &["agent", "no panel \"q\""]);
    }

    #[test]
    fn the_committed_studies_can_be_used() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../studies"));
        for effort in [Effort::Full, Effort::Quick] {
            for study in Study::load_folder(folder, effort).unwrap() {
                for learned in &study.file.learned {
                    assert!(learned.seeds.len() >= 5, "{}: {}", study.name, learned.name);
                }
            }
        }
    }
}
