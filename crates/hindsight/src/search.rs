//! Large-neighbourhood search over first-come-first-served schedules.
//!
//! A move takes a few requests that arrive close to each other out of their queues and puts them
//! back one by one where they add most, the steps of all others adapting through the value
//! functions of [`crate::value`]. Requests are cut into segments by arrival; every other segment is
//! searched at a time, the others standing still, so that segments can be searched side by side
//! with the same outcome on any number of threads.

use rayon::prelude::*;
use scheduling::{Generator, Purpose};

use crate::problem::Problem;
use crate::schedule::{Assignment, Schedule, best_steps, queues};
use crate::value::Grid;

use self::line::Line;

mod line;

/// Requests in a segment.
const SEGMENT: usize = 120;
/// Moves per request of a segment in each round.
const MOVES: f64 = 0.5;
/// Most requests that a move takes out, and how far apart in order of arrival.
const TAKEN: usize = 6;
const NEARBY: usize = 24;
/// Steps per point of the value functions: coarse, as moves per second count for more here.
const STRIDE: usize = 4;

/// What the search begins with.
pub(crate) struct Start {
    /// An assignment of its own making.
    pub(crate) inserted: Assignment,
    /// A schedule that somebody else has found.
    pub(crate) known: Option<Schedule>,
}

impl From<Assignment> for Start {
    fn from(inserted: Assignment) -> Self {
        Self { inserted, known: None }
    }
}

/// Improves `start` for `rounds` rounds, or until `watch` ends it with `None`; `watch` gets the share
/// of the rounds done and the best schedule, and says what share of the work that is: more, where
/// time will end it before the rounds do.
pub(crate) fn improve(
    problem: &Problem<'_>,
    start: impl Into<Start>,
    rounds: usize,
    seed: u64,
    mut watch: impl FnMut(f64, &Schedule) -> Option<f64>,
) -> Schedule {
    let grids: Vec<Grid<'_>> =
        (0..problem.servers()).map(|j| Grid::new(problem, j, STRIDE)).collect();
    let Start { inserted, known } = start.into();
    let mut best = best_steps(problem, &grids, &inserted);
    if let Some(known) = known.filter(|known| known.reward > best.reward) {
        best = known;
    }
    let mut assignment = best.assignment();
    for round in 0..rounds {
        let Some(share) = watch(round as f64 / rounds as f64, &best) else { break };
        let temperature = problem.quality_range() * 0.02 * 0.02f64.powf(share);
        search_round(problem, &grids, &mut assignment, temperature, (seed, round));
        let schedule = best_steps(problem, &grids, &assignment);
        if schedule.reward > best.reward {
            best = schedule;
        }
    }
    let fine: Vec<Grid<'_>> = (0..problem.servers()).map(|j| Grid::new(problem, j, 1)).collect();
    let polished = best_steps(problem, &fine, &best.assignment());
    if polished.reward > best.reward {
        best = polished;
    }
    watch(1.0, &best);
    best
}

/// Searches every segment once: those with an even number, then those with an odd one.
fn search_round(
    problem: &Problem<'_>,
    grids: &[Grid<'_>],
    assignment: &mut Assignment,
    temperature: f64,
    (seed, round): (u64, usize),
) {
    let n = assignment.len();
    // The cuts move from round to round, so that no pair of requests is kept apart for good.
    let shift = Generator::new(seed, Purpose::Search, round as u64).below(SEGMENT);
    let cuts: Vec<usize> = (std::iter::once(0))
        .chain((0..=n / SEGMENT).map(|k| k * SEGMENT + shift))
        .filter(|&cut| cut < n)
        .chain([n])
        .collect();
    for parity in 0..2 {
        let queues = queues(assignment, problem.servers());
        let lines: Vec<Line> = (queues.par_iter().zip(grids))
            .map(|(queue, grid)| Line::new(problem, grid, queue))
            .collect();
        let segments: Vec<(usize, usize)> =
            (cuts.windows(2).map(|cut| (cut[0], cut[1]))).filter(|(from, to)| from < to).collect();
        let found: Vec<Vec<(usize, usize)>> = (segments.par_iter().enumerate())
            .with_max_len(1)
            .filter(|(number, _)| number % 2 == parity)
            .map(|(number, &(from, to))| {
                let lines = lines.iter().zip(grids).map(|(line, grid)| line.part(grid, from, to));
                let lines = lines.collect();
                let stream = ((round + 1) << 24) + number;
                let draw = Generator::new(seed, Purpose::Search, stream as u64);
                let mut segment = Segment { grids, lines, first: from, at: Vec::new(), draw };
                segment.at = assignment[from..to].to_vec();
                segment.search(((to - from) as f64 * MOVES).ceil() as usize, temperature);
                (from..to).zip(segment.at).collect()
            })
            .collect();
        for (i, server) in found.into_iter().flatten() {
            assignment[i] = server;
        }
    }
}

/// Neighbouring requests, free to move between the servers while all others stand still.
struct Segment<'a> {
    grids: &'a [Grid<'a>],
    lines: Vec<Line>,
    /// The first request of the segment.
    first: usize,
    /// Server of each request from `first` on.
    at: Vec<usize>,
    draw: Generator,
}

impl Segment<'_> {
    fn search(&mut self, moves: usize, temperature: f64) {
        for _ in 0..moves {
            let taken = self.choose();
            self.attempt(&taken, temperature);
        }
    }

    /// A few requests that arrive close to each other.
    fn choose(&mut self) -> Vec<usize> {
        let n = self.at.len();
        let count = (1 + self.draw.below(TAKEN)).min(n);
        let span = NEARBY.min(n);
        let low = self.draw.below(n - span + 1);
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let i = self.first + low + self.draw.below(span);
            if !taken.contains(&i) {
                taken.push(i);
            }
        }
        taken
    }

    /// Takes the requests out and puts them back; keeps the result if it is better, or worse by no
    /// more than an exponential variate times the temperature.
    fn attempt(&mut self, taken: &[usize], temperature: f64) {
        let mut saved: Vec<(usize, Line)> = Vec::new();
        let old: Vec<usize> = taken.iter().map(|&i| self.at[i - self.first]).collect();
        let mut change = 0.0;
        for (&i, &server) in taken.iter().zip(&old) {
            save(&mut saved, server, &self.lines);
            change -= self.lines[server].worth(&self.grids[server], i);
            self.lines[server].remove(&self.grids[server], i);
        }
        for &i in taken {
            let (server, gain) = self.best_place(i);
            save(&mut saved, server, &self.lines);
            self.lines[server].insert(&self.grids[server], i);
            self.at[i - self.first] = server;
            change += gain;
        }
        if change < -self.draw.exponential(temperature) {
            for (server, line) in saved {
                self.lines[server] = line;
            }
            for (&i, &server) in taken.iter().zip(&old) {
                self.at[i - self.first] = server;
            }
        }
    }

    fn best_place(&self, i: usize) -> (usize, f64) {
        let mut best = (0, f64::NEG_INFINITY);
        for (server, line) in self.lines.iter().enumerate() {
            let gain = line.gain(&self.grids[server], i);
            if gain > best.1 {
                best = (server, gain);
            }
        }
        best
    }
}

fn save(saved: &mut Vec<(usize, Line)>, server: usize, lines: &[Line]) {
    if saved.iter().all(|(other, _)| *other != server) {
        saved.push((server, lines[server].clone()));
    }
}
