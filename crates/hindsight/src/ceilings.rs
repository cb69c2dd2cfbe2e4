//! A quick bound on what a request can get, which ends the walk over its starts.

use rayon::prelude::*;
use scheduling::{Steps, TardinessPenalty};

use crate::problem::{Problem, penalty};

/// The reward that a request could at most get on a server if it started `lead` seconds before its
/// due time and time were free: a table that is rounded up, by penalty and server.
#[derive(Debug)]
pub(crate) struct Ceilings {
    lowest: f64,
    step: f64,
    tables: Vec<Vec<f64>>,
    servers: usize,
    best_quality: f64,
}

impl Ceilings {
    pub(crate) fn new(problem: &Problem<'_>) -> Self {
        let scale = problem.time_scale();
        let step = scale / 100.0;
        let lowest = -20.0 * scale;
        let entries = ((problem.longest_service() - lowest) / step).ceil() as usize;
        let tables = (0..3 * problem.servers())
            .into_par_iter()
            .map(|table| {
                let kind = TardinessPenalty::ALL[table / problem.servers()];
                let service = &problem.service[table % problem.servers()];
                let at = |lead: f64| {
                    let reward = |s: usize| {
                        problem.quality[s] - problem.weight * penalty(kind, service[s] - lead)
                    };
                    (0..Steps::COUNT).map(reward).fold(f64::NEG_INFINITY, f64::max)
                };
                (0..entries).map(|entry| at(lowest + entry as f64 * step)).collect()
            })
            .collect();
        Self {
            lowest,
            step,
            tables,
            servers: problem.servers(),
            best_quality: problem.best_quality(),
        }
    }

    /// An upper bound that never decreases with `lead`.
    pub(crate) fn at(&self, kind: TardinessPenalty, server: usize, lead: f64) -> f64 {
        let position = ((lead - self.lowest) / self.step).ceil().max(0.0) as usize + 1;
        // One entry more than rounding up asks for, so that its own rounding cannot matter.
        let kind = TardinessPenalty::ALL.iter().position(|&k| k == kind).unwrap_or(0);
        let table = &self.tables[kind * self.servers + server];
        table.get(position).copied().unwrap_or(self.best_quality)
    }
}
