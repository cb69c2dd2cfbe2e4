//! Running a plan: on all threads, from wherever an earlier run stopped.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use agent::{
    ActorCritic, Checkpoint, CheckpointError, CurvePoint, Origin, PolicyError, Recipe, Saving,
    Watch,
};
use scheduling::{AgentName, Generator, Instance, PolicyName, Purpose, Row};
use serde::{Deserialize, Serialize};
use simulation::{BatchedEnvironment, Episode, Metrics, UnequalEpisodes};
use thiserror::Error;

use crate::collect::{instance_row, request_row, write_rows};
use crate::plan::{Measure, Plan, Source, TRAINING_WORK, Training, Tuning, Unit};
use crate::results::{Cache, ResultsError, VERSION};
use crate::schedule::{ClairvoyantSearch, ScheduleError, clairvoyant, schedule};
use crate::tune::{Goal, tune};

/// Runs what is missing and writes the rows of every study into `out/rows`.
///
/// Works on as many threads as the current rayon pool has, each on a training or an evaluation of
/// its own, as that wastes least; the result does not depend on their number. `worked` is told from
/// those threads how much of [`Plan::work_left`] is done. Once `interrupted` is raised, everything
/// so far is kept and the run ends: called again, it goes on from there.
///
/// # Errors
/// [`RunError`]; what was finished before is kept.
pub fn run(
    plan: &Plan,
    out: &Path,
    interrupted: &AtomicBool,
    worked: &(dyn Fn(u64) + Sync),
) -> Result<Outcome, RunError> {
    let world = World { out, cache: Cache::new(out.join("cache")), interrupted, worked };
    let missing = || plan.distinct_units().filter(|unit| !world.cache.has(&unit.key));
    // Trainings first, as they take longest; rules fill the gap at their end.
    let trainings = plan.trainings.iter().map(Job::Train);
    let tunings = plan.tunings.iter().filter(|tuning| !world.cache.has(&tuning.key));
    let given = missing().filter_map(|unit| match &unit.source {
        Source::Given(recipe) => Some(Job::Evaluate(unit, recipe.clone())),
        Source::Clairvoyant(rounds) => Some(Job::Search(unit, *rounds)),
        Source::Trained(_) | Source::Tuned(_) => None,
    });
    world.work(&trainings.chain(tunings.map(Job::Tune)).chain(given).collect::<Vec<_>>())?;
    if world.stopped() {
        return Ok(Outcome::Interrupted);
    }
    let trained = missing().filter_map(|unit| {
        let name = match &unit.source {
            Source::Given(_) | Source::Clairvoyant(_) => return None,
            Source::Trained(index) => {
                let checkpoint = out.join(&plan.trainings[*index].folder);
                PolicyName::from(AgentName { checkpoint, cap: None })
            }
            Source::Tuned(index) => {
                let tuned = world.cache.get::<TunedRow>(&plan.tunings[*index].key);
                tuned?.first()?.policy.parse().ok()?
            }
        };
        Some(Recipe::load(&name).map(|recipe| Job::Evaluate(unit, recipe)))
    });
    world.work(&trained.collect::<Result<Vec<_>, _>>()?)?;
    if world.stopped() {
        return Ok(Outcome::Interrupted);
    }
    write_rows(plan, out, &world.cache)?;
    Ok(Outcome::Finished)
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All rows are written.
    Finished,
    /// It can be called again and goes on.
    Interrupted,
}

/// A run that cannot go on. What was finished before is kept.
#[derive(Debug, Error)]
pub enum RunError {
    /// A policy cannot be made.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Rows cannot be read or written.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A checkpoint cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A schedule cannot be made, or breaks the rules.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// An agent cannot be trained on recordings that differ.
    #[error(transparent)]
    Unequal(#[from] UnequalEpisodes),
}

/// Something that one thread does from beginning to end.
enum Job<'a> {
    Train(&'a Training),
    Tune(&'a Tuning),
    Evaluate(&'a Unit, Recipe),
    Search(&'a Unit, usize),
}

struct World<'a> {
    out: &'a Path,
    cache: Cache,
    interrupted: &'a AtomicBool,
    worked: &'a (dyn Fn(u64) + Sync),
}

impl World<'_> {
    fn stopped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Runs the jobs in order, each on one thread, until all are done or one fails.
    fn work(&self, jobs: &[Job<'_>]) -> Result<(), RunError> {
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let labour = || {
            // A training would spread over all threads: several at once are faster on one each.
            let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            let alone = alone.expect("a thread can be started");
            while !self.stopped()
                && failure.lock().is_ok_and(|failure| failure.is_none())
                && let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let done = alone.install(|| match job {
                    Job::Train(training) => self.train(training),
                    Job::Tune(tuning) => self.tune(tuning),
                    Job::Evaluate(unit, recipe) => self.evaluate(unit, |instance, episode| {
                        let stream = episode.stream();
                        let generator = Generator::new(unit.seed, Purpose::Policy, stream);
                        schedule(recipe, instance, generator)
                    }),
                    Job::Search(unit, rounds) => self.evaluate(unit, |instance, _| {
                        // Only the schedule is wanted: the bound behind it need not be close.
                        let search = ClairvoyantSearch { descent_steps: *rounds, rounds: *rounds };
                        Ok(clairvoyant(instance, None, unit.seed, search)?.0.rows)
                    }),
                });
                if let (Err(error), Ok(mut failure)) = (done, failure.lock()) {
                    failure.get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..rayon::current_num_threads().min(jobs.len()) {
                scope.spawn(labour);
            }
        });
        failure
            .into_inner()
            .expect("labour does not panic while it holds the lock")
            .map_or(Ok(()), Err)
    }

    fn train(&self, plan: &Training) -> Result<(), RunError> {
        let (source, folder) = (plan.setting.source(), self.out.join(&plan.folder));
        let episodes = source.episodes()?;
        let fresh = || {
            let origin = Origin {
                version: VERSION.into(),
                command: plan.command.clone(),
                scenario: source.description(),
            };
            let hyperparameters = plan.hyperparameters.clone();
            let training = ActorCritic::new(episodes.servers(), plan.seed, hyperparameters);
            Checkpoint::fresh(training, origin)
        };
        let mut checkpoint = plan.checkpoint(self.out).unwrap_or_else(fresh);
        let lanes = plan.hyperparameters.lanes;
        let mut environment = BatchedEnvironment::new(episodes, plan.seed, lanes);
        let saving =
            Saving { folder: &folder, every: CHECKPOINT_EPISODES, interrupted: self.interrupted };
        let work = TRAINING_WORK * (episodes.requests() * lanes) as u64;
        let mut watch = Worked { work, worked: self.worked };
        agent::train(&mut checkpoint, &mut environment, saving, &mut watch)?;
        Ok(())
    }

    fn tune(&self, tuning: &Tuning) -> Result<(), RunError> {
        let Tuning { setting, instances, seed, .. } = tuning;
        let tuned = tune(setting.source(), *instances, *seed, Goal::Reward, || ())?;
        self.cache.put(&tuning.key, &[TunedRow { policy: tuned.policy.to_string() }])?;
        (self.worked)(tuning.work());
        Ok(())
    }

    /// Keeps what comes of the schedule of each instance.
    fn evaluate(
        &self,
        unit: &Unit,
        schedule: impl Fn(&Instance, Episode) -> Result<Vec<Row>, ScheduleError>,
    ) -> Result<(), RunError> {
        let schedule = |number| {
            schedule(&unit.setting.evaluation(unit.seed, number), Episode::Evaluation(number))
        };
        match unit.measure {
            Measure::Instances => {
                let row = |instance: u64| {
                    Ok(instance_row(unit, instance, &Metrics::of(&schedule(instance)?)))
                };
                let rows = (0..unit.instances).map(row).collect::<Result<Vec<_>, RunError>>()?;
                self.cache.put(&unit.key, &rows)?;
            }
            Measure::Requests => {
                let rows = schedule(0)?;
                let rows: Vec<_> = rows.iter().map(|row| request_row(unit, 0, row)).collect();
                self.cache.put(&unit.key, &rows)?;
            }
        }
        (self.worked)(unit.work());
        Ok(())
    }
}

/// Tells how much of the work each update was.
struct Worked<'a> {
    work: u64,
    worked: &'a (dyn Fn(u64) + Sync),
}

impl Watch<ActorCritic> for Worked<'_> {
    fn updated(&mut self, _: &ActorCritic, _: &[CurvePoint]) {
        (self.worked)(self.work);
    }
}

/// What a tuning leaves behind.
#[derive(Serialize, Deserialize)]
struct TunedRow {
    /// Its name.
    policy: String,
}

/// Episodes between two checkpoints: a few seconds are lost when the power fails.
const CHECKPOINT_EPISODES: u64 = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{Effort, Study};
    use std::fs;

    /// The committed studies, cut down to a few requests, two seeds and a few episodes.
    fn plan(folder: &Path) -> Plan {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        for name in ["studies", "scenarios"] {
            fs::create_dir_all(folder.join(name)).unwrap();
            let entries = fs::read_dir(root.join(name)).unwrap();
            let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
            for file in files {
                let text = fs::read_to_string(&file)
                    .unwrap()
                    .replace("requests = 2000", "requests = 20")
                    .replace("episodes = 300", "episodes = 2")
                    .replace("quick_episodes = 100", "quick_episodes = 2")
                    .replace("quick_episodes = 50", "quick_episodes = 2")
                    .replace("instances = 10\n", "instances = 3\n")
                    .replace("[1, 2, 3, 4, 5]", "[1, 2]");
                fs::write(folder.join(name).join(file.file_name().unwrap()), text).unwrap();
            }
        }
        let studies = Study::load_folder(&folder.join("studies"), Effort::Quick).unwrap();
        Plan::new(studies).unwrap()
    }

    fn files(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|file| (file.display().to_string(), fs::read_to_string(&file).unwrap()))
            .map(|(file, text)| (file.rsplit('/').next().unwrap().to_owned(), text))
            .collect();
        files.sort();
        files
    }

    fn run_on(threads: usize, plan: &Plan, out: &Path, stop_after: u64) -> Outcome {
        let (interrupted, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let worked = |work: u64| {
            let done = done.fetch_add(work as usize, Ordering::Relaxed) as u64;
            interrupted.fetch_or(done >= stop_after, Ordering::Relaxed);
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(plan, out, &interrupted, &worked)).unwrap()
    }

    #[test]
    fn threads_and_interruptions_change_no_row() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let work = plan.work_left(&one);
        assert_eq!(run_on(1, &plan, &one, u64::MAX), Outcome::Finished);
        assert_eq!(plan.work_left(&one), 0);
        let mut runs = 1;
        while run_on(2, &plan, &two, work / 4) == Outcome::Interrupted {
            assert!(plan.work_left(&two) < work, "every run gets something done");
            runs += 1;
            assert!(runs < 100);
        }
        assert!(runs > 2, "{runs}");
        let rows = files(&one.join("rows"));
        assert!(rows.len() >= 7 && rows.iter().all(|(_, text)| text.lines().count() > 5));
        assert!(rows == files(&two.join("rows")));
    }

    #[test]
    fn nothing_is_computed_twice() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path());
        let out = folder.path().join("out");
        let count = AtomicUsize::new(0);
        let worked = |work: u64| {
            count.fetch_add(work as usize, Ordering::Relaxed);
        };
        let work = plan.work_left(&out);
        run(&plan, &out, &AtomicBool::new(false), &worked).unwrap();
        assert_eq!(count.load(Ordering::Relaxed) as u64, work);
        run(&plan, &out, &AtomicBool::new(false), &worked).unwrap();
        assert_eq!(count.load(Ordering::Relaxed) as u64, work);
    }
}
