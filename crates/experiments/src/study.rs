//! Study files: what is compared where, and which figure shows it, as TOML.
//!
//! A new study is a new file in `studies/`; nothing here knows the committed ones by name.

use std::fs;
use std::path::{Path, PathBuf};

use scheduling::message::bounded;
use simulation::{EpisodeSource, Scenario, ScenarioError};
use thiserror::Error;

mod file;

pub use file::Quick;
pub(crate) use file::{ClairvoyantFile, Method};
pub(crate) use file::{FigureKind, Learned, PanelFile, StudyFile, Sweep, TrainedIn};

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
        file.check()?;
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
        Some(Sweep::Resident(values)) => (values.iter())
            .map(|&resident| {
                if scenario.settings().models.is_none() {
                    return Err(format!(
                        "resident is {resident}: allowed is a scenario with a table [models]"
                    ));
                }
                let swept = scenario.with(|settings| {
                    if let Some(models) = &mut settings.models {
                        models.resident = resident;
                    }
                });
                Ok((Some(resident as f64), swept.map_err(text)?))
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
