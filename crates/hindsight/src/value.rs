//! Value functions of one server's queue: what its requests are worth, against time.
//!
//! With the requests of a server given, first come first served leaves only their steps open, a
//! problem that dynamic programming solves in one pass: `backward` says what a request and all those
//! behind it earn if the server is free at t, `forward` what all those ahead earn if it must be
//! free again by t. Both live on a grid of a few steps' time, with linear interpolation. They guide
//! the search; what a schedule is really worth is computed anew, exactly.

// Positions on a grid are far below 2^63.
#![allow(clippy::cast_possible_wrap)]

use scheduling::{Steps, TardinessPenalty};

use crate::problem::Problem;

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

/// The number of points and the quality of each option that may pay: one far below the concave
/// envelope of Q is hardly ever better than a mixture of two others.
fn options(problem: &Problem<'_>, stride: usize) -> Vec<(usize, f32)> {
    let quality = &problem.quality;
    let tolerated = 0.35 * problem.quality_range();
    let mixture = |s: usize| {
        let mut most = quality[s];
        for a in (0..s).step_by(stride) {
            for b in (s + 1..Steps::COUNT).step_by(stride) {
                let share = (s - a) as f64 / (b - a) as f64;
                most = most.max(quality[a] + share * (quality[b] - quality[a]));
            }
        }
        most
    };
    (1..=Steps::COUNT / stride)
        .map(|m| (m, m * stride - 1))
        .filter(|&(_, s)| quality[s] >= mixture(s) - tolerated)
        .map(|(m, s)| (m, quality[s] as f32))
        .collect()
}

/// The grid of one server and the stages of its dynamic program.
#[derive(Debug)]
pub(crate) struct Grid<'a> {
    problem: &'a Problem<'a>,
    origin: f64,
    /// Steps per point; the options are its multiples, and a single step.
    stride: usize,
    /// Seconds between two points.
    spacing: f64,
    /// Points that a curve has.
    points: usize,
    /// The time of a run that does not depend on steps, in points.
    overhead: f64,
    /// Options worth trying: points that they take, without the overhead, and their Q.
    options: Vec<(usize, f32)>,
}

impl<'a> Grid<'a> {
    /// `stride` steps per point: fewer are finer and slower.
    pub(crate) fn new(problem: &'a Problem<'a>, server: usize, stride: usize) -> Self {
        let service = &problem.service[server];
        let last = Steps::COUNT - 1;
        let spacing = (service[last] - service[0]) / last as f64 * stride as f64;
        let slack = (0..problem.requests())
            .map(|i| problem.due[i] - problem.arrival[i])
            .fold(0.0, f64::max);
        // Waiting longer than any slack and one full run hardly ever pays; beyond, curves go on in
        // a straight line.
        let patience = slack.min(4.0 * problem.time_scale()) + service[last];
        Self {
            problem,
            origin: problem.arrival[0],
            stride,
            spacing,
            points: ((patience / spacing).ceil() as usize).min(MOST_POINTS) + 2,
            overhead: (service[last] / spacing - Steps::COUNT as f64 / stride as f64).max(0.0),
            options: options(problem, stride),
        }
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

    /// What request `i` and those behind it earn, by the time at which the server is free.
    pub(crate) fn backward(&self, i: usize, behind: &Curve) -> Curve {
        let arrival = self.position(self.problem.arrival[i]);
        let first = arrival.floor() as i64;
        let share = (arrival - arrival.floor()) as f32;
        // By finish, counted without the overhead: what comes after, less the penalty.
        let whole = self.overhead as i64;
        let ahead = self.problem.due[i] - self.time(first as f64 + self.overhead);
        let mut after = behind.stretch(
            first + whole,
            self.points + Steps::COUNT / self.stride + 2,
            self.overhead.fract() as f32,
        );
        self.punish(i, ahead, &mut after);
        let mix =
            |index: usize, share: f32| after[index] + share * (after[index + 1] - after[index]);
        let single = self.problem.quality[0] as f32;
        let step = 1.0 / self.stride as f32;
        let mut values: Vec<f32> =
            (0..self.points).map(|index| single + mix(index, step)).collect();
        for &(m, quality) in &self.options {
            let shifted = &after[m..m + self.points];
            for (value, &after) in values.iter_mut().zip(shifted) {
                let option = quality + after;
                *value = if option > *value { option } else { *value };
            }
        }
        // Until the arrival the value is the one of starting at it, between two points.
        let one_step = if share + step < 1.0 { (0, share + step) } else { (1, share + step - 1.0) };
        values[0] = (self.options.iter())
            .map(|&(m, quality)| quality + mix(m, share))
            .fold(single + mix(one_step.0, one_step.1), f32::max);
        let reference = values[0];
        Curve::level_out(first, values, reference)
    }

    /// What request `i` and those ahead of it earn, by the time at which the server must be free.
    pub(crate) fn forward(&self, i: usize, ahead: &Curve) -> Curve {
        let arrival = self.position(self.problem.arrival[i]);
        let first = (arrival.floor() as i64).max(ahead.first);
        let at_arrival = ahead.between(arrival, false);
        let start: Vec<f32> = (first..first + self.points as i64)
            .map(|at| if (at as f64) < arrival { NEVER } else { ahead.at(at, false) })
            .collect();
        let single = self.problem.quality[0] as f32;
        let step = 1.0 / self.stride as f32;
        // By finish, counted without the overhead.
        let mut values = vec![NEVER; self.points];
        for index in 1..self.points {
            let steps = ((first + index as i64) as f64 - arrival) * self.stride as f64;
            if steps >= 1.0 {
                values[index] = at_arrival + self.quality_at(steps);
            }
            let late = start[index - 1] + (1.0 - step) * (start[index] - start[index - 1]);
            values[index] = values[index].max(late + single);
        }
        for &(m, quality) in self.options.iter().filter(|(m, _)| *m < self.points) {
            for (value, &start) in values[m..].iter_mut().zip(&start) {
                let option = quality + start;
                *value = if option > *value { option } else { *value };
            }
        }
        let whole = self.overhead.floor();
        let share = (self.overhead - whole) as f32;
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

    /// Q at a number of steps that need not be whole.
    fn quality_at(&self, steps: f64) -> f32 {
        let whole = (steps as usize).clamp(1, Steps::COUNT);
        let quality = &self.problem.quality;
        let (a, b) = (quality[whole - 1], quality[whole.min(Steps::COUNT - 1)]);
        (a + (steps - whole as f64).clamp(0.0, 1.0) * (b - a)) as f32
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
            let (ahead, behind) = (forward(&grid, &queue), backward(&grid, &queue));
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
