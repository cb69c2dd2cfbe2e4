//! What policies are worth, and what was possible, as tables.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use experiments::{Clairvoyance, Goal, Questions, foreseeable, judged, schedule_of};
use hindsight::Budget;
use pyo3::prelude::*;
use pyo3_arrow::PyTable;
use scheduling::verify::Order;
use scheduling::{Generator, Purpose, Seconds};
use simulation::{Estimate, Metrics, Summary};

use crate::frame::{of_rows, table};
use crate::interruption::interruptible;
use crate::policies::{Named, Raised};
use crate::refused;
use crate::sources::{Instance, Source, counts, floats, texts};

/// Policies on common instances.
#[pyclass(frozen, module = "atelier._core")]
pub(crate) struct Evaluation(experiments::Evaluation);

#[pymethods]
impl Evaluation {
    /// One row for each policy: means over instances, with the ends of their 95 % intervals.
    #[getter]
    fn policies(&self) -> PyResult<PyTable> {
        let all = &self.0.policies;
        let mut columns = vec![("policy", texts(all.iter().map(|of| &of.policy)))];
        for (figure, [mean, low, high]) in SUMMARY {
            let values = || all.iter().map(|of| figure(&of.summary));
            let end = |end: usize| {
                floats(values().map(move |value| value.ci95.map_or(f64::NAN, |ends| ends[end])))
            };
            columns.push((mean, floats(values().map(|value| value.mean))));
            columns.push((low, end(0)));
            columns.push((high, end(1)));
        }
        if all.iter().all(|of| of.against.is_some()) {
            let against = || all.iter().filter_map(|of| of.against);
            columns.push(("regret", floats(against().map(|of| of.regret.mean))));
            columns
                .push(("share_of_possible", floats(against().map(|of| of.share_of_possible.mean))));
        }
        table(columns)
    }

    /// One row for each policy and instance.
    #[getter]
    fn instances(&self) -> PyResult<PyTable> {
        let all = || {
            let of = |of: &'_ experiments::PolicyResult| of.policy.clone();
            self.0.policies.iter().flat_map(move |result| {
                let policy = of(result);
                result
                    .instances
                    .iter()
                    .enumerate()
                    .map(move |(index, metrics)| (policy.clone(), index as u32, *metrics))
            })
        };
        let mut columns = vec![
            ("policy", texts(all().map(|(policy, ..)| policy))),
            ("instance", counts(all().map(|(_, index, _)| index))),
        ];
        for (figure, name) in METRICS {
            columns.push((name, floats(all().map(|(.., metrics)| figure(&metrics)))));
        }
        table(columns)
    }

    /// As `evaluate --json` has it.
    fn to_json(&self) -> PyResult<String> {
        serde_json::to_string(&self.0).map_err(refused)
    }

    fn __repr__(&self) -> String {
        experiments::table(&self.0)
    }
}

type Figure<T, U> = fn(&T) -> U;

/// The figures of a summary, and what their means and the ends of their intervals are called.
const SUMMARY: [(Figure<Summary, Estimate>, [&str; 3]); 6] = [
    (|of| of.reward, ["reward", "reward_low", "reward_high"]),
    (|of| of.quality, ["quality", "quality_low", "quality_high"]),
    (|of| of.tardiness, ["tardiness", "tardiness_low", "tardiness_high"]),
    (|of| of.late_fraction, ["late_fraction", "late_fraction_low", "late_fraction_high"]),
    (|of| of.tardiness_p99, ["tardiness_p99", "tardiness_p99_low", "tardiness_p99_high"]),
    (|of| of.tardiness_worst, ["tardiness_worst", "tardiness_worst_low", "tardiness_worst_high"]),
];

/// The figures of an instance.
const METRICS: [(Figure<Metrics, f64>, &str); 7] = [
    (|of| of.reward, "reward"),
    (|of| of.quality, "quality"),
    (|of| of.tardiness, "tardiness"),
    (|of| of.penalty, "penalty"),
    (|of| of.late_fraction, "late_fraction"),
    (|of| of.tardiness_p99, "tardiness_p99"),
    (|of| of.tardiness_worst, "tardiness_worst"),
];

/// Lets policies decide the same instances: of a scenario so many, of instances all.
#[pyfunction]
#[pyo3(signature = (source, policies, *, instances=50, seed=1, clairvoyant=None))]
pub(crate) fn evaluate(
    py: Python<'_>,
    source: Source<'_>,
    policies: Vec<(Option<String>, Named<'_>)>,
    instances: u64,
    seed: u64,
    clairvoyant: Option<u16>,
) -> PyResult<Evaluation> {
    if !(1..=100_000).contains(&instances) {
        return Err(refused(format!("instances is {instances}: allowed is 1 to 100000")));
    }
    if clairvoyant == Some(0) {
        return Err(refused("clairvoyant is 0: allowed is 1 to 65535 rounds of search, or None"));
    }
    let source = source.find()?.instances();
    let raised = Raised::default();
    let recipes = policies
        .into_iter()
        .map(|(name, policy)| policy.recipe(name.as_deref(), &raised))
        .collect::<PyResult<Vec<_>>>()?;
    if recipes.is_empty() {
        return Err(refused("no policy is given: allowed is one or more"));
    }
    let clairvoyance =
        clairvoyant.map_or(Clairvoyance::None, |rounds| Clairvoyance::Rounds(rounds.into()));
    let questions = Questions { clairvoyance, due_scales: Vec::new() };
    let evaluated = interruptible(py, |go_on| {
        experiments::evaluate(&*source, &recipes, instances, seed, &questions, go_on)
    })?;
    Ok(Evaluation(evaluated.map_err(|error| raised.or(error))?))
}

/// What a policy makes of an instance: one row for each request, in order of arrival.
#[pyfunction]
#[pyo3(signature = (instance, policy, *, seed=1))]
pub(crate) fn simulate(
    py: Python<'_>,
    instance: &Instance,
    policy: Named<'_>,
    seed: u64,
) -> PyResult<PyTable> {
    let instance = &instance.0;
    let raised = Raised::default();
    let recipe = policy.recipe(None, &raised)?;
    let rows = py.detach(|| {
        let generator = Generator::new(seed, Purpose::Policy, 0);
        let mut policy = recipe.policy(instance.cluster(), generator).map_err(|e| raised.or(e))?;
        schedule_of(&mut *policy, recipe.name(), instance).map_err(|error| raised.or(error))
    })?;
    of_rows(&rows, instance.cluster().models())
}

/// The prices of `priced` that earn most on training instances: the name of the policy, what it earns there, and the
/// tardiness that 99 of 100 requests do not exceed.
#[pyfunction]
#[pyo3(signature = (source, *, instances=8, seed=1, p99_below=None))]
pub(crate) fn tune(
    py: Python<'_>,
    source: Source<'_>,
    instances: u64,
    seed: u64,
    p99_below: Option<f64>,
) -> PyResult<(String, f64, f64)> {
    if !(1..=10_000).contains(&instances) {
        return Err(refused(format!("instances is {instances}: allowed is 1 to 10000")));
    }
    let goal = match p99_below {
        None => Goal::Reward,
        Some(seconds) => Goal::P99Below(Seconds::new(seconds).map_err(refused)?),
    };
    let source = source.find()?.instances();
    let tuned =
        interruptible(py, |go_on| experiments::tune(&*source, instances, seed, goal, go_on))?;
    let tuned = tuned.map_err(refused)?;
    Ok((tuned.policy.to_string(), tuned.reached.reward, tuned.reached.p99))
}

/// What any schedule of an instance can earn at most, and a schedule close to it.
#[pyclass(frozen, module = "atelier._core", name = "Bound", get_all)]
pub(crate) struct Possible {
    /// No schedule earns more per request.
    upper_bound: f64,
    /// Mean reward of the best schedule that was found.
    reward: f64,
    /// Its rows.
    rows: Py<PyTable>,
}

/// What was possible on an instance, knowing all arrivals.
#[pyfunction]
#[pyo3(signature = (instance, *, seconds=None, seed=1))]
pub(crate) fn bound(
    py: Python<'_>,
    instance: &Instance,
    seconds: Option<f64>,
    seed: u64,
) -> PyResult<Possible> {
    let instance = &instance.0;
    foreseeable(instance).map_err(refused)?;
    let time = seconds.map(Seconds::new).transpose().map_err(refused)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let budget = Budget { time, seed, threads: Some(threads), ..Budget::default() };
    let order = Order::FirstComeFirstServed;
    let outcome = interruptible(py, |go_on| {
        hindsight::bound(instance, order, &budget, |_| {
            go_on();
            ControlFlow::Continue(())
        })
    })?;
    let upper_bound = outcome.bound();
    let found = outcome.into_schedule();
    let found = found.ok_or_else(|| refused("no schedule was found in that time"))?;
    let rows = judged(&"clairvoyant", instance, found.rows, order).map_err(refused)?;
    let rows = Py::new(py, of_rows(&rows, instance.cluster().models())?)?;
    Ok(Possible { upper_bound, reward: found.reward, rows })
}
