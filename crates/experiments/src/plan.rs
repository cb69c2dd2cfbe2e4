//! From studies to the work that they ask for: trainings, tunings and evaluations, none of them
//! twice.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use agent::{ActorCritic, Checkpoint, Hyperparameters, PolicyError, Recipe};
use scheduling::{AgentName, Cap, PolicyName};
use serde_json::json;
use simulation::{EpisodeSource, Scenario};

use crate::results::{Cache, Key};
use crate::schedule::CLAIRVOYANT;
use crate::study::{ClairvoyantFile, FigureKind, Learned, Method, Study, TrainedIn};

/// Everything that a set of studies needs, in the order of their files.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The studies themselves.
    pub studies: Vec<Study>,
    /// All trainings; studies share those that are alike.
    pub(crate) trainings: Vec<Training>,
    /// All fittings of a price, likewise.
    pub(crate) tunings: Vec<Tuning>,
    /// All evaluations; those of equal keys are run once.
    pub(crate) units: Vec<Unit>,
}

/// One training of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Training {
    /// What it is trained in.
    pub(crate) scenario: Scenario,
    /// Seed of instances, weights and exploration.
    pub(crate) seed: u64,
    /// The episodes among them.
    pub(crate) hyperparameters: Hyperparameters,
    /// Decides whether a checkpoint is this training's.
    pub(crate) key: Key,
    /// Folder of its checkpoint within the report's.
    pub(crate) folder: PathBuf,
}

/// One fitting of the price of server time.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    /// What it is fitted to.
    pub(crate) scenario: Scenario,
    /// Seed of the instances.
    pub(crate) seed: u64,
    /// How many instances.
    pub(crate) instances: u64,
    /// Decides whether a price is this tuning's.
    pub(crate) key: Key,
}

/// One policy at one point of one study.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Index of the study.
    pub(crate) study: usize,
    /// Name of the panel.
    pub(crate) panel: String,
    /// Value of what is swept.
    pub(crate) x: Option<f64>,
    /// The scenario of this point.
    pub(crate) scenario: Scenario,
    /// What figures call the policy.
    pub(crate) policy: String,
    /// Seed of its training, if it has one.
    pub(crate) training_seed: Option<u64>,
    /// Where the policy comes from.
    pub(crate) source: Source,
    /// Evaluation instances.
    pub(crate) instances: u64,
    /// Seed of the instances.
    pub(crate) seed: u64,
    /// What is kept.
    pub(crate) measure: Measure,
    /// Decides whether a result is this unit's.
    pub(crate) key: Key,
}

/// Where a policy comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A rule, or a checkpoint that somebody else made.
    Given(Recipe),
    /// Index of a training of the plan.
    Trained(usize),
    /// Index of a tuning of the plan.
    Tuned(usize),
    /// The best schedule that so many rounds of search find with full knowledge of the arrivals.
    Clairvoyant(usize),
}

/// What is kept of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// One row per instance.
    Instances,
    /// One row per request.
    Requests,
}

impl Plan {
    /// The work of the studies.
    ///
    /// # Errors
    /// [`PolicyError`] if a checkpoint that a study names cannot be used, or does not fit.
    pub fn new(studies: Vec<Study>) -> Result<Self, PolicyError> {
        let mut plan = Self::default();
        for (index, study) in studies.iter().enumerate() {
            plan.add(index, study)?;
        }
        plan.studies = studies;
        Ok(plan)
    }

    fn add(&mut self, index: usize, study: &Study) -> Result<(), PolicyError> {
        let given = (study.file.policies.iter())
            .map(|name| {
                Ok((Recipe::load_from(&study.folder, name)?, identity(&study.folder, name)))
            })
            .collect::<Result<Vec<_>, PolicyError>>()?;
        for (panel, file) in study.panels.iter().zip(&study.file.panels) {
            for (x, scenario) in &panel.points {
                let mut unit = |policy: String, seed, source, identity: &serde_json::Value| {
                    let instances = match (&source, study.file.clairvoyant) {
                        (Source::Clairvoyant(_), Some(ClairvoyantFile { instances, .. })) => {
                            instances
                        }
                        _ => study.file.instances,
                    };
                    let unit = Unit {
                        study: index,
                        panel: file.name.clone(),
                        x: *x,
                        scenario: scenario.clone(),
                        policy,
                        training_seed: seed,
                        source,
                        instances,
                        seed: study.file.seed,
                        measure: measure(study.file.figure),
                        key: unit_key(study, scenario, instances, identity),
                    };
                    self.units.push(unit);
                };
                if let Some(ClairvoyantFile { rounds, .. }) = study.file.clairvoyant {
                    let identity = json!({ "clairvoyant": rounds });
                    unit(CLAIRVOYANT.into(), None, Source::Clairvoyant(rounds), &identity);
                }
                for (recipe, identity) in &given {
                    // Fails now and not after an hour if the checkpoint does not fit the cluster.
                    let generator = scheduling::Generator::new(0, scheduling::Purpose::Policy, 0);
                    let cluster = scenario.cluster(0, simulation::Episode::Evaluation(0));
                    recipe.policy(&cluster, generator)?;
                    let source = Source::Given(recipe.clone());
                    unit(shown(recipe.name()), None, source, identity);
                }
                for (learned, school) in study.file.learned.iter().zip(&study.schools) {
                    if learned.panels.as_ref().is_some_and(|names| !names.contains(&file.name)) {
                        continue;
                    }
                    let school = match (&learned.trained_in, school) {
                        (TrainedIn::Point, _) => scenario,
                        (_, Some(school)) => school,
                        (_, None) => &panel.scenario,
                    };
                    for &seed in &learned.seeds {
                        let (source, key) = match learned.method {
                            Method::ActorCritic => {
                                let index = training(&mut self.trainings, learned, school, seed);
                                (Source::Trained(index), &self.trainings[index].key)
                            }
                            Method::Tune => {
                                let index = tuning(&mut self.tunings, learned, school, seed);
                                (Source::Tuned(index), &self.tunings[index].key)
                            }
                        };
                        let identity = json!({ "trained": key.text() });
                        unit(learned.name.clone(), Some(seed), source, &identity);
                    }
                }
            }
        }
        Ok(())
    }

    /// Work that is not yet done, in requests that have to be decided; training weighs more.
    pub fn work_left(&self, out: &Path) -> u64 {
        let cache = Cache::new(out.join("cache"));
        let trainings = self.trainings.iter().map(|training| {
            let done = training.checkpoint(out).map_or(0, |found| found.training.episodes);
            let episodes = training.hyperparameters.episodes.saturating_sub(done);
            TRAINING_WORK * episodes * training.scenario.settings().requests as u64
        });
        let tunings = self.tunings.iter().filter(|tuning| !cache.has(&tuning.key));
        let missing = self.distinct_units().filter(|unit| !cache.has(&unit.key));
        trainings.chain(tunings.map(Tuning::work)).chain(missing.map(Unit::work)).sum()
    }

    /// The units without those whose result another one gives as well.
    pub(crate) fn distinct_units(&self) -> impl Iterator<Item = &Unit> {
        let mut seen = HashSet::new();
        self.units.iter().filter(move |unit| seen.insert(&unit.key))
    }
}

/// How much longer a request takes in training than under a rule.
pub(crate) const TRAINING_WORK: u64 = 6;
/// How much longer a request takes under an agent than under a rule.
const AGENT_WORK: u64 = 3;
/// How much longer a request takes under a policy in Python than under a rule.
const FILE_WORK: u64 = 100;
/// How much longer a request takes in a round of search than under a rule.
const SEARCH_WORK: u64 = 100;

/// The name of a policy without the way to its checkpoint or file, for which figures have no room.
fn shown(name: &PolicyName) -> String {
    let mut name = name.clone();
    if let PolicyName::Agent(AgentName { checkpoint: path, .. }) | PolicyName::File(path) =
        &mut name
        && let Some(last) = path.file_name()
    {
        *path = last.into();
    }
    name.to_string()
}

impl Unit {
    /// Requests to be decided, weighted by how long they take.
    pub(crate) fn work(&self) -> u64 {
        let weight = match &self.source {
            Source::Given(recipe) => match recipe.name() {
                PolicyName::Rule(_) | PolicyName::Own(_) => 1,
                PolicyName::Agent(_) => AGENT_WORK,
                PolicyName::File(_) => FILE_WORK,
            },
            Source::Tuned(_) => 1,
            Source::Trained(_) => AGENT_WORK,
            Source::Clairvoyant(rounds) => SEARCH_WORK * *rounds as u64,
        };
        weight * self.instances * self.scenario.settings().requests as u64
    }
}

impl Tuning {
    pub(crate) fn work(&self) -> u64 {
        crate::tune::trials(&self.scenario)
            * self.instances
            * self.scenario.settings().requests as u64
    }
}

impl Training {
    /// The checkpoint in the report's folder, finished or not, if it is this training's.
    pub(crate) fn checkpoint(&self, out: &Path) -> Option<Checkpoint<ActorCritic>> {
        let folder = out.join(&self.folder);
        let checkpoint = Checkpoint::<ActorCritic>::load(&folder).ok()?;
        // The folder's name holds but a hash of the key.
        (checkpoint.origin.version == crate::results::VERSION
            && checkpoint.training.seed == self.seed
            && checkpoint.training.hyperparameters == self.hyperparameters
            && checkpoint.origin.scenario == json!(self.scenario.settings()))
        .then_some(checkpoint)
    }
}

fn training(
    trainings: &mut Vec<Training>,
    learned: &Learned,
    scenario: &Scenario,
    seed: u64,
) -> usize {
    let hyperparameters = Hyperparameters { episodes: learned.episodes, ..Default::default() };
    let key = Key::new(&json!({
        "training": scenario.settings(), "seed": seed, "hyperparameters": hyperparameters,
    }));
    if let Some(index) = trainings.iter().position(|training| training.key == key) {
        return index;
    }
    let name = &scenario.settings().name;
    let folder = PathBuf::from("models").join(format!("{name}-{}-seed-{seed}", key.hash()));
    trainings.push(Training { scenario: scenario.clone(), seed, hyperparameters, key, folder });
    trainings.len() - 1
}

fn tuning(tunings: &mut Vec<Tuning>, learned: &Learned, scenario: &Scenario, seed: u64) -> usize {
    let instances = learned.episodes;
    let key = Key::new(&json!({
        "tuning": scenario.settings(), "seed": seed, "instances": instances,
    }));
    tunings.iter().position(|tuning| tuning.key == key).unwrap_or_else(|| {
        tunings.push(Tuning { scenario: scenario.clone(), seed, instances, key });
        tunings.len() - 1
    })
}

fn measure(figure: FigureKind) -> Measure {
    match figure {
        FigureKind::Distribution => Measure::Requests,
        FigureKind::LearningCurve
        | FigureKind::Instances
        | FigureKind::Sweep
        | FigureKind::Gain => Measure::Instances,
    }
}

fn unit_key(study: &Study, scenario: &Scenario, instances: u64, policy: &serde_json::Value) -> Key {
    Key::new(&json!({
        "measure": format!("{:?}", measure(study.file.figure)),
        "scenario": scenario.settings(),
        "instances": instances,
        "seed": study.file.seed,
        "policy": policy,
    }))
}

/// What determines a given policy: its name, and the bytes of its checkpoint or file. What else a file reads, and what
/// a policy from outside has in it, nobody knows.
fn identity(base: &Path, name: &PolicyName) -> serde_json::Value {
    let (checkpoint, cap) = match name {
        PolicyName::Rule(_) | PolicyName::Own(_) => return json!(name.to_string()),
        PolicyName::File(file) => {
            let contents = fs::read(base.join(file)).unwrap_or_default();
            return json!({ "file": Key::new(&json!(contents)).hash() });
        }
        PolicyName::Agent(AgentName { checkpoint, cap }) => (checkpoint, cap),
    };
    let mut files: Vec<_> = fs::read_dir(base.join(checkpoint))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    let contents: Vec<_> = files.iter().map(|file| fs::read(file).unwrap_or_default()).collect();
    let cap = cap.map(|Cap(seconds)| seconds);
    json!({ "checkpoint": Key::new(&json!(contents)).hash(), "cap": cap })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Effort;

    #[test]
    fn equal_trainings_and_units_are_shared_between_studies() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../studies"));
        let studies = Study::load_folder(folder, Effort::Quick).unwrap();
        let twice = [studies.clone(), studies.clone()].concat();
        let (once, twice) = (Plan::new(studies).unwrap(), Plan::new(twice).unwrap());
        assert_eq!(twice.units.len(), 2 * once.units.len());
        assert_eq!(twice.trainings.len(), once.trainings.len());
        assert_eq!(twice.distinct_units().count(), once.distinct_units().count());
        assert!(once.distinct_units().count() < once.units.len());
    }
}
