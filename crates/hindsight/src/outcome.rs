//! What a solver claims about a schedule.

/// How far a schedule is proven.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    /// Nothing earns more (up to 1e-9 per request).
    Optimal,
    /// There may be better ones, up to a bound.
    Feasible {
        /// No schedule has a larger mean reward per request.
        bound: f64,
    },
    /// Stopped before there was any schedule.
    Unknown,
}

impl Status {
    /// From totals to means over `n` requests.
    pub(crate) fn per_request(self, n: f64) -> Self {
        match self {
            Self::Feasible { bound } => Self::Feasible { bound: bound / n },
            other => other,
        }
    }
}
