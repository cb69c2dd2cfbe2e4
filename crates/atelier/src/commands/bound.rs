use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use experiments::{foreseeable, judged};
use hindsight::{Budget, Outcome, Timeline};
use scheduling::message::number;
use scheduling::verify::Order;
use scheduling::{Instance, Row, Seconds};
use serde::Serialize;

use crate::commands::simulate::write_rows;
use crate::failure::Failure;
use crate::files::Destination;
use crate::output::say;
use crate::{files, interruption, progress};

/// Bound what any schedule of an instance can earn, and find a schedule close to it.
///
/// All arrivals are known here, as to nobody who decides online. Ctrl-C prints the best so far.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Instance file (JSON).
    #[arg(long)]
    instance: PathBuf,
    /// Solve eq. (4) to optimality; for small instances only.
    #[arg(long)]
    exact: bool,
    /// With --exact: let runs start at multiples of so many seconds only, as the paper's slots do.
    #[arg(long, requires = "exact", value_name = "SECONDS")]
    slot: Option<f64>,
    /// With --exact: let servers run their requests in any order, as eq. (4) alone allows.
    #[arg(long, requires = "exact")]
    any_order: bool,
    /// Stop after so many seconds with the best so far.
    #[arg(long)]
    seconds: Option<f64>,
    /// Seed of the search.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File for the result (JSON).
    #[arg(long)]
    json: Option<PathBuf>,
    /// File for the rows of the best schedule (CSV).
    #[arg(long)]
    rows: Option<PathBuf>,
}

/// The result in the form of `--json`: both values are mean rewards per request.
#[derive(Serialize)]
struct Report {
    requests: usize,
    status: &'static str,
    upper_bound: f64,
    best_schedule: Option<f64>,
    /// Seconds per request that the best schedule spends on loading models, which the bound takes for
    /// none; only where servers load models.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_seconds: Option<f64>,
    #[serde(skip)]
    rows: Vec<Row>,
}

impl Report {
    /// The outcome, once its schedule is judged.
    fn of(outcome: Outcome, instance: &Instance, order: Order) -> Result<Self, Failure> {
        let status = match outcome {
            Outcome::Optimal { .. } => "optimal",
            Outcome::Feasible { .. } => "feasible",
            Outcome::Unknown { .. } => "unknown",
        };
        let upper_bound = outcome.bound();
        let schedule = outcome.into_schedule();
        let best_schedule = schedule.as_ref().map(|schedule| schedule.reward);
        let rows = match schedule {
            Some(schedule) => judged(&"clairvoyant", instance, schedule.rows, order)?,
            None => Vec::new(),
        };
        let requests = instance.requests().len();
        let load = |row: &Row| row.beyond.map_or(0.0, |beyond| beyond.load);
        let loads = rows.iter().map(load).sum::<f64>() / requests as f64;
        let counted = instance.cluster().loads_models() && best_schedule.is_some();
        let load_seconds = counted.then_some(loads);
        Ok(Self { requests, status, upper_bound, best_schedule, load_seconds, rows })
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let instance = files::read_instance(&arguments.instance)?;
    foreseeable(&instance)
        .map_err(|error| Failure::refused(arguments.instance.display(), error))?;
    let [rows, json] =
        [&arguments.rows, &arguments.json].map(|path| Destination::optional(path.as_ref()));
    let (rows, json_file) = (rows?, json?);
    let (outcome, order) = if arguments.exact {
        exact(arguments, &instance)?
    } else {
        (bound(arguments, &instance)?, Order::FirstComeFirstServed)
    };
    let report = Report::of(outcome, &instance, order)?;
    if let Some(file) = rows {
        write_rows(file, &report.rows, &instance)?;
    }
    if let Some(file) = json_file {
        let json = serde_json::to_string(&report).map_err(anyhow::Error::from)?;
        file.write(&(json + "\n"))?;
    }
    print(&report);
    Ok(())
}

fn bound(arguments: &Arguments, instance: &Instance) -> Result<Outcome, Failure> {
    let time = seconds("--seconds", arguments.seconds)?;
    let budget = Budget { time, seed: arguments.seed, ..Budget::default() };
    let interrupted = interruption::flag()?;
    let bar = progress::share("bounding", 1000);
    let outcome = hindsight::bound(instance, Order::FirstComeFirstServed, &budget, |progress| {
        bar.set_position((1000.0 * progress.fraction) as u64);
        let best = progress.best.map_or("none yet".into(), |best| format!("{best:.3}"));
        bar.set_message(format!("bound {:.3}  best {best}", progress.bound));
        stop_if(interrupted.load(Ordering::Relaxed))
    });
    bar.finish_and_clear();
    Ok(outcome)
}

fn exact(arguments: &Arguments, instance: &Instance) -> Result<(Outcome, Order), Failure> {
    let order = if arguments.any_order { Order::Any } else { Order::FirstComeFirstServed };
    let timeline = match seconds("--slot", arguments.slot)? {
        Some(slot) => Timeline::Slots(slot),
        None => Timeline::Continuous,
    };
    let end = seconds("--seconds", arguments.seconds)?
        .map(|time| Instant::now() + Duration::from_secs_f64(time.seconds()));
    let interrupted = interruption::flag()?;
    let bar = progress::spinner("solving");
    let solution = hindsight::exact(instance, order, timeline, || {
        bar.tick();
        let late = end.is_some_and(|end| Instant::now() >= end);
        stop_if(late || interrupted.load(Ordering::Relaxed))
    })
    .map_err(|error| Failure::refused(arguments.instance.display(), error))?;
    bar.finish_and_clear();
    Ok((solution.outcome, order))
}

fn stop_if(stop: bool) -> ControlFlow<()> {
    if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// An option in seconds, above 0.
fn seconds(option: &str, value: Option<f64>) -> Result<Option<Seconds>, Failure> {
    match value {
        Some(value) if value > 0.0 => {
            Seconds::new(value).map(Some).map_err(|error| Failure::refused(option, error))
        }
        Some(value) => {
            Err(Failure::refused(option, format!("{} given: allowed is above 0", number(value))))
        }
        None => Ok(None),
    }
}

fn print(report: &Report) {
    say!("status         {}", report.status);
    say!("upper bound    {:.6}", report.upper_bound);
    if let Some(best) = report.best_schedule {
        say!("best schedule  {best:.6}");
        let gap = (report.upper_bound - best) / report.upper_bound.abs().max(f64::MIN_POSITIVE);
        say!("gap            {:.4} %", 100.0 * gap);
    }
    if let Some(seconds) = report.load_seconds {
        let bound = match report.status {
            "optimal" => "which the optimum counts",
            _ => "which the upper bound takes for 0 s",
        };
        say!("loading        {seconds:.3} s per request, {bound}");
    }
    say!("mean rewards per request, {} requests", report.requests);
}
