//! Bound and schedule together: what was possible on an instance of any size.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::Instant;

use scheduling::verify::Order;
use scheduling::{Instance, Row, Seconds};

use crate::dual::{Dual, descend};
use crate::exact::{MOST_SERVERS, solve};
use crate::outcome::Outcome;
use crate::problem::Problem;
use crate::schedule::{Schedule, insert_by_price};
use crate::search::{Start, improve};
use crate::timeline::Timeline;

/// How much work to spend.
///
/// With the same seed, steps and rounds the outcome is the same on any number of threads, unless
/// `time` ends it early.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Steps of the descent on the prices, which makes the bound.
    pub descent_steps: usize,
    /// Rounds of the search, which makes the schedule; each tries half a move per request.
    pub search_rounds: usize,
    /// Ends the work after this time; at most half of it goes to the descent. A step in progress is
    /// finished first.
    pub time: Option<Seconds>,
    /// Of the random moves of the search.
    pub seed: u64,
    /// Threads to work on; one for each core if `None`.
    pub threads: Option<NonZeroUsize>,
}

impl Default for Budget {
    /// Enough for the gaps that `docs/hindsight.md` reports: about a minute on two cores for 2000
    /// requests on ten servers.
    fn default() -> Self {
        Self { descent_steps: 400, search_rounds: 250, time: None, seed: 0, threads: None }
    }
}

/// Where the work stands. All values are means per request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Share of the work that is done, 0 to 1.
    pub fraction: f64,
    /// The best bound so far.
    pub bound: f64,
    /// The reward of the best schedule so far, if there is one.
    pub best: Option<f64>,
}

/// Share of the work that the descent is, for [`Progress::fraction`].
const DESCENT_SHARE: f64 = 0.5;
/// Up to this many requests the bound is closed by the exact method where that is quick.
const CLOSED_REQUESTS: usize = 12;
/// What counts as quick, in labels.
const CLOSED_LABELS: usize = 600_000;

/// Bounds what any schedule can earn and finds a good one that serves first come first served.
///
/// The bound holds in continuous time for servers that run their requests in any order, as eq. (4)
/// allows; for [`Order::FirstComeFirstServed`] it holds all the more. On small instances the exact
/// method may replace it, for the order that is asked for. `report` is called now and then; when it
/// breaks, the best so far is returned.
///
/// ```
/// use std::ops::ControlFlow;
/// use scheduling::verify::{Order, verify};
///
/// let json = r#"{"servers": [{"name": "s0", "steps_per_second": 15.2}],
///     "requests": [{"arrival": 0.0, "due": 12.5, "penalty": "linear"}],
///     "tardiness_weight": 1.5}"#;
/// let instance = scheduling::Instance::from_json(json)?;
/// let budget = hindsight::Budget { search_rounds: 2, ..Default::default() };
/// let order = Order::FirstComeFirstServed;
/// let outcome = hindsight::bound(&instance, order, &budget, |_| ControlFlow::Continue(()));
/// let schedule = outcome.schedule().expect("nobody stopped it");
/// assert_eq!(verify(&instance, &schedule.rows, order), Ok(()));
/// assert!(schedule.reward <= outcome.bound());
/// # Ok::<(), scheduling::InstanceError>(())
/// ```
pub fn bound(
    instance: &Instance,
    order: Order,
    budget: &Budget,
    report: impl FnMut(&Progress) -> ControlFlow<()> + Send,
) -> Outcome {
    bound_from(None, instance, order, budget, report)
}

/// [`bound()`], with a search that begins with a known schedule where that earns more than its own: what is
/// found never earns less. The rows must be a sound schedule that serves first come first served.
pub fn bound_from(
    known: Option<&[Row]>,
    instance: &Instance,
    order: Order,
    budget: &Budget,
    report: impl FnMut(&Progress) -> ControlFlow<()> + Send,
) -> Outcome {
    let threads = budget.threads.map_or(0, NonZeroUsize::get);
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(|| work(known, instance, order, budget, report)),
        // Without threads of its own the work is done where the caller is; the outcome is the same.
        Err(_) => work(known, instance, order, budget, report),
    }
}

fn work(
    known: Option<&[Row]>,
    instance: &Instance,
    order: Order,
    budget: &Budget,
    mut report: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Outcome {
    let problem = Problem::new(instance);
    let n = problem.requests() as f64;
    let began = Instant::now();
    let within = |share: f64| {
        budget.time.is_none_or(|time| began.elapsed().as_secs_f64() < share * time.seconds())
    };
    let nothing = Progress { fraction: 0.0, bound: problem.best_quality(), best: None };
    if report(&nothing).is_break() {
        return Outcome::Unknown { bound: nothing.bound };
    }
    let mut stopped = false;
    let dual = descend(&problem, Timeline::Continuous, budget.descent_steps, |fraction, bound| {
        let fraction = fraction * DESCENT_SHARE;
        stopped = report(&Progress { fraction, bound: bound / n, best: None }).is_break();
        !stopped && within(0.5)
    });
    let known = known.map(|rows| Schedule::new(rows.to_vec()));
    let start = Start { inserted: insert_by_price(&problem, &dual.prices), known };
    let rounds = if stopped { 0 } else { budget.search_rounds };
    let searched = Instant::now();
    let left = budget.time.map(|time| time.seconds() - began.elapsed().as_secs_f64());
    let best = improve(&problem, start, rounds, budget.seed, |share, best| {
        let time_share = left.map_or(0.0, |left| searched.elapsed().as_secs_f64() / left.max(1e-9));
        let share = share.max(time_share);
        let fraction = DESCENT_SHARE + share.min(1.0) * (1.0 - DESCENT_SHARE);
        let best = Some(best.reward / n);
        stopped |= report(&Progress { fraction, bound: dual.bound / n, best }).is_break();
        (!stopped && share < 1.0).then_some(share)
    });
    let small = problem.requests() <= CLOSED_REQUESTS && problem.servers() <= MOST_SERVERS;
    let closable = small && !stopped;
    if closable && let Some(optimum) = close(&problem, order, &dual, &best, || within(1.0)) {
        return optimum;
    }
    finish(&problem, &dual, best)
}

/// The exact optimum, if few labels prove it. Its schedule is only of use where the order is the
/// one that was asked for.
fn close(
    problem: &Problem<'_>,
    order: Order,
    dual: &Dual,
    best: &Schedule,
    mut go_on: impl FnMut() -> bool,
) -> Option<Outcome> {
    let mut pulse = || if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let first = best.clone();
    let solution =
        solve(problem, order, Timeline::Continuous, dual, first, CLOSED_LABELS, &mut pulse);
    let Outcome::Optimal { schedule, .. } = solution.outcome else { return None };
    let bound = schedule.reward + PROVEN;
    Some(match order {
        Order::FirstComeFirstServed => Outcome::Optimal { schedule, bound },
        Order::Any => {
            let schedule = best.clone().per_request(problem.requests() as f64);
            Outcome::Feasible { schedule, bound }
        }
    })
}

/// How far above the value of an optimal schedule the truth may be, per request.
const PROVEN: f64 = 1e-9;

fn finish(problem: &Problem<'_>, dual: &Dual, best: Schedule) -> Outcome {
    let n = problem.requests() as f64;
    let (bound, schedule) = (dual.bound / n, best.per_request(n));
    if bound - schedule.reward <= PROVEN {
        Outcome::Optimal { schedule, bound }
    } else {
        Outcome::Feasible { schedule, bound }
    }
}
