use std::path::PathBuf;

use simulation::{Episode, InstanceSource};

use crate::failure::Failure;
use crate::files::{self, Destination};

/// Draw an instance of a scenario and write it as JSON.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Scenario file (TOML).
    #[arg(long)]
    scenario: PathBuf,
    /// Seed of the instance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which of the instances that `evaluate` uses under this seed, from 0.
    #[arg(long, default_value_t = 0)]
    index: u64,
    /// Instance file to write (JSON).
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let scenario = files::read_scenario(&arguments.scenario)?;
    let out = Destination::open(&arguments.out)?;
    let instance = scenario.instance(arguments.seed, Episode::Evaluation(arguments.index));
    out.write(&instance.to_json())
}
