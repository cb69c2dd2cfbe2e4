//! What a finished picture is worth: eq. (2), (3) and (5) of the paper.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bounds::StepBounds;
use crate::cluster::Request;
use crate::message::number;
use crate::units::{Seconds, Steps, Time};

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
    /// What a second between arrival and finish costs, late or not; 0 in the paper.
    waiting_weight: f64,
    /// Q(s) for every number of steps.
    quality: [f64; Steps::COUNT],
    /// The largest Q up to every number of steps.
    best_quality: [f64; Steps::COUNT],
    /// What another step adds after so many, on the concave hull of the best quality.
    marginal: [f64; Steps::COUNT],
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
            let value = curve.at(f64::from(steps.get()));
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
        let marginal = marginal(&best_quality);
        let waiting_weight = 0.0;
        Ok(Self {
            curve,
            tardiness_weight,
            waiting_weight,
            quality,
            best_quality,
            marginal,
            full_service,
        })
    }

    /// The same where sooner is better: a second between arrival and finish costs so many points, late or
    /// not. The paper has no such term.
    ///
    /// # Errors
    /// [`ObjectiveError`] if it is not in `0..=1e6`.
    pub fn with_waiting_weight(self, waiting_weight: f64) -> Result<Self, ObjectiveError> {
        if !(0.0..=1e6).contains(&waiting_weight) {
            return Err(ObjectiveError::WaitingWeight(waiting_weight));
        }
        Ok(Self { waiting_weight, ..self })
    }

    /// The steps whose quality is known. No request gets others.
    pub fn bounds(&self) -> StepBounds {
        self.curve.bounds()
    }

    /// The curve that [`Objective::quality`] tabulates.
    pub fn curve(&self) -> &QualityCurve {
        &self.curve
    }

    /// w of eq. (5).
    pub fn tardiness_weight(&self) -> f64 {
        self.tardiness_weight
    }

    /// Points per second between arrival and finish.
    pub fn waiting_weight(&self) -> f64 {
        self.waiting_weight
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

    /// What another step adds where many requests get so many on average, some more and some less: the slope
    /// of the concave hull of Q. It falls as steps grow, and is 0 from [`Steps::MAX`] on.
    pub fn marginal_quality(&self, steps: f64) -> f64 {
        // Fewer than a single step, and what is no number, count as one.
        self.marginal.get((steps.max(1.0) - 1.0) as usize).copied().unwrap_or(0.0)
    }

    /// The unit in which work is counted.
    pub fn full_service(&self) -> FullService {
        self.full_service
    }

    /// What so long a time between arrival and finish costs beside the tardiness. Not part of
    /// [`Objective::reward`].
    pub fn waiting_cost(&self, waited: Seconds) -> f64 {
        self.waiting_weight * waited.seconds()
    }

    /// What a request earns that is finished at this time: the reward of eq. (5), less what its waiting costs.
    pub fn earned(&self, steps: Steps, request: &Request, finish: Time) -> f64 {
        let reward = self.reward(steps, request.penalty, finish - request.due);
        reward - self.waiting_cost(finish - request.arrival)
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
    /// `best − scale / (1 + (s / middle)^power)`, a logistic in the logarithm of the steps: the shape that
    /// samplers follow which add noise.
    #[serde(rename = "logistic")]
    Logistic(Logistic),
    /// Measured `[steps, quality]` points, ascending in steps: linear in between and level above the last.
    /// Below the first one nothing is known, and so few steps are never given.
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

/// Parameters of [`QualityCurve::Logistic`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logistic {
    /// Quality in the limit of many steps.
    pub best: f64,
    /// What is missing in the limit of none.
    pub scale: f64,
    /// Steps that make up for half of it; above 0.
    pub middle: f64,
    /// How suddenly they do.
    pub power: f64,
}

impl QualityCurve {
    /// Eq. (2): Q(s) = 30 + 35 · sigmoid(0.1 s − 9).
    pub const PAPER: Self =
        Self::Sigmoid(Sigmoid { floor: 30.0, range: 35.0, slope: 0.1, offset: 9.0 });

    /// The steps whose quality it knows: a table says nothing below its first point.
    pub fn bounds(&self) -> StepBounds {
        match self {
            Self::Table(points) => {
                let min = points.first().map_or(Steps::MIN, |&(steps, _)| steps);
                StepBounds { min, ..StepBounds::ALL }
            }
            _ => StepBounds::ALL,
        }
    }

    /// Q of so many steps, also between whole ones and beyond [`Steps::MAX`].
    pub fn at(&self, s: f64) -> f64 {
        match self {
            Self::Sigmoid(c) => c.floor + c.range / (1.0 + libm::exp(-(c.slope * s - c.offset))),
            Self::PowerLaw(c) => c.best - c.scale * libm::pow(s, -c.exponent),
            Self::Logistic(c) => c.best - c.scale / (1.0 + libm::pow(s / c.middle, c.power)),
            Self::Table(points) => interpolate(points, s),
        }
    }

    fn check(&self) -> Result<(), ObjectiveError> {
        if let Self::Logistic(Logistic { middle, .. }) = *self
            && !(middle > 0.0 && middle <= 1e6)
        {
            return Err(ObjectiveError::Middle(middle));
        }
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

/// The slopes of the concave hull, each just after its point; the last has nothing after it.
fn marginal(quality: &[f64; Steps::COUNT]) -> [f64; Steps::COUNT] {
    let slope = |a: usize, b: usize| (quality[b] - quality[a]) / (b - a) as f64;
    let mut hull: Vec<usize> = Vec::new();
    for point in 0..Steps::COUNT {
        while let [.., a, b] = hull[..]
            && slope(a, b) <= slope(b, point)
        {
            hull.pop();
        }
        hull.push(point);
    }
    let mut marginal = [0.0; Steps::COUNT];
    for pair in hull.windows(2) {
        marginal[pair[0]..pair[1]].fill(slope(pair[0], pair[1]));
    }
    marginal
}

fn interpolate(points: &[(Steps, f64)], s: f64) -> f64 {
    let at = |index: usize| (f64::from(points[index].0.get()), points[index].1);
    match points.partition_point(|&(steps, _)| f64::from(steps.get()) <= s) {
        0 => points[0].1,
        n if n == points.len() => points[n - 1].1,
        n => {
            let ((s0, q0), (s1, q1)) = (at(n - 1), at(n));
            q0 + (s - s0) / (s1 - s0) * (q1 - q0)
        }
    }
}

/// An objective that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ObjectiveError {
    /// The weight w is not in its range.
    #[error("tardiness_weight is {}: allowed is 0 to 1e6", number(*.0))]
    TardinessWeight(f64),
    /// The weight of waiting is not in its range.
    #[error("waiting_weight is {}: allowed is 0 to 1e6", number(*.0))]
    WaitingWeight(f64),
    /// The curve has a value that cannot be used.
    #[error("quality at {steps} steps is {}: allowed is -1e6 to 1e6", number(*value))]
    Quality {
        /// Where.
        steps: u32,
        /// What stands there.
        value: f64,
    },
    /// A logistic that has no middle.
    #[error("quality.logistic.middle is {}: allowed is above 0, and 1e6 at most", number(*.0))]
    Middle(f64),
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
    fn tables_are_linear_between_points_and_know_nothing_below_the_first() {
        let table = QualityCurve::Table(vec![(steps(10), 1.0), (steps(20), 3.0)]);
        let objective = Objective::new(table, 1.0).unwrap();
        for (s, expected) in [(1, 1.0), (10, 1.0), (15, 2.0), (20, 3.0), (200, 3.0)] {
            assert_eq!(objective.quality(steps(s)), expected, "{s} steps");
        }
        assert_eq!(objective.bounds(), StepBounds { min: steps(10), max: steps(200) });
        assert_eq!(Objective::default().bounds(), StepBounds::ALL);
    }

    #[test]
    fn a_logistic_has_half_of_its_range_in_the_middle() {
        let curve = Logistic { best: 60.0, scale: 40.0, middle: 20.0, power: 1.5 };
        let objective = Objective::new(QualityCurve::Logistic(curve), 1.0).unwrap();
        // At 80 steps 4^1.5 = 8 parts of nine are made up for.
        for (s, expected) in [(20, 40.0), (80, 60.0 - 40.0 / 9.0), (5, 60.0 - 40.0 * 8.0 / 9.0)] {
            assert!((objective.quality(steps(s)) - expected).abs() < 1e-12, "{s} steps");
        }
    }

    #[test]
    fn power_law() {
        let curve = QualityCurve::PowerLaw(PowerLaw { best: 10.0, scale: 8.0, exponent: 1.0 });
        assert_eq!(Objective::new(curve, 1.0).unwrap().quality(steps(4)), 8.0);
    }

    #[test]
    fn another_step_adds_the_slope_of_the_concave_hull() {
        // One step is as good as ten; then two for each step, then half of one.
        let points = [(1, 0.0), (10, 0.0), (20, 20.0), (40, 30.0)];
        let table = points.map(|(s, quality)| (steps(s), quality)).to_vec();
        let objective = Objective::new(QualityCurve::Table(table), 1.0).unwrap();
        // The hull goes straight from one step to twenty.
        let dear = 20.0 / 19.0;
        for (s, expected) in [
            (0.0, dear),
            (1.0, dear),
            (19.9, dear),
            (20.0, 0.5),
            (39.0, 0.5),
            (40.0, 0.0),
            (1e9, 0.0),
        ] {
            assert!((objective.marginal_quality(s) - expected).abs() < 1e-12, "{s} steps");
        }
        let flat = QualityCurve::Table(vec![(steps(1), 7.0)]);
        assert_eq!(Objective::new(flat, 1.0).unwrap().marginal_quality(5.0), 0.0);
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
        let logistic = Logistic { best: 60.0, scale: 40.0, middle: 0.0, power: 1.5 };
        check(QualityCurve::Logistic(logistic), 1.0, "logistic.middle is 0");
        let steep = PowerLaw { best: 0.0, scale: f64::INFINITY, exponent: 0.0 };
        check(QualityCurve::PowerLaw(steep), 1.0, "quality at 1 steps is -inf");
    }
}
