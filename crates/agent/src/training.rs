//! Trainings of all kinds: what they have in common, and the loop that keeps them on disk.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::{Checkpoint, CheckpointError, Stored};

/// Networks that learn, and the state of their learning.
pub trait Training: Stored {
    /// The choices that are fixed for the whole training.
    type Hyperparameters: Clone + PartialEq;
    /// What one update saw.
    type Point: Copy + Debug + PartialEq + Serialize + DeserializeOwned;

    /// The choices of this one.
    fn hyperparameters(&self) -> &Self::Hyperparameters;

    /// Seed of the initial weights, of the exploration and of the training instances.
    fn seed(&self) -> u64;

    /// How far it is, in episodes or rounds.
    fn done(&self) -> u64;

    /// Where it ends, in the same unit.
    fn all(&self) -> u64;
}

/// A training that learns in such a world.
pub trait Train<World>: Training {
    /// Trains until all is done, or until `after_update` breaks. Called again, it goes on where it
    /// stopped, and the result is the same as if it had not; nor does it depend on the number of
    /// threads.
    fn train(
        &mut self,
        world: &mut World,
        after_update: impl FnMut(&Self, &Self::Point) -> ControlFlow<()>,
    );
}

/// Where and when a training is saved.
#[derive(Clone, Copy, Debug)]
pub struct Saving<'a> {
    /// Folder of the checkpoint.
    pub folder: &'a Path,
    /// Episodes or rounds between two checkpoints.
    pub every: u64,
    /// Once raised, the training is saved after its present update, and ends.
    pub interrupted: &'a AtomicBool,
}

/// Who looks on.
pub trait Watch<T: Training> {
    /// After each update, whose point is the last of the curve.
    fn updated(&mut self, training: &T, curve: &[T::Point]);

    /// After each checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] if what is kept beside it cannot be written; the training ends.
    fn saved(&mut self) -> Result<(), CheckpointError> {
        Ok(())
    }
}

/// How [`train`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All is done.
    Done,
    /// It was interrupted. The checkpoint can be used as it is, and goes on.
    Interrupted,
}

/// Trains to the end or to the interruption. The checkpoint in the folder is then that of the training,
/// and on the way it never lags behind by more than what lies between two of them.
///
/// # Errors
/// [`CheckpointError::Io`]; the last checkpoint is still there.
pub fn train<World, T: Train<World>>(
    checkpoint: &mut Checkpoint<T>,
    world: &mut World,
    saving: Saving<'_>,
    watch: &mut impl Watch<T>,
) -> Result<Ended, CheckpointError> {
    let Saving { folder, every, interrupted } = saving;
    let interrupted = || interrupted.load(Ordering::Relaxed);
    while checkpoint.training.done() < checkpoint.training.all() {
        if interrupted() {
            return Ok(Ended::Interrupted);
        }
        let (curve, before) = (&mut checkpoint.curve, checkpoint.training.done());
        checkpoint.training.train(world, |training, point| {
            curve.push(*point);
            watch.updated(training, curve);
            let due = training.done() / every > before / every;
            if due || interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        checkpoint.save(folder)?;
        watch.saved()?;
    }
    Ok(Ended::Done)
}
