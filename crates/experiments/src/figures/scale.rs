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
    /// Logarithmic; all values are above 0.
    Logarithmic,
    /// Linear around 0, logarithmic from about this value on: shows 0 and thousands together.
    Asinh(f64),
    /// Linear from the joint upwards; logarithmic below it, so that what lies far below is
    /// shown as well. At the joint the slope is the same on both sides.
    Tail {
        joint: f64,
        unit: f64,
    },
}

impl Kind {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.ln(),
            Self::Asinh(unit) => (value / unit).asinh(),
            Self::Tail { joint, .. } if value >= joint => value - joint,
            Self::Tail { joint, unit } => -unit * ((joint - value) / unit).ln_1p(),
        }
    }
}

/// Which part of an axis a tail takes.
const TAIL: f64 = 0.28;

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

    /// Linear from `joint` to the upper value; what lies below takes up a quarter of the room,
    /// logarithmically if it has to be squeezed.
    pub(crate) fn tailed([low, high]: [f64; 2], joint: f64, positions: [f64; 2]) -> Self {
        let room = (high - joint) * TAIL / (1.0 - TAIL);
        let depth = joint - low;
        if depth <= room {
            return Self::linear([low, high], positions);
        }
        // The tail is as long as its room where unit · ln(1 + depth / unit) = room, which grows with
        // the unit.
        let [mut least, mut most] = [1e-12 * depth, 1e3 * depth];
        for _ in 0..100 {
            let unit = (least * most).sqrt();
            let longer = unit * (depth / unit).ln_1p() > room;
            if longer { most = unit } else { least = unit }
        }
        let kind = Kind::Tail { joint, unit: (least * most).sqrt() };
        Self { kind, values: [low, high], positions }
    }

    /// Through these values, in rising order: logarithmic where a linear scale would crowd some of
    /// them, and all are above 0.
    pub(crate) fn through(values: &[f64], positions: [f64; 2]) -> Self {
        let ends = [values[0], values[values.len() - 1]];
        let narrowest = |of: fn(f64) -> f64| {
            let gaps = values.windows(2).map(|pair| of(pair[1]) - of(pair[0]));
            gaps.fold(f64::INFINITY, f64::min) / (of(ends[1]) - of(ends[0]))
        };
        let crowded = narrowest(|value| value) < 0.5 / values.len() as f64;
        let kind = if ends[0] > 0.0 && crowded && narrowest(f64::ln) > narrowest(|value| value) {
            Kind::Logarithmic
        } else {
            Kind::Linear
        };
        Self { kind, values: ends, positions }
    }

    /// What the name of an axis has to add; empty for a linear one.
    pub(crate) fn remark(&self) -> String {
        match self.kind {
            Kind::Linear => String::new(),
            Kind::Logarithmic => ", log".into(),
            Kind::Asinh(unit) => format!(", log beyond {}", plain(unit)),
            Kind::Tail { joint, .. } => format!(", log below {}", plain(joint)),
        }
    }

    /// Where the scale changes from linear to logarithmic, if it does so at one value.
    pub(crate) fn joint(&self) -> Option<f64> {
        match self.kind {
            Kind::Tail { joint, .. } => Some(joint),
            _ => None,
        }
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
        let place = low + share * (high - low);
        match self.kind {
            Kind::Linear => place,
            Kind::Logarithmic => place.exp(),
            Kind::Asinh(unit) => unit * place.sinh(),
            Kind::Tail { joint, .. } if place >= 0.0 => joint + place,
            Kind::Tail { joint, unit } => joint - unit * (-place / unit).exp_m1(),
        }
    }

    /// The values at both ends.
    pub(crate) fn values(&self) -> [f64; 2] {
        self.values
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
                let room = (self.positions[1] - self.positions[0]).abs() / gap;
                regular([low, high], room)
            }
            Kind::Logarithmic | Kind::Asinh(_) => {
                let powers = || (-2..=9).map(|power| 10f64.powi(power));
                let ticks = self.picked(std::iter::once(0.0).chain(powers()), Vec::new(), gap);
                // Where there is room, what lies between.
                let between = powers().flat_map(|power| [2.0 * power, 5.0 * power]);
                self.picked(between, ticks, gap)
            }
            Kind::Tail { joint, .. } => {
                let room = (self.at(high) - self.at(joint)).abs() / gap;
                let ticks = regular([joint, high], room);
                let powers = (0..=9).map(|power| -10f64.powi(power));
                self.picked(std::iter::once(0.0).chain(powers.rev()), ticks, gap)
            }
        }
    }

    /// The ticks, and those values in the range that are at least `gap` away from all others.
    fn picked(
        &self,
        values: impl Iterator<Item = f64>,
        mut ticks: Vec<(f64, String)>,
        gap: f64,
    ) -> Vec<(f64, String)> {
        let [low, high] = self.values;
        for value in values.filter(|value| (low..=high).contains(value)) {
            let far = |other: f64| (self.at(value) - self.at(other)).abs() >= gap;
            if ticks.iter().all(|(other, _)| far(*other)) {
                ticks.push((value, plain(value)));
            }
        }
        ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
        ticks
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, about as many as there is room for.
fn regular([low, high]: [f64; 2], room: f64) -> Vec<(f64, String)> {
    let step = round_up((high - low) / room.max(1.0));
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let values = (first..=last).map(|index| index as f64 * step);
    values.map(|value| (value, label(value, digits))).collect()
}

/// The value, or a little less, as a multiple of a step of which some are in the span.
pub(crate) fn rounded_down(value: f64, span: f64) -> f64 {
    let step = round_up(span / 8.0);
    (value / step + 1e-9).floor() * step
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

/// With as many digits as the value has, three behind the point at most.
pub(crate) fn plain(value: f64) -> String {
    let digits = (0..3).find(|&digits| {
        let scaled = value * 10f64.powi(digits);
        (scaled - scaled.round()).abs() < 1e-6
    });
    label(value, digits.unwrap_or(3) as usize)
}

/// A value in about four characters, whatever its size.
pub(crate) fn brief(value: f64) -> String {
    match value.abs() {
        size if size < 9.95 => label(value, 1),
        size if size < 9_999.5 => label(value, 0),
        size if size < 999_500.0 => label(value / 1e3, 0) + "k",
        size if size < 9.995e8 => label(value / 1e6, 0) + "M",
        _ => format!("{}{:.0e}", if value < 0.0 { "−" } else { "" }, value.abs()),
    }
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
        assert_eq!(scale.remark(), ", log beyond 1");
        let labels: Vec<_> = scale.ticks(30.0).into_iter().map(|(_, label)| label).collect();
        let (powers, between) = (["0", "1", "10", "100", "1000"], ["20", "50", "200", "2000"]);
        assert!(powers.iter().chain(&between).all(|label| labels.contains(&(*label).into())));
        assert!(!labels.contains(&"2".into()), "too near to 1: {labels:?}");
        assert!((scale.at(5000.0) - 400.0).abs() < 1e-9 && scale.at(0.0).abs() < 1e-9);
        assert!((scale.value_at(scale.at(77.0)) - 77.0).abs() < 1e-9);
        assert_eq!(Scale::spreading([0.0, 20.0], 1.0, [0.0, 1.0]).remark(), "");
        assert_eq!(Scale::linear([1.0, 1.0], [0.0, 10.0]).at(1.0), 5.0);
    }

    #[test]
    fn a_tail_shows_what_lies_far_below() {
        let scale = Scale::tailed([-20_000.0, 64.0], 50.0, [400.0, 0.0]);
        assert!((scale.at(64.0)).abs() < 1e-9 && (scale.at(-20_000.0) - 400.0).abs() < 1e-6);
        // The joint stands where the tail ends, and the slope is the same on both sides.
        assert!((scale.at(50.0) - 400.0 * (1.0 - TAIL)).abs() < 1e-6, "{}", scale.at(50.0));
        let slopes = [49.999, 50.0].map(|value| scale.at(value) - scale.at(value + 0.001));
        assert!((slopes[0] / slopes[1] - 1.0).abs() < 0.01, "{slopes:?}");
        for value in [-19_000.0, -3.0, 49.0, 60.0] {
            assert!((scale.value_at(scale.at(value)) - value).abs() < 1e-6 * value.abs());
        }
        let labels: Vec<_> = scale.ticks(24.0).into_iter().map(|(_, label)| label).collect();
        assert!(labels.contains(&"60".into()) && labels.contains(&"0".into()), "{labels:?}");
        assert_eq!(labels[0], "−10\u{2009}000");
        assert_eq!(scale.joint(), Some(50.0));
        assert_eq!(Scale::tailed([49.0, 64.0], 50.0, [1.0, 0.0]).joint(), None);
    }

    #[test]
    fn swept_values_are_not_crowded() {
        let check = |values: &[f64], expect: &str| {
            let scale = Scale::through(values, [0.0, 300.0]);
            assert_eq!(scale.remark(), expect, "{values:?}");
            assert!(values.iter().all(|value| (-1e-9..300.1).contains(&scale.at(*value))));
        };
        check(&[5.0, 10.0, 15.0, 20.0, 25.0, 30.0], "");
        check(&[0.5, 0.75, 1.0, 1.5, 2.0, 3.0], "");
        check(&[0.0, 1.0, 100.0], "");
        check(&[1.0, 10.0, 100.0, 1000.0], ", log");
        assert_eq!(Scale::through(&[4.0], [0.0, 300.0]).at(4.0), 150.0);
    }

    #[test]
    fn brief_values_stay_brief() {
        let check = |value: f64, expect: &str| assert_eq!(brief(value), expect);
        check(0.04, "0.0");
        check(-7.26, "−7.3");
        check(9.96, "10");
        check(-1478.2, "−1478");
        check(-147_817.0, "−148k");
        check(1_478_179.0, "1M");
        check(-3e12, "−3e12");
        assert_eq!(
            (plain(0.75), plain(54.0), plain(1.0 / 3.0)),
            ("0.75".into(), "54".into(), "0.333".into())
        );
    }
}
