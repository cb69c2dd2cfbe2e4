//! Value functions of one server's queue: what its requests are worth, against time.
//!
//! With the requests of a server given, first come first served leaves only their steps open, a
//! problem that dynamic programming solves in one pass: `backward` says what a request and all those
//! behind it earn if the server is free at t, `forward` what all those ahead earn if it must be
//! free again by t. Both live on a grid of a few steps' time, with linear interpolation. They guide
//! the search; what a schedule is really worth is computed anew, exactly.

// Positions on a grid are far below 2^63.
#![allow(clippy::cast_possible_wrap)]

use scheduling::{Loaded, Model, Steps, TardinessPenalty};

use crate::problem::{Problem, Service};

/// Points of a curve at most, where servers differ beyond measure.
const MOST_POINTS: usize = 4096;
/// Stands for "impossible" among the values.
const NEVER: f32 = -1e9;

/// A function of time on the grid of a server, linear in between; its level is arbitrary.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// Grid position of the first value.
    first: i64,
    values: Vec<f32>,
    /// What the values lack to the true level.
    pub(crate) level: f64,
}

impl Curve {
    fn level_out(first: i64, mut values: Vec<f32>, reference: f32) -> Self {
        for value in &mut values {
            *value = (*value - reference).max(NEVER);
        }
        Self { first, values, level: f64::from(reference) }
    }

    /// The value at a whole grid position. Before the first: the first, if `held`, else never.
    /// After the last, the last two go on in a straight line (a forward curve ends level).
    fn at(&self, position: i64, held: bool) -> f32 {
        let index = position - self.first;
        let last = self.values.len() - 1;
        if index < 0 {
            if held { self.values[0] } else { NEVER }
        } else if index as usize <= last {
            self.values[index as usize]
        } else if held && last > 0 {
            let slope = self.values[last] - self.values[last - 1];
            self.values[last] + slope * (index - last as i64) as f32
        } else {
            self.values[last]
        }
    }

    fn between(&self, position: f64, held: bool) -> f32 {
        let whole = position.floor();
        let share = (position - whole) as f32;
        let a = self.at(whole as i64, held);
        if share == 0.0 {
            return a;
        }
        a + share * (self.at(whole as i64 + 1, held) - a)
    }

    /// The values at `position + share` and the points after it.
    fn stretch(&self, position: i64, count: usize, share: f32) -> Vec<f32> {
        let mut values: Vec<f32> =
            (position..=position + count as i64).map(|position| self.at(position, true)).collect();
        if share > 0.0 {
            for index in 0..count {
                values[index] += share * (values[index + 1] - values[index]);
            }
        }
        values.truncate(count);
        values
    }

    /// What this forward curve and a backward one earn together at the best time to hand over, level
    /// of both aside.
    pub(crate) fn join(&self, backward: &Self) -> f64 {
        let mut best = NEVER;
        for (index, &ahead) in self.values.iter().enumerate() {
            let value = ahead + backward.at(self.first + index as i64, true);
            best = best.max(value);
        }
        f64::from(best)
    }

    /// Whether both say the same up to `tolerance`, level aside.
    pub(crate) fn same(&self, other: &Self, tolerance: f32) -> bool {
        self.first == other.first
            && self.values.len() == other.values.len()
            && self.values.iter().zip(&other.values).all(|(a, b)| (a - b).abs() <= tolerance)
    }
}

/// The grid of one server and the stages of its dynamic program.
#[derive(Debug)]
pub(crate) struct Grid<'a> {
    problem: &'a Problem<'a>,
    /// Whose it is.
    pub(crate) server: usize,
    origin: f64,
    /// Seconds between two points.
    spacing: f64,
    /// Points that a curve has.
    points: usize,
    /// How runs of each kind of requests stand on the grid; none where the server does not take it.
    stages: Vec<Option<Stage>>,
}

/// Runs of one kind of requests on the grid of a server.
#[derive(Debug)]
struct Stage {
    /// The time of a run that does not depend on steps, without the load, in points.
    overhead: f64,
    /// Steps that take one point's time.
    stride: f64,
    /// The fewest and the most steps.
    fewest: f64,
    most: f64,
    /// Options worth trying: points that they take, without the overhead, and their Q.
    options: Vec<(usize, f32)>,
    /// Options between two points: those that they take, the rest as a share, and their Q. The fewest
    /// steps, and the most where they are no option.
    between: Vec<(usize, f32, f32)>,
    /// Points that no option exceeds.
    reach: usize,
}

impl Stage {
    /// On points that are `spacing` seconds and, for this kind, `stride` steps apart.
    fn new(problem: &Problem<'_>, service: &Service, spacing: f64, stride: f64) -> Self {
        let (fewest, most) = (service.steps.start as f64 + 1.0, service.steps.end as f64);
        let whole = service.time[Steps::COUNT - 1] / spacing;
        let mut stage = Self {
            overhead: (whole - Steps::COUNT as f64 / stride).max(0.0),
            stride,
            fewest,
            most,
            options: Vec::new(),
            between: Vec::new(),
            reach: (most / stride).ceil() as usize,
        };
        stage.options = stage.worth_trying(problem);
        let aligned = (most / stride).fract() == 0.0;
        for steps in [fewest].into_iter().chain((!aligned).then_some(most)) {
            let points = steps / stride;
            let before = points.ceil() - 1.0;
            let quality = stage.quality_at(problem, steps);
            stage.between.push((before as usize, (points - before) as f32, quality));
        }
        stage
    }

    /// The number of points and the quality of each option that may pay: one far below the concave
    /// envelope of Q over what is allowed is hardly ever better than a mixture of two others.
    fn worth_trying(&self, problem: &Problem<'_>) -> Vec<(usize, f32)> {
        let quality = &problem.quality;
        let tolerated = 0.35 * problem.quality_range();
        let apart = (self.stride.round() as usize).max(1);
        let (first, end) = (self.fewest as usize - 1, self.most as usize);
        let mixture = |s: usize| {
            let mut most = quality[s];
            for a in (first..s).step_by(apart) {
                for b in (s + 1..end).step_by(apart) {
                    let share = (s - a) as f64 / (b - a) as f64;
                    most = most.max(quality[a] + share * (quality[b] - quality[a]));
                }
            }
            most
        };
        ((self.fewest / self.stride).ceil() as usize..=(self.most / self.stride) as usize)
            .filter(|&points| points > 0)
            .map(|points| (points, points as f64 * self.stride))
            .filter(|&(_, steps)| {
                let s = (steps.round() as usize).clamp(first + 1, end) - 1;
                quality[s] >= mixture(s) - tolerated
            })
            .map(|(points, steps)| (points, self.quality_at(problem, steps)))
            .collect()
    }

    /// Q at a number of steps that need not be whole, of the most at more.
    fn quality_at(&self, problem: &Problem<'_>, steps: f64) -> f32 {
        let steps = steps.min(self.most);
        let whole = (steps as usize).clamp(1, Steps::COUNT);
        let quality = &problem.quality;
        let (a, b) = (quality[whole - 1], quality[whole.min(Steps::COUNT - 1)]);
        (a + (steps - whole as f64).clamp(0.0, 1.0) * (b - a)) as f32
    }
}

/// The time of one step: that of the median request that the server takes.
fn step_time(problem: &Problem<'_>, server: usize) -> Option<f64> {
    let requests = (0..problem.requests()).filter_map(|i| problem.service(server, i));
    let mut times: Vec<f64> = requests.map(Service::step).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

impl<'a> Grid<'a> {
    /// `stride` steps per point for the median request: fewer are finer and slower.
    pub(crate) fn new(problem: &'a Problem<'a>, server: usize, stride: usize) -> Self {
        let services = &problem.services[server];
        // A server that takes no request has no use for its grid.
        let spacing = step_time(problem, server).unwrap_or(1.0) * stride as f64;
        let slack = (0..problem.requests())
            .map(|i| problem.due[i] - problem.arrival[i])
            .fold(0.0, f64::max);
        let longest = services.iter().flatten().map(|service| service.load + service.longest());
        // Waiting longer than any slack and one full run hardly ever pays; beyond, curves go on in
        // a straight line.
        let patience = slack.min(4.0 * problem.time_scale()) + longest.fold(0.0, f64::max);
        let stage =
            |service: &Service| Stage::new(problem, service, spacing, spacing / service.step());
        Self {
            problem,
            server,
            origin: problem.arrival[0],
            spacing,
            points: ((patience / spacing).ceil() as usize).min(MOST_POINTS) + 2,
            stages: services.iter().map(|service| service.as_ref().map(stage)).collect(),
        }
    }

    /// Whether the server takes request `i`.
    pub(crate) fn takes(&self, i: usize) -> bool {
        self.stages[self.problem.kind[i]].is_some()
    }

    /// As [`Problem::run`], on this server.
    pub(crate) fn run(&self, i: usize, loaded: &mut Loaded) -> f64 {
        self.problem.run(self.server, i, loaded)
    }

    /// How many models it can have loaded at once; 0 where it never loads any.
    pub(crate) fn resident(&self) -> usize {
        let hosting = &self.problem.instance.cluster()[self.server].hosting;
        hosting.as_ref().map_or(0, |hosting| hosting.resident)
    }

    /// The model of request `i`.
    pub(crate) fn model(&self, i: usize) -> Model {
        self.problem.instance.requests()[i].model
    }

    /// How runs of request `i` stand on the grid.
    fn stage(&self, i: usize) -> &Stage {
        self.stages[self.problem.kind[i]].as_ref().expect("the server takes the request")
    }

    fn position(&self, time: f64) -> f64 {
        (time - self.origin) / self.spacing
    }

    fn time(&self, position: f64) -> f64 {
        self.origin + position * self.spacing
    }

    /// Nothing ahead.
    pub(crate) fn nothing_ahead() -> Curve {
        Curve { first: -1, values: vec![0.0], level: 0.0 }
    }

    /// Nothing behind.
    pub(crate) fn nothing_behind() -> Curve {
        Curve { first: 0, values: vec![0.0], level: 0.0 }
    }

    /// Value of being free at `time`, level aside.
    pub(crate) fn value(&self, backward: &Curve, time: f64) -> f64 {
        f64::from(backward.between(self.position(time), true))
    }

    /// Takes the penalty of request `i` off values by finish, the first of them `ahead`
    /// seconds ahead of the due time and one point apart.
    fn punish(&self, i: usize, ahead: f64, values: &mut [f32]) {
        let from = (ahead / self.spacing).ceil().clamp(0.0, values.len() as f64) as usize;
        let weight = self.problem.weight as f32;
        let tardiness = |index: usize| (index as f64 * self.spacing - ahead) as f32;
        let late = values[from..].iter_mut().enumerate();
        match self.problem.penalty[i] {
            TardinessPenalty::Linear => {
                late.for_each(|(k, value)| *value -= weight * tardiness(from + k));
            }
            TardinessPenalty::Quadratic => {
                late.for_each(|(k, value)| *value -= weight * tardiness(from + k).powi(2));
            }
            TardinessPenalty::SquareRoot => {
                late.for_each(|(k, value)| *value -= weight * tardiness(from + k).max(0.0).sqrt());
            }
        }
    }

    /// What request `i`, whose model takes `load` seconds to load, and those behind it earn, by the
    /// time at which the server is free.
    pub(crate) fn backward(&self, i: usize, load: f64, behind: &Curve) -> Curve {
        let stage = self.stage(i);
        let arrival = self.position(self.problem.arrival[i]);
        let first = arrival.floor() as i64;
        let share = (arrival - arrival.floor()) as f32;
        // By finish, counted without the overhead: what comes after, less the penalty.
        let overhead = stage.overhead + load / self.spacing;
        let whole = overhead as i64;
        let ahead = self.problem.due[i] - self.time(first as f64 + overhead);
        let count = self.points + stage.reach + 2;
        let mut after = behind.stretch(first + whole, count, overhead.fract() as f32);
        self.punish(i, ahead, &mut after);
        let mix =
            |index: usize, share: f32| after[index] + share * (after[index + 1] - after[index]);
        let (before, step, quality) = stage.between[0];
        let mut values: Vec<f32> =
            (0..self.points).map(|index| quality + mix(index + before, step)).collect();
        for &(before, step, quality) in &stage.between[1..] {
            for (index, value) in values.iter_mut().enumerate() {
                *value = value.max(quality + mix(index + before, step));
            }
        }
        for &(m, quality) in &stage.options {
            let shifted = &after[m..m + self.points];
            for (value, &after) in values.iter_mut().zip(shifted) {
                let option = quality + after;
                *value = if option > *value { option } else { *value };
            }
        }
        // Until the arrival the value is the one of starting at it, between two points.
        let between = stage.between.iter().map(|&(before, step, quality)| {
            let sum = share + step;
            quality + if sum < 1.0 { mix(before, sum) } else { mix(before + 1, sum - 1.0) }
        });
        values[0] = (stage.options.iter())
            .map(|&(m, quality)| quality + mix(m, share))
            .chain(between)
            .fold(f32::NEG_INFINITY, f32::max);
        let reference = values[0];
        Curve::level_out(first, values, reference)
    }

    /// What request `i`, whose model takes `load` seconds to load, and those ahead of it earn, by the
    /// time at which the server must be free.
    pub(crate) fn forward(&self, i: usize, load: f64, ahead: &Curve) -> Curve {
        let stage = self.stage(i);
        let arrival = self.position(self.problem.arrival[i]);
        let first = (arrival.floor() as i64).max(ahead.first);
        let at_arrival = ahead.between(arrival, false);
        let start: Vec<f32> = (first..first + self.points as i64)
            .map(|at| if (at as f64) < arrival { NEVER } else { ahead.at(at, false) })
            .collect();
        // By finish, counted without the overhead.
        let mut values = vec![NEVER; self.points];
        for (index, value) in values.iter_mut().enumerate().skip(1) {
            let steps = ((first + index as i64) as f64 - arrival) * stage.stride;
            if steps >= stage.fewest {
                *value = at_arrival + stage.quality_at(self.problem, steps);
            }
        }
        for &(before, step, quality) in &stage.between {
            for index in 1..self.points.saturating_sub(before) {
                let late = start[index - 1] + (1.0 - step) * (start[index] - start[index - 1]);
                let value = &mut values[index + before];
                *value = value.max(late + quality);
            }
        }
        for &(m, quality) in stage.options.iter().filter(|(m, _)| *m < self.points) {
            for (value, &start) in values[m..].iter_mut().zip(&start) {
                let option = quality + start;
                *value = if option > *value { option } else { *value };
            }
        }
        let overhead = stage.overhead + load / self.spacing;
        let whole = overhead.floor();
        let share = (overhead - whole) as f32;
        let shift = whole as i64;
        let mut before = NEVER;
        for value in &mut values {
            let here = *value;
            *value = here + share * (before - here);
            before = here;
        }
        let ahead = self.problem.due[i] - self.time((first + shift) as f64);
        self.punish(i, ahead, &mut values);
        let mut best = NEVER;
        for value in &mut values {
            best = best.max(*value);
            *value = best;
        }
        Curve::level_out(first + shift, values, best)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_wrap)]
mod tests {
    use super::*;
    use crate::dual::paper;
    use crate::schedule::{backward, best_steps, forward};

    /// Cutting a queue anywhere and joining the two halves gives the same worth, and that worth is
    /// what a schedule with the best steps earns, up to the grid.
    #[test]
    fn halves_join_to_what_a_schedule_earns() {
        for (seed, interval) in [(1, 2.0), (2, 6.0), (3, 20.0)] {
            let instance = paper::instance(seed, 1, 12, interval);
            let problem = Problem::new(&instance);
            let grid = Grid::new(&problem, 0, 1);
            let queue: Vec<usize> = (0..12).collect();
            let loads = [0.0; 12];
            let (ahead, behind) = (forward(&grid, &queue, &loads), backward(&grid, &queue, &loads));
            let worth = |cut: usize| {
                let levels = ahead[..=cut].iter().chain(&behind[cut..]).map(|curve| curve.level);
                ahead[cut].join(&behind[cut]) + levels.sum::<f64>()
            };
            let whole = worth(0);
            let earned = best_steps(&problem, &[grid], &[0; 12]).reward;
            assert!((whole - earned).abs() < 0.05, "seed {seed}: {whole} is not {earned}");
            for cut in 1..=12 {
                let here = worth(cut);
                assert!((here - whole).abs() < 0.05, "seed {seed}, cut {cut}: {here}, {whole}");
            }
        }
    }
}
