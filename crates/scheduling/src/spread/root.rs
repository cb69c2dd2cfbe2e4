//! E √((X − y)⁺) for X = exp(σ z − σ²/2), which has no closed form.

use std::sync::OnceLock;

use super::normal::{cubic, density};

/// Shapes σ for which there is a table. One in between has that of the next larger: the mean and the
/// variance of a finish stay what they are.
const SHAPES: usize = 256;
const LEAST_SHAPE: f64 = 0.01;
const LARGEST_SHAPE: f64 = 3.0;

/// Where y is given by the deviations z beyond which X is larger: the table ends at so many on either side.
const DEVIATIONS: f64 = 8.0;
const NODES_PER_DEVIATION: f64 = 16.0;
/// Where X is always larger: nodes over t = (1 − y₀) / (1 − y), from 0 to 1.
const NODES_BELOW: usize = 64;

/// The table for runs with this σ.
pub(super) fn shape(sigma: f64) -> u8 {
    let position = libm::log(sigma / LEAST_SHAPE) / libm::log(LARGEST_SHAPE / LEAST_SHAPE);
    // A shape that is its own next one stays, whatever the rounding.
    (position * (SHAPES - 1) as f64 - 1e-9).ceil().clamp(0.0, (SHAPES - 1) as f64) as u8
}

/// E √((T − D)⁺) for a finish of this shape that is so late on average, with this standard deviation.
pub(super) fn mean_root(shape: u8, late_on_average: f64, deviation: f64) -> f64 {
    let table = Table::of(shape);
    let scale = deviation / table.kappa;
    scale.sqrt() * table.at(1.0 - late_on_average / scale)
}

struct Table {
    sigma: f64,
    /// Standard deviation of X.
    kappa: f64,
    /// 1 − y₀, where y₀ is the y of [`DEVIATIONS`] below the mean.
    room: f64,
    /// Values at −[`DEVIATIONS`] and on.
    within: Vec<f64>,
    /// Values divided by √(1 − y), over t.
    below: Vec<f64>,
}

static TABLES: [OnceLock<Table>; SHAPES] = [const { OnceLock::new() }; SHAPES];

impl Table {
    fn of(shape: u8) -> &'static Self {
        TABLES[usize::from(shape)].get_or_init(|| {
            let position = f64::from(shape) / (SHAPES - 1) as f64;
            Self::new(LEAST_SHAPE * libm::pow(LARGEST_SHAPE / LEAST_SHAPE, position))
        })
    }

    fn new(sigma: f64) -> Self {
        let nodes = (2.0 * DEVIATIONS * NODES_PER_DEVIATION) as usize + 1;
        let deviation = |node: usize| node as f64 / NODES_PER_DEVIATION - DEVIATIONS;
        let within = (0..nodes).map(|node| above_deviation(sigma, deviation(node))).collect();
        let room = -libm::expm1(-sigma * DEVIATIONS - 0.5 * sigma * sigma);
        let below = (0..=NODES_BELOW).map(|node| {
            let t = node as f64 / NODES_BELOW as f64;
            if node == 0 { 1.0 } else { relative_to(sigma, room / t) }
        });
        let kappa = libm::sqrt(libm::expm1(sigma * sigma));
        Self { sigma, kappa, room, within, below: below.collect() }
    }

    /// E √((X − y)⁺)
    fn at(&self, y: f64) -> f64 {
        if y <= 1.0 - self.room {
            let over = 1.0 - y;
            return over.sqrt() * interpolate(&self.below, self.room / over * NODES_BELOW as f64);
        }
        let deviation = libm::log(y) / self.sigma + 0.5 * self.sigma;
        if deviation >= DEVIATIONS {
            return 0.0;
        }
        interpolate(&self.within, (deviation + DEVIATIONS) * NODES_PER_DEVIATION)
    }
}

/// The cubic through the nodes on either side, with slopes from their neighbours.
fn interpolate(nodes: &[f64], position: f64) -> f64 {
    let last = nodes.len() - 1;
    let node = (position as usize).min(last - 1);
    let slope = |node: usize| {
        let (before, after) = (node.saturating_sub(1), (node + 1).min(last));
        (nodes[after] - nodes[before]) / (after - before) as f64
    };
    let ends = [nodes[node], slope(node), nodes[node + 1], slope(node + 1)];
    cubic(position - node as f64, ends)
}

const POINTS: usize = 400;

/// E √((X − y)⁺) where X > y beyond so many deviations z₀: ∫ √(y (exp(σ u²) − 1)) φ(z₀ + u²) 2u du.
fn above_deviation(sigma: f64, deviation: f64) -> f64 {
    let y = libm::exp(sigma * deviation - 0.5 * sigma * sigma);
    let end = libm::sqrt((9.0 + sigma - deviation).max(2.0));
    simpson(0.0, end, |u| {
        let square = u * u;
        let root = libm::sqrt(y * libm::expm1(sigma * square));
        root * density(deviation + square) * 2.0 * u
    })
}

/// E √((X − 1 + over) / over), where X is always larger.
fn relative_to(sigma: f64, over: f64) -> f64 {
    simpson(-DEVIATIONS, 9.0 + sigma, |z| {
        let x = libm::exp(sigma * z - 0.5 * sigma * sigma);
        libm::sqrt(((x - 1.0 + over) / over).max(0.0)) * density(z)
    })
}

fn simpson(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let step = (to - from) / POINTS as f64;
    let weight = |point: usize| match point {
        0 | POINTS => 1.0,
        _ => 2.0 + 2.0 * (point % 2) as f64,
    };
    (0..=POINTS).map(|point| weight(point) * f(from + step * point as f64)).sum::<f64>() * step
        / 3.0
}
