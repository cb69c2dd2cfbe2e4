//! First-come-first-served schedules: which requests each server gets, and the exact rest.

use std::sync::Arc;

use rayon::prelude::*;
use scheduling::{Loaded, Row};

use crate::outcome::Found;
use crate::prices::Prices;
use crate::problem::Problem;
use crate::value::{Curve, Grid};

/// The server of each request. Order and start times follow from first come first served, steps
/// from [`best_steps`].
pub(crate) type Assignment = Vec<usize>;

/// A schedule and what it earns in total.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) rows: Vec<Row>,
    pub(crate) reward: f64,
}

impl Schedule {
    pub(crate) fn new(mut rows: Vec<Row>) -> Self {
        rows.sort_by_key(|row| row.request);
        let reward = rows.iter().map(|row| row.reward).sum();
        Self { rows, reward }
    }

    /// With its mean reward over `n` requests.
    pub(crate) fn per_request(self, n: f64) -> Found {
        Found { reward: self.reward / n, rows: self.rows }
    }

    /// The server of each request.
    pub(crate) fn assignment(&self) -> Assignment {
        self.rows.iter().map(|row| row.server).collect()
    }
}

/// Inserts the requests in order of arrival, each where its reward less the price of the server's
/// time, that of a load included, is largest: −Π_j(t) stands for the value of server j being free at t.
pub(crate) fn insert_by_price(problem: &Problem<'_>, prices: &Prices) -> Assignment {
    let mut free = vec![prices.origin; problem.servers()];
    let mut loaded: Vec<Loaded> =
        problem.instance.cluster().iter().map(scheduling::Server::loaded).collect();
    (0..problem.requests())
        .map(|i| {
            let mut best = (f64::NEG_INFINITY, 0, 0.0);
            for (server, &free) in free.iter().enumerate() {
                let Some(service) = problem.service(server, i) else { continue };
                let start = problem.arrival[i].max(free);
                let load = problem.run(server, i, &mut loaded[server].clone());
                let paid = prices.until(server, start);
                for s in service.steps.clone() {
                    let finish = start + load + service.time[s];
                    let price = prices.until(server, finish) - paid;
                    let value = problem.reward(i, s, finish) - price;
                    if value > best.0 {
                        best = (value, server, finish);
                    }
                }
            }
            problem.run(best.1, i, &mut loaded[best.1]);
            free[best.1] = best.2;
            best.1
        })
        .collect()
}

/// The requests of each server, in order of arrival.
pub(crate) fn queues(assignment: &[usize], servers: usize) -> Vec<Vec<usize>> {
    let mut queues = vec![Vec::new(); servers];
    for (i, &server) in assignment.iter().enumerate() {
        queues[server].push(i);
    }
    queues
}

/// What a queue has to load, seconds before each of its requests; and what is loaded before each of
/// them, and after the last.
pub(crate) fn loads(
    problem: &Problem<'_>,
    server: usize,
    queue: &[usize],
) -> (Vec<f64>, Vec<Loaded>) {
    let mut loaded = vec![problem.instance.cluster()[server].loaded()];
    let mut loads = Vec::with_capacity(queue.len());
    for &i in queue {
        let mut after = loaded[loaded.len() - 1].clone();
        loads.push(problem.run(server, i, &mut after));
        loaded.push(after);
    }
    (loads, loaded)
}

/// The backward value functions of a queue with its loads: entry k is the one from its k-th request
/// on.
pub(crate) fn backward(grid: &Grid<'_>, queue: &[usize], loads: &[f64]) -> Vec<Arc<Curve>> {
    let mut curves = vec![Arc::new(Grid::nothing_behind())];
    for (&i, &load) in queue.iter().zip(loads).rev() {
        let curve = grid.backward(i, load, curves.last().expect("there is at least the last"));
        curves.push(Arc::new(curve));
    }
    curves.reverse();
    curves
}

/// The forward value functions of a queue with its loads: entry k is the one before its k-th request.
pub(crate) fn forward(grid: &Grid<'_>, queue: &[usize], loads: &[f64]) -> Vec<Arc<Curve>> {
    let mut curves = vec![Arc::new(Grid::nothing_ahead())];
    for (&i, &load) in queue.iter().zip(loads) {
        let curve = grid.forward(i, load, curves.last().expect("there is at least the first"));
        curves.push(Arc::new(curve));
    }
    curves
}

/// Chooses the steps of every request for a given assignment and writes the schedule out, exactly:
/// front to back, each the best of its own reward and the value of what comes after.
pub(crate) fn best_steps(
    problem: &Problem<'_>,
    grids: &[Grid<'_>],
    assignment: &[usize],
) -> Schedule {
    let queues = queues(assignment, problem.servers());
    let rows: Vec<Vec<Row>> = (queues.par_iter().enumerate())
        .map(|(server, queue)| {
            let (grid, (loads, _)) = (&grids[server], loads(problem, server, queue));
            let after = backward(grid, queue, &loads);
            let mut free = f64::NEG_INFINITY;
            let place = |(k, &i): (usize, &usize)| {
                let (start, load) = (problem.arrival[i].max(free), loads[k]);
                let service = problem.service(server, i).expect("it takes all of its queue");
                let value = |s: &usize| {
                    let finish = start + load + service.time[*s];
                    problem.reward(i, *s, finish) + grid.value(&after[k + 1], finish)
                };
                let steps = service.steps.clone().max_by(|a, b| value(a).total_cmp(&value(b)));
                let steps = steps.unwrap_or(service.steps.start);
                let row = problem.row(i, server, steps, (start, load));
                free = row.finish;
                row
            };
            queue.iter().enumerate().map(place).collect()
        })
        .collect();
    Schedule::new(rows.into_iter().flatten().collect())
}
