use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use agent::universal::{Clusters, Stage};
use agent::{
    ActorCritic, Checkpoint, Ended, Hyperparameters, Origin, PriceHyperparameters, PriceTraining,
    Saving, Train, Training, Watch,
};
use anyhow::Context;
use experiments::Questions;
use scheduling::AgentName;
use scheduling::message::number;
use simulation::{BatchedEnvironment, Episode, InstanceSource};

use crate::commands::evaluate;
use crate::failure::Failure;
use crate::{files, interruption};

mod watch;

use watch::{Board, Rounds};

/// Train the paper's actor-critic on a scenario and compare it with the rules, or the universal agent
/// on a whole domain of scenarios.
///
/// Ctrl-C leaves a checkpoint that can be used and resumed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: files::Source,
    /// Which agent: the universal one learns from a domain, such as scenarios/universal.toml.
    #[arg(long, value_enum, default_value_t = Learner::ActorCritic)]
    agent: Learner,
    /// Rounds of the universal agent's training [default: 300]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rounds: Option<u64>,
    /// Domain of fleets whose servers load models, such as scenarios/fleets.toml: the universal agent
    /// learns there too, once it knows clusters without models. A finished checkpoint that does not know
    /// fleets yet goes on there with --resume.
    #[arg(long, value_name = "FILE")]
    fleets: Option<PathBuf>,
    /// Rounds in the fleets [default: 300]
    #[arg(long, requires = "fleets", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    fleet_rounds: Option<u64>,
    /// Seed of the training instances, the initial weights and the exploration.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the checkpoint.
    #[arg(long)]
    out: PathBuf,
    /// Go on with the checkpoint in the folder.
    #[arg(long)]
    resume: bool,
    /// Instances of the comparison after training; 0 for none.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    instances: u64,
    #[command(flatten)]
    choices: Choices,
}

/// Which agent is trained.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Learner {
    /// The paper's, by Algorithm 1.
    ActorCritic,
    /// One set of weights for any cluster, by measured prices.
    Universal,
}

/// Overrides of the hyperparameters; docs/actor-critic.md explains them.
#[derive(clap::Args, Default, PartialEq)]
#[command(next_help_heading = "Hyperparameters")]
struct Choices {
    /// Episodes of the whole training [default: 3000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    episodes: Option<u64>,
    /// Episodes side by side, with one update for all of them [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    lanes: Option<u16>,
    /// Widths of the hidden layers [default: 128,128]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4096))]
    hidden: Option<Vec<u16>>,
    /// Adam's learning rate at the start [default: 0.002]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// γ of eq. (6) [default: 0.9]
    #[arg(long)]
    discount: Option<f64>,
    /// Weight of the entropy bonus [default: 0.1]
    #[arg(long)]
    entropy_bonus: Option<f64>,
    /// Reward that the agent takes for zero [default: 50]
    #[arg(long, allow_negative_numbers = true)]
    reward_centre: Option<f64>,
    /// Reward that the agent takes for one, above zero [default: 10]
    #[arg(long)]
    reward_scale: Option<f64>,
    /// Least scaled reward that the agent learns from [default: -5]
    #[arg(long, allow_negative_numbers = true)]
    reward_floor: Option<f64>,
}

/// Episodes of the actor-critic between two checkpoints.
const CHECKPOINT_EPISODES: u64 = 250;
/// Rounds of the universal agent between two checkpoints.
const CHECKPOINT_ROUNDS: u64 = 20;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.agent {
        Learner::ActorCritic => actor_critic(arguments),
        Learner::Universal => universal(arguments),
    }
}

fn actor_critic(arguments: &Arguments) -> Result<(), Failure> {
    for (option, given) in
        [("--rounds", arguments.rounds.is_some()), ("--fleets", arguments.fleets.is_some())]
    {
        if given {
            return Err(Failure::refused(option, "allowed with --agent universal only"));
        }
    }
    let Arguments { instances, seed, ref out, .. } = *arguments;
    let source = arguments.source.read()?;
    let episodes = source.episodes().map_err(|error| Failure::Refused(error.into()))?;
    let hyperparameters = arguments.choices.hyperparameters()?;
    hyperparameters
        .check(episodes.servers())
        .map_err(|problem| Failure::refused("hyperparameters", problem))?;
    let lanes = hyperparameters.lanes;
    let training = ActorCritic::new(episodes.servers(), seed, hyperparameters);
    let scenario = source.description();
    let checkpoint = start(arguments, &*source, scenario, training, |_, _| ())?;
    let mut environment = BatchedEnvironment::new(episodes, seed, lanes);
    let mut watch = Board::new(out, &checkpoint.training, lanes * episodes.requests());
    train(arguments, checkpoint, &mut environment, CHECKPOINT_EPISODES, &mut watch)?;
    if instances > 0 {
        let mut names = evaluate::rules();
        names.push(AgentName { checkpoint: out.clone(), cap: None }.into());
        let policies = files::load_policies(&names)?;
        evaluate::evaluate(&*source, &policies, instances, seed, &Questions::NONE)?;
    }
    Ok(())
}

fn universal(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.choices != Choices::default() {
        let problem = "the hyperparameters below it are the actor-critic's: allowed here are --rounds \
                       and --fleets";
        return Err(Failure::refused("--agent universal", problem));
    }
    let Arguments { seed, rounds, fleet_rounds, .. } = *arguments;
    let source = arguments.source.read_domain()?;
    let fleets = arguments.fleets.as_deref().map(read_fleets).transpose()?;
    let default = PriceHyperparameters::default();
    let of_fleets = Stage::default();
    let rounds = rounds.unwrap_or(default.rounds);
    let rounds_of_fleets = fleet_rounds.unwrap_or(of_fleets.rounds);
    let hyperparameters = PriceHyperparameters {
        rounds,
        fleets: fleets.as_ref().map(|_| Stage { rounds: rounds_of_fleets, ..of_fleets }),
        ..default
    };
    let mut scenario = source.description();
    if let Some(fleets) = &fleets {
        scenario["fleets"] = fleets.description();
    }
    let training = PriceTraining::new(seed, hyperparameters);
    let checkpoint = start(arguments, &*source, scenario.clone(), training, |found, asked| {
        go_on_in_fleets(found, asked, &*source, scenario);
    })?;
    let mut instance = |clusters, number| {
        let source = match (clusters, &fleets) {
            (Clusters::Fleets, Some(fleets)) => fleets,
            _ => &source,
        };
        source.instance(seed, Episode::Training(number))
    };
    let mut watch = Rounds::new(&checkpoint.training);
    train(arguments, checkpoint, &mut instance, CHECKPOINT_ROUNDS, &mut watch)
}

/// The domain of a file whose servers load models.
fn read_fleets(file: &Path) -> Result<Box<dyn InstanceSource>, Failure> {
    let fleets = files::read_domain(file)?;
    if fleets.loads_models() {
        return Ok(fleets);
    }
    Err(Failure::refused(file.display(), "has no [models]: allowed for --fleets is what has them"))
}

/// A training that has ended where there are no models goes on in fleets, if that is all that is asked for
/// beyond it.
fn go_on_in_fleets(
    found: &mut Checkpoint<PriceTraining>,
    asked: &PriceTraining,
    source: &dyn InstanceSource,
    scenario: serde_json::Value,
) {
    let Checkpoint { training, origin, .. } = found;
    let before = PriceHyperparameters { fleets: None, ..asked.hyperparameters.clone() };
    let same = training.hyperparameters == before
        && training.seed == asked.seed
        && origin.scenario == source.description();
    if same && asked.hyperparameters.fleets.is_some() && training.done() == training.all() {
        training.hyperparameters = asked.hyperparameters.clone();
        (origin.scenario, origin.command) = (scenario, command());
    }
}

/// The training as asked for, or the one in the folder if it is the same once it has been extended.
fn start<T: Training>(
    arguments: &Arguments,
    source: &dyn InstanceSource,
    scenario: serde_json::Value,
    asked: T,
    extend: impl FnOnce(&mut Checkpoint<T>, &T),
) -> Result<Checkpoint<T>, Failure> {
    if !source.is_plain() {
        let problem = "has models, sizes, bounds on steps, service times that stray or servers that \
                       fail: allowed for training is what the paper has, and overheads; \
                       the universal agent learns in --fleets too";
        return Err(Failure::refused(source.name(), problem));
    }
    let folder = &arguments.out;
    if !arguments.resume {
        if agent::has_checkpoint(folder) {
            let problem = "holds a checkpoint already: --resume goes on with it, another --out \
                           starts anew";
            return Err(Failure::refused(folder.display(), problem));
        }
        let version = env!("CARGO_PKG_VERSION").into();
        return Ok(Checkpoint::fresh(asked, Origin { version, command: command(), scenario }));
    }
    let mut checkpoint =
        Checkpoint::<T>::load(folder).map_err(|error| Failure::Refused(error.into()))?;
    extend(&mut checkpoint, &asked);
    let training = &checkpoint.training;
    for (what, same) in [
        ("another scenario", checkpoint.origin.scenario == scenario),
        ("another seed", training.seed() == asked.seed()),
        ("other hyperparameters", training.hyperparameters() == asked.hyperparameters()),
    ] {
        if !same {
            let problem =
                format!("was trained with {what}: to resume, give what its metadata.json says");
            return Err(Failure::refused(folder.display(), problem));
        }
    }
    Ok(checkpoint)
}

/// Trains to the end, or says how to go on.
fn train<World, T: Train<World>>(
    arguments: &Arguments,
    mut checkpoint: Checkpoint<T>,
    world: &mut World,
    every: u64,
    watch: &mut impl Watch<T>,
) -> Result<(), Failure> {
    let folder = &arguments.out;
    files::create_folder(folder)?;
    let interrupted = interruption::flag()?;
    let saving = Saving { folder, every, interrupted };
    let ended =
        agent::train(&mut checkpoint, world, saving, watch).context("cannot save the training")?;
    if ended == Ended::Interrupted || interrupted.load(Ordering::Relaxed) {
        let (done, all) = (checkpoint.training.done(), checkpoint.training.all());
        let unit = match arguments.agent {
            Learner::ActorCritic => "episodes",
            Learner::Universal => "rounds",
        };
        eprintln!(
            "interrupted after {done} of {all} {unit}; {} can be used as it is, and --resume goes on",
            folder.display(),
        );
        return Err(Failure::Interrupted);
    }
    Ok(())
}

/// The command as it was typed, but for what only says that it goes on.
fn command() -> String {
    let rest = std::env::args().skip(1).filter(|argument| argument != "--resume");
    std::iter::once("atelier".to_owned()).chain(rest).collect::<Vec<_>>().join(" ")
}

impl Choices {
    fn hyperparameters(&self) -> Result<Hyperparameters, Failure> {
        let default = Hyperparameters::default();
        Ok(Hyperparameters {
            episodes: self.episodes.unwrap_or(default.episodes),
            lanes: self.lanes.map_or(default.lanes, usize::from),
            hidden: match &self.hidden {
                Some(widths) => widths.iter().map(|&width| usize::from(width)).collect(),
                None => default.hidden,
            },
            learning_rate: within("--learning-rate", self.learning_rate, 1e-9..=1.0)?
                .unwrap_or(default.learning_rate),
            discount: within("--discount", self.discount, 0.0..=1.0)?.unwrap_or(default.discount),
            entropy_bonus: within("--entropy-bonus", self.entropy_bonus, 0.0..=10.0)?
                .unwrap_or(default.entropy_bonus),
            reward_centre: within("--reward-centre", self.reward_centre, -1e6..=1e6)?
                .unwrap_or(default.reward_centre),
            reward_scale: within("--reward-scale", self.reward_scale, 1e-3..=1e6)?
                .unwrap_or(default.reward_scale),
            reward_floor: within("--reward-floor", self.reward_floor, -1e6..=0.0)?
                .unwrap_or(default.reward_floor),
            ..default
        })
    }
}

/// The option's value, if it was given and lies in its range.
fn within(
    option: &str,
    value: Option<f64>,
    allowed: RangeInclusive<f64>,
) -> Result<Option<f64>, Failure> {
    match value {
        Some(value) if !allowed.contains(&value) => {
            let (low, high) = allowed.into_inner();
            Err(Failure::refused(
                option,
                format!("{} given: allowed is {low} to {high}", number(value)),
            ))
        }
        _ => Ok(value),
    }
}
