//! Figures, drawn from rows alone.

mod axes;
mod distribution;
mod learning_curve;
mod scale;
mod sheet;
mod strips;
mod style;
mod sweep;
pub(crate) mod workload;

pub(crate) mod gantt;
pub(crate) mod svg;

pub(crate) use distribution::distribution;
pub(crate) use learning_curve::learning_curve;
pub(crate) use scale::label;
pub(crate) use sheet::SHEET;
pub(crate) use strips::{gain, instances};
pub(crate) use sweep::sweep;

/// Width of every figure of the report; heights follow from what is in it.
const WIDTH: f64 = 980.0;
/// Room on the right for the labels of curves.
const LABELS: f64 = 168.0;
