//! Which values an axis shows: those that differ, not those that are hopeless.

use super::scale::Scale;

/// How a measure is shown.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shown {
    /// The higher the better; what is far below the best is named and not shown.
    Focused,
    /// From 0, logarithmic if values spread over orders of magnitude.
    Spreading,
}

impl Shown {
    /// Where the values of a range stand.
    pub(crate) fn scale(self, range: [f64; 2], positions: [f64; 2]) -> Scale {
        match self {
            Self::Spreading => Scale::spreading(range, 1.0, positions),
            Self::Focused => Scale::linear(range, positions),
        }
    }
}

/// How much wider the rest must become for a value to be left out.
const WORTH: f64 = 3.5;
/// Differences below this share of the best value are not worth a closer look.
const CLOSE: f64 = 0.02;

/// The range of the values that are worth comparing. Values come in groups, such as one for each
/// point of a sweep, and in each of them the highest is the best.
///
/// Those that lie furthest below the best of their group are left out, a third of all at most, as
/// long as each makes the rest at least 3.5 times as wide.
pub(crate) fn focus(groups: &[Vec<f64>]) -> [f64; 2] {
    let highest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut values: Vec<(f64, f64)> = (groups.iter())
        .flat_map(|group| group.iter().map(|value| (highest(group) - value, *value)))
        .filter(|(_, value)| value.is_finite())
        .collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let hull = |values: &[(f64, f64)]| {
        values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], (_, value)| {
            [low.min(*value), high.max(*value)]
        })
    };
    let all = hull(&values);
    if values.is_empty() {
        return [0.0, 1.0];
    }
    let width = |[low, high]: [f64; 2]| (high - low).max(CLOSE * high.abs()).max(1e-9);
    let left_out = (1..=values.len() / 3).rev().find(|&count| {
        let rest = hull(&values[..values.len() - count]);
        // As many of each group count as one.
        let needed = WORTH.powf((count as f64 / groups.len() as f64).max(1.0));
        width(all) >= needed * width(rest)
    });
    hull(&values[..values.len() - left_out.unwrap_or(0)])
}

/// The range, with those of the further values that lie no further outside than it is wide.
pub(crate) fn widened([low, high]: [f64; 2], further: impl Iterator<Item = f64>) -> [f64; 2] {
    let reach = (high - low).max(CLOSE * high.abs());
    further
        .filter(|value| (low - reach..=high + reach).contains(value))
        .fold([low, high], |[low, high], value| [low.min(value), high.max(value)])
}

/// The range with a little room at both ends, from 0 if that is near.
pub(crate) fn with_room([low, high]: [f64; 2]) -> [f64; 2] {
    let room = (0.07 * (high - low)).max(2e-3 * high.abs()).max(1e-6);
    let near_zero = low >= 0.0 && low < 0.35 * (high - low);
    [if near_zero { 0.0 } else { low - room }, high + room]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_off_does_not_squash_the_rest() {
        let check = |values: &[f64], expect: [f64; 2]| {
            assert_eq!(focus(&[values.to_vec()]), expect, "{values:?}");
        };
        // The paper's reward and quality, and rewards under contention.
        check(&[39.7, 55.4, 58.7, 30.1, 63.1, 63.1, 63.2], [30.1, 63.2]);
        check(&[63.3, 55.4, 58.7, 30.1, 64.4, 64.5, 64.4, 64.4, 64.5], [55.4, 64.5]);
        check(&[-3000.0, 49.3, 49.3, 30.1, -160.0, 52.1, 57.9, 57.3, 59.0], [49.3, 59.0]);
        // Two that are far off do not shield one another.
        check(&[-3000.0, -2900.0, 50.0, 51.0, 52.0, 53.0], [50.0, 53.0]);
        check(&[50.0, 50.0, 50.0, 50.01], [50.0, 50.01]);
        check(&[1.0], [1.0, 1.0]);
        check(&[], [0.0, 1.0]);
    }

    #[test]
    fn a_sweep_is_compared_with_the_best_of_each_point() {
        // At the first point much less is possible, and that is no reason to leave it out.
        let groups = [vec![20.0, 21.0, 19.0, -900.0], vec![60.0, 61.0, 59.0, 40.0]];
        assert_eq!(focus(&groups), [19.0, 61.0]);
    }

    #[test]
    fn ranges_have_room_and_start_at_a_near_zero() {
        assert_eq!(with_room([0.1, 2.0])[0], 0.0);
        let [low, high] = with_room([60.0, 62.0]);
        assert!((59.0..60.0).contains(&low) && (62.0..63.0).contains(&high));
        let [low, high] = with_room([5.0, 5.0]);
        assert!(low < 5.0 && 5.0 < high);
        assert_eq!(widened([50.0, 60.0], [45.0, 30.0, 61.0].into_iter()), [45.0, 61.0]);
    }
}
