//! The judge of schedules, whatever their origin: simulator, solver, search or live gateway.
//!
//! It shares no code with those that make schedules and lists every violation it finds.

use std::collections::HashMap;

use crate::cluster::{Request, Server};
use crate::instance::Instance;
use crate::row::{Row, RowOutcome};

mod violation;

pub use violation::Violation;

/// In which order a server may run the requests dispatched to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In order of arrival, ties by index: what the paper's servers do (§II).
    FirstComeFirstServed,
    /// In any order: eq. (4) alone.
    Any,
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
    let loads = loads(instance, rows);
    for (position, row) in rows.iter().enumerate() {
        let load = loads.get(&position).copied().unwrap_or(0.0);
        check_row(instance, row, load, &mut violations);
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

/// What a server takes for a request, written out anew.
struct Terms {
    overhead: f64,
    seconds_per_step: f64,
    load: f64,
    min: u32,
    max: u32,
}

/// The terms of a server that draws with the request's model.
fn terms(server: &Server, request: &Request) -> Option<Terms> {
    let mut bounds = [server.bounds, request.bounds, crate::StepBounds::ALL];
    let (mut rate, mut overhead, mut load) = (server.step_rate, server.overhead, 0.0);
    if let Some(hosting) = &server.hosting {
        let hosted = hosting.models.iter().find(|hosted| hosted.model == request.model)?;
        (rate, overhead, load) = (hosted.step_rate, hosted.overhead, hosted.load.seconds());
        bounds[2] = hosted.bounds;
    }
    Some(Terms {
        overhead: overhead.seconds(),
        seconds_per_step: f64::from(request.size) / rate.steps_per_second(),
        load,
        min: bounds.iter().map(|bounds| bounds.min.get()).max()?,
        max: bounds.iter().map(|bounds| bounds.max.get()).min()?,
    })
}

/// How long each run that loads is predicted to, by the runs ahead of it on its server: by the position of
/// its row.
fn loads(instance: &Instance, rows: &[Row]) -> HashMap<usize, f64> {
    let mut loads = HashMap::new();
    for (number, server) in instance.cluster().iter().enumerate() {
        let Some(hosting) = &server.hosting else { continue };
        let runs = rows.iter().enumerate().filter(|(_, row)| row.server == number);
        let mut runs: Vec<_> = runs.collect();
        runs.sort_by(|(_, a), (_, b)| a.start.total_cmp(&b.start).then(a.request.cmp(&b.request)));
        let mut downs = instance.fate().map_or(&[][..], |fate| &fate.servers[number].down);
        // The least recently used first.
        let mut loaded = hosting.loaded.to_vec();
        for (position, row) in runs {
            let Some(request) = instance.requests().get(row.request) else { continue };
            let Some(terms) = terms(server, request) else { continue };
            while let Some((down, later)) = downs.split_first()
                && (down.to.seconds() <= row.start || same(down.to.seconds(), row.start))
            {
                loaded.clear();
                downs = later;
            }
            if let Some(place) = loaded.iter().position(|&model| model == request.model) {
                loaded.remove(place);
            } else {
                loads.insert(position, terms.load);
                if loaded.len() >= hosting.resident {
                    loaded.remove(0);
                }
            }
            loaded.push(request.model);
        }
    }
    loads
}

/// (4a), (4d), (4e) and the arithmetic of one row, whose run is predicted to load for so long.
fn check_row(instance: &Instance, row: &Row, load: f64, violations: &mut Vec<Violation>) {
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
    let terms = server.map(|server| terms(server, given));
    if let (Some(Some(terms)), Some(_), false) = (&terms, steps, failed) {
        let predicted = load + terms.overhead + f64::from(row.steps) * terms.seconds_per_step;
        let attempts = row.beyond.map_or(1, |beyond| beyond.attempts);
        let stretch = stretch(instance, row.server, request, attempts);
        expect("finish", row.finish, row.start + predicted * stretch);
        expect("load", row.beyond.map_or(0.0, |beyond| beyond.load), load * stretch);
    }
    if let Some(steps) = steps {
        let quality = if failed { 0.0 } else { instance.objective().quality(steps) };
        expect("quality", row.quality, quality);
        let weight = instance.objective().tardiness_weight();
        expect("reward", row.reward, quality - weight * penalty);
    }

    match terms {
        None => violations.push(Violation::UnknownServer { request, server: row.server }),
        Some(None) => violations.push(Violation::NotHosted { request, server: row.server }),
        Some(Some(Terms { min, max, .. })) => {
            if steps.is_some() && !(min..=max).contains(&row.steps) {
                violations.push(Violation::Bounds { request, steps: row.steps, min, max });
            }
        }
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
    if row.beyond.is_some() == instance.is_plain() {
        violations.push(Violation::Columns { request });
    }
    let Some(beyond) = row.beyond else { return };
    let model = |model: crate::Model| f64::from(model.0);
    for (column, found, expected) in [
        ("model", model(beyond.model), model(given.model)),
        ("size", beyond.size, given.size.into()),
    ] {
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
    let fate = instance.fate().and_then(|fate| fate.servers.get(row.server));
    let down = fate.map_or(&[][..], |server| &server.down);
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
