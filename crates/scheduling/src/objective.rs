//! What a finished picture is worth: eq. (2), (3) and (5) of the paper.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::message::number;
use crate::units::{Seconds, Steps};

/// The objective: a quality curve and the weight of tardiness against it.
///
/// ```
/// use scheduling::{Objective, Seconds, Steps, TardinessPenalty};
/// let objective = Objective::default();
/// let steps = Steps::new(90)?;
/// assert_eq!(objective.quality(steps), 47.5);
/// // Two seconds late under t² at w = 1.5 cost six points of quality.
/// assert_eq!(objective.reward(steps, TardinessPenalty::Quadratic, Seconds::of(2.0)), 41.5);
/// # Ok::<(), scheduling::OutOfRange>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    curve: QualityCurve,
    tardiness_weight: f64,
    /// Q(s) for every number of steps.
    quality: [f64; Steps::COUNT],
    /// The largest Q up to every number of steps.
    best_quality: [f64; Steps::COUNT],
    full_service: FullService,
}

/// The unit in which work is counted: the fewest steps that bring nine tenths of all that steps can
/// add to the quality of a single one. On the paper's curve these are 112.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FullService {
    /// So many steps; 1 where more of them add nothing.
    pub steps: Steps,
    /// What they add to the quality of a single step; not negative.
    pub gain: f64,
}

impl FullService {
    fn of(best_quality: &[f64; Steps::COUNT]) -> Self {
        let gain = |steps: Steps| best_quality[steps.index()] - best_quality[0];
        let enough = 0.9 * gain(Steps::MAX);
        let steps = Steps::all().find(|&steps| gain(steps) >= enough).unwrap_or(Steps::MAX);
        Self { steps, gain: gain(steps) }
    }
}

impl Objective {
    /// The paper's weight of tardiness w (§IV-A).
    pub const PAPER_TARDINESS_WEIGHT: f64 = 1.5;

    /// An objective from its two parts.
    ///
    /// # Errors
    /// [`ObjectiveError`] if the weight is not in `0..=1e6`, or a parameter or a value of the curve
    /// is out of range.
    pub fn new(curve: QualityCurve, tardiness_weight: f64) -> Result<Self, ObjectiveError> {
        if !(0.0..=1e6).contains(&tardiness_weight) {
            return Err(ObjectiveError::TardinessWeight(tardiness_weight));
        }
        curve.check()?;
        let mut quality = [0.0; Steps::COUNT];
        for steps in Steps::all() {
            let value = curve.at(steps);
            if value.abs() > 1e6 || value.is_nan() {
                return Err(ObjectiveError::Quality { steps: steps.get(), value });
            }
            quality[steps.index()] = value;
        }
        let mut best_quality = quality;
        for index in 1..Steps::COUNT {
            best_quality[index] = best_quality[index].max(best_quality[index - 1]);
        }
        let full_service = FullService::of(&best_quality);
        Ok(Self { curve, tardiness_weight, quality, best_quality, full_service })
    }

    /// The curve that [`Objective::quality`] tabulates.
    pub fn curve(&self) -> &QualityCurve {
        &self.curve
    }

    /// w of eq. (5).
    pub fn tardiness_weight(&self) -> f64 {
        self.tardiness_weight
    }

    /// Q(s), eq. (2).
    pub fn quality(&self, steps: Steps) -> f64 {
        self.quality[steps.index()]
    }

    /// Q(s) for all steps; entry [`Steps::index`] belongs to `steps`.
    pub fn qualities(&self) -> &[f64; Steps::COUNT] {
        &self.quality
    }

    /// The largest quality of so many steps or fewer; entry [`Steps::index`] belongs to `steps`.
    pub fn best_qualities(&self) -> &[f64; Steps::COUNT] {
        &self.best_quality
    }

    /// The unit in which work is counted.
    pub fn full_service(&self) -> FullService {
        self.full_service
    }

    /// r = Q(s) − w · g(τ), eq. (5), with the tardiness in seconds.
    pub fn reward(&self, steps: Steps, penalty: TardinessPenalty, tardiness: Seconds) -> f64 {
        self.quality(steps) - self.tardiness_weight * penalty.at(tardiness)
    }
}

impl Default for Objective {
    /// The paper's: eq. (2) and w = 1.5.
    fn default() -> Self {
        Self::new(QualityCurve::PAPER, Self::PAPER_TARDINESS_WEIGHT)
            .expect("the paper's objective is in range")
    }
}

/// g_i, eq. (3): what being late costs, as chosen by the requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TardinessPenalty {
    /// g(t) = t
    Linear,
    /// g(t) = t²
    Quadratic,
    /// g(t) = √t
    SquareRoot,
}

impl TardinessPenalty {
    /// All of them, in the paper's order.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Quadratic, Self::SquareRoot];

    /// g(t), zero unless the span is positive.
    pub fn at(self, tardiness: Seconds) -> f64 {
        let t = tardiness.seconds().max(0.0);
        match self {
            Self::Linear => t,
            Self::Quadratic => t * t,
            Self::SquareRoot => t.sqrt(),
        }
    }

    /// o_p = g(5), the sensitivity to tardiness in the paper's state vector (§III-A).
    pub fn urgency(self) -> f64 {
        self.at(Seconds::of(5.0))
    }
}

/// Quality against the number of denoising steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum QualityCurve {
    /// `floor + range · sigmoid(slope · s − offset)`; the paper's eq. (2) is [`QualityCurve::PAPER`].
    #[serde(rename = "sigmoid")]
    Sigmoid(Sigmoid),
    /// `best − scale · s^(−exponent)`, the shape that DDIM and Euler samplers follow.
    #[serde(rename = "power_law")]
    PowerLaw(PowerLaw),
    /// Measured `[steps, quality]` points, ascending in steps; linear in between and level outside.
    #[serde(rename = "table")]
    Table(Vec<(Steps, f64)>),
}

/// Parameters of [`QualityCurve::Sigmoid`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sigmoid {
    /// Quality that the curve starts from.
    pub floor: f64,
    /// What all the steps together can add.
    pub range: f64,
    /// Steepness per step.
    pub slope: f64,
    /// `slope` times the number of steps at which half of the range is reached.
    pub offset: f64,
}

/// Parameters of [`QualityCurve::PowerLaw`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerLaw {
    /// Quality in the limit of many steps.
    pub best: f64,
    /// What is missing at one step.
    pub scale: f64,
    /// How fast more steps make up for it.
    pub exponent: f64,
}

impl QualityCurve {
    /// Eq. (2): Q(s) = 30 + 35 · sigmoid(0.1 s − 9).
    pub const PAPER: Self =
        Self::Sigmoid(Sigmoid { floor: 30.0, range: 35.0, slope: 0.1, offset: 9.0 });

    fn at(&self, steps: Steps) -> f64 {
        let s = f64::from(steps.get());
        match self {
            Self::Sigmoid(c) => c.floor + c.range / (1.0 + libm::exp(-(c.slope * s - c.offset))),
            Self::PowerLaw(c) => c.best - c.scale * libm::pow(s, -c.exponent),
            Self::Table(points) => interpolate(points, steps),
        }
    }

    fn check(&self) -> Result<(), ObjectiveError> {
        let Self::Table(points) = self else { return Ok(()) };
        if points.is_empty() {
            return Err(ObjectiveError::EmptyTable);
        }
        match points.windows(2).position(|pair| pair[0].0 >= pair[1].0) {
            Some(i) => Err(ObjectiveError::UnsortedTable {
                index: i + 1,
                steps: points[i + 1].0.get(),
                before: points[i].0.get(),
            }),
            None => Ok(()),
        }
    }
}

fn interpolate(points: &[(Steps, f64)], steps: Steps) -> f64 {
    match points.partition_point(|&(s, _)| s <= steps) {
        0 => points[0].1,
        n if n == points.len() => points[n - 1].1,
        n => {
            let ((s0, q0), (s1, q1)) = (points[n - 1], points[n]);
            let share = f64::from(steps.get() - s0.get()) / f64::from(s1.get() - s0.get());
            q0 + share * (q1 - q0)
        }
    }
}

/// An objective that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ObjectiveError {
    /// The weight w is not in its range.
    #[error("tardiness_weight is {}: allowed is 0 to 1e6", number(*.0))]
    TardinessWeight(f64),
    /// The curve has a value that cannot be used.
    #[error("quality at {steps} steps is {}: allowed is -1e6 to 1e6", number(*value))]
    Quality {
        /// Where.
        steps: u32,
        /// What stands there.
        value: f64,
    },
    /// A table without points.
    #[error("quality.table is empty: at least one [steps, quality] point is needed")]
    EmptyTable,
    /// A table whose steps do not ascend.
    #[error("quality.table[{index}] has {steps} steps after {before}: steps must ascend")]
    UnsortedTable {
        /// Position in the table, from 0.
        index: usize,
        /// Steps at that position.
        steps: u32,
        /// Steps just before.
        before: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(s: u32) -> Steps {
        Steps::new(s).unwrap()
    }

    #[test]
    fn the_papers_quality_curve() {
        let objective = Objective::default();
        // Values of eq. (2), computed by hand.
        for (s, expected) in [(1, 30.004_77), (30, 30.086_5), (90, 47.5), (150, 64.913_5)] {
            let quality = objective.quality(steps(s));
            assert!((quality - expected).abs() < 1e-4, "Q({s}) = {quality}");
        }
    }

    #[test]
    fn penalties_of_equation_3() {
        use TardinessPenalty::{Linear, Quadratic, SquareRoot};
        for (penalty, t, expected) in [
            (Linear, 4.0, 4.0),
            (Quadratic, 4.0, 16.0),
            (SquareRoot, 4.0, 2.0),
            (Linear, 0.0, 0.0),
            (Quadratic, -3.0, 0.0),
            (SquareRoot, -3.0, 0.0),
        ] {
            assert_eq!(penalty.at(Seconds::of(t)), expected, "{penalty:?} at {t}");
        }
    }

    #[test]
    fn tables_are_linear_between_points_and_level_outside() {
        let table = QualityCurve::Table(vec![(steps(10), 1.0), (steps(20), 3.0)]);
        let objective = Objective::new(table, 1.0).unwrap();
        for (s, expected) in [(1, 1.0), (10, 1.0), (15, 2.0), (20, 3.0), (200, 3.0)] {
            assert_eq!(objective.quality(steps(s)), expected, "{s} steps");
        }
    }

    #[test]
    fn power_law() {
        let curve = QualityCurve::PowerLaw(PowerLaw { best: 10.0, scale: 8.0, exponent: 1.0 });
        assert_eq!(Objective::new(curve, 1.0).unwrap().quality(steps(4)), 8.0);
    }

    #[test]
    fn bad_objectives_are_refused() {
        let check = |curve, weight, part: &str| {
            let message = Objective::new(curve, weight).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        check(QualityCurve::PAPER, f64::NAN, "tardiness_weight is NaN");
        check(QualityCurve::PAPER, -1.0, "allowed is 0 to 1e6");
        check(QualityCurve::Table(vec![]), 1.0, "empty");
        check(QualityCurve::Table(vec![(steps(5), 1.0), (steps(5), 2.0)]), 1.0, "table[1]");
        let steep = PowerLaw { best: 0.0, scale: f64::INFINITY, exponent: 0.0 };
        check(QualityCurve::PowerLaw(steep), 1.0, "quality at 1 steps is -inf");
    }
}
