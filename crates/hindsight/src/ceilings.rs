//! A quick bound on what a request can get, which ends the walk over its starts.

use rayon::prelude::*;
use scheduling::{Steps, TardinessPenalty};

use crate::problem::{Problem, penalty};

/// The reward that a request could at most get on a server if it started `lead` seconds before its
/// due time and time were free: a table that is rounded up, by model, penalty and server.
#[derive(Debug)]
pub(crate) struct Ceilings {
    lowest: f64,
    step: f64,
    tables: Vec<Vec<f64>>,
    servers: usize,
    /// By kind of the requests.
    model: Vec<usize>,
    best_quality: f64,
}

impl Ceilings {
    pub(crate) fn new(problem: &Problem<'_>) -> Self {
        let scale = problem.time_scale();
        let step = scale / 100.0;
        let lowest = -20.0 * scale;
        let entries = ((problem.longest_service() - lowest) / step).ceil() as usize;
        let (servers, model) = (problem.servers(), models(problem));
        let models = model.iter().max().map_or(0, |last| last + 1);
        let tables = (0..models * 3 * servers)
            .into_par_iter()
            .map(|table| {
                let (server, model_of) = (table % servers, table / (3 * servers));
                let kind = TardinessPenalty::ALL[table / servers % 3];
                let quickest = quickest(problem, server, |k| model[k] == model_of);
                let at = |lead: f64| {
                    let reward = |(s, time): (usize, &f64)| {
                        problem.quality[s] - problem.weight * penalty(kind, time - lead)
                    };
                    let allowed = quickest.iter().enumerate().filter(|(_, time)| time.is_finite());
                    allowed.map(reward).fold(f64::NEG_INFINITY, f64::max)
                };
                (0..entries).map(|entry| at(lowest + entry as f64 * step)).collect()
            })
            .collect();
        Self { lowest, step, tables, servers, model, best_quality: problem.best_quality() }
    }

    /// An upper bound that never decreases with `lead`, for request `i`.
    pub(crate) fn at(&self, problem: &Problem<'_>, i: usize, server: usize, lead: f64) -> f64 {
        let position = ((lead - self.lowest) / self.step).ceil().max(0.0) as usize + 1;
        // One entry more than rounding up asks for, so that its own rounding cannot matter.
        let kind = problem.penalty[i];
        let kind = TardinessPenalty::ALL.iter().position(|&k| k == kind).unwrap_or(0);
        let model = self.model[problem.kind[i]];
        let table = &self.tables[(model * 3 + kind) * self.servers + server];
        table.get(position).copied().unwrap_or(self.best_quality)
    }
}

/// The model of each kind, numbered as they appear: kinds of one model share their tables.
fn models(problem: &Problem<'_>) -> Vec<usize> {
    let mut seen = Vec::new();
    let mut of_kind = Vec::new();
    for (i, &kind) in problem.kind.iter().enumerate() {
        // Kinds are numbered as they appear.
        if kind == of_kind.len() {
            let model = problem.instance.requests()[i].model;
            let known = seen.iter().position(|&other| other == model);
            of_kind.push(known.unwrap_or_else(|| {
                seen.push(model);
                seen.len() - 1
            }));
        }
    }
    of_kind
}

/// The least time of each number of steps on a server over some kinds; infinite where it is not
/// allowed.
fn quickest(
    problem: &Problem<'_>,
    server: usize,
    of: impl Fn(usize) -> bool,
) -> [f64; Steps::COUNT] {
    let mut quickest = [f64::INFINITY; Steps::COUNT];
    let services = problem.services[server].iter().enumerate();
    for service in
        services.filter(|(kind, _)| of(*kind)).filter_map(|(_, service)| service.as_ref())
    {
        for s in service.steps.clone() {
            quickest[s] = quickest[s].min(service.time[s]);
        }
    }
    quickest
}
