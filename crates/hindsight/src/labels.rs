//! Pareto labels over subsets of the requests: the enumeration behind [`crate::exact()`].
//!
//! Servers are filled one after the other. A label says: these requests have run, the present
//! server is free again at t, and all of it earned v. It is extended by every request that has not
//! run and every number of steps, which makes finish times an arrival plus a multiple of a step
//! without any grid, and loads the model where it has to. Among labels of the same requests on the
//! same server with the same models loaded only those stay that no other beats in both t and v; and
//! only those that could still come out above a cutoff, by
//!
//! ```text
//! v + Σ_{i left} max_{servers left} v_ij(π) + ∫_t^∞ π_j + Σ_{servers after j} ∫ π
//! ```
//!
//! with the prices of the Lagrangian bound. The cutoff starts close under that bound and gives way
//! until a schedule above it exists: that one is optimal.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rayon::prelude::*;
use scheduling::Loaded;
use scheduling::verify::Order;

use self::label::{Label, Labels, NO_REQUEST, NONE, Named, Run, State, undominated};
use crate::ceilings::Ceilings;
use crate::dual::Dual;
use crate::pricing::{ceilings_from, maxima_on};
use crate::problem::{Problem, Service};
use crate::schedule::Schedule;
use crate::timeline::Timeline;

mod label;

pub(crate) struct Solver<'a> {
    problem: &'a Problem<'a>,
    order: Order,
    timeline: Timeline,
    dual: &'a Dual,
    /// Most that request i is worth on server j or a later one, less the price: `[j][i]`.
    worth: Vec<Vec<f64>>,
    /// The same on server j alone, from a bin on: `[j][i][bin]`.
    late: Vec<Vec<Vec<f64>>>,
    /// Price of all the time of servers j and later.
    price: Vec<f64>,
    /// Room for rounding in the bound.
    margin: f64,
    /// What a label must be able to exceed.
    cutoff: f64,
    /// Labels kept at once before giving up.
    most_labels: usize,
    runs: Vec<Run>,
    /// Labels made so far.
    pub(crate) made: usize,
}

/// Why an enumeration ended early.
struct Stopped;

/// Whether a schedule is known to be the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing earns more (up to 1e-9 per request).
    Complete,
    /// There may be better ones.
    Stopped,
}

impl<'a> Solver<'a> {
    /// Gives up when more than `most_labels` would have to be kept.
    pub(crate) fn new(
        problem: &'a Problem<'a>,
        order: Order,
        timeline: Timeline,
        dual: &'a Dual,
        most_labels: usize,
    ) -> Self {
        let servers = problem.servers();
        let ceilings = Ceilings::new(problem);
        let mut worth = vec![vec![f64::NEG_INFINITY; problem.requests()]; servers + 1];
        let mut price = vec![0.0; servers + 1];
        let mut late = vec![Vec::new(); servers];
        for server in (0..servers).rev() {
            let here = maxima_on(problem, &ceilings, &dual.prices, timeline, server);
            worth[server] = here.iter().zip(&worth[server + 1]).map(|(a, b)| a.max(*b)).collect();
            price[server] = price[server + 1] + dual.prices.whole(server);
            let mut from = ceilings_from(problem, &dual.prices, server);
            for (bins, most) in from.iter_mut().zip(&here) {
                for bin in bins {
                    *bin = bin.min(*most);
                }
            }
            late[server] = from;
        }
        let margin = dual.rounding;
        Self {
            problem,
            order,
            timeline,
            dual,
            worth,
            late,
            price,
            margin,
            cutoff: f64::NEG_INFINITY,
            most_labels,
            runs: Vec::new(),
            made: 0,
        }
    }

    /// Lowers the cutoff until a schedule beats it or `first` is known to be the best.
    pub(crate) fn prove(
        &mut self,
        first: Schedule,
        bound: f64,
        pulse: &mut impl FnMut() -> ControlFlow<()>,
    ) -> (Proof, Schedule) {
        let gap = bound - first.reward;
        let tolerance = 1e-10 * self.problem.requests() as f64;
        // The search is hard to beat on its own ground: there a proof is all that is missing.
        let shares: &[f64] = match (self.order, self.timeline) {
            (Order::FirstComeFirstServed, Timeline::Continuous) => &[1.0],
            _ => &[1.0 / 16.0, 1.0 / 8.0, 1.0 / 4.0, 1.0 / 2.0, 1.0],
        };
        for &share in shares {
            self.cutoff = if share < 1.0 { bound - share * gap } else { first.reward + tolerance };
            match self.enumerate(pulse) {
                Err(Stopped) => return (Proof::Stopped, first),
                Ok(Some(best)) => return (Proof::Complete, best),
                Ok(None) => {}
            }
        }
        (Proof::Complete, first)
    }

    /// The best schedule that earns more than the cutoff, if there is one.
    fn enumerate(
        &mut self,
        pulse: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Schedule>, Stopped> {
        self.runs.clear();
        let open = Label::open(0.0, NONE);
        let mut labels = Labels::from([((0, self.loaded(0)), vec![open])]);
        for server in 0..self.problem.servers() {
            labels = match self.order {
                Order::Any => self.fill_in_any_order(server, labels, pulse)?,
                Order::FirstComeFirstServed => self.fill_in_order(server, labels, pulse)?,
            };
        }
        let all = u32::MAX >> (32 - self.problem.requests() as u32);
        let complete = labels.get(&(all, Loaded::default())).and_then(|labels| labels.first());
        Ok(complete.map(|label| self.trace(label)))
    }

    /// What a server has loaded at first; nothing after the last of them.
    fn loaded(&self, server: usize) -> Loaded {
        let server = self.problem.instance.cluster().get(server);
        server.map(scheduling::Server::loaded).unwrap_or_default()
    }

    /// All ways to fill `server`, then closed: one label per set of requests.
    fn fill_in_any_order(
        &mut self,
        server: usize,
        open: Labels,
        pulse: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<Labels, Stopped> {
        let n = self.problem.requests();
        let mut sizes = vec![Labels::new(); n + 2];
        for (state, labels) in open {
            sizes[state.0.count_ones() as usize].insert(state, labels);
        }
        let mut closed = Labels::new();
        for size in 0..=n {
            // Sets of one size do not extend one another.
            let labels = self.settle(server, std::mem::take(&mut sizes[size]), 0, pulse)?;
            for (state, labels) in &labels {
                self.close(server, state.0, labels, &mut closed);
            }
            let solver = &*self;
            let extended: Vec<(State, Vec<Label>)> = (labels.par_iter())
                .flat_map_iter(|(state, labels)| {
                    let absent = (0..n).filter(move |i| state.0 >> i & 1 == 0);
                    absent.map(move |i| solver.extended(server, i, state, labels, |_| server))
                })
                .filter(|(_, labels)| !labels.is_empty())
                .collect();
            for (state, labels) in extended {
                sizes[size + 1].entry(state).or_default().extend(labels);
            }
        }
        Ok(closed)
    }

    /// As above with every server's requests in order of arrival.
    fn fill_in_order(
        &mut self,
        server: usize,
        open: Labels,
        pulse: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<Labels, Stopped> {
        let mut open: BTreeMap<State, Named> =
            self.settle(server, open, 0, pulse)?.into_iter().collect();
        for i in 0..self.problem.requests() {
            let without: Vec<_> = open.iter().filter(|(state, _)| state.0 >> i & 1 == 0).collect();
            // Whoever arrived before i and has not run must go to a later server.
            let first = |k| server + usize::from(k < i);
            let extended: Vec<(State, Vec<Label>)> = (without.into_par_iter())
                .map(|(state, labels)| self.extended(server, i, state, labels, first))
                .filter(|(_, labels)| !labels.is_empty())
                .collect();
            // States that differ only in what was loaded may become one.
            let mut merged = Labels::new();
            for (state, labels) in extended {
                merged.entry(state).or_default().extend(labels);
            }
            for (state, settled) in self.settle(server, merged, i + 1, pulse)? {
                let together = open.entry(state).or_default();
                together.extend(settled);
                undominated(together, |(_, label)| label);
            }
        }
        let mut closed = Labels::new();
        for ((ran, _), labels) in open {
            self.close(server, ran, &labels, &mut closed);
        }
        Ok(closed)
    }

    /// All that comes of running request `i` after one of `labels`, which are of this state.
    fn extended(
        &self,
        server: usize,
        i: usize,
        (ran, loaded): &State,
        labels: &[(u32, Label)],
        first: impl Fn(usize) -> usize,
    ) -> (State, Vec<Label>) {
        let (after, mut loaded) = (ran | 1 << i, loaded.clone());
        let mut found = Vec::new();
        if let Some(service) = self.problem.service(server, i) {
            let load = self.problem.run(server, i, &mut loaded);
            let rest = self.rest(server, after, first);
            for (node, label) in labels {
                self.extend((server, i), (service, load), (*node, label), rest, &mut found);
            }
            undominated(&mut found, |label| label);
        }
        ((after, loaded), found)
    }

    /// What all that have not run can add at most, `first(k)` being the first server open to k; the
    /// time of the present server aside.
    fn rest(&self, server: usize, ran: u32, first: impl Fn(usize) -> usize) -> f64 {
        let left = (0..self.problem.requests()).filter(|k| ran >> k & 1 == 0);
        let worth: f64 = left.map(|k| self.worth[first(k)][k]).sum();
        worth + self.price[server + 1] + self.margin
    }

    /// Runs request `i` after a label, with a load and every number of steps that may still beat the
    /// cutoff.
    fn extend(
        &self,
        (server, i): (usize, usize),
        (service, load): (&Service, f64),
        (before, label): (u32, &Label),
        rest: f64,
        into: &mut Vec<Label>,
    ) {
        let start = self.timeline.start(label.free.max(self.problem.arrival[i]));
        let whole = self.dual.prices.whole(server);
        let earliest = start + load + service.shortest();
        let most = label.value + self.problem.best_quality() - self.problem.loss(i, earliest);
        if most + rest + whole - self.dual.prices.until(server, earliest) <= self.cutoff {
            return;
        }
        let mut best = f64::NEG_INFINITY;
        let already = into.len();
        for s in service.steps.clone() {
            let finish = start + load + service.time[s];
            let value = label.value + self.problem.reward(i, s, finish);
            if value <= best {
                continue;
            }
            best = value;
            let free = self.timeline.start(finish);
            let unused = whole - self.dual.prices.until(server, free);
            if value + rest + unused > self.cutoff {
                let (server, request, steps) = (server as u16, i as u8, s as u8);
                let last = Run { before, server, request, steps, start, load };
                let label = Label { free, value, last };
                match into[already..].last_mut() {
                    // On slots several numbers of steps end in the same one.
                    Some(same) if same.free == free => *same = label,
                    _ => into.push(label),
                }
            }
        }
    }

    /// Drops what is dominated or cannot beat the cutoff and gives the others their nodes. Requests
    /// before `first` can only go to later servers.
    fn settle(
        &mut self,
        server: usize,
        labels: Labels,
        first: usize,
        pulse: &mut impl FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<(State, Named)>, Stopped> {
        let kept: Vec<(State, Vec<Label>)> = (labels.into_par_iter())
            .map(|(state, mut labels)| {
                undominated(&mut labels, |label| label);
                labels.retain(|label| self.hopeful(server, state.0, first, label));
                (state, labels)
            })
            .filter(|(_, labels)| !labels.is_empty())
            .collect();
        let before = self.made >> 16;
        let new: usize = kept.iter().map(|(_, labels)| labels.len()).sum();
        self.made += new;
        if self.runs.len() + new > self.most_labels
            || (self.made >> 16 != before && pulse().is_break())
        {
            return Err(Stopped);
        }
        let mut named = |(state, labels): (State, Vec<Label>)| {
            (state, labels.into_iter().map(|label| (self.node(label.last), label)).collect())
        };
        Ok(kept.into_iter().map(&mut named).collect())
    }

    /// Whether a label can beat the cutoff, with what is left starting on this server when it is
    /// free at the earliest.
    fn hopeful(&self, server: usize, ran: u32, first: usize, label: &Label) -> bool {
        let prices = &self.dual.prices;
        let bin = prices.bin(label.free);
        let left = (0..self.problem.requests()).filter(|k| ran >> k & 1 == 0);
        let worth = left.map(|k| {
            let later = self.worth[server + 1][k];
            if k < first { later } else { later.max(self.late[server][k][bin]) }
        });
        let unused = prices.whole(server) - prices.until(server, label.free);
        let rest = worth.sum::<f64>() + self.price[server + 1] + self.margin;
        label.value + rest + unused > self.cutoff
    }

    fn node(&mut self, run: Run) -> u32 {
        if run.request == NO_REQUEST {
            return run.before;
        }
        self.runs.push(run);
        self.runs.len() as u32 - 1
    }

    /// Opens the next server with the most that `labels` earned.
    fn close(&self, server: usize, ran: u32, labels: &[(u32, Label)], closed: &mut Labels) {
        let Some((node, best)) = labels.iter().max_by(|a, b| a.1.value.total_cmp(&b.1.value))
        else {
            return;
        };
        // Where nothing is left nothing can be added: unused time has a price, but no worth.
        let all_ran = ran.count_ones() as usize == self.problem.requests();
        let rest = if all_ran { 0.0 } else { self.rest(server, ran, |_| server + 1) };
        if best.value + rest > self.cutoff {
            let label = Label::open(best.value, *node);
            let next = closed.entry((ran, self.loaded(server + 1))).or_default();
            match next.first_mut() {
                // The same requests ran here, with other models loaded at the end.
                Some(other) if other.value >= best.value => {}
                Some(other) => *other = label,
                None => next.push(label),
            }
        }
    }

    /// The schedule that a label stands for.
    fn trace(&self, label: &Label) -> Schedule {
        let mut rows = Vec::new();
        let mut node = label.last.before;
        while node != NONE {
            let run = self.runs[node as usize];
            let (server, steps) = (usize::from(run.server), usize::from(run.steps));
            rows.push(self.problem.row(
                usize::from(run.request),
                server,
                steps,
                (run.start, run.load),
            ));
            node = run.before;
        }
        Schedule::new(rows)
    }
}

#[cfg(test)]
mod tests;
