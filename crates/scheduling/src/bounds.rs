//! Bounds on steps.

use serde::{Deserialize, Serialize};

use crate::units::Steps;

/// Fewest and most steps that are accepted; the fewest are not above the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepBounds {
    /// Fewest.
    pub min: Steps,
    /// Most.
    pub max: Steps,
}

impl StepBounds {
    /// Every number of steps, as in the paper.
    pub const ALL: Self = Self { min: Steps::MIN, max: Steps::MAX };

    /// The nearest number of steps within the bounds.
    pub fn clamp(self, steps: Steps) -> Steps {
        steps.clamp(self.min, self.max)
    }

    /// Whether so many steps are accepted.
    pub fn contains(self, steps: Steps) -> bool {
        (self.min..=self.max).contains(&steps)
    }

    /// What both accept, if there is anything.
    #[inline]
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { min: self.min.max(other.min), max: self.max.min(other.max) };
        (both.min <= both.max).then_some(both)
    }

    /// Positions of the accepted steps in a table over [`Steps::all`].
    pub fn indices(self) -> std::ops::Range<usize> {
        self.min.index()..self.max.index() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        let steps = |s| Steps::new(s).unwrap();
        let bounds = StepBounds { min: steps(8), max: steps(60) };
        for (s, nearest) in [(1, 8), (7, 8), (8, 8), (30, 30), (60, 60), (61, 60), (200, 60)] {
            assert_eq!(bounds.clamp(steps(s)).get(), nearest, "{s}");
            assert_eq!(bounds.contains(steps(s)), s == nearest, "{s}");
        }
        let table: Vec<_> = Steps::all().collect();
        assert_eq!((table[bounds.indices()][0], table[bounds.indices()].len()), (steps(8), 53));
        assert_eq!(StepBounds::ALL.indices(), 0..Steps::COUNT);
    }
}
