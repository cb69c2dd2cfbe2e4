//! What a person sees of a training.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use agent::universal::RoundPoint;
use agent::{ActorCritic, CheckpointError, CurvePoint, PriceTraining, Training, Watch};
use experiments::EventFile;
use indicatif::{ProgressBar, ProgressFinish};

use crate::progress;

/// The bar of an actor-critic's training, and its `TensorBoard` events, which appear with every
/// checkpoint.
pub(super) struct Board<'a> {
    bar: ProgressBar,
    /// Decisions of an update.
    decisions: usize,
    /// Updates since `start`.
    updates: usize,
    start: Instant,
    folder: &'a Path,
    first_step: u64,
    file: Option<EventFile>,
    /// What the next checkpoint will bring, with the time of each.
    points: Vec<(f64, CurvePoint)>,
}

impl<'a> Board<'a> {
    pub(super) fn new(folder: &'a Path, training: &ActorCritic, decisions: usize) -> Self {
        Self {
            bar: bar(training),
            decisions,
            updates: 0,
            start: Instant::now(),
            folder,
            first_step: training.done() + 1,
            file: None,
            points: Vec::new(),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let Some((first, _)) = self.points.first() else { return Ok(()) };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(EventFile::create(self.folder, self.first_step, *first)?),
        };
        file.append(&self.points)?;
        self.points.clear();
        Ok(())
    }
}

impl Watch<ActorCritic> for Board<'_> {
    /// Shows the reward of the last 50 updates and the speed.
    fn updated(&mut self, training: &ActorCritic, curve: &[CurvePoint]) {
        self.points.push((seconds_since_1970(), curve[curve.len() - 1]));
        self.updates += 1;
        let speed = (self.updates * self.decisions) as f64 / self.start.elapsed().as_secs_f64();
        let last = &curve[curve.len().saturating_sub(50)..];
        let reward = last.iter().map(|point| point.reward).sum::<f64>() / last.len() as f64;
        self.bar.set_position(training.done());
        self.bar.set_message(format!("reward {reward:.2}  {:.0} k decisions/s", speed / 1e3));
    }

    fn saved(&mut self) -> Result<(), CheckpointError> {
        self.flush().map_err(|error| CheckpointError::io(self.folder, error))?;
        self.updates = 0;
        self.start = Instant::now();
        Ok(())
    }
}

/// The bar of a universal agent's training.
pub(super) struct Rounds {
    bar: ProgressBar,
}

impl Rounds {
    pub(super) fn new(training: &PriceTraining) -> Self {
        Self { bar: bar(training) }
    }
}

impl Watch<PriceTraining> for Rounds {
    fn updated(&mut self, training: &PriceTraining, curve: &[RoundPoint]) {
        let RoundPoint { price, error, .. } = curve[curve.len() - 1];
        self.bar.set_position(training.done());
        self.bar.set_message(format!("price {price:.3}, error {error:.3}"));
    }
}

fn bar(training: &impl Training) -> ProgressBar {
    let bar = progress::bar("training", training.all())
        .with_position(training.done())
        .with_finish(ProgressFinish::Abandon);
    bar.reset_eta();
    bar
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
