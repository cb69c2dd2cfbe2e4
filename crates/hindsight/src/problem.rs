//! An instance as flat tables, the way the inner loops read it.

use scheduling::{Decision, Execution, Instance, Row, Seconds, Steps, TardinessPenalty, Time};

/// Everything that the solvers ask of an instance, as plain seconds.
#[derive(Debug)]
pub(crate) struct Problem<'a> {
    pub(crate) instance: &'a Instance,
    /// r_i
    pub(crate) arrival: Vec<f64>,
    /// d_i
    pub(crate) due: Vec<f64>,
    /// g_i
    pub(crate) penalty: Vec<TardinessPenalty>,
    /// Q(s) by [`Steps::index`].
    pub(crate) quality: [f64; Steps::COUNT],
    /// p of each server by [`Steps::index`]; ascending.
    pub(crate) service: Vec<[f64; Steps::COUNT]>,
    /// w
    pub(crate) weight: f64,
}

impl<'a> Problem<'a> {
    pub(crate) fn new(instance: &'a Instance) -> Self {
        let requests = instance.requests();
        let service = (instance.cluster().iter())
            .map(|server| {
                std::array::from_fn(|s| server.service_time(Steps::from_index(s)).seconds())
            })
            .collect();
        Self {
            instance,
            arrival: requests.iter().map(|request| request.arrival.seconds()).collect(),
            due: requests.iter().map(|request| request.due.seconds()).collect(),
            penalty: requests.iter().map(|request| request.penalty).collect(),
            quality: *instance.objective().qualities(),
            service,
            weight: instance.objective().tardiness_weight(),
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.arrival.len()
    }

    pub(crate) fn servers(&self) -> usize {
        self.service.len()
    }

    /// w · g(τ) of request `i` when it finishes at `finish`.
    pub(crate) fn loss(&self, i: usize, finish: f64) -> f64 {
        self.weight * penalty(self.penalty[i], finish - self.due[i])
    }

    /// Eq. (5) for request `i` with step index `s`, finished at `finish`.
    pub(crate) fn reward(&self, i: usize, s: usize, finish: f64) -> f64 {
        self.quality[s] - self.loss(i, finish)
    }

    /// The largest quality of all.
    pub(crate) fn best_quality(&self) -> f64 {
        self.quality.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Between the largest and the smallest quality; the scale of all rewards. Positive.
    pub(crate) fn quality_range(&self) -> f64 {
        let worst = self.quality.iter().copied().fold(f64::INFINITY, f64::min);
        (self.best_quality() - worst).max(1e-6)
    }

    /// Time that the most steps take, averaged over the servers: the scale of everything that is
    /// measured in time here.
    pub(crate) fn time_scale(&self) -> f64 {
        let longest = self.service.iter().map(|p| p[Steps::COUNT - 1]);
        longest.sum::<f64>() / self.servers() as f64
    }

    /// The longest service time of any server.
    pub(crate) fn longest_service(&self) -> f64 {
        self.service.iter().map(|p| p[Steps::COUNT - 1]).fold(0.0, f64::max)
    }

    /// The row of request `i` on server `j` with step index `s`, started at `start`.
    pub(crate) fn row(&self, i: usize, j: usize, s: usize, start: f64) -> Row {
        let steps = Steps::from_index(s);
        let start = Time::ZERO + Seconds::of(start);
        let finish = start + self.instance.cluster()[j].service_time(steps);
        Row::new(
            i,
            &self.instance.requests()[i],
            Decision { server: j, steps },
            Execution { start, finish },
            self.instance.objective(),
        )
    }
}

/// g(τ) in plain numbers.
pub(crate) fn penalty(kind: TardinessPenalty, tardiness: f64) -> f64 {
    kind.at(Seconds::of(tardiness))
}
