use std::path::PathBuf;

use agent::Recipe;
use experiments::{Change, Target, prospect_table, prospects};
use scheduling::PolicyName;

use crate::failure::Failure;
use crate::files::{self, Destination};
use crate::output::say;

/// Say what recorded traffic would have had with other servers, and how many of them a target needs.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Instance file (JSON), such as a gateway's traffic from `export`.
    #[arg(long)]
    instance: PathBuf,
    /// Servers that come, such as `steps_per_second=15`, `like=s0` or
    /// `steps_per_second=15,overhead_seconds=0.4,count=2`; may be given several times, each on a line of its own.
    #[arg(long, value_name = "SERVERS")]
    add: Vec<Change>,
    /// A server that goes; may be given several times, each on a line of its own.
    #[arg(long, value_name = "SERVER")]
    without: Vec<String>,
    /// What to reach: `reward=50`, `on_time=0.95` or `p99=10`, in seconds late. Says how many times each `--add` it
    /// takes.
    #[arg(long, requires = "add")]
    target: Option<Target>,
    /// How many times to try at most.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
    most: u16,
    /// The policy that schedules.
    #[arg(long, default_value = "agent[universal]")]
    policy: PolicyName,
    /// Seed of a policy that draws random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File for the results (JSON).
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let instance = files::read_instance(&arguments.instance)?;
    let policy = Recipe::load(&arguments.policy).map_err(|error| Failure::Refused(error.into()))?;
    let json = Destination::optional(arguments.json.as_ref())?;
    let without = arguments.without.iter().map(|server| Change::without(server));
    let changes: Vec<_> = [Change::nothing()]
        .into_iter()
        .chain(arguments.add.iter().cloned())
        .chain(without)
        .collect();
    let target = arguments.target.map(|target| (target, arguments.most.into()));
    let found = prospects(&instance, &policy, &changes, target, arguments.seed)
        .map_err(|error| Failure::refused(arguments.instance.display(), error))?;
    say!("{}", prospect_table(&found));
    let requests = instance.requests().len();
    say!(
        "{requests} requests as they were recorded, under {}; means per request",
        arguments.policy
    );
    if let Some(json) = json {
        json.write(&(serde_json::to_string(&found).map_err(anyhow::Error::from)? + "\n"))?;
    }
    Ok(())
}
