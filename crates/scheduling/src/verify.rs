//! The judge of schedules, whatever their origin: simulator, solver, search or live gateway.
//!
//! It shares no code with those that make schedules and lists every violation it finds.

use std::collections::HashMap;
use std::fmt;

use crate::instance::Instance;
use crate::row::{Row, RowOutcome};

/// In which order a server may run the requests dispatched to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In order of arrival, ties by index: what the paper's servers do (§II).
    FirstComeFirstServed,
    /// In any order: eq. (4) alone.
    Any,
}

/// One broken rule of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum Violation {
    /// (4b) A request that never runs.
    Missing {
        /// The request.
        request: usize,
    },
    /// (4b) A request that runs more than once.
    Duplicate {
        /// The request.
        request: usize,
    },
    /// A row for a request that the instance does not have.
    UnknownRequest {
        /// Its number.
        request: usize,
    },
    /// (4b) A server that the cluster does not have.
    UnknownServer {
        /// The request.
        request: usize,
        /// The server's number.
        server: usize,
    },
    /// (4e) Steps outside 1..=200.
    Steps {
        /// The request.
        request: usize,
        /// Its steps.
        steps: u32,
    },
    /// (4d) A start before the arrival.
    EarlyStart {
        /// The request.
        request: usize,
        /// When it starts.
        start: f64,
        /// When it arrives.
        arrival: f64,
    },
    /// (4c) Two requests on one server at once.
    Overlap {
        /// The server.
        server: usize,
        /// The request that runs.
        running: usize,
        /// The request that starts meanwhile.
        started: usize,
    },
    /// A later arrival that starts first on the same server.
    OutOfOrder {
        /// The server.
        server: usize,
        /// The request that starts first.
        first: usize,
        /// The request that arrived before it.
        second: usize,
    },
    /// A run on a server that is down meanwhile.
    Down {
        /// The server.
        server: usize,
        /// The request.
        request: usize,
        /// When the server goes down.
        from: f64,
        /// When it comes back.
        to: f64,
    },
    /// More runs than servers went down from the arrival to the start of the last one: only what a
    /// server takes with it is run again.
    Attempts {
        /// The request.
        request: usize,
        /// Runs it is said to have had.
        attempts: u32,
        /// The most that it can have had.
        most: u32,
    },
    /// A row without the columns that tell load, attempts and outcome, though the instance goes beyond
    /// the paper's world, or with them, though it does not.
    Columns {
        /// The request.
        request: usize,
    },
    /// A figure that does not follow from the instance and the decision: (1) and (4a) for `finish`
    /// and `tardiness`, (2), (3), (5) for the others.
    Arithmetic {
        /// The request.
        request: usize,
        /// Name of the column.
        column: &'static str,
        /// What stands in the row.
        found: f64,
        /// What follows from the instance.
        expected: f64,
    },
}

/// Two figures are the same when they differ by at most this share of the larger one (or of 1):
/// far above rounding, far below anything that could matter.
const TOLERANCE: f64 = 1e-9;

/// Checks rows against their instance.
///
/// Where the instance goes beyond the paper's world, requests move between queues as servers fail or
/// stray from their predictions, and rows do not tell when: no order is asked for there. All else is,
/// and that nothing runs on a server that is down, and takes what its luck makes of the prediction.
///
/// # Errors
/// Every violation of (4a) to (4e), of the order and of the arithmetic.
pub fn verify(instance: &Instance, rows: &[Row], order: Order) -> Result<(), Vec<Violation>> {
    let mut violations = Vec::new();
    each_request_once(instance, rows, &mut violations);
    let losses = losses(instance);
    for row in rows {
        check_row(instance, row, &mut violations);
        check_reality(instance, row, &losses, &mut violations);
    }
    let order = if instance.is_ideal() { order } else { Order::Any };
    check_servers(rows, order, &mut violations);
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

/// (4b): each request starts once.
fn each_request_once(instance: &Instance, rows: &[Row], violations: &mut Vec<Violation>) {
    let mut runs = vec![0; instance.requests().len()];
    for row in rows {
        match runs.get_mut(row.request) {
            Some(count) => *count += 1,
            None => violations.push(Violation::UnknownRequest { request: row.request }),
        }
    }
    for (request, &count) in runs.iter().enumerate() {
        match count {
            0 => violations.push(Violation::Missing { request }),
            1 => {}
            _ => violations.push(Violation::Duplicate { request }),
        }
    }
}

/// (4a), (4d), (4e) and the arithmetic of one row.
fn check_row(instance: &Instance, row: &Row, violations: &mut Vec<Violation>) {
    let request = row.request;
    let Some(given) = instance.requests().get(request) else { return };
    let mut expect = |column, found: f64, expected: f64| {
        if !same(found, expected) {
            violations.push(Violation::Arithmetic { request, column, found, expected });
        }
    };
    let (arrival, due) = (given.arrival.seconds(), given.due.seconds());
    expect("arrival", row.arrival, arrival);
    expect("due", row.due, due);

    // τ_i and g_i, eq. (3), written out anew.
    let tardiness = f64::max(0.0, row.finish - due);
    expect("tardiness", row.tardiness, tardiness);
    let penalty = match given.penalty {
        crate::TardinessPenalty::Linear => tardiness,
        crate::TardinessPenalty::Quadratic => tardiness.powi(2),
        crate::TardinessPenalty::SquareRoot => tardiness.sqrt(),
    };
    expect("penalty", row.penalty, penalty);

    let server = instance.cluster().get(row.server);
    let steps = crate::Steps::new(row.steps).ok();
    let failed = row.beyond.is_some_and(|beyond| beyond.outcome == RowOutcome::Failed);
    if let (Some(server), Some(_), false) = (server, steps, failed) {
        let predicted =
            server.overhead.seconds() + f64::from(row.steps) / server.step_rate.steps_per_second();
        let attempts = row.beyond.map_or(1, |beyond| beyond.attempts);
        let stretch = stretch(instance, row.server, request, attempts);
        expect("finish", row.finish, row.start + predicted * stretch);
    }
    if let Some(steps) = steps {
        let quality = if failed { 0.0 } else { instance.objective().quality(steps) };
        expect("quality", row.quality, quality);
        let weight = instance.objective().tardiness_weight();
        expect("reward", row.reward, quality - weight * penalty);
    }

    if server.is_none() {
        violations.push(Violation::UnknownServer { request, server: row.server });
    }
    if steps.is_none() {
        violations.push(Violation::Steps { request, steps: row.steps });
    }
    if !row.start.is_finite() || (row.start < arrival && !same(row.start, arrival)) {
        violations.push(Violation::EarlyStart { request, start: row.start, arrival });
    }
}

/// By how much the prediction is missed, written out anew.
fn stretch(instance: &Instance, server: usize, request: usize, attempt: u32) -> f64 {
    let Some(fate) = instance.fate() else { return 1.0 };
    let sigma = f64::from(fate.servers[server].sigma);
    if sigma > 0.0 {
        (sigma * fate.luck(request, attempt) - 0.5 * sigma.powi(2)).exp()
    } else {
        1.0
    }
}

/// When servers go down, in order.
fn losses(instance: &Instance) -> Vec<f64> {
    let servers = instance.fate().into_iter().flat_map(|fate| &fate.servers);
    let mut losses: Vec<_> =
        servers.flat_map(|server| &server.down).map(|down| down.from.seconds()).collect();
    losses.sort_by(f64::total_cmp);
    losses
}

/// What a row says beyond the paper's world, and whether its server was up.
fn check_reality(instance: &Instance, row: &Row, losses: &[f64], violations: &mut Vec<Violation>) {
    let request = row.request;
    let Some(given) = instance.requests().get(request) else { return };
    if row.beyond.is_some() == instance.is_ideal() {
        violations.push(Violation::Columns { request });
    }
    let (Some(fate), Some(beyond)) = (instance.fate(), row.beyond) else { return };
    for (column, found, expected) in [("size", beyond.size, 1.0), ("load", beyond.load, 0.0)] {
        if !same(found, expected) {
            violations.push(Violation::Arithmetic { request, column, found, expected });
        }
    }
    let (arrival, start) = (given.arrival.seconds(), row.start);
    let until = |time: f64| losses.partition_point(|&loss| loss <= time);
    let before = losses.partition_point(|&loss| loss < arrival);
    let lost = until(start).saturating_sub(before) as u32;
    if !(1..=lost + 1).contains(&beyond.attempts) {
        let (attempts, most) = (beyond.attempts, lost + 1);
        violations.push(Violation::Attempts { request, attempts, most });
    }
    let down = fate.servers.get(row.server).map_or(&[][..], |server| &server.down);
    // The first spans that it can meet; one may end, to within rounding, where the run starts.
    let first = down.partition_point(|span| span.to.seconds() < start);
    for span in down[first..].iter().take_while(|span| span.from.seconds() < row.finish) {
        let (from, to) = (span.from.seconds(), span.to.seconds());
        if !same(start, to) && !same(from, row.finish) {
            violations.push(Violation::Down { server: row.server, request, from, to });
        }
    }
}

/// (4c) one at a time, and the order, on each server.
fn check_servers(rows: &[Row], order: Order, violations: &mut Vec<Violation>) {
    let mut queues: HashMap<usize, Vec<&Row>> = HashMap::new();
    for row in rows {
        queues.entry(row.server).or_default().push(row);
    }
    let mut queues: Vec<_> = queues.into_iter().collect();
    queues.sort_by_key(|(server, _)| *server);
    for (server, mut queue) in queues {
        queue.sort_by(|a, b| {
            a.start
                .total_cmp(&b.start)
                .then(a.finish.total_cmp(&b.finish))
                .then(a.request.cmp(&b.request))
        });
        let mut latest: Option<&Row> = None;
        let mut highest: Option<usize> = None;
        for &row in &queue {
            // Whoever has run longest, not only the neighbour, may still run.
            if let Some(running) = latest.filter(|running| row.start < running.finish)
                && !same(row.start, running.finish)
            {
                let (running, started) = (running.request, row.request);
                violations.push(Violation::Overlap { server, running, started });
            }
            // Requests are numbered in order of arrival.
            if let Some(first) = highest.filter(|&first| row.request < first)
                && order == Order::FirstComeFirstServed
            {
                violations.push(Violation::OutOfOrder { server, first, second: row.request });
            }
            if latest.is_none_or(|latest| latest.finish < row.finish) {
                latest = Some(row);
            }
            highest = highest.max(Some(row.request));
        }
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { request } => write!(f, "(4b) request {request} never runs"),
            Self::Duplicate { request } => {
                write!(f, "(4b) request {request} runs more than once")
            }
            Self::UnknownRequest { request } => {
                write!(f, "request {request} is not in the instance")
            }
            Self::UnknownServer { request, server } => {
                write!(f, "(4b) request {request} runs on server {server}, which does not exist")
            }
            Self::Steps { request, steps } => {
                write!(f, "(4e) request {request} has {steps} steps: allowed is 1 to 200")
            }
            Self::EarlyStart { request, start, arrival } => write!(
                f,
                "(4d) request {request} starts at {start} s, before its arrival at {arrival} s"
            ),
            Self::Overlap { server, running, started } => write!(
                f,
                "(4c) server {server} starts request {started} while request {running} runs"
            ),
            Self::OutOfOrder { server, first, second } => write!(
                f,
                "server {server} runs request {first} before request {second}, which arrived first"
            ),
            Self::Down { server, request, from, to } => write!(
                f,
                "server {server} runs request {request} though it is down from {from} s to {to} s"
            ),
            Self::Attempts { request, attempts, most } => {
                write!(f, "request {request} took {attempts} runs: allowed is 1 to {most}")
            }
            Self::Columns { request } => write!(
                f,
                "request {request}: the columns from model on stand where the instance has sigma, \
                 luck or down, and only there"
            ),
            Self::Arithmetic { request, column, found, expected } => {
                write!(f, "request {request}: {column} is {found}, but {expected} follows")
            }
        }
    }
}
