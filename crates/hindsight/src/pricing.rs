//! The inner problem: the exact best of one request against given prices, in continuous time.
//!
//! For prices π the request i is worth at most
//!
//! ```text
//! v_i(π) = max over server j, steps s and start t ≥ r_i of
//!          Q(s) − w·g_i(t + p_js − d_i) − [Π_j(t + p_js) − Π_j(t)]
//! ```
//!
//! Between two neighbouring breakpoints in t (r_i, an edge, an edge − p, d_i − p) the price is
//! linear, and the reward is constant, −w·(t + p − d)^{1, 2} or −w·√(t + p − d). The maximum is at
//! one of the two ends, except that −w·τ² − κ·τ also has its vertex τ = −κ / 2w: all are tried.
//! So the maximum is exact, not one over a grid of starts. Models count as loaded everywhere here.

use std::collections::BTreeSet;

use rayon::prelude::*;
use scheduling::{Steps, TardinessPenalty};

use crate::ceilings::Ceilings;
use crate::prices::Prices;
use crate::problem::{Problem, Service};
use crate::timeline::Timeline;

/// A way to run one request, with what it earns before the price of its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) server: usize,
    /// Step index.
    pub(crate) steps: usize,
    pub(crate) start: f64,
    /// When the server can start something else: the finish, on slots the first slot after it.
    pub(crate) until: f64,
    /// Eq. (5).
    pub(crate) reward: f64,
}

/// The best of one request.
#[derive(Clone, Debug)]
pub(crate) struct Best {
    /// v_i
    pub(crate) value: f64,
    /// The column that attains it comes last; before it, good ones met on the way.
    pub(crate) columns: Vec<Column>,
}

/// Numbers of steps that are ruled out together.
const BLOCK: usize = 20;

/// How many requests share the rows of one thread: neighbours need the same bins.
const CHUNK: usize = 32;

/// The exact inner maximum of every request. `hints` are values that are known to be attained, or
/// −∞; good ones make it fast.
pub(crate) fn maxima(
    problem: &Problem<'_>,
    ceilings: &Ceilings,
    prices: &Prices,
    timeline: Timeline,
    hints: &[f64],
) -> Vec<Best> {
    let requests: Vec<usize> = (0..problem.requests()).collect();
    let chunks: Vec<Vec<Best>> = (requests.par_chunks(CHUNK))
        .map(|chunk| {
            let mut best: Vec<Best> =
                chunk.iter().map(|&i| Best { value: hints[i], columns: Vec::new() }).collect();
            let kinds: BTreeSet<usize> = chunk.iter().map(|&i| problem.kind[i]).collect();
            for server in 0..problem.servers() {
                for &kind in &kinds {
                    let Some(service) = &problem.services[server][kind] else { continue };
                    let mut rows = Rows::new(problem, prices, (server, service), chunk[0]);
                    let alike = chunk.iter().zip(&mut best);
                    for (&i, best) in alike.filter(|(i, _)| problem.kind[**i] == kind) {
                        match timeline {
                            Timeline::Continuous => {
                                scan(problem, ceilings, prices, &mut rows, i, best);
                            }
                            Timeline::Slots(_) => {
                                scan_slots(problem, ceilings, prices, timeline, (i, server), best);
                            }
                        }
                    }
                }
            }
            best
        })
        .collect();
    chunks.into_iter().flatten().collect()
}

/// The exact inner maximum of every request on one server alone; −∞ of those that it does not take.
pub(crate) fn maxima_on(
    problem: &Problem<'_>,
    ceilings: &Ceilings,
    prices: &Prices,
    timeline: Timeline,
    server: usize,
) -> Vec<f64> {
    let value = |i| {
        let mut best = Best { value: f64::NEG_INFINITY, columns: Vec::new() };
        let Some(service) = problem.service(server, i) else { return best.value };
        match timeline {
            Timeline::Continuous => {
                let mut rows = Rows::new(problem, prices, (server, service), i);
                scan(problem, ceilings, prices, &mut rows, i, &mut best);
            }
            Timeline::Slots(_) => {
                scan_slots(problem, ceilings, prices, timeline, (i, server), &mut best);
            }
        }
        best.value
    };
    (0..problem.requests()).map(value).collect()
}

/// For each request and bin, more than the request can be worth on a server if it starts in the bin
/// or later, where a start on slots is one of many.
pub(crate) fn ceilings_from(
    problem: &Problem<'_>,
    prices: &Prices,
    server: usize,
) -> Vec<Vec<f64>> {
    let requests = (0..problem.requests()).into_par_iter();
    requests.map(|i| ceiling_from(problem, prices, server, i)).collect()
}

fn ceiling_from(problem: &Problem<'_>, prices: &Prices, server: usize, i: usize) -> Vec<f64> {
    let mut from = vec![f64::NEG_INFINITY; prices.bins + 1];
    let Some(service) = problem.service(server, i) else { return from };
    let rows = Rows::new(problem, prices, (server, service), 0);
    let end = prices.edge(prices.bins).max(problem.arrival[i]);
    let unpriced = |s: usize| problem.reward(i, s, end + service.time[s]);
    from[prices.bins] = service.steps.clone().map(unpriced).fold(f64::NEG_INFINITY, f64::max);
    for bin in (0..prices.bins).rev() {
        let start = problem.arrival[i].max(prices.edge(bin));
        from[bin] = from[bin + 1];
        if start <= prices.edge(bin + 1) {
            let row = rows.row(bin);
            let here = (row.values.iter().zip(&service.time))
                .map(|(value, time)| value - problem.loss(i, start + time));
            from[bin] = here.fold(from[bin], f64::max);
        }
    }
    from
}

/// As [`scan`] where starts are slots: each is tried. A run keeps its server until the first slot
/// after its finish.
fn scan_slots(
    problem: &Problem<'_>,
    ceilings: &Ceilings,
    prices: &Prices,
    timeline: Timeline,
    (i, server): (usize, usize),
    best: &mut Best,
) {
    let Some(service) = problem.service(server, i) else { return };
    let due = problem.due[i];
    let mut found: Option<Column> = None;
    let mut start = timeline.start(problem.arrival[i]);
    loop {
        if ceilings.at(problem, i, server, due - start) <= best.value {
            break;
        }
        for s in service.steps.clone() {
            let finish = start + service.time[s];
            let until = timeline.start(finish);
            let reward = problem.reward(i, s, finish);
            let value = reward - prices.between(server, start, until);
            if value > best.value {
                best.value = value;
                found = Some(Column { server, steps: s, start, until, reward });
            }
        }
        // Where time is free of charge a later start cannot be better.
        if start >= prices.edge(prices.bins) {
            break;
        }
        start = timeline.start(start + 0.75 * prices.width);
    }
    best.columns.extend(found);
}

/// Improves `best` by whatever request `i` could do on the server of `rows`.
///
/// No start is left out: bins are skipped when a bound on all of their starts does not beat what is
/// already attained, and the walk ends where that holds for all later starts too, as the reward
/// never increases with the start and prices are never negative.
fn scan(
    problem: &Problem<'_>,
    ceilings: &Ceilings,
    prices: &Prices,
    rows: &mut Rows<'_>,
    i: usize,
    best: &mut Best,
) {
    let (server, service, due) = (rows.server, rows.service, problem.due[i]);
    let mut found: Option<Column> = None;
    let column = |start: f64, p: f64, s: usize| {
        let until = start + p;
        Column { server, steps: s, start, until, reward: problem.reward(i, s, until) }
    };
    for bin in prices.bin(problem.arrival[i])..prices.bins {
        let from = problem.arrival[i].max(prices.edge(bin));
        if ceilings.at(problem, i, server, due - from) <= best.value {
            break;
        }
        let to = prices.edge(bin + 1).max(from);
        let row = rows.get(bin);
        if row.highest <= best.value {
            continue;
        }
        for (block, &highest) in row.blocks.iter().enumerate() {
            // The penalty of the fewest steps at the left end bounds that of the whole block.
            let first = block * BLOCK;
            if highest <= best.value
                || highest - problem.loss(i, from + service.time[first]) <= best.value
            {
                continue;
            }
            for (s, &p) in service.time.iter().enumerate().skip(first).take(BLOCK) {
                let unpunished = row.values[s];
                if unpunished > best.value && unpunished - problem.loss(i, from + p) > best.value {
                    let (value, start) = best_start(problem, prices, (i, server, p), s, (from, to));
                    if value > best.value {
                        best.value = value;
                        found = Some(column(start, p, s));
                    }
                }
            }
        }
    }
    // After the last bin time is free of charge: the earliest start there is the best one.
    let start = problem.arrival[i].max(prices.edge(prices.bins));
    if ceilings.at(problem, i, server, due - start) > best.value {
        for s in service.steps.clone() {
            let p = service.time[s];
            let value = problem.reward(i, s, start + p);
            if value > best.value {
                best.value = value;
                found = Some(column(start, p, s));
            }
        }
    }
    best.columns.extend(found);
}

/// The exact maximum over starts in `[from, to]`, which lies within one bin, of a run of `p` seconds
/// with step index `s`: value and start.
pub(crate) fn best_start(
    problem: &Problem<'_>,
    prices: &Prices,
    (i, server, p): (usize, usize, f64),
    s: usize,
    (from, to): (f64, f64),
) -> (f64, f64) {
    let value = |start: f64| {
        let finish = start + p;
        problem.reward(i, s, finish) - prices.between(server, start, finish)
    };
    let mut best = (value(from), from);
    let mut consider = |start: f64| {
        let value = value(start);
        if value > best.0 {
            best = (value, start);
        }
    };
    consider(to);
    let inside = |start: f64| start > from && start < to;
    let on_time = problem.due[i] - p;
    if inside(on_time) {
        consider(on_time);
    }
    // An edge itself may be rounded into the bin before it; the middle cannot.
    let paying = prices.bin(f64::midpoint(from, to));
    // Between the edges − p that lie inside, the finish stays within one bin.
    let (first, last) = (prices.bin(from + p), prices.bin(to + p));
    for bin in first..=last {
        let edge = prices.edge(bin + 1) - p;
        if inside(edge) {
            consider(edge);
        }
        if problem.penalty[i] == TardinessPenalty::Quadratic && problem.weight > 0.0 {
            let slope = prices.rate(server, bin) - prices.rate(server, paying);
            let vertex = on_time - slope / (2.0 * problem.weight);
            // Another piece's vertex does no harm: every start that is tried is a real one.
            if inside(vertex) {
                consider(vertex);
            }
        }
    }
    best
}

/// For one server and kind of requests, what each number of steps is worth when the start lies in a
/// bin, before the penalty: Q(s) − the least price over all starts in the bin; −∞ where the steps are
/// not allowed. Made when first asked for.
struct Rows<'a> {
    problem: &'a Problem<'a>,
    server: usize,
    service: &'a Service,
    first: usize,
    made: Vec<Option<Box<Row>>>,
    /// For each step index: whole bins that p spans, and the rest as a share of a bin.
    span: Vec<(usize, f64)>,
    /// Π at the edges, continued beyond the last.
    paid: &'a [f64],
}

struct Row {
    highest: f64,
    /// The highest of each block of neighbouring numbers of steps.
    blocks: [f64; Steps::COUNT / BLOCK],
    values: [f64; Steps::COUNT],
}

impl<'a> Rows<'a> {
    /// No request before `first` will be asked for.
    fn new(
        problem: &'a Problem<'a>,
        prices: &'a Prices,
        (server, service): (usize, &'a Service),
        first: usize,
    ) -> Self {
        let split = |p: &f64| {
            let bins = p / prices.width;
            (bins as usize, bins - bins.floor())
        };
        Self {
            problem,
            server,
            service,
            first: prices.bin(problem.arrival[first]),
            made: Vec::new(),
            span: service.time.iter().map(split).collect(),
            paid: &prices.paid[server],
        }
    }

    fn get(&mut self, bin: usize) -> &Row {
        let index = bin - self.first;
        if self.made.len() <= index {
            self.made.resize_with(index + 1, || None);
        }
        if self.made[index].is_none() {
            self.made[index] = Some(Box::new(self.row(bin)));
        }
        self.made[index].as_deref().expect("it was just made")
    }

    /// The price is piecewise linear in the start, with the one breakpoint inside the bin where the
    /// finish crosses an edge: the least of three values is the least of all.
    fn row(&self, bin: usize) -> Row {
        let last = self.paid.len() - 1;
        let paid = |edge: usize| self.paid[edge.min(last)];
        let (left, right) = (paid(bin), paid(bin + 1));
        let mut values = [f64::NEG_INFINITY; Steps::COUNT];
        let mut highest = f64::NEG_INFINITY;
        for s in self.service.steps.clone() {
            let (bins, share) = self.span[s];
            let (a, b, c) = (paid(bin + bins), paid(bin + bins + 1), paid(bin + bins + 2));
            let at_left = a + share * (b - a) - left;
            let at_right = b + share * (c - b) - right;
            let crossing = b - (left + (1.0 - share) * (right - left));
            values[s] = self.problem.quality[s] - at_left.min(at_right).min(crossing);
            highest = highest.max(values[s]);
        }
        let blocks = std::array::from_fn(|block| {
            values[block * BLOCK..(block + 1) * BLOCK]
                .iter()
                .copied()
                .fold(f64::NEG_INFINITY, f64::max)
        });
        Row { highest, blocks, values }
    }
}

#[cfg(test)]
mod tests;
