use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use agent::{Checkpoint, Origin, PriceHyperparameters, PriceTraining, UniversalCheckpoint};
use anyhow::Context;
use simulation::{Episode, InstanceSource};

use crate::failure::Failure;
use crate::{files, progress};

/// Rounds between two checkpoints.
const CHECKPOINT_ROUNDS: u64 = 20;

/// What the training of a universal agent is asked for.
pub(crate) struct Order<'a> {
    /// File of the domain, or of recorded traffic.
    pub(crate) source: &'a files::Source,
    pub(crate) seed: u64,
    pub(crate) out: &'a Path,
    pub(crate) resume: bool,
    pub(crate) rounds: Option<u64>,
    /// The command as it would be typed.
    pub(crate) command: String,
}

/// Trains to the end or to the interruption, saving now and then.
pub(crate) fn run(order: Order<'_>, interrupted: &AtomicBool) -> Result<(), Failure> {
    let source = order.source.read_domain()?;
    let out = order.out;
    let mut checkpoint = start(order, &*source)?;
    files::create_folder(out)?;
    let rounds = checkpoint.training.hyperparameters.rounds;
    let done = checkpoint.training.rounds;
    let bar = progress::bar("training", rounds).with_position(done);
    bar.reset_eta();
    let seed = checkpoint.training.seed;
    while checkpoint.training.rounds < rounds && !interrupted.load(Ordering::Relaxed) {
        let curve = &mut checkpoint.curve;
        let instance = |number| source.instance(seed, Episode::Training(number));
        checkpoint.training.train(instance, |training, point| {
            curve.push(*point);
            bar.set_position(training.rounds);
            bar.set_message(format!("price {:.3}, error {:.3}", point.price, point.error));
            let due = training.rounds.is_multiple_of(CHECKPOINT_ROUNDS);
            if due || interrupted.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        checkpoint.save(out).context("cannot save the checkpoint")?;
    }
    bar.finish();
    if checkpoint.training.rounds < rounds {
        eprintln!(
            "interrupted after {} of {rounds} rounds; {} can be used as it is, and \
             --resume goes on",
            checkpoint.training.rounds,
            out.display(),
        );
        return Err(Failure::Interrupted);
    }
    Ok(())
}

/// A fresh training, or the one in the folder if it is the same.
fn start(order: Order<'_>, source: &dyn InstanceSource) -> Result<UniversalCheckpoint, Failure> {
    let default = PriceHyperparameters::default();
    let hyperparameters =
        PriceHyperparameters { rounds: order.rounds.unwrap_or(default.rounds), ..default };
    let settings = source.description();
    let folder = order.out.display();
    if !order.resume {
        if Checkpoint::exists(order.out) {
            let problem = "holds a checkpoint already: --resume goes on with it, another --out \
                           starts anew";
            return Err(Failure::refused(folder, problem));
        }
        let version = env!("CARGO_PKG_VERSION").into();
        let origin = Origin { version, command: order.command, scenario: settings };
        let training = PriceTraining::new(order.seed, hyperparameters);
        return Ok(UniversalCheckpoint { training, curve: Vec::new(), origin });
    }
    let checkpoint =
        UniversalCheckpoint::load(order.out).map_err(|error| Failure::Refused(error.into()))?;
    let training = &checkpoint.training;
    for (what, same) in [
        ("scenario", checkpoint.origin.scenario == settings),
        ("seed", training.seed == order.seed),
        ("number of rounds", training.hyperparameters == hyperparameters),
    ] {
        if !same {
            let problem = format!(
                "was trained with another {what}: to resume, give what its metadata.json says"
            );
            return Err(Failure::refused(folder, problem));
        }
    }
    Ok(checkpoint)
}
