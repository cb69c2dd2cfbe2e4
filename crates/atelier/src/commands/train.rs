use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use agent::{ActorCritic, Checkpoint, CurvePoint, Hyperparameters, Origin};
use anyhow::Context;
use experiments::{Clairvoyance, EventFile};
use indicatif::ProgressBar;
use scheduling::AgentName;
use scheduling::message::number;
use simulation::{BatchedEnvironment, EpisodeSource, InstanceSource};

use crate::commands::{evaluate, train_universal};
use crate::failure::Failure;
use crate::{files, interruption, progress};

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

/// Episodes between two checkpoints.
const CHECKPOINT_EPISODES: u64 = 250;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.agent == Learner::Universal {
        if arguments.choices != Choices::default() {
            let problem = "the hyperparameters below it are the actor-critic's: allowed here is \
                           --rounds";
            return Err(Failure::refused("--agent universal", problem));
        }
        let order = train_universal::Order {
            source: &arguments.source,
            seed: arguments.seed,
            out: &arguments.out,
            resume: arguments.resume,
            rounds: arguments.rounds,
            command: command(),
        };
        return train_universal::run(order, interruption::flag()?);
    }
    if arguments.rounds.is_some() {
        return Err(Failure::refused("--rounds", "allowed with --agent universal only"));
    }
    let source = arguments.source.read()?;
    let episodes = source.episodes().map_err(|error| Failure::Refused(error.into()))?;
    let hyperparameters = arguments.choices.hyperparameters()?;
    hyperparameters
        .check(episodes.servers())
        .map_err(|problem| Failure::refused("hyperparameters", problem))?;
    let mut checkpoint = start(arguments, &*source, episodes.servers(), hyperparameters)?;
    files::create_folder(&arguments.out)?;
    let interrupted = interruption::flag()?;
    train(&mut checkpoint, episodes, &arguments.out, interrupted)?;
    if interrupted.load(Ordering::Relaxed) {
        eprintln!(
            "interrupted after {} of {} episodes; {} can be used as it is, and --resume goes on",
            checkpoint.training.episodes,
            checkpoint.training.hyperparameters.episodes,
            arguments.out.display(),
        );
        return Err(Failure::Interrupted);
    }
    if arguments.instances > 0 {
        let mut names = evaluate::rules();
        names.push(AgentName { checkpoint: arguments.out.clone(), cap: None }.into());
        let policies = files::load_policies(&names)?;
        let Arguments { instances, seed, .. } = *arguments;
        evaluate::evaluate(&*source, &policies, instances, seed, Clairvoyance::None)?;
    }
    Ok(())
}

/// A fresh training, or the one in the folder if it is the same.
fn start(
    arguments: &Arguments,
    source: &dyn InstanceSource,
    servers: usize,
    hyperparameters: Hyperparameters,
) -> Result<Checkpoint, Failure> {
    let folder = &arguments.out;
    let settings = source.description();
    if !arguments.resume {
        if Checkpoint::exists(folder) {
            let problem = "holds a checkpoint already: --resume goes on with it, another --out \
                           starts anew";
            return Err(Failure::refused(folder.display(), problem));
        }
        let origin = Origin {
            version: env!("CARGO_PKG_VERSION").into(),
            command: command(),
            scenario: settings,
        };
        let training = ActorCritic::new(servers, arguments.seed, hyperparameters);
        return Ok(Checkpoint { training, curve: Vec::new(), origin });
    }
    let checkpoint = Checkpoint::load(folder).map_err(|error| Failure::Refused(error.into()))?;
    let training = &checkpoint.training;
    for (what, same) in [
        ("another scenario", checkpoint.origin.scenario == settings),
        ("another seed", training.seed == arguments.seed),
        ("other hyperparameters", training.hyperparameters == hyperparameters),
    ] {
        if !same {
            let problem =
                format!("was trained with {what}: to resume, give what its metadata.json says");
            return Err(Failure::refused(folder.display(), problem));
        }
    }
    Ok(checkpoint)
}

/// Trains to the end or to the interruption, saving now and then.
fn train(
    checkpoint: &mut Checkpoint,
    source: &dyn EpisodeSource,
    folder: &Path,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let Hyperparameters { episodes, lanes, .. } = checkpoint.training.hyperparameters;
    let bar = progress::bar("training", episodes).with_position(checkpoint.training.episodes);
    bar.reset_eta();
    let mut environment = BatchedEnvironment::new(source, checkpoint.training.seed, lanes);
    let decisions = (lanes * source.requests()) as f64;
    let mut board = Board::new(folder, checkpoint.training.episodes);
    while checkpoint.training.episodes < episodes {
        let curve = &mut checkpoint.curve;
        let start = std::time::Instant::now();
        let (mut updates, before) = (0.0, checkpoint.training.episodes);
        checkpoint.training.train(&mut environment, |training, point| {
            curve.push(*point);
            board.points.push((seconds_since_1970(), *point));
            updates += 1.0;
            report(&bar, curve, updates * decisions / start.elapsed().as_secs_f64());
            let due = training.episodes / CHECKPOINT_EPISODES > before / CHECKPOINT_EPISODES;
            if due || interrupted.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        checkpoint.save(folder).context("cannot save the checkpoint")?;
        board.flush().context("cannot write the TensorBoard events")?;
        if interrupted.load(Ordering::Relaxed) {
            bar.abandon();
            return Ok(());
        }
    }
    bar.finish();
    Ok(())
}

/// The `TensorBoard` events of a training, which appear with every checkpoint.
struct Board<'a> {
    folder: &'a Path,
    first_step: u64,
    file: Option<EventFile>,
    /// What the next checkpoint will bring, with the time of each.
    points: Vec<(f64, CurvePoint)>,
}

impl<'a> Board<'a> {
    fn new(folder: &'a Path, episodes: u64) -> Self {
        Self { folder, first_step: episodes + 1, file: None, points: Vec::new() }
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

fn seconds_since_1970() -> f64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Shows the reward of the last 50 updates and the speed.
fn report(bar: &ProgressBar, curve: &[CurvePoint], decisions_per_second: f64) {
    let last = &curve[curve.len().saturating_sub(50)..];
    let reward = last.iter().map(|point| point.reward).sum::<f64>() / last.len() as f64;
    bar.set_position(curve[curve.len() - 1].episode);
    bar.set_message(format!("reward {reward:.2}  {:.0} k decisions/s", decisions_per_second / 1e3));
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
