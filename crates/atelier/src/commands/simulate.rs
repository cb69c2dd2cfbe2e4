use std::io::Write;
use std::path::PathBuf;

use experiments::{Window, schedule_of, write_gantt, write_trace};
use scheduling::{Generator, Instance, PolicyName, Purpose, Row, rows_in_parts};
use simulation::Metrics;

use crate::failure::Failure;
use crate::files::{self, Destination};
use crate::output::say;

/// Run a policy on an instance; print what it is worth and write what happened to each request.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Instance file (JSON).
    #[arg(long)]
    instance: PathBuf,
    /// Name of the policy, such as `greedy`, `fixed[steps=30]` or `agent[models/paper]`.
    #[arg(long)]
    policy: PolicyName,
    /// Seed of policies that draw random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File for the rows (CSV).
    #[arg(long)]
    rows: Option<PathBuf>,
    /// File for a Gantt chart of the schedule (SVG), requests coloured by how late they are.
    #[arg(long)]
    gantt: Option<PathBuf>,
    /// Part of the schedule that the chart shows, in seconds, such as `600..900` or `600..`.
    #[arg(long, requires = "gantt", value_parser = window)]
    window: Option<Window>,
    /// File for a trace that opens in ui.perfetto.dev (JSON).
    #[arg(long)]
    trace: Option<PathBuf>,
}

/// `FROM..TO` or `FROM..`
fn window(text: &str) -> Result<Window, String> {
    let allowed = || "allowed is FROM..TO or FROM.. in seconds, 0 ≤ FROM < TO".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(allowed)?;
    let number = |text: &str| match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err(allowed()),
    };
    let from = number(from)?;
    let to = if to.is_empty() { None } else { Some(number(to)?) };
    if to.is_some_and(|to| to <= from) { Err(allowed()) } else { Ok(Window { from, to }) }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let instance = files::read_instance(&arguments.instance)?;
    let recipe = &files::load_policies(std::slice::from_ref(&arguments.policy))?[0];
    let generator = Generator::new(arguments.seed, Purpose::Policy, 0);
    let mut policy = recipe
        .policy(instance.cluster(), generator)
        .map_err(|error| Failure::Refused(error.into()))?;
    let [rows_file, gantt, trace] = [&arguments.rows, &arguments.gantt, &arguments.trace]
        .map(|path| Destination::optional(path.as_ref()));
    let (rows_file, gantt, trace) = (rows_file?, gantt?, trace?);
    let rows = schedule_of(&mut *policy, recipe.name(), &instance)?;
    if let Some(file) = rows_file {
        write_rows(file, &rows, &instance)?;
    }
    let name = arguments.policy.to_string();
    if let Some(file) = gantt {
        file.write_with(|out| write_gantt(&instance, &rows, &name, arguments.window, out))?;
    }
    if let Some(file) = trace {
        file.write_with(|out| write_trace(&instance, &rows, &name, out))?;
    }
    print(&Metrics::of(&rows));
    Ok(())
}

/// The rows of an instance as CSV.
pub(crate) fn write_rows(
    file: Destination,
    rows: &[Row],
    instance: &Instance,
) -> Result<(), Failure> {
    let mut parts = rows_in_parts(rows, instance.cluster().models());
    file.write_with(|out| parts.try_for_each(|part| out.write_all(part.as_bytes())))
}

fn print(metrics: &Metrics) {
    say!("reward           {:.4}", metrics.reward);
    say!("quality          {:.4}", metrics.quality);
    say!("tardiness        {:.4} s", metrics.tardiness);
    say!("late             {:.2} %", 100.0 * metrics.late_fraction);
    say!("p99 tardiness    {:.4} s", metrics.tardiness_p99);
    say!("worst tardiness  {:.4} s", metrics.tardiness_worst);
}
