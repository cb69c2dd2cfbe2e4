//! From studies to the work that they ask for: trainings, tunings and evaluations, none of them
//! twice.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use agent::{
    ActorCritic, Checkpoint, Hyperparameters, Recipe, UNIVERSAL, UNIVERSAL_FILES, has_checkpoint,
};
use scheduling::{AgentName, Cap, PolicyName};
use serde_json::json;

use crate::results::{Cache, Key};
use crate::schedule::{CLAIRVOYANT, foreseeable};
use crate::study::{
    ClairvoyantFile, FigureKind, Learned, Method, Setting, Study, StudyError, TrainedIn,
};

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
    pub(crate) setting: Setting,
    /// The command that asks for it.
    pub(crate) command: String,
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
    pub(crate) setting: Setting,
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
    /// Where the instances of this point come from.
    pub(crate) setting: Setting,
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
    /// [`StudyError`] if a policy that a study names cannot be used or trained, or does not fit.
    pub fn new(studies: Vec<Study>) -> Result<Self, StudyError> {
        let mut plan = Self::default();
        for (index, study) in studies.iter().enumerate() {
            plan.add(index, study).map_err(|problem| StudyError::new(&study.path, &problem))?;
        }
        plan.studies = studies;
        Ok(plan)
    }

    fn add(&mut self, index: usize, study: &Study) -> Result<(), String> {
        let given = (study.file.policies.iter())
            .map(|name| {
                let recipe = Recipe::load_from(study.folder(), name).map_err(|e| e.to_string())?;
                Ok((recipe, identity(study.folder(), name)))
            })
            .collect::<Result<Vec<_>, String>>()?;
        for (number, panel) in study.panels.iter().enumerate() {
            let name = &study.file.panels[number].name;
            for point in &panel.points {
                let at = Place { study, index, panel: name, x: point.x, setting: &point.setting };
                self.add_point(&at, &given, &panel.of, &panel.setting)
                    .map_err(|problem| format!("panel \"{name}\": {problem}"))?;
            }
        }
        Ok(())
    }

    fn add_point(
        &mut self,
        at: &Place<'_>,
        given: &[(Recipe, serde_json::Value)],
        of: &str,
        before_sweep: &Setting,
    ) -> Result<(), String> {
        let Place { study, setting, .. } = *at;
        if let Some(ClairvoyantFile { rounds, .. }) = study.file.clairvoyant {
            let identity = json!({ "clairvoyant": rounds });
            let unit = at.unit(CLAIRVOYANT.into(), None, Source::Clairvoyant(rounds), &identity);
            for number in 0..unit.instances {
                foreseeable(&setting.evaluation(unit.seed, number)).map_err(|e| e.to_string())?;
            }
            self.units.push(unit);
        }
        for (recipe, identity) in given {
            // Fails now and not after an hour if the checkpoint does not fit the cluster.
            for cluster in setting.clusters() {
                let generator = scheduling::Generator::new(0, scheduling::Purpose::Policy, 0);
                recipe.policy(&cluster, generator).map_err(|e| e.to_string())?;
            }
            let (shown, source) = (study.file.shown(recipe.name()), Source::Given(recipe.clone()));
            self.units.push(at.unit(shown, None, source, identity));
        }
        for (learned, school) in study.file.learned.iter().zip(&study.schools) {
            if learned.panels.as_ref().is_some_and(|names| !names.iter().any(|name| name == of)) {
                continue;
            }
            let school = match (&learned.trained_in, school) {
                (TrainedIn::Point, _) => setting,
                (_, Some(school)) => school,
                (_, None) => before_sweep,
            };
            let told = |problem| format!("learned \"{}\": {problem}", learned.name);
            if learned.method == Method::ActorCritic {
                trainable(school, setting).map_err(told)?;
            }
            for &seed in &learned.seeds {
                let (source, key) = match learned.method {
                    Method::ActorCritic => {
                        let index = self.training(study, learned, school, seed);
                        (Source::Trained(index), &self.trainings[index].key)
                    }
                    Method::Tune => {
                        let index = self.tuning(learned, school, seed);
                        (Source::Tuned(index), &self.tunings[index].key)
                    }
                };
                let identity = json!({ "trained": key.text() });
                self.units.push(at.unit(learned.name.clone(), Some(seed), source, &identity));
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
            TRAINING_WORK * episodes * training.setting.training_requests()
        });
        let tunings = self.tunings.iter().filter(|tuning| !cache.has(&tuning.key));
        let missing = self.distinct_units().filter(|unit| !cache.has(&unit.key));
        trainings.chain(tunings.map(Tuning::work)).chain(missing.map(Unit::work)).sum()
    }

    fn training(
        &mut self,
        study: &Study,
        learned: &Learned,
        setting: &Setting,
        seed: u64,
    ) -> usize {
        let hyperparameters = Hyperparameters { episodes: learned.episodes, ..Default::default() };
        let key = Key::new(&json!({
            "training": setting.source().description(), "seed": seed,
            "hyperparameters": hyperparameters,
        }));
        let known = self.trainings.iter().position(|training| training.key == key);
        known.unwrap_or_else(|| {
            let name = setting.folder_name();
            let folder = PathBuf::from("models").join(format!("{name}-{}-seed-{seed}", key.hash()));
            let command = format!("atelier study {}", study.path.display());
            let setting = setting.clone();
            self.trainings.push(Training { setting, command, seed, hyperparameters, key, folder });
            self.trainings.len() - 1
        })
    }

    fn tuning(&mut self, learned: &Learned, setting: &Setting, seed: u64) -> usize {
        let instances = learned.episodes;
        let key = Key::new(&json!({
            "tuning": setting.source().description(), "seed": seed, "instances": instances,
        }));
        let known = self.tunings.iter().position(|tuning| tuning.key == key);
        known.unwrap_or_else(|| {
            self.tunings.push(Tuning { setting: setting.clone(), seed, instances, key });
            self.tunings.len() - 1
        })
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

/// A point of a panel of a study.
struct Place<'a> {
    study: &'a Study,
    index: usize,
    panel: &'a str,
    x: Option<f64>,
    setting: &'a Setting,
}

impl Place<'_> {
    fn unit(
        &self,
        policy: String,
        training_seed: Option<u64>,
        source: Source,
        identity: &serde_json::Value,
    ) -> Unit {
        let Self { study, setting, .. } = *self;
        let all = setting.instances(study.file.instances.unwrap_or(0));
        let instances = match (&source, study.file.clairvoyant) {
            (Source::Clairvoyant(_), Some(known)) => known.instances.min(all),
            _ => all,
        };
        Unit {
            study: self.index,
            panel: self.panel.into(),
            x: self.x,
            setting: setting.clone(),
            policy,
            training_seed,
            source,
            instances,
            seed: study.file.seed,
            measure: measure(study.file.figure),
            key: unit_key(study, setting, instances, identity),
        }
    }
}

/// Whether the paper's agent can be trained in one setting and meet the other.
fn trainable(school: &Setting, setting: &Setting) -> Result<(), String> {
    if !school.source().is_plain() {
        return Err("its setting has models, sizes, bounds on steps, service times that stray or \
                    servers that fail: allowed for training is what the paper has, and overheads"
            .into());
    }
    let episodes = school.source().episodes().map_err(|error| error.to_string())?;
    Hyperparameters::default().check(episodes.servers())?;
    let trained = episodes.servers();
    match setting.clusters().iter().map(|cluster| cluster.len()).find(|&len| len != trained) {
        Some(len) => Err(format!(
            "it is trained for {trained} servers and the cluster has {len}: allowed is a cluster of \
             {trained}, as its input has one backlog per server"
        )),
        None => Ok(()),
    }
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
        weight * self.setting.requests(self.instances)
    }
}

impl Tuning {
    pub(crate) fn work(&self) -> u64 {
        crate::tune::trials(self.setting.source())
            * self.instances
            * self.setting.training_requests()
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
            && checkpoint.origin.scenario == self.setting.source().description())
        .then_some(checkpoint)
    }
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

fn unit_key(study: &Study, setting: &Setting, instances: u64, policy: &serde_json::Value) -> Key {
    Key::new(&json!({
        "measure": format!("{:?}", measure(study.file.figure)),
        "scenario": setting.source().description(),
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
    let folder = base.join(checkpoint);
    let contents: Vec<_> = if checkpoint == Path::new(UNIVERSAL) && !has_checkpoint(&folder) {
        let mut files = UNIVERSAL_FILES;
        files.sort_unstable();
        files.iter().map(|(_, contents)| contents.to_vec()).collect()
    } else {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut files: Vec<_> = (entries.filter_map(|entry| Some(entry.ok()?.path())))
            .filter(|file| file.is_file())
            .collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap_or_default()).collect()
    };
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
