use std::path::PathBuf;

use experiments::{Faults, Form, instance_of, read_trace, recorded};
use simulation::InstanceSource;

use crate::failure::Failure;
use crate::files::{self, Destination};
use crate::output::say;

/// Turn traffic that others have recorded into an instance that `simulate`, `evaluate`, `train`, `tune` and
/// `bound` read.
///
/// What a trace does not say is taken from a scenario: servers, quality, due times and penalties. Its times are pressed
/// together until the mean interval is the scenario's. Its models become those of the scenario in the order of how often
/// they are asked for.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What its columns are: `gentd26` is lora_request_trace.csv of alibaba/clusterdata; `csv` has
    /// `arrival` in seconds and, where they are known, slack, penalty, model, size, min_steps and max_steps.
    #[arg(value_enum)]
    form: FormName,
    /// The trace (CSV).
    file: PathBuf,
    /// Scenario file (TOML).
    #[arg(long)]
    scenario: PathBuf,
    /// Instance file to write (JSON); or, with a name that ends in .toml, the scenario with all arrivals of
    /// the trace in place of its own.
    #[arg(long)]
    out: PathBuf,
    /// Requests of the trace to leave out at its begin; as many as the scenario has are taken from there on.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Seed of what the trace does not say.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave out rows that cannot be used, and count them.
    #[arg(long)]
    lenient: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FormName {
    Gentd26,
    Csv,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let scenario = files::read_scenario(&arguments.scenario)?;
    let text = files::read(&arguments.file)?;
    let out = Destination::open(&arguments.out)?;
    let form = match arguments.form {
        FormName::Gentd26 => Form::Gentd26,
        FormName::Csv => Form::Csv,
    };
    let faults = if arguments.lenient { Faults::Skip } else { Faults::Refuse };
    let refused = |error| Failure::refused(arguments.file.display(), error);
    let trace = read_trace(&text, form, faults).map_err(refused)?;
    if arguments.out.extension().is_some_and(|extension| extension == "toml") {
        let scenario = recorded(&trace, &scenario, arguments.first).map_err(refused)?;
        out.write(&scenario.to_toml())?;
        say!(
            "the scenario {}, with {} arrivals",
            scenario.name(),
            trace.asked.len() - arguments.first
        );
        return Ok(());
    }
    let imported =
        instance_of(&trace, &scenario, arguments.first, arguments.seed).map_err(refused)?;
    out.write(&imported.instance.to_json())?;
    let taken = imported.instance.requests().len();
    say!("{taken} of {} requests, {:.4} times as fast", trace.asked.len(), imported.compression);
    for (reason, rows) in &trace.left_out {
        say!("{rows} rows left out: {reason}");
    }
    if imported.other_models > 0 {
        say!("{} requests left out: no server has their model", imported.other_models);
    }
    Ok(())
}
