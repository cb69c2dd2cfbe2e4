//! Study files: what is compared where, and which figure shows it, as TOML.
//!
//! A new study is a new file in `studies/`; nothing here knows the committed ones by name.

use std::fs;
use std::path::{Path, PathBuf};

use scheduling::message::bounded;
use scheduling::{AgentName, Instance, PolicyName};
use simulation::{Scenario, ScenarioError};
use thiserror::Error;

mod claim;
mod file;
mod setting;
mod sweep;

pub(crate) use claim::{ClaimFile, Direction, Level, Margin, Statement};
pub use file::Quick;
pub(crate) use file::{ClairvoyantFile, Method};
pub(crate) use file::{FigureKind, Learned, PanelFile, StudyFile, TrainedIn};
pub(crate) use setting::Setting;
pub use sweep::with_fields_set;
use sweep::{Assignments, Axis, Sweep, with};

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
    /// The file. What it names is relative to the folder that it stands in.
    pub path: PathBuf,
    /// What stands in the file, with the numbers of the effort.
    pub file: StudyFile,
    /// One for each panel of the file.
    pub panels: Vec<Panel>,
    /// What learned policies are trained in where they name a file, in the order of `file.learned`.
    pub schools: Vec<Option<Setting>>,
}

/// One setting of a study, with its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Name of the panel as it stands in the file; several come of one that sweeps two fields.
    pub of: String,
    /// Where its instances come from, before anything is swept.
    pub setting: Setting,
    /// The points; a single one without a sweep.
    pub points: Vec<Point>,
    /// What is swept, for the axis of a figure; empty without a sweep.
    pub axis: String,
}

/// One place on the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Where; none without a sweep.
    pub x: Option<f64>,
    /// The value there, for a person.
    pub label: String,
    /// Where its instances come from.
    pub setting: Setting,
}

impl Study {
    /// Reads a study file and what it names.
    ///
    /// # Errors
    /// [`StudyError`] with the file, the line or field, and what is allowed there, in one line. Unknown fields
    /// are refused.
    pub fn load(file: &Path, effort: Effort) -> Result<Self, StudyError> {
        let error = |problem: String| StudyError::new(file, &problem);
        let text = fs::read_to_string(file).map_err(|e| error(e.to_string()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = file.parent().unwrap_or(Path::new(""));
        let read = |path: &Path| fs::read_to_string(folder.join(path)).map_err(|e| e.to_string());
        let study = Self::parse(&name, &text, effort, read).map_err(error)?;
        Ok(Self { path: file.into(), ..study })
    }

    /// All of these files.
    ///
    /// # Errors
    /// [`StudyError`] of the first file that cannot be used, or if two would have one name in a report.
    pub fn load_all(files: &[PathBuf], effort: Effort) -> Result<Vec<Self>, StudyError> {
        let mut all: Vec<Self> = Vec::new();
        for file in files {
            let study = Self::load(file, effort)?;
            if all.iter().any(|other| other.name == study.name) {
                let problem = format!("two studies are named {}: names must differ", study.name);
                return Err(StudyError::new(file, &problem));
            }
            all.push(study);
        }
        Ok(all)
    }

    /// All `*.toml` of a folder, in order of their names.
    ///
    /// # Errors
    /// [`StudyError`] of the first file that cannot be used, or if there is none.
    pub fn load_folder(folder: &Path, effort: Effort) -> Result<Vec<Self>, StudyError> {
        let error = |problem: &str| StudyError::new(folder, problem);
        let entries = fs::read_dir(folder).map_err(|e| error(&e.to_string()))?;
        let mut files: Vec<_> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|file| file.extension().is_some_and(|ending| ending == "toml"))
            .collect();
        files.sort();
        if files.is_empty() {
            return Err(error("holds no study: allowed is one *.toml or more"));
        }
        Self::load_all(&files, effort)
    }

    /// The same with more policies, in every panel. Their paths are relative to the present folder, and those that
    /// the study has are left out.
    ///
    /// # Errors
    /// [`StudyError`] if one is called as another of the study.
    pub fn with_policies(mut self, more: &[PolicyName]) -> Result<Self, StudyError> {
        for name in more {
            let name = from_here(name);
            if !self.file.policies.contains(&name) {
                self.file.policies.push(name);
            }
        }
        match self.file.check() {
            Ok(()) => Ok(self),
            Err(problem) => Err(StudyError::new(&self.path, &problem)),
        }
    }

    /// The folder that paths in the study are relative to.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn parse(
        name: &str,
        text: &str,
        effort: Effort,
        read: impl Fn(&Path) -> Result<String, String>,
    ) -> Result<Self, String> {
        let mut file: StudyFile = toml::from_str(text).map_err(|error| told(text, &error))?;
        if effort == Effort::Quick {
            file.shorten();
        }
        file.check()?;
        let known = file.known_policies();
        file.claims.iter().try_for_each(|claim| claim.check(&file, &known))?;
        let mut panels = Vec::new();
        let mut drawn = Vec::new();
        for panel in &file.panels {
            let in_panel = |e: String| format!("panel \"{}\": {e}", panel.name);
            let setting = match &panel.scenario {
                Some(path) => {
                    let scenario = scenario(path, &read).map_err(in_panel)?;
                    let set = sweep::fields(&panel.set);
                    let set: Assignments<'_> = set.iter().map(|(q, value)| (q, *value)).collect();
                    Setting::drawn(with(&scenario, &set).map_err(in_panel)?)
                }
                None => recorded(&panel.instances, &read).map_err(in_panel)?,
            };
            for (file, points) in panel.points(&setting).map_err(in_panel)? {
                let axis = match (&file.axis, &file.sweep, &setting) {
                    (Some(axis), ..) => axis.clone(),
                    (None, Some(Sweep { along, .. }), Setting::Drawn(scenario)) => {
                        along.quantity.axis(scenario)
                    }
                    _ => String::new(),
                };
                let (of, setting) = (panel.name.clone(), setting.clone());
                panels.push(Panel { of, setting, points, axis });
                drawn.push(file);
            }
        }
        file.panels = drawn;
        let schools = (file.learned.iter())
            .map(|learned| match &learned.trained_in {
                TrainedIn::File(path) => school(path, &read)
                    .map(Some)
                    .map_err(|e| format!("learned \"{}\": trained_in: {e}", learned.name)),
                TrainedIn::Panel | TrainedIn::Point => Ok(None),
            })
            .collect::<Result<_, String>>()?;
        let study = Self { name: name.into(), path: PathBuf::new(), file, panels, schools };
        study.check_claims()?;
        Ok(study)
    }

    /// That there is something for every claim to be judged on.
    fn check_claims(&self) -> Result<(), String> {
        for claim in &self.file.claims {
            if self.places(claim).is_empty() {
                let panels: Vec<_> = self.panels.iter().map(|panel| &*panel.of).collect();
                let mut points: Vec<_> =
                    self.panels.iter().flat_map(|p| &p.points).map(|point| &*point.label).collect();
                points.dedup();
                let points = if claim.at.is_some() {
                    format!(", at {}", points.join(", "))
                } else {
                    String::new()
                };
                return Err(format!(
                    "claim \"{}\": no panel has all that it names: allowed are the panels {}{points}",
                    scheduling::message::excerpt(&claim.text()),
                    panels.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The panels that a claim is about, by their index, with the points.
    pub(crate) fn places(&self, claim: &ClaimFile) -> Vec<(usize, Vec<&Point>)> {
        let shows = |policy: &str, of: &str| {
            let learned = self.file.learned.iter().find(|learned| learned.name == policy);
            let panels = learned.and_then(|learned| learned.panels.as_ref());
            panels.is_none_or(|panels| panels.iter().any(|panel| panel == of))
        };
        let mut places = Vec::new();
        for (index, (panel, file)) in self.panels.iter().zip(&self.file.panels).enumerate() {
            let named = claim.panel.as_ref().is_none_or(|p| *p == panel.of || *p == file.name);
            if named && claim.claim.policies().into_iter().all(|policy| shows(policy, &panel.of)) {
                let here = |point: &&Point| claim.at.as_ref().is_none_or(|at| point.is_at(at));
                let points: Vec<_> = panel.points.iter().filter(here).collect();
                if !points.is_empty() {
                    places.push((index, points));
                }
            }
        }
        places
    }
}

/// The checkpoint or file that a policy is named by.
fn path_in(name: &mut PolicyName) -> Option<&mut PathBuf> {
    match name {
        PolicyName::Agent(AgentName { checkpoint: path, .. }) | PolicyName::File(path) => {
            Some(path)
        }
        PolicyName::Rule(_) | PolicyName::Own(_) => None,
    }
}

/// The name with a path that means the same in any folder.
fn from_here(name: &PolicyName) -> PolicyName {
    let mut name = name.clone();
    if let Some(path) = path_in(&mut name)
        && path.exists()
        && let Ok(absolute) = std::path::absolute(&*path)
    {
        *path = absolute;
    }
    name
}

impl Point {
    /// Whether a value as it stands in a claim means this point.
    fn is_at(&self, value: &toml::Value) -> bool {
        match (sweep::number(value), value.as_str()) {
            (Some(number), _) => self.label == number.to_string(),
            (None, Some(text)) => self.label == text,
            (None, None) => self.label == value.to_string(),
        }
    }
}

impl StudyFile {
    /// Takes the numbers of `quick`.
    fn shorten(&mut self) {
        self.instances = self.quick.instances.or(self.instances);
        self.clairvoyant = self.quick.clairvoyant.or(self.clairvoyant);
        for learned in &mut self.learned {
            let shorter = match learned.method {
                Method::ActorCritic => self.quick.episodes,
                Method::Tune => self.quick.tuning_instances,
            };
            let shorter = learned.quick_episodes.or(shorter);
            learned.episodes = shorter.unwrap_or(learned.episodes);
            learned.seeds.truncate(self.quick.seeds.unwrap_or(usize::MAX));
        }
    }

    /// The name of a given policy in figures and rows: without the way to its checkpoint or file, for which figures
    /// have no room, where that tells it from the others.
    pub(crate) fn shown(&self, name: &PolicyName) -> String {
        let short = |name: &PolicyName| {
            let mut name = name.clone();
            if let Some(path) = path_in(&mut name)
                && let Some(last) = path.file_name()
            {
                *path = last.into();
            }
            name.to_string()
        };
        let own = short(name);
        let alike = self.policies.iter().filter(|other| short(other) == own).count();
        if alike > 1 { name.to_string() } else { own }
    }

    /// What all policies of the rows are called.
    pub(crate) fn known_policies(&self) -> Vec<String> {
        let possible = self.clairvoyant.map(|_| crate::schedule::CLAIRVOYANT.to_owned());
        let given = self.policies.iter().map(|name| self.shown(name));
        let learned = self.learned.iter().map(|learned| learned.name.clone());
        given.chain(learned).chain(possible).collect()
    }
}

impl PanelFile {
    /// The panels that are drawn, one for each value of what is swept second, with their points.
    fn points(&self, setting: &Setting) -> Result<Vec<(Self, Vec<Point>)>, String> {
        let (Some(Sweep { along, across }), Setting::Drawn(scenario)) = (&self.sweep, setting)
        else {
            let point = Point { x: None, label: String::new(), setting: setting.clone() };
            return Ok(vec![(self.clone(), vec![point])]);
        };
        let Some(across) = across else {
            return Ok(vec![(self.clone(), points(scenario, along, None)?)]);
        };
        let panel = |(value, (_, label)): (&toml::Value, (f64, String))| {
            let fixed = format!("{} = {label}", across.quantity.key());
            let file = Self {
                name: format!("{}, {fixed}", self.name),
                title: format!("{}: {fixed}", self.title),
                sweep: Some(Sweep { along: along.clone(), across: None }),
                ..self.clone()
            };
            Ok((file, points(scenario, along, Some((&across.quantity, value)))?))
        };
        across.values.iter().zip(across.places()).map(panel).collect()
    }
}

/// The scenarios along a sweep, in order of their places.
fn points(
    scenario: &Scenario,
    along: &Axis,
    fixed: Option<(&sweep::Quantity, &toml::Value)>,
) -> Result<Vec<Point>, String> {
    let point = |(value, (x, label)): (&toml::Value, (f64, String))| {
        let given: Assignments<'_> =
            fixed.into_iter().chain(std::iter::once((&along.quantity, value))).collect();
        let setting = Setting::drawn(with(scenario, &given)?);
        Ok(Point { x: Some(x), label, setting })
    };
    let points = along.values.iter().zip(along.places()).map(point);
    let mut points = points.collect::<Result<Vec<_>, String>>()?;
    points.sort_by(|a, b| a.x.unwrap_or(0.0).total_cmp(&b.x.unwrap_or(0.0)));
    Ok(points)
}

fn scenario(
    path: &Path,
    read: impl Fn(&Path) -> Result<String, String>,
) -> Result<Scenario, String> {
    let problem = |e: String| format!("scenario {}: {e}", path.display());
    let text = read(path).map_err(problem)?;
    Scenario::from_toml(&text).map_err(|error| match error {
        ScenarioError::Toml(error) => problem(told(&text, &error)),
        error => problem(one_line(&error.to_string())),
    })
}

/// Instance files, under the names of the files.
fn recorded(
    paths: &[PathBuf],
    read: impl Fn(&Path) -> Result<String, String>,
) -> Result<Setting, String> {
    let instance = |path: &PathBuf| {
        let problem = |e: String| format!("instance {}: {}", path.display(), one_line(&e));
        let text = read(path).map_err(problem)?;
        let instance = Instance::from_json(&text).map_err(|e| problem(e.to_string()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, instance))
    };
    Ok(Setting::recorded(paths.iter().map(instance).collect::<Result<_, String>>()?))
}

/// What a file to train in holds.
fn school(path: &Path, read: impl Fn(&Path) -> Result<String, String>) -> Result<Setting, String> {
    if path.extension().is_some_and(|ending| ending == "json") {
        recorded(&[path.to_owned()], read)
    } else {
        scenario(path, read).map(Setting::drawn)
    }
}

/// What is wrong with a TOML text, in one line that begins with that of the text.
fn told(text: &str, error: &toml::de::Error) -> String {
    let problem = one_line(error.message());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return problem };
    format!("line {}: {problem}", before.matches('\n').count() + 1)
}

/// A message without line breaks.
fn one_line(message: &str) -> String {
    message.trim().lines().map(str::trim).collect::<Vec<_>>().join(", ")
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

impl StudyError {
    pub(crate) fn new(file: &Path, problem: &str) -> Self {
        Self { file: file.into(), problem: bounded(problem) }
    }
}

#[cfg(test)]
mod tests;
