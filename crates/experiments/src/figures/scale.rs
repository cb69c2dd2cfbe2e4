//! From values to positions, and the ticks between them.

/// A map from a range of values to a range of positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    kind: Kind,
    values: [f64; 2],
    positions: [f64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Linear,
    /// Linear around 0, logarithmic from about this value on: shows 0 and thousands together.
    Asinh(f64),
}

impl Kind {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Asinh(unit) => (value / unit).asinh(),
        }
    }
}

impl Scale {
    pub(crate) fn linear(values: [f64; 2], positions: [f64; 2]) -> Self {
        Self { kind: Kind::Linear, values, positions }
    }

    /// Linear where that shows everything; where the largest of the values is far above the
    /// unit, linear up to about that and logarithmic beyond.
    pub(crate) fn spreading(values: [f64; 2], unit: f64, positions: [f64; 2]) -> Self {
        let kind = if values[1] > 30.0 * unit { Kind::Asinh(unit) } else { Kind::Linear };
        Self { kind, values, positions }
    }

    pub(crate) fn is_linear(&self) -> bool {
        self.kind == Kind::Linear
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        let [low, high] = self.values.map(|value| self.kind.of(value));
        let share = if high > low { (self.kind.of(value) - low) / (high - low) } else { 0.5 };
        self.positions[0] + share * (self.positions[1] - self.positions[0])
    }

    /// The value at a position.
    pub(crate) fn value_at(&self, position: f64) -> f64 {
        let [low, high] = self.values.map(|value| self.kind.of(value));
        let share = (position - self.positions[0]) / (self.positions[1] - self.positions[0]);
        match self.kind {
            Kind::Linear => low + share * (high - low),
            Kind::Asinh(unit) => unit * (low + share * (high - low)).sinh(),
        }
    }

    /// As [`Scale::at`], kept between the ends.
    pub(crate) fn clamped(&self, value: f64) -> f64 {
        self.at(value.clamp(self.values[0], self.values[1]))
    }

    /// Round values at least `gap` apart, with their labels.
    pub(crate) fn ticks(&self, gap: f64) -> Vec<(f64, String)> {
        let [low, high] = self.values;
        match self.kind {
            Kind::Linear => {
                let room = ((self.positions[1] - self.positions[0]).abs() / gap).max(1.0);
                let step = round_up((high - low) / room);
                let first = (low / step - 1e-9).ceil() as i64;
                let last = (high / step + 1e-9).floor() as i64;
                let digits = (-step.log10().floor()).max(0.0) as usize;
                (first..=last)
                    .map(|index| index as f64 * step)
                    .map(|value| (value, label(value, digits)))
                    .collect()
            }
            Kind::Asinh(_) => {
                let mut ticks: Vec<(f64, String)> = Vec::new();
                let powers = (-2..=7).map(|power| 10f64.powi(power));
                for value in std::iter::once(0.0).chain(powers) {
                    let far = |other: f64| (self.at(value) - self.at(other)).abs() >= gap;
                    if (low..=high).contains(&value) && ticks.last().is_none_or(|t| far(t.0)) {
                        let digits = if value > 0.0 { (-value.log10()).max(0.0) } else { 0.0 };
                        ticks.push((value, label(value, digits as usize)));
                    }
                }
                ticks
            }
        }
    }
}

/// A range around the values with a little room, from 0 if that is near.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return [0.0, 1.0];
    }
    let room = ((high - low) * 0.06).max(1e-3 * high.abs()).max(1e-6);
    let near_zero = low >= 0.0 && low < (high - low) * 0.35;
    [if near_zero { 0.0 } else { low - room }, high + room]
}

/// The next of 1, 2, 5, 10, … times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|&step| step >= value * (1.0 - 1e-9))
        .unwrap_or(value)
}

/// With a true minus and thin spaces between thousands.
pub(crate) fn label(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && whole.len() > 4 {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    let zero = text.chars().all(|c| c == '0' || c == '.');
    let sign = if value < 0.0 && !zero { "−" } else { "" };
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let check = |values: [f64; 2], expect: &[&str]| {
            let scale = Scale::linear(values, [0.0, 200.0]);
            let labels: Vec<_> = scale.ticks(40.0).into_iter().map(|(_, label)| label).collect();
            assert_eq!(labels, expect, "{values:?}");
        };
        check([0.0, 1.0], &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check([29.3, 64.7], &["30", "40", "50", "60"]);
        check([0.0, 3000.0], &["0", "1000", "2000", "3000"]);
        check([-60_000.0, 0.0], &["−60\u{2009}000", "−40\u{2009}000", "−20\u{2009}000", "0"]);
        check([0.0, 0.011], &["0.000", "0.005", "0.010"]);
    }

    #[test]
    fn a_spreading_scale_shows_zero_and_thousands() {
        let scale = Scale::spreading([0.0, 5000.0], 1.0, [0.0, 400.0]);
        assert!(!scale.is_linear());
        let labels: Vec<_> = scale.ticks(30.0).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0", "1", "10", "100", "1000"]);
        assert!((scale.at(5000.0) - 400.0).abs() < 1e-9 && scale.at(0.0).abs() < 1e-9);
        assert!((scale.value_at(scale.at(77.0)) - 77.0).abs() < 1e-9);
        assert!(Scale::spreading([0.0, 20.0], 1.0, [0.0, 1.0]).is_linear());
        assert_eq!(Scale::linear([1.0, 1.0], [0.0, 10.0]).at(1.0), 5.0);
    }

    #[test]
    fn ranges_have_room_and_start_at_a_near_zero() {
        assert_eq!(range([0.1, 2.0].into_iter())[0], 0.0);
        let [low, high] = range([60.0, 62.0].into_iter());
        assert!((59.0..60.0).contains(&low) && (62.0..63.0).contains(&high));
        let [low, high] = range([5.0].into_iter());
        assert!(low < 5.0 && 5.0 < high);
        assert_eq!(range(std::iter::empty()), [0.0, 1.0]);
    }
}
