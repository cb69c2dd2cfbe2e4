//! One server's queue in the search: its value functions, and what it loads.

use std::sync::Arc;

use scheduling::Loaded;

use crate::problem::Problem;
use crate::schedule::{backward, forward, loads};
use crate::value::{Curve, Grid};

/// Value functions this close count as the same.
const TOLERANCE: f32 = 2e-3;
/// Requests behind a part whose loads depend on what is in it, at most.
const BEHIND: usize = 16;

/// Part of one server's queue: `forward[k]` and `loaded[k]` are before the k-th request, `backward[k]`
/// is from it on.
#[derive(Clone)]
pub(super) struct Line {
    queue: Vec<usize>,
    /// Seconds that each request spends on loading its model.
    loads: Vec<f64>,
    /// What is loaded before each request, and after the last.
    loaded: Vec<Loaded>,
    forward: Vec<Arc<Curve>>,
    backward: Vec<Arc<Curve>>,
}

/// The requests from one on, with other loads than they have: their forward value functions, and how
/// far they reach.
struct Reloaded {
    /// Before the first request whose load is what it was, as are those of all behind it.
    forward: Option<Curve>,
    /// Levels of the value functions on the way.
    level: f64,
    /// The first request whose load is what it was.
    end: usize,
}

impl Line {
    /// A whole queue.
    pub(super) fn new(problem: &Problem<'_>, grid: &Grid<'_>, queue: &[usize]) -> Self {
        let (loads, loaded) = loads(problem, grid.server, queue);
        Self {
            queue: queue.to_vec(),
            forward: forward(grid, queue, &loads),
            backward: backward(grid, queue, &loads),
            loads,
            loaded,
        }
    }

    /// The requests from number `from` to before `to`, and those behind whose loads depend on them.
    pub(super) fn part(&self, grid: &Grid<'_>, from: usize, to: usize) -> Self {
        let start = self.queue.partition_point(|&i| i < from);
        let mut end = self.queue.partition_point(|&i| i < to);
        let last = (end + BEHIND).min(self.queue.len());
        let mut models = Vec::new();
        while end < last && models.len() < grid.resident() {
            let model = grid.model(self.queue[end]);
            if !models.contains(&model) {
                models.push(model);
            }
            end += 1;
        }
        Self {
            queue: self.queue[start..end].to_vec(),
            loads: self.loads[start..end].to_vec(),
            loaded: self.loaded[start..=end].to_vec(),
            forward: self.forward[start..=end].to_vec(),
            backward: self.backward[start..=end].to_vec(),
        }
    }

    /// What `i` would add here; −∞ if the server does not take it.
    pub(super) fn gain(&self, grid: &Grid<'_>, i: usize) -> f64 {
        if !grid.takes(i) {
            return f64::NEG_INFINITY;
        }
        let k = self.queue.partition_point(|&other| other < i);
        let mut loaded = self.loaded[k].clone();
        let load = grid.run(i, &mut loaded);
        let with = grid.forward(i, load, &self.forward[k]);
        let without = self.forward[k].join(&self.backward[k]);
        let reloaded = self.reloaded(grid, k, loaded, &with);
        let joined = reloaded.forward.as_ref().unwrap_or(&with);
        let skipped = self.level_behind(k, reloaded.end);
        joined.join(&self.backward[reloaded.end]) + with.level - without + reloaded.level - skipped
    }

    /// What `i` adds as it stands here.
    pub(super) fn worth(&self, grid: &Grid<'_>, i: usize) -> f64 {
        let k = self.queue.partition_point(|&other| other < i);
        let with = grid.forward(i, self.loads[k], &self.forward[k]);
        let before = &self.forward[k];
        let reloaded = self.reloaded(grid, k + 1, self.loaded[k].clone(), before);
        let without = reloaded.forward.as_ref().unwrap_or(before);
        let without = without.join(&self.backward[reloaded.end]) + reloaded.level;
        let skipped = self.level_behind(k + 1, reloaded.end);
        with.join(&self.backward[k + 1]) + with.level - without + skipped
    }

    /// The requests from the k-th on, with these models loaded before it, behind what `ahead` says.
    fn reloaded(&self, grid: &Grid<'_>, k: usize, mut loaded: Loaded, ahead: &Curve) -> Reloaded {
        let mut loads = Vec::new();
        let mut changed = 0;
        for at in k..self.queue.len() {
            if loaded == self.loaded[at] {
                break;
            }
            loads.push(grid.run(self.queue[at], &mut loaded));
            if loads[at - k] != self.loads[at] {
                changed = loads.len();
            }
        }
        let mut reloaded = Reloaded { forward: None, level: 0.0, end: k + changed };
        for (&i, &load) in self.queue[k..k + changed].iter().zip(&loads) {
            let curve = grid.forward(i, load, reloaded.forward.as_ref().unwrap_or(ahead));
            reloaded.level += curve.level;
            reloaded.forward = Some(curve);
        }
        reloaded
    }

    fn level_behind(&self, from: usize, to: usize) -> f64 {
        self.backward[from..to].iter().map(|curve| curve.level).sum()
    }

    pub(super) fn insert(&mut self, grid: &Grid<'_>, i: usize) {
        let k = self.queue.partition_point(|&other| other < i);
        let mut loaded = self.loaded[k].clone();
        let load = grid.run(i, &mut loaded);
        self.queue.insert(k, i);
        self.loads.insert(k, load);
        self.loaded.insert(k + 1, loaded);
        let end = self.reload(grid, k + 1);
        self.forward.insert(k + 1, Arc::new(grid.forward(i, load, &self.forward[k])));
        // Renewed at once, where it speaks of the request.
        self.backward.insert(k, Arc::clone(&self.backward[k]));
        self.renew(grid, (k + 1, k), end.max(k + 1));
    }

    pub(super) fn remove(&mut self, grid: &Grid<'_>, i: usize) {
        let k = self.queue.partition_point(|&other| other < i);
        self.queue.remove(k);
        self.loads.remove(k);
        // Entry k + 1 of the one and entry k of the other spoke of the request that is gone.
        self.loaded.remove(k + 1);
        self.forward.remove(k + 1);
        self.backward.remove(k);
        let end = self.reload(grid, k);
        self.renew(grid, (k, k), end);
    }

    /// The loads from position k on by what is loaded before it: up to the first, whose position it
    /// returns, that is what it was, as are all behind it.
    fn reload(&mut self, grid: &Grid<'_>, k: usize) -> usize {
        let mut end = k;
        let mut loaded = self.loaded[k].clone();
        for at in k..self.queue.len() {
            let load = grid.run(self.queue[at], &mut loaded);
            if load != self.loads[at] {
                self.loads[at] = load;
                end = at + 1;
            }
            if loaded == self.loaded[at + 1] {
                break;
            }
            self.loaded[at + 1] = loaded.clone();
        }
        end
    }

    /// Recomputes the value functions after position `from` and before position `end`, until they are
    /// what they were: forward not before `end`, backward not before `to`.
    fn renew(&mut self, grid: &Grid<'_>, (from, to): (usize, usize), end: usize) {
        for k in from..self.queue.len() {
            let curve = grid.forward(self.queue[k], self.loads[k], &self.forward[k]);
            let same = curve.same(&self.forward[k + 1], TOLERANCE);
            self.forward[k + 1] = Arc::new(curve);
            if same && k + 1 >= end {
                break;
            }
        }
        for k in (0..end).rev() {
            let curve = grid.backward(self.queue[k], self.loads[k], &self.backward[k + 1]);
            let same = curve.same(&self.backward[k], TOLERANCE);
            self.backward[k] = Arc::new(curve);
            if same && k < to {
                break;
            }
        }
    }
}

#[cfg(test)]
#[path = "../../tests/fleet_instance/mod.rs"]
mod fleet_instance;

#[cfg(test)]
mod tests {
    use scheduling::{Generator, Instance, Objective, Purpose, QualityCurve};

    use super::*;

    /// After any insertions and removals a line says what it would say if it were made anew, and what
    /// they promised to add is what they added.
    #[test]
    fn insertions_and_removals_keep_loads_and_worth() {
        let mut off = Vec::new();
        for seed in 0..8 {
            // Hardly anything waits, and what a point of the grid makes late costs little.
            let drawn = fleet_instance::instance(seed, 2, 40, 120.0, 160);
            let mild = Objective::new(QualityCurve::PAPER, 0.1).unwrap();
            let (cluster, requests) = (drawn.cluster().clone(), drawn.requests().to_vec());
            let instance = Instance::new(cluster, requests, mild).unwrap();
            let problem = Problem::new(&instance);
            let grid = Grid::new(&problem, seed as usize % 2, 1);
            let mut draw = Generator::new(seed, Purpose::Search, 0);
            let mut line = Line::new(&problem, &grid, &[]);
            let earned = |line: &Line| {
                line.forward[0].join(&line.backward[0]) + line.level_behind(0, line.queue.len())
            };
            for step in 0..200 {
                let i = draw.below(40);
                let before = earned(&line);
                let promised = if line.queue.contains(&i) {
                    let worth = line.worth(&grid, i);
                    line.remove(&grid, i);
                    -worth
                } else if grid.takes(i) {
                    let gain = line.gain(&grid, i);
                    line.insert(&grid, i);
                    gain
                } else {
                    assert_eq!(line.gain(&grid, i), f64::NEG_INFINITY);
                    continue;
                };
                let anew = Line::new(&problem, &grid, &line.queue);
                let what = format!("seed {seed}, step {step}, request {i}");
                assert_eq!(line.loads, anew.loads, "{what}");
                assert_eq!(line.loaded, anew.loaded, "{what}");
                let added = earned(&line) - before;
                assert!((added - promised).abs() < 1.0, "{what}: {added} is not {promised}");
                off.push((added - promised).abs());
                let (here, there) = (earned(&line), earned(&anew));
                assert!((here - there).abs() < 0.1, "{what}: {here} is not {there}");
            }
        }
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        assert!(mean < 0.05, "off by {mean} in {} steps", off.len());
    }
}
