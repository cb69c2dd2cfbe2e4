use std::path::PathBuf;

use experiments::{Workload, workload_figure, workload_table};
use simulation::{Episode, InstanceSource};

use crate::failure::Failure;
use crate::files::{self, Destination};
use crate::output::say;

/// Say what the arrivals of scenarios and instances are like, side by side: how fast requests come, and how
/// unevenly.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Scenario file (TOML), of which an instance is drawn; may be given several times.
    #[arg(long = "scenario", required_unless_present = "instances")]
    scenarios: Vec<PathBuf>,
    /// Instance file (JSON), such as one from `import` or `export`; may be given several times.
    #[arg(long = "instance")]
    instances: Vec<PathBuf>,
    /// Seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File for a plot of the rates over time (SVG).
    #[arg(long)]
    figure: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut workloads = Vec::new();
    for file in &arguments.scenarios {
        let scenario = files::read_scenario(file)?;
        let instance = scenario.instance(arguments.seed, Episode::Evaluation(0));
        workloads.push(Workload::of(scenario.name(), &instance));
    }
    for file in &arguments.instances {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        workloads.push(Workload::of(name, &files::read_instance(file)?));
    }
    let figure = Destination::optional(arguments.figure.as_ref())?;
    say!("{}", workload_table(&workloads));
    if let Some(figure) = figure {
        figure.write(&workload_figure(&workloads))?;
    }
    Ok(())
}
