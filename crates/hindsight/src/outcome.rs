//! What a solver found, and how far it is proven.

use scheduling::Row;

/// What was possible on an instance. All values are means per request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing earns more than the schedule (up to 1e-9).
    Optimal {
        /// The best schedule.
        schedule: Found,
        /// Its reward, and where rounding has to be allowed for a hair more.
        bound: f64,
    },
    /// There may be better schedules.
    Feasible {
        /// The best schedule that was found.
        schedule: Found,
        /// No schedule of the order that was asked for earns more.
        bound: f64,
    },
    /// Stopped before there was any schedule.
    Unknown {
        /// As in [`Outcome::Feasible`].
        bound: f64,
    },
}

/// A schedule that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Mean reward per request.
    pub reward: f64,
    /// One row per request, in order.
    pub rows: Vec<Row>,
}

impl Outcome {
    /// No schedule of the order that was asked for earns more.
    pub fn bound(&self) -> f64 {
        match self {
            Self::Optimal { bound, .. }
            | Self::Feasible { bound, .. }
            | Self::Unknown { bound } => *bound,
        }
    }

    /// The best schedule, if there is one.
    pub fn schedule(&self) -> Option<&Found> {
        match self {
            Self::Optimal { schedule, .. } | Self::Feasible { schedule, .. } => Some(schedule),
            Self::Unknown { .. } => None,
        }
    }

    /// The best schedule, if there is one.
    pub fn into_schedule(self) -> Option<Found> {
        match self {
            Self::Optimal { schedule, .. } | Self::Feasible { schedule, .. } => Some(schedule),
            Self::Unknown { .. } => None,
        }
    }

    /// How much of the bound the schedule misses: (bound − reward) / |bound|.
    pub fn gap(&self) -> Option<f64> {
        let bound = self.bound();
        self.schedule()
            .map(|schedule| (bound - schedule.reward) / bound.abs().max(f64::MIN_POSITIVE))
    }
}
