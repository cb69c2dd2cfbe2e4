//! The exact optimum of small instances, eq. (4): what it takes on, and what it answers.
//!
//! The work is done in [`crate::labels`].

use std::ops::ControlFlow;

use scheduling::Instance;
use scheduling::verify::Order;
use thiserror::Error;

use crate::dual::{Dual, descend, end_of_prices};
use crate::labels::{Proof, Solver};
use crate::outcome::Outcome;
use crate::problem::Problem;
use crate::schedule::{Schedule, insert_by_price};
use crate::search::improve;
use crate::timeline::Timeline;

/// An instance that [`exact`] does not take on. Nothing was computed.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum TooLarge {
    /// More requests than can be enumerated.
    #[error(
        "the instance has {requests} requests: the exact optimum is possible up to {possible}; \
         use the bound without --exact, which takes any size"
    )]
    Requests {
        /// Requests of the instance.
        requests: usize,
        /// What is possible on this timeline.
        possible: usize,
    },
    /// More servers than are worth enumerating.
    #[error(
        "the instance has {servers} servers: the exact optimum is possible up to {possible}; \
         use the bound without --exact, which takes any size"
    )]
    Servers {
        /// Servers of the instance.
        servers: usize,
        /// What is possible.
        possible: usize,
    },
    /// A slot that is no span of time.
    #[error("a slot of {0} s is not possible: allowed is more than 0 s")]
    Slot(f64),
    /// Slots so short that there are too many of them.
    #[error(
        "slots of {slot} s make {slots} of them: {possible} are possible; \
         use longer slots or continuous time"
    )]
    Slots {
        /// Length of a slot in seconds.
        slot: f64,
        /// How many there are until everything has surely run.
        slots: f64,
        /// What is possible.
        possible: usize,
    },
}

/// What [`exact`] found.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The schedule, and whether it is proven.
    pub outcome: Outcome,
    /// Labels that were made: a measure of the work.
    pub labels: usize,
}

/// The most requests that [`exact`] takes on.
const fn most_requests(timeline: Timeline) -> usize {
    match timeline {
        Timeline::Continuous => 16,
        Timeline::Slots(_) => 24,
    }
}

/// Labels kept at once before giving up: about 2 GB.
pub(crate) const MOST_LABELS: usize = 30_000_000;
/// Servers; the tables that prune labels grow with them.
pub(crate) const MOST_SERVERS: usize = 100;
/// Slots until the end of prices.
const MOST_SLOTS: usize = 20_000;
/// Steps of the descent that gives the prices.
const DESCENT: usize = 1200;
/// Rounds of the search that gives the first schedule.
const ROUNDS: usize = 30;

/// The best schedule of eq. (4) when all arrivals are known, and its proof.
///
/// `order` says whether each server runs its requests in order of arrival, as the paper's servers
/// do (§II), or in any order, as eq. (4) alone allows. `pulse` is called now and then; when it
/// breaks, the best schedule so far is returned as [`Outcome::Feasible`].
///
/// # Errors
/// [`TooLarge`] before anything is computed.
pub fn exact(
    instance: &Instance,
    order: Order,
    timeline: Timeline,
    mut pulse: impl FnMut() -> ControlFlow<()>,
) -> Result<Solution, TooLarge> {
    let (requests, possible) = (instance.requests().len(), most_requests(timeline));
    if requests > possible {
        return Err(TooLarge::Requests { requests, possible });
    }
    let (servers, possible) = (instance.cluster().len(), MOST_SERVERS);
    if servers > possible {
        return Err(TooLarge::Servers { servers, possible });
    }
    if let Timeline::Slots(slot) = timeline
        && slot.seconds() <= 0.0
    {
        return Err(TooLarge::Slot(slot.seconds()));
    }
    let problem = Problem::new(instance);
    if let Timeline::Slots(slot) = timeline {
        let slot = slot.seconds();
        let slots = ((end_of_prices(&problem) - problem.arrival[0]) / slot).ceil();
        if slots > MOST_SLOTS as f64 {
            return Err(TooLarge::Slots { slot, slots, possible: MOST_SLOTS });
        }
    }
    let dual = descend(&problem, timeline, DESCENT, |_, _| pulse().is_continue());
    let first = first_schedule(&problem, timeline, &dual);
    Ok(solve(&problem, order, timeline, &dual, first, MOST_LABELS, &mut pulse))
}

/// As [`exact`], with prices and a first schedule at hand.
pub(crate) fn solve(
    problem: &Problem<'_>,
    order: Order,
    timeline: Timeline,
    dual: &Dual,
    first: Schedule,
    most_labels: usize,
    pulse: &mut impl FnMut() -> ControlFlow<()>,
) -> Solution {
    let mut solver = Solver::new(problem, order, timeline, dual, most_labels);
    let (proof, best) = solver.prove(first, dual.bound, pulse);
    let n = problem.requests() as f64;
    let schedule = best.per_request(n);
    let outcome = match proof {
        Proof::Complete => Outcome::Optimal { bound: schedule.reward, schedule },
        Proof::Stopped => Outcome::Feasible { bound: dual.bound / n, schedule },
    };
    Solution { outcome, labels: solver.made }
}

/// A good first-come-first-served schedule; on slots its starts are rounded up.
fn first_schedule(problem: &Problem<'_>, timeline: Timeline, dual: &Dual) -> Schedule {
    let start = insert_by_price(problem, &dual.prices);
    let schedule = improve(problem, start, ROUNDS, 0, |share, _| Some(share));
    let mut free = vec![f64::NEG_INFINITY; problem.servers()];
    let rows = schedule.rows.iter().map(|row| {
        let start = timeline.start(problem.arrival[row.request].max(free[row.server]));
        let load = row.beyond.map_or(0.0, |beyond| beyond.load);
        let row = problem.row(row.request, row.server, row.steps as usize - 1, (start, load));
        free[row.server] = row.finish;
        row
    });
    Schedule::new(rows.collect())
}
