//! The standard normal distribution.

use std::sync::LazyLock;

/// Beyond this many deviations nothing is left.
const RANGE: f64 = 9.0;
const NODES_PER_UNIT: f64 = 64.0;

/// Φ(x) to 1e-9: cubic between nodes at which it and its slope are exact, as this is asked for a hundred
/// times in each decision.
pub(super) fn cdf(x: f64) -> f64 {
    if x.abs() >= RANGE {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let position = (x + RANGE) * NODES_PER_UNIT;
    let node = position as usize;
    let [(value, slope), (next, next_slope)] = [NODES[node], NODES[node + 1]];
    cubic(position - node as f64, [value, slope, next, next_slope])
}

/// 1 − Φ(x), exact however small.
pub(super) fn tail(x: f64) -> f64 {
    0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2)
}

/// The cubic that has these values and slopes at 0 and at 1: value, slope, value, slope.
pub(super) fn cubic(t: f64, [from, slope, to, slope_there]: [f64; 4]) -> f64 {
    let rise = to - from;
    from + t
        * (slope
            + t * (3.0 * rise - 2.0 * slope - slope_there + t * (slope + slope_there - 2.0 * rise)))
}

/// Φ and its slope per node.
static NODES: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| {
    let count = (2.0 * RANGE * NODES_PER_UNIT) as usize + 1;
    let node = |index: usize| {
        let x = index as f64 / NODES_PER_UNIT - RANGE;
        (tail(-x), density(x) / NODES_PER_UNIT)
    };
    (0..count).map(node).collect()
});

/// φ(x)
pub(super) fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / libm::sqrt(2.0 * std::f64::consts::PI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_distribution() {
        for step in -100_000..=100_000 {
            let x = f64::from(step) * 1e-4;
            assert!((cdf(x) - tail(-x)).abs() < 1e-9, "{x}");
        }
    }
}
